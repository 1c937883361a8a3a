package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// steppedBus stops a server at one step of a restore.
type steppedBus struct {
	*keepingBus
	dead atomic.Bool  // its server is killed: nothing of it reaches the hub any more
	fail atomic.Int64 // questions that have failed

	mu   sync.Mutex
	stop string        // the step
	at   chan struct{} // closed when it is reached
	on   chan struct{} // closed to go on
}

// arm has the next who comes to a step stop there.
func (b *steppedBus) arm(step string) (at <-chan struct{}, goOn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	on := make(chan struct{})
	b.stop, b.at, b.on = step, make(chan struct{}), on
	return b.at, sync.OnceFunc(func() { close(on) })
}

func (b *steppedBus) step(name string) {
	b.mu.Lock()
	if b.stop != name {
		b.mu.Unlock()
		return
	}
	b.stop = ""
	at, on := b.at, b.on
	b.mu.Unlock()
	close(at)
	<-on
}

var errKilled = errors.New("adaptertest: the server is dead")

// failed tells whether a question is not to reach the hub, and counts those that fail.
func (b *steppedBus) failed() bool {
	if b.dead.Load() || b.hub.Down() {
		b.fail.Add(1)
		return true
	}
	return false
}

func (b *steppedBus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	if b.dead.Load() {
		return 0, 0, errKilled
	}
	return b.keepingBus.Send(ctx, frames)
}

func (b *steppedBus) TakeSession(ctx context.Context, pid, owner string, lease time.Duration) (data []byte, was string, err error) {
	b.step("before the record is taken")
	if b.failed() {
		return nil, "", errKilled
	}
	data, was, err = b.keepingBus.TakeSession(ctx, pid, owner, lease)
	b.step("the record is taken")
	if b.dead.Load() {
		err = errKilled
	}
	return data, was, err
}

func (b *steppedBus) ReadKept(ctx context.Context, namespace, after, upto string, rooms []string, maxBytes int) (list []*cluster.Message, next string, err error) {
	b.step("before events are read")
	if b.failed() {
		return nil, after, errKilled
	}
	list, next, err = b.keepingBus.ReadKept(ctx, namespace, after, upto, rooms, maxBytes)
	b.step("events are read")
	return list, next, err
}

func (b *steppedBus) PutSessions(ctx context.Context, list []broadcast.StoredSession) (lost []int, err error) {
	b.step("before the record is written")
	if b.failed() {
		return nil, errKilled
	}
	lost, err = b.keepingBus.PutSessions(ctx, list)
	b.step("the record is written")
	return lost, err
}

// keeps tells whether an event has been kept.
func (h *Hub) keeps(payload string) bool {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	return slices.ContainsFunc(h.kept.events, func(m *cluster.Message) bool { return string(m.Payload.JSON) == payload })
}

// TestRecoverySteps: whatever goes at any step of a restore, the client gets all that it has
// missed, once and in order, and nothing else; and nothing is left.
func TestRecoverySteps(t *testing.T) {
	steps := []string{
		"before the record is taken", "the record is taken", "before events are read", "events are read",
		"middleware", "OnConnect", "before the record is written", "the record is written", "the peer is in", "the first event has come",
	}
	faults := []string{"nothing", "the old server is killed", "the new server is killed", "the peer goes", "another comes with its pid", "the bus is away"}
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()
	for _, step := range steps {
		for _, fault := range faults {
			for _, alive := range []bool{false, true} {
				name := step + "/" + fault
				if alive {
					name += ", taken for alive"
				}
				t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { restoreStops(t, step, fault, alive) })
				if t.Failed() {
					return
				}
			}
		}
	}
	Eventually(t, "no goroutine is left", func() bool {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine() <= before
	})
}

// steppedWorld is servers that ask middlewares, and renew nothing.
func steppedWorld(t *testing.T, n int) (hub *Hub, w *world, buses []*steppedBus) {
	hub = new(Hub)
	w = recoveryWorld(t, Bus{Adapter: func(t testing.TB) broadcast.Adapter {
		b := &steppedBus{keepingBus: &keepingBus{&hubBus{hub: hub, namespaces: map[string]map[string]bool{}}}}
		b.turn.L = &b.hubBus.mu
		a, err := cluster.New(b, cluster.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		buses = append(buses, b)
		return a
	}}, n, func(cfg *sockeye.Config, _ int) {
		cfg.Recovery.AskMiddlewares = true
		cfg.Recovery.MaxDisconnection = time.Hour // no renewal
	})
	return hub, w, buses
}

// restoreStops: a client of server 0 comes back at server 1, which stops at a step. There
// the fault happens. Where it has to, the client goes on to server 2.
func restoreStops(t *testing.T, step, fault string, alive bool) {
	hub, w, buses := steppedWorld(t, 3)
	b := buses[1]
	w.servers[1].Use(func(*sockeye.Socket) error { b.step("middleware"); return nil })
	w.servers[1].OnConnect(func(s *sockeye.Socket) error {
		b.step("OnConnect")
		return s.Join("more") // which is written
	})
	n := 0
	emit := func(server int) {
		w.emit(w.servers[server].To("red"), "n", n)
		w.emit(w.servers[server].To("vip"), "secret", n)
		Eventually(t, "the hub has it", func() bool { return hub.keeps(fmt.Sprintf(`["secret",%d]`, n)) })
		n++
	}

	p := w.wire(0, "")
	if err := w.servers[0].Socket(p.id).Join("red"); err != nil {
		t.Fatal(err)
	}
	vip := w.wire(2, "") // who gets what is not for p, and nothing of what is
	if err := w.servers[2].Socket(vip.id).Join("vip"); err != nil {
		t.Fatal(err)
	}
	emit(0)
	p.until("n[0]")
	id, pid := p.id, p.pid
	if !alive {
		p.close()
		w.gone(0, id)
	}
	emit(0)
	emit(2)
	got := slices.Clone(p.got)
	last := p.offsets[len(p.offsets)-1]
	take := func(q *wire) { // what a connection has brought
		got = append(got, q.got...)
		if len(q.offsets) > 0 {
			last = q.offsets[len(q.offsets)-1]
		}
	}

	at, goOn := b.arm(step)
	defer goOn()
	second := w.opens(1)
	second.torn = true
	came := make(chan struct{})
	go func() {
		defer close(came)
		second.connect(asks(pid, last))
	}()
	reached := func() {
		select {
		case <-at:
		case <-time.After(limit):
			t.Fatal("the step is not reached")
		}
	}
	switch step {
	case "the peer is in":
		<-came
	case "the first event has come":
		<-came
		second.until("n[1]")
	default:
		reached()
	}
	emit(2)

	kill := func(i int) {
		buses[i].dead.Store(true)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = w.servers[i].Close()
		}()
		if i == 1 {
			goOn()
		}
		<-ended
	}
	then := second
	switch fault {
	case "the old server is killed":
		kill(0)
	case "the new server is killed":
		kill(1)
		<-came
		take(second)
		then = w.wire(2, asks(pid, last))
	case "the peer goes":
		second.do(http.MethodPost, "1")
		goOn()
		<-came
		take(second)
		then = w.wire(2, asks(pid, last))
	case "another comes with its pid":
		third := w.wire(2, asks(pid, last))
		goOn()
		<-came
		Eventually(t, "one has the socket", func() bool {
			return (w.servers[1].Socket(id) != nil) != (w.servers[2].Socket(id) != nil)
		})
		if w.servers[2].Socket(id) != nil {
			then = third
		}
	case "the bus is away":
		before := b.fail.Load()
		hub.Cut(true)
		goOn()
		switch step {
		case "before the record is taken", "the record is taken", "before events are read", "before the record is written":
			Eventually(t, "it is tried", func() bool { return b.fail.Load() > before })
		}
		hub.Cut(false)
	}
	goOn()
	<-came
	if then.id != id || then.pid != pid || then.over {
		t.Fatalf("the socket is %q, not %q; over: %v", then.id, id, then.over)
	}
	emitting := 1
	if fault == "the new server is killed" {
		emitting = 2
	}
	Eventually(t, "the bus is back", func() bool { return w.servers[emitting].Namespace.Emit("probe") == nil })
	emit(emitting)
	if !then.until(fmt.Sprintf("n[%d]", n-1)) {
		t.Fatal("the session is over")
	}
	take(then)
	got = slices.DeleteFunc(got, func(g string) bool { return g == "probe[]" })
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("n[%d]", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q has come, not %q", got, want)
	}
	vip.until(fmt.Sprintf("secret[%d]", n-1))
	for _, g := range vip.got {
		if strings.HasPrefix(g, "n[") {
			t.Errorf("%s has come to another", g)
		}
	}
	count := 0
	for i, srv := range w.servers {
		if !buses[i].dead.Load() && srv.Socket(id) != nil {
			count++
		}
	}
	if count > 1 && !(alive && count == 2) {
		t.Errorf("%d servers have the socket", count)
	}
	then.close()
	vip.close()
	for i, srv := range w.servers {
		if buses[i].dead.Load() {
			continue
		}
		if s := srv.Socket(id); s != nil && i == 0 && fault == "the bus is away" {
			_ = s.Join("any") // it could not be told: it finds out when it writes its record
		}
		Eventually(t, "no socket is left", func() bool { return srv.Socket(id) == nil })
		Eventually(t, "no memory is left", func() bool { return srv.RecoveryStats().Bytes == 0 })
	}
}
