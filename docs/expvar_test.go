package docs_test

import (
	"encoding/json"
	"expvar"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// TestStatsByExpvar: what operations.md publishes is at /debug/vars, by the names that
// it has for it.
func TestStatsByExpvar(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{Fallback: http.DefaultServeMux})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	expvar.Publish("sockeye", expvar.Func(func() any { return srv.Stats() }))
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string, into any) {
		t.Helper()
		resp, err := h.Get("http://" + addr.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(path, resp.Status)
		}
		if into == nil {
			return
		}
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(path, err)
		}
	}
	get("/socket.io/?EIO=4&transport=polling", nil)
	var vars struct {
		Sockeye struct {
			Net    map[string]any
			Engine map[string]any
		}
	}
	get("/debug/vars", &vars)
	if n := vars.Sockeye.Engine["Sessions"]; n != 1.0 {
		t.Errorf("Engine.Sessions is %v", n)
	}
	if n, _ := vars.Sockeye.Net["Open"].(float64); n < 1 {
		t.Errorf("Net.Open is %v", n)
	}
	if loops, _ := vars.Sockeye.Net["Loops"].([]any); len(loops) != runtime.GOMAXPROCS(0) {
		t.Errorf("Net.Loops are %v", vars.Sockeye.Net["Loops"])
	}
	if by, _ := vars.Sockeye.Engine["RefusedBy"].(map[string]any); len(by) < 10 {
		t.Errorf("Engine.RefusedBy is %v", by)
	}
}

// TestEachCounterIsExplained, in the tables of operations.md.
func TestEachCounterIsExplained(t *testing.T) {
	text := allTexts(t)["operations.md"]
	text = text[strings.Index(text, "## What to watch"):strings.Index(text, "## Stopping")]
	for _, v := range []any{sockeye.Stats{}, sockeye.EngineStats{}, sockeye.NetStats{}, netpoll.LoopStats{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			if name := f.Name; name != "Net" && name != "Engine" && !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "."+name+"`") {
				t.Errorf("operations.md does not explain %T.%s", v, name)
			}
		}
	}
}

// TestEachCauseIsExplained, in a row of troubleshooting.md.
func TestEachCauseIsExplained(t *testing.T) {
	text := allTexts(t)["troubleshooting.md"]
	for _, c := range engine.Causes {
		if !strings.Contains(text, "\n| `"+string(c)+"` | "+c.By()+" |") {
			t.Errorf("troubleshooting.md does not explain %q, by the %s", c, c.By())
		}
	}
}
