package sockeye_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestInlineIsSequential: with Config.Inline, too, nothing of a socket runs beside
// anything else of it.
func TestInlineIsSequential(t *testing.T) {
	var running, overlaps atomic.Int64
	alone := func(f func()) {
		if running.Add(1) > 1 {
			overlaps.Add(1)
		}
		if f != nil {
			f()
		}
		for range 20 {
			runtime.Gosched()
		}
		running.Add(-1)
	}
	ended := make(chan struct{}, 1)
	addr, _ := serve(t, sockeye.Config{Inline: true}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { alone(nil); return nil })
		srv.OnConnection(func(s *sockeye.Socket) { alone(nil) })
		srv.On("ask", func(s *sockeye.Socket) {
			alone(func() { _ = s.EmitWithAck(func(sockeye.Args, error) { alone(nil) }, "question") })
		})
		srv.On("event", func(*sockeye.Socket) { alone(nil) })
		srv.OnDisconnecting(func(*sockeye.Socket, sockeye.Reason) { alone(nil) })
		srv.OnDisconnect(func(*sockeye.Socket, sockeye.Reason) { alone(nil); ended <- struct{}{} })
	})
	for range 20 {
		w := wiretest.Connect(t, addr)
		for i := range 20 {
			w.Write(`42["ask"]`)
			w.Write(fmt.Sprintf(`43%d[]`, i))
			w.Write(`42["event"]`)
		}
		_ = w.Conn.Close()
		within(t, ended)
	}
	if n := overlaps.Load(); n > 0 {
		t.Errorf("%d times at once", n)
	}
}
