package sockeye

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/seam"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// probe asks Healthz and Readyz.
func probe(srv *Server) (live, ready int, why string) {
	l, r := httptest.NewRecorder(), httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/", nil)
	srv.Healthz().ServeHTTP(l, req)
	srv.Readyz().ServeHTTP(r, req)
	return l.Code, r.Code, strings.TrimSpace(r.Body.String())
}

func expectHealth(t *testing.T, srv *Server, live, ready int, why string) {
	t.Helper()
	l, r, w := probe(srv)
	if l != live || r != ready || !strings.HasPrefix(w, why) {
		t.Errorf("live %d, ready %d: %q; want %d, %d: %q", l, r, w, live, ready, why)
	}
}

// TestReady: each reason for which new peers are to be sent elsewhere, while those that
// are there live on.
func TestReady(t *testing.T) {
	srv, err := New(Config{MaxSessions: 2, MaxConns: 2, MaxMemory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	expectHealth(t, srv, 200, 503, "it does not listen")
	if _, err := srv.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	expectHealth(t, srv, 200, 200, "ok")
	srv.group.Memory().Add(1 << 20)
	expectHealth(t, srv, 200, 503, "of 1048576 bytes of Config.MaxMemory 1048576 are used")
	srv.group.Memory().Add(-1 << 20)
	expectHealth(t, srv, 200, 200, "ok")
	srv.Retire()
	expectHealth(t, srv, 200, 503, "it is about to shut down")
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	expectHealth(t, srv, 200, 503, "it is shutting down")
}

// TestReadyWithSpace for connections and sessions.
func TestReadyWithSpace(t *testing.T) {
	net := netpolltest.NewNet(1)
	srv, err := New(Config{MaxConns: 2, MaxSessions: 1, Seams: &seam.Seams{Systems: net.Systems()}})
	if err != nil {
		t.Fatal(err)
	}
	p := net.Dial(0)
	net.Run()
	expectHealth(t, srv, 200, 200, "ok")
	p.Write([]byte("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"))
	net.Run()
	expectHealth(t, srv, 200, 503, "1 sessions are open, as many as Config.MaxSessions")
	net.Dial(0)
	net.Run()
	expectHealth(t, srv, 200, 503, "2 connections are open, as many as Config.MaxConns\n1 sessions")
}

// TestLive: a loop that does not come back from what it does is told, with how long;
// one that has nothing to do is not, and one that is woken in vain is.
func TestLive(t *testing.T) {
	net := netpolltest.NewNet(2)
	srv, err := New(Config{Seams: &seam.Seams{Systems: net.Systems()}})
	if err != nil {
		t.Fatal(err)
	}
	net.Advance(time.Hour)
	expectHealth(t, srv, 200, 200, "ok")
	srv.group.Loop(1).Post(func(any, any) {
		net.Skip(stuckAfter - time.Millisecond)
		expectHealth(t, srv, 200, 200, "ok")
		net.Skip(time.Millisecond)
		expectHealth(t, srv, 503, 503, "loop 1 has not turned for 10s, in ")
	}, nil, nil, 0)
	net.Run()
	expectHealth(t, srv, 200, 200, "ok")
	srv.group.Loop(0).Post(func(any, any) {}, nil, nil, 0)
	net.Skip(stuckAfter)
	expectHealth(t, srv, 503, 503, "loop 0 has not turned for 10s")
	net.Run()
	expectHealth(t, srv, 200, 200, "ok")
}
