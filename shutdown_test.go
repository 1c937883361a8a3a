package sockeye_test

import (
	"context"
	"errors"
	"testing"
	"time"

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

// TestCloseKeepsItsContext whatever handlers and loops do.
func TestCloseKeepsItsContext(t *testing.T) {
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for _, c := range []struct {
		name   string
		config sockeye.Config
	}{
		{"handlers", sockeye.Config{}},
		{"loops", sockeye.Config{Inline: true, Loops: 1, MaxPostedJobs: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, out := make(chan struct{}), make(chan struct{})
			addr, srv := serve(t, c.config, func(srv *sockeye.Server) {
				srv.On("block", func() { close(in); <-out })
			})
			defer close(out)
			w := wiretest.Connect(t, addr)
			w.Write(`42["block"]`)
			within(t, in)
			for range 2 { // the second is after the first, and has its error
				begun := time.Now()
				if err := srv.Shutdown(soon()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
					t.Errorf("Close: %v after %v", err, time.Since(begun))
				}
			}
		})
	}
	t.Run("in a handler", func(t *testing.T) {
		for _, inline := range []bool{false, true} {
			closed := make(chan error, 2)
			addr, srv := serve(t, sockeye.Config{Inline: inline}, func(srv *sockeye.Server) {
				srv.On("close", func() {
					closed <- srv.Shutdown(context.Background())
					closed <- srv.Shutdown(context.Background())
				})
			})
			w := wiretest.Connect(t, addr)
			w.Write(`42["close"]`)
			for range 2 {
				if err := within(t, closed); err != nil {
					t.Error(err)
				}
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
