package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestOperatorAsksInOrder: the event of an operator's EmitWithAck has been sent when it
// returns, with its arguments as they were; what cannot be sent is told at once.
func TestOperatorAsksInOrder(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	later := func([]sockeye.Answer, error) {}
	arg := map[string]any{}
	for n := range 200 {
		arg["n"] = n
		if err := srv.All().Timeout(time.Minute).EmitWithAck(later, "asks", arg); err != nil {
			t.Fatal(err)
		}
		arg["n"] = "of the caller, who goes on"
		if err := srv.All().Emit("behind it"); err != nil {
			t.Fatal(err)
		}
		w.Expect(fmt.Sprintf(`42%d["asks",{"n":%d}]`, n, n))
		w.Expect(`42["behind it"]`)
	}
	called := func([]sockeye.Answer, error) { t.Error("called though nothing was sent") }
	if err := srv.All().EmitWithAck(called, "asks", make(chan int)); err == nil {
		t.Error("a channel was sent")
	}
	if err := srv.All().EmitWithAck(called, "connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
		t.Errorf("a reserved name: %v", err)
	}
}

// TestCallWithoutTime: what is asked with a context that is done is not sent.
func TestCallWithoutTime(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := srv.Sockets()[0]
	if _, err := s.Call(ctx, "late"); !errors.Is(err, context.Canceled) {
		t.Errorf("Call: %v", err)
	}
	if _, err := srv.All().Call(ctx, "late"); !errors.Is(err, context.Canceled) {
		t.Errorf("Call of all: %v", err)
	}
	if err := s.WithContext(ctx).Emit("late"); !errors.Is(err, context.Canceled) {
		t.Errorf("Emit: %v", err)
	}
	_ = s.Emit("next")
	w.Expect(`42["next"]`)
}

// TestCallOfAllBesideABusyHandler: an operator's Call does not wait for a socket whose
// peer has gone, though its handler is still at work.
func TestCallOfAllBesideABusyHandler(t *testing.T) {
	busy, goOn := make(chan struct{}), make(chan struct{})
	addr, srv := serve(t, sockeye.Config{AckTimeout: time.Hour}, func(srv *sockeye.Server) {
		srv.On("busy", func() { close(busy); <-goOn })
	})
	defer close(goOn)
	w, other := wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	w.Write(`42["busy"]`)
	within(t, busy)
	done := make(chan error, 1)
	go func() {
		answers, err := srv.All().Call(context.Background(), "question")
		if len(answers) != 1 {
			t.Errorf("%d answers", len(answers))
		}
		done <- err
	}()
	w.Expect(`42*`)
	_ = w.Conn.Close()
	other.Write("43" + ackID(t, other.Expect(`42*`)) + "[]")
	if err := within(t, done); !errors.Is(err, sockeye.ErrAckTimeout) {
		t.Errorf("Call: %v", err)
	}
}
