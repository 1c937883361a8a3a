package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

func TestBroadcastWithAck(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("join", func(s *sockeye.Socket) error { return s.Join("r") })
	})
	a, b := wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	wiretest.Connect(t, addr) // is in no room
	for _, w := range []*wiretest.WS{a, b} {
		w.Write(`420["join"]`)
		w.Expect(`430[]`)
	}
	type result struct {
		answers []sockeye.Answer
		err     error
	}
	results := make(chan result, 1)
	ask := func(ctx context.Context) {
		go func() {
			answers, err := srv.To("r").Call(ctx, "ask", "?")
			results <- result{answers, err}
		}()
	}
	ask(context.Background())
	for i, w := range []*wiretest.WS{a, b} {
		id := ackID(t, w.Expect(`42*`))
		w.Write(`43` + id + fmt.Sprintf(`["answer %d"]`, i))
	}
	r := within(t, results)
	var texts []string
	for _, x := range r.answers {
		var s string
		if err := x.Args.Decode(&s); err != nil || srv.Socket(x.SocketID) == nil {
			t.Error(err, x.SocketID)
		}
		texts = append(texts, s)
	}
	if slices.Sort(texts); r.err != nil || !slices.Equal(texts, []string{"answer 0", "answer 1"}) {
		t.Errorf("%q, %v", texts, r.err)
	}

	// Some answer, in time.
	ctx, cancel := context.WithCancel(context.Background())
	ask(ctx)
	a.Write(`43` + ackID(t, a.Expect(`42*`)) + `[1]`)
	late := ackID(t, b.Expect(`42*`))
	a.Write(`420["join"]`) // handled after the answer
	a.Expect(`430[]`)
	cancel()
	if r = within(t, results); len(r.answers) != 1 || !errors.Is(r.err, sockeye.ErrAckTimeout) {
		t.Errorf("%d answers, %v", len(r.answers), r.err)
	}
	b.Write(`43` + late + `[2]`) // ignored

	// One goes.
	ask(context.Background())
	a.Write(`43` + ackID(t, a.Expect(`42*`)) + `[1]`)
	b.Expect(`42*`)
	b.Conn.Close()
	if r = within(t, results); len(r.answers) != 1 || !errors.Is(r.err, sockeye.ErrAckTimeout) {
		t.Errorf("%d answers, %v", len(r.answers), r.err)
	}

	// Nobody is there; and with a function.
	if answers, err := srv.To("nobody").Call(context.Background(), "ask"); len(answers) != 0 || err != nil {
		t.Errorf("%v, %v", answers, err)
	}
	done := make(chan error, 1)
	srv.To(srv.Sockets()[0].ID()).Timeout(time.Millisecond).EmitWithAck(func(answers []sockeye.Answer, err error) { done <- err }, "ask")
	if err := within(t, done); !errors.Is(err, sockeye.ErrAckTimeout) {
		t.Error(err)
	}
	if _, err := srv.All().Call(context.Background(), "connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
		t.Error(err)
	}
}

// ackID is the id in an event packet.
func ackID(t *testing.T, packet string) string {
	t.Helper()
	id, _, ok := strings.Cut(packet[2:], "[")
	if !ok || id == "" {
		t.Fatalf("no id in %q", packet)
	}
	return id
}
