package docs_test

import (
	"encoding/json"
	"expvar"
	"net/http"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
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
			Net    map[string]float64
			Engine map[string]float64
		}
	}
	get("/debug/vars", &vars)
	if n := vars.Sockeye.Engine["Sessions"]; n != 1 {
		t.Errorf("Engine.Sessions is %v", n)
	}
	if n := vars.Sockeye.Net["Open"]; n < 1 {
		t.Errorf("Net.Open is %v", n)
	}
}
