//go:build unix

package sockeye_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestForwardDrain: who shuts a server down that passes WebSockets on ends them as it ends its
// own: what their owner has sent arrives, then a close frame. The owner hears of it as of a
// transport that has been closed, and its own sockets live on.
func TestForwardDrain(t *testing.T) {
	type end struct {
		id     string
		reason sockeye.Reason
	}
	ends := make(chan end, 10)
	sockets := make(chan *sockeye.Socket, 10)
	owner, wrong, _ := pair(t, nil, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		srv.OnDisconnect(func(s *sockeye.Socket, r sockeye.Reason) { ends <- end{s.ID(), r} })
	})
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	far := within(t, sockets)
	near := wiretest.Connect(t, owner.addr)
	within(t, sockets)
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
	text := strings.Repeat("x", 200_000) // more than waits for the client at the one that passes on
	for range 4 {
		if err := far.Emit("late", text); err != nil {
			t.Fatal(err)
		}
	}
	shut := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
	defer cancel()
	go func() { shut <- wrong.Shutdown(ctx) }()
	eventually(t, func() bool { // it has begun
		conn, err := net.Dial("tcp", wrong.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	for range 4 {
		if got, _, err := w.Read(); string(got) != `42["late","`+text+`"]` {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if _, _, err := w.Read(); !errors.Is(err, wiretest.ErrClosed{Code: 1001}) {
		t.Errorf("it ends with %v", err)
	}
	_ = w.Conn.Close()
	if err := within(t, shut); err != nil {
		t.Error(err)
	}
	if e := within(t, ends); e != (end{far.ID(), sockeye.TransportClose}) {
		t.Errorf("%+v", e)
	}
	near.Write("40/unknown,")
	near.Expect(`44/unknown,{"message":"Invalid namespace"}`)
}

// TestForwardDrainHung: an owner that does not answer, and a client that does not read, are
// not waited for.
func TestForwardDrainHung(t *testing.T) {
	owner, wrong, c := pair(t, func(_ int, cfg *sockeye.Config) { cfg.CloseTimeout = 200 * time.Millisecond }, nil)
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
	c.gate.Lock() // the owner hears nothing, and says nothing
	defer c.gate.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
	defer cancel()
	if err := wrong.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	w.ExpectClosed()
}
