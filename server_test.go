package sockeye_test

import (
	"context"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// serve starts a server on a port of the kernel's choice; setup registers
// handlers.
func serve(t testing.TB, cfg sockeye.Config, setup func(srv *sockeye.Server)) (addr string, srv *sockeye.Server) {
	t.Helper()
	var err error
	srv, err = sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if setup != nil {
		setup(srv)
	}
	a, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx) // peers that are still there are cut
	})
	return a.String(), srv
}

// within fails the test if ch gives nothing in time.
func within[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(wiretest.Limit):
		t.Fatal("nothing happened in time")
	}
	return v
}

// eventually fails the test if cond does not become true in time.
func eventually(t testing.TB, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wiretest.Limit); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come true in time")
		}
	}
}

// reference are the events of the protocol's public test suite.
func reference(srv *sockeye.Server) {
	for _, ns := range []*sockeye.Namespace{srv.Of("/"), srv.Of("/custom")} {
		ns.OnConnect(func(s *sockeye.Socket) error {
			auth := map[string]any{}
			if err := s.Auth(&auth); err != nil {
				return err
			}
			return s.Emit("auth", auth)
		})
		ns.On("message", func(s *sockeye.Socket, e *sockeye.Event) error {
			return s.Emit("message-back", e.Arguments()...)
		})
		ns.On("message-with-ack", func(s *sockeye.Socket, e *sockeye.Event) error {
			return e.Ack(e.Arguments()...)
		})
	}
}
