package interop_test

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// known waits until each server passes requests on to each other one.
func known(t *testing.T, addrs []string) {
	t.Helper()
	const target = "/socket.io/?EIO=4&transport=polling"
	deadline := time.Now().Add(20 * time.Second)
	for _, owner := range addrs {
		resp, err := http.Get("http://" + owner + target)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var open struct{ SID string }
		if err := json.Unmarshal(b[1:], &open); err != nil {
			t.Fatal(err)
		}
		for _, other := range addrs {
			for status := 0; status != http.StatusOK; {
				resp, err := http.Post("http://"+other+target+"&sid="+open.SID, "text/plain", strings.NewReader("3"))
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if status = resp.StatusCode; time.Now().After(deadline) {
					t.Fatalf("the servers do not find each other: %d", status)
				}
			}
		}
	}
}

// TestForward: 100 sessions of the official client, behind a balancer that gives each
// request, and each WebSocket, to the next of three servers.
func TestForward(t *testing.T) {
	need(t, nodeModules)
	hub := new(adaptertest.Hub)
	var servers []*sockeye.Server
	var addrs []string
	for range 3 {
		srv, err := sockeye.New(sockeye.Config{Adapter: hub.Adapter(t, cluster.Options{}), Forward: &sockeye.Forward{}})
		if err != nil {
			t.Fatal(err)
		}
		srv.On("echo", func(args ...any) []any { return args })
		srv.On("many", func(s *sockeye.Socket, n int) {
			for i := range n {
				_ = s.Emit("one", i)
			}
		})
		addr, err := srv.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		servers, addrs = append(servers, srv), append(addrs, addr.String())
	}
	var next atomic.Int64
	balancer := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addrs[int(next.Add(1))%len(addrs)]})
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0),
	})
	defer balancer.Close()
	known(t, addrs)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "clients/js/forward.mjs", balancer.URL, "100").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	var forwarded, failed uint64
	upgraded := 0
	for _, srv := range servers {
		s := srv.Stats()
		forwarded, failed = forwarded+s.Net.Forwarded, failed+s.Net.ForwardFailures
		upgraded += int(s.Engine.Upgraded)
	}
	t.Logf("%s%d requests were passed on, %d were not; %d upgrades", out, forwarded, failed, upgraded)
	if forwarded < 300 || failed > 0 || upgraded != 75 {
		t.Error("so many should be passed on, and none fail")
	}
}
