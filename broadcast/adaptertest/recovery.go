package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// RunRecovery runs the cases of connection state recovery across servers, for an adapter
// that keeps events and sessions.
func RunRecovery(t *testing.T, bus Bus) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, bus Bus)
	}{
		{"Back", comesBack},
		{"Often", comesBackOften},
		{"Names", backNames},
		{"Rights", backRights},
		{"Refused", backRefused},
		{"Alive", takenOver},
		{"Order", backOrder},
		{"Claims", claims},
		{"Trimmed", noPart},
		{"Twins", twins},
		{"Data", backData},
		{"Polling", byPolling},
		{"Parser", byParser},
		{"Large", large},
		{"Batches", batches},
		{"Early", early},
		{"EarlyByParser", earlyByParser},
		{"Stalls", stalls},
		{"Waiting", waits},
	} {
		t.Run(c.name, func(t *testing.T) { c.f(t, bus) })
	}
}

// recoveryWorld is a world whose servers have recovery, and clients that change servers.
func recoveryWorld(t *testing.T, bus Bus, n int, f func(cfg *sockeye.Config, srv int)) *world {
	before := bus.Config
	i := -1
	bus.Config = func(cfg *sockeye.Config) {
		i++
		cfg.Recovery = &sockeye.Recovery{MaxDisconnection: 20 * time.Second}
		if before != nil {
			before(cfg)
		}
		if f != nil {
			f(cfg, i)
		}
	}
	w := &world{t: t, bus: bus, recovers: true}
	return w.start(n)
}

// roamer is a client that changes servers.
type roamer struct {
	*peer
	board     *Switchboard
	namespace string
	unseen    bool // its server may not see that it is away
}

func (w *world) roam(server int, rooms ...string) *roamer {
	w.t.Helper()
	return w.roamBy([]string{"websocket"}, "/", server, rooms...)
}

func (w *world) roamBy(transports []string, namespace string, server int, rooms ...string) *roamer {
	w.t.Helper()
	r := &roamer{board: NewSwitchboard(w.t), namespace: namespace, unseen: transports[0] == "polling"}
	r.peer = &peer{w: w, in: server}
	r.to(server)
	base, err := client.New("http://"+r.board.Addr(), client.Config{
		Transports: transports, ReconnectDelay: 5 * time.Millisecond, ReconnectDelayMax: 50 * time.Millisecond,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = base.Close() })
	r.Client = base
	if namespace != "/" {
		if r.Client, err = base.Share(namespace); err != nil {
			w.t.Fatal(err)
		}
	}
	r.OnAny(r.take)
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	if err := r.Connect(ctx); err != nil {
		w.t.Fatal(err)
	}
	for _, room := range rooms {
		if _, err := r.Call(ctx, "join", room); err != nil {
			w.t.Fatal(err)
		}
	}
	return r
}

func (r *roamer) to(server int) {
	r.in = server
	r.board.Switch(r.w.urls[server][len("http://"):])
}

// away cuts the client, and waits until its server has seen that, if it can: by polling it
// does not when no poll was open.
func (r *roamer) away() {
	r.w.t.Helper()
	id := r.ID()
	r.board.Switch("")
	r.board.Cut()
	Eventually(r.w.t, "the socket has gone", func() bool {
		return (r.unseen || r.w.servers[r.in].Of(r.namespace).Socket(id) == nil) && !r.Connected()
	})
}

// back lets it come to a server.
func (r *roamer) back(server int, recovered bool) {
	r.w.t.Helper()
	r.to(server)
	Eventually(r.w.t, "the client is back", r.Connected)
	if r.Recovered() != recovered {
		r.w.t.Errorf("recovered: %v, not %v", r.Recovered(), recovered)
	}
}

func (w *world) emit(op sockeye.Operator, event string, args ...any) {
	w.t.Helper()
	if err := op.Emit(event, args...); err != nil {
		w.t.Error(err)
	}
}

// comesBack: a client that was cut comes back on another server, as the same socket, and
// gets what it has missed, once, whoever has sent it.
func comesBack(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 3, nil)
	r := w.roam(0, "red")
	s := w.servers[0].Socket(r.ID())
	s.SetData(map[string]any{"name": "x"})
	w.emit(w.servers[0].To("red"), "before", 1)
	r.expects("before[1]")
	id := r.ID()
	r.away()
	w.emit(w.servers[0].To("red"), "by its own", 1)
	w.emit(w.servers[1].To("red"), "by another", []byte{1, 2})
	w.emit(w.servers[2].All(), "to all", 3)
	w.emit(w.servers[2].To(id), "to it", 4)
	w.emit(w.servers[1].To("blue"), "not for it")
	w.emit(w.servers[1].Except("red"), "nor this")
	told := 0
	remove := w.servers[0].OnAnyOutgoing(func(about *sockeye.Socket, event string, _ []any) {
		if about == s && event == "away" {
			told++
		}
	})
	if err := s.Emit("away", 5); err != nil {
		t.Error(err)
	}
	if remove(); told != 1 {
		t.Errorf("OnAnyOutgoing was told %d times", told)
	}
	r.back(1, true)
	if r.ID() != id {
		t.Errorf("it is %s, not %s", r.ID(), id)
	}
	if bus.Config == nil {
		if d := w.servers[1].Socket(id).Data(); fmt.Sprint(d) != "map[name:x]" {
			t.Errorf("its data are %v", d)
		}
	}
	w.emit(w.servers[1].To("red"), "after", 6)
	if !r.waits(limit, func(got []string) bool { return slices.Contains(got, "after[6]") }) {
		t.Fatal("what comes after is lost")
	}
	r.mu.Lock()
	got := events(r.got)
	r.mu.Unlock()
	want := []string{"before[1]", "by its own[1]", "by another[[1 2]]", "to all[3]", "to it[4]", "away[5]", "after[6]"}
	slices.Sort(want[1:6])
	slices.Sort(got[1:max(len(got)-1, 1)])
	if !slices.Equal(got, want) {
		t.Errorf("%q has come, not %q", got, want)
	}
}

// comesBackOften: with events all the time, and a slow reader of them, nothing is lost or
// doubled, and every client sees the same order.
func comesBackOften(t *testing.T, bus Bus) {
	const clients, cuts = 3, 8
	w := recoveryWorld(t, bus, 3, nil)
	var list []*roamer
	for i := range clients {
		list = append(list, w.roam(i%3, "red"))
	}
	var stop atomic.Bool
	ended := make(chan int, 3)
	var all sync.WaitGroup
	t.Cleanup(func() { // also when the test has failed
		stop.Store(true)
		all.Wait()
	})
	for i := range 3 {
		all.Go(func() {
			n := 0
			for ; !stop.Load(); n++ {
				if err := w.servers[i].To("red").Emit("n", i, n); err != nil {
					t.Error(err)
				}
				time.Sleep(4 * time.Millisecond)
			}
			ended <- n
		})
	}
	for k := range cuts {
		for i, r := range list {
			id := r.ID()
			r.to((i + k + 1) % 3)
			r.board.Cut()
			Eventually(t, "the client is back", func() bool {
				return r.Connected() && r.w.servers[r.in].Socket(id) != nil
			})
			if !r.Recovered() {
				t.Fatalf("cut %d of client %d: not recovered", k, i)
			}
		}
	}
	stop.Store(true)
	want := 0
	for range 3 {
		want += <-ended
	}
	for _, r := range list {
		if !r.waits(limit, func(got []string) bool { return len(events(got)) >= want }) {
			t.Errorf("%d of %d have come", len(r.got), want)
		}
	}
	w.emit(w.servers[0].To("red"), "end")
	for i, r := range list {
		r.waits(limit, func(got []string) bool { return slices.Contains(got, "end[]") })
		r.mu.Lock()
		got := events(r.got)
		r.mu.Unlock()
		next := [3]int{}
		for _, g := range got[:max(len(got)-1, 0)] {
			var from, n int
			if _, err := fmt.Sscanf(g, "n[%d %d]", &from, &n); err != nil {
				t.Fatal(g)
			}
			if n != next[from] {
				t.Fatalf("client %d: %d of server %d where %d is due", i, n, from, next[from])
			}
			next[from]++
		}
		if len(got) != want+1 {
			t.Errorf("client %d: %d have come, not %d", i, len(got), want+1)
		}
	}
}

// backRights: who was not in a room when something was sent to it gets nothing of it,
// whatever offset it claims, and who has left gets no more.
func backRights(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	first := w.roam(0, "vip")
	w.emit(w.servers[1].All(), "seen", 0)
	first.expects("seen[0]")
	r := w.roam(0)
	w.emit(w.servers[1].To("vip"), "secret", 1)
	first.expects("seen[0]", "secret[1]")
	w.emit(w.servers[0].To("vip"), "secret", 2) // by its own server, at the last moment
	s := w.servers[0].Socket(r.ID())
	if err := s.Join("vip"); err != nil {
		t.Fatal(err)
	}
	w.emit(w.servers[0].To("vip"), "for it", 3)
	s.Leave("vip")
	w.emit(w.servers[0].To("vip"), "secret", 4)
	if err := s.Join("vip"); err != nil {
		t.Fatal(err)
	}
	w.emit(w.servers[0].All(), "end", 5)
	if !r.waits(limit, func(got []string) bool { return slices.Contains(got, "end[5]") }) {
		t.Fatal("the end has not come")
	}
	for _, g := range r.got {
		if g == "secret[1]" || g == "secret[2]" {
			t.Errorf("%s has come", g)
		}
	}
	r.away()
	w.emit(w.servers[0].To("vip"), "missed", 6)
	r.Forget()
	r.back(1, true)
	w.emit(w.servers[0].All(), "end", 7)
	r.expects("missed[6]", "end[7]")
}

// backRefused: who is refused now gets nothing.
func backRefused(t *testing.T, bus Bus) {
	var refuses atomic.Bool
	w := recoveryWorld(t, bus, 2, func(cfg *sockeye.Config, _ int) { cfg.Recovery.AskMiddlewares = true })
	for _, srv := range w.servers {
		srv.Use(func(*sockeye.Socket) error {
			if refuses.Load() {
				return &sockeye.ConnectError{Message: "no longer"}
			}
			return nil
		})
	}
	r := w.roam(0, "red")
	w.emit(w.servers[0].All(), "first")
	r.expects("first[]")
	refuses.Store(true)
	r.away()
	w.emit(w.servers[0].To("red"), "secret")
	refused := make(chan *client.ConnectError, 1)
	r.OnConnectError(func(err error) {
		e := new(client.ConnectError)
		if !errors.As(err, &e) {
			return // there is no connection
		}
		select {
		case refused <- e:
		default:
		}
	})
	r.to(1)
	select {
	case e := <-refused:
		if e.Message != "no longer" {
			t.Errorf("%v", e)
		}
	case <-time.After(limit):
		t.Fatal("it is not refused")
	}
	r.expects("first[]")
}

// takenOver: where the server before still takes the client for alive, it has one socket in
// the end, on the server where it is.
func takenOver(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, func(cfg *sockeye.Config, _ int) { cfg.Recovery.MaxDisconnection = time.Hour }) // no renewal
	old := w.roam(0, "red")
	w.emit(w.servers[0].All(), "first")
	old.expects("first[]")
	id := old.ID()
	old.to(1)
	old.board.Strand()
	Eventually(t, "the client is back", func() bool { return w.servers[1].Socket(id) != nil && old.Connected() })
	Eventually(t, "the other one has been ended", func() bool { return w.servers[0].Socket(id) == nil })
	w.emit(w.servers[0].To("red"), "n", 1)
	old.expects("first[]", "n[1]")
	if !old.Recovered() {
		t.Error("not recovered")
	}
	old.to(1)
	old.board.Strand() // on the same server
	Eventually(t, "the client is back", func() bool { return w.servers[1].RecoveryStats().Recovered == 2 && old.Connected() })
	w.emit(w.servers[0].To("red"), "n", 2)
	old.expects("first[]", "n[1]", "n[2]")
}

// backOrder: what is emitted in different ways comes in the order in which it was emitted.
func backOrder(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	r := w.roam(0, "red")
	s := w.servers[0].Socket(r.ID())
	var want []string
	for i := range 50 {
		w.emit(w.servers[0].To("red"), "room", i)
		if err := s.Emit("own", i); err != nil {
			t.Fatal(err)
		}
		if err := s.EmitWithAck(func(sockeye.Args, error) {}, "asks", i); err != nil {
			t.Fatal(err)
		}
		w.emit(w.servers[0].To(r.ID()).Local(), "local", i)
		want = append(want, fmt.Sprintf("room[%d]", i), fmt.Sprintf("own[%d]", i), fmt.Sprintf("asks[%d]", i), fmt.Sprintf("local[%d]", i))
	}
	s.Disconnect()
	r.expects(want...)
}
