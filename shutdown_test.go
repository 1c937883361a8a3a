package sockeye_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestShutdownEndsBroadcasters: handlers that emit, and wait for loops, as long as they
// can are let go, and do not keep Shutdown.
func TestShutdownEndsBroadcasters(t *testing.T) {
	const peers = 50
	begun, ended := make(chan struct{}, peers), make(chan error, peers)
	addr, srv := serve(t, sockeye.Config{Loops: 1}, func(srv *sockeye.Server) {
		srv.On("emit", func() {
			begun <- struct{}{}
			for {
				if err := srv.All().Volatile().Emit("x"); err != nil {
					ended <- err
					return
				}
			}
		})
	})
	var all []*wiretest.WS
	for range peers {
		w := wiretest.Connect(t, addr)
		all = append(all, w)
		go func() {
			for {
				if _, _, err := w.Read(); err != nil {
					_ = w.Conn.Close()
					return
				}
			}
		}()
	}
	for _, w := range all {
		w.Write(`42["emit"]`)
	}
	for range peers {
		within(t, begun)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for range peers {
		if err := within(t, ended); !errors.Is(err, sockeye.ErrServerClosed) {
			t.Errorf("Emit: %v", err)
		}
	}
	// What begins later ends at once.
	if _, err := srv.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, sockeye.ErrServerClosed) {
		t.Errorf("Listen after Shutdown: %v", err)
	}
	if err := srv.ListenAndServe("127.0.0.1:0"); !errors.Is(err, sockeye.ErrServerClosed) {
		t.Errorf("ListenAndServe after Shutdown: %v", err)
	}
	if err := srv.To("nobody").Emit("x"); !errors.Is(err, sockeye.ErrServerClosed) {
		t.Errorf("Emit after Shutdown: %v", err)
	}
}

// TestShutdownSaysOnce why it has not waited for what is left.
func TestShutdownSaysOnce(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("block", func() { close(in); <-out })
	})
	defer close(out)
	w := wiretest.Connect(t, addr)
	w.Write(`42["block"]`)
	within(t, in)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) || err.Error() != context.Canceled.Error() {
		t.Errorf("Shutdown: %v", err)
	}
}
