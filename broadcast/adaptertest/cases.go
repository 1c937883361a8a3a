package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// Run runs all cases on a bus.
func Run(t *testing.T, bus Bus) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, bus Bus)
		asks bool
	}{
		{"Broadcast", broadcasts, false},
		{"Values", values, false},
		{"Names", names, false},
		{"Namespaces", namespaces, false},
		{"Order", order, false},
		{"Local", localOnly, false},
		{"Rooms", changes, false},
		{"Disconnect", disconnects, false},
		{"Fetch", fetches, true},
		{"Calls", calls, true},
		{"Missing", missing, true},
		{"Servers", serverEvents, false},
		{"CallServers", serverCalls, true},
		{"Leaving", leaving, true},
		{"Crowd", crowd, false},
		{"Down", down, false},
	} {
		if bus.Bridged && (c.name == "CallServers" || c.name == "Leaving") {
			continue
		}
		if c.asks && bus.NoAnswers || c.name == "Down" && bus.Cut == nil || c.name == "Servers" && bus.NoAnswers {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.f(t, bus) })
	}
}

// broadcasts: who is addressed gets it once, wherever it is.
func broadcasts(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 3)
	a, b, c := w.joined(0, "/", "red"), w.joined(1, "/", "red", "blue"), w.joined(2, "/", "blue")
	from := w.servers[0]
	emit := func(op sockeye.Operator, event string) {
		t.Helper()
		if err := op.Emit(event, 1); err != nil {
			t.Error(err)
		}
	}
	emit(from.All(), "all")
	emit(from.To("red"), "red")
	emit(from.To("blue"), "blue")
	emit(from.To("red", "blue"), "both")
	emit(from.To(b.ID()), "b")
	emit(from.To("nobody"), "nobody")
	emit(from.Except(b.ID()), "but b")
	emit(from.To("red", "blue").Except(b.ID()), "both but b")
	if !bus.NoExcept {
		emit(from.Except("red"), "but red")
		emit(from.To("blue").Except("red"), "blue but red")
	}
	s := from.Socket(a.ID())
	emit(s.Broadcast(), "others")
	emit(s.To("red"), "others of red")
	emit(from.All(), "end")
	type list = []string
	inC := list{"all[1]", "blue[1]", "both[1]", "but b[1]", "both but b[1]", "but red[1]", "blue but red[1]", "others[1]", "end[1]"}
	if bus.NoExcept {
		inC = slices.DeleteFunc(inC, func(s string) bool { return s == "but red[1]" || s == "blue but red[1]" })
	}
	a.expects("all[1]", "red[1]", "both[1]", "but b[1]", "both but b[1]", "end[1]")
	b.expects("all[1]", "red[1]", "blue[1]", "both[1]", "b[1]", "others[1]", "others of red[1]", "end[1]")
	c.expects(inC...)
}

// values arrive as they are, binary included.
func values(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 2)
	a, b := w.joined(0, "/"), w.joined(1, "/")
	big := make([]byte, 70_000)
	for i := range big {
		big[i] = byte(i)
	}
	var want []string
	for _, args := range [][]any{
		{},
		{nil, true, false, "", "text", 0, -1, int64(1) << 40, 1.5, -0.25},
		{"\"\\/\b\f\n\r\t\u0000\u2028é世界🐟"},
		{[]any{}, map[string]any{}, []any{[]any{1, map[string]any{"a": []any{"b"}}}}},
		{[]byte{1, 2, 3}},
		{[]byte{}, "and", map[string]any{"in": []byte{0, 255}, "list": []any{[]byte("x"), []byte("y")}}},
		{big},
		{map[string]any{"_placeholder": "no", "num": 0}},
		{string(make([]byte, 9000))}, // longer than Postgres's NOTIFY takes
	} {
		if err := w.servers[0].Emit("v", args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*peer{a, b} {
		if !p.waits(limit, func(got []string) bool { return len(events(got)) == 9 }) {
			t.Fatalf("not all has come to server %d", p.in)
		}
	}
	a.mu.Lock()
	want = append(want, events(a.got)...) // without a bus in between
	a.mu.Unlock()
	b.expects(want...)
}

// names of any kind are rooms.
func names(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 2)
	b := w.joined(1, "/", Names...)
	other := w.joined(1, "/", "other")
	var want []string
	for i, name := range Names {
		if err := w.servers[0].To(name).Emit("n", i); err != nil {
			t.Error(err)
		}
		want = append(want, fmt.Sprintf("n[%d]", i))
	}
	b.expects(want...)
	_ = w.servers[0].To("other").Emit("end")
	other.expects("end[]")
}

// namespaces of any name are apart from each other.
func namespaces(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 2)
	list := []string{"/"}
	for _, name := range Names {
		if name != "new\nline" && name != "a,b" && name != "?" { // the protocol's own bounds
			list = append(list, "/"+name)
		}
	}
	peers := map[string]*peer{}
	for _, name := range list {
		w.servers[0].Of(name)
		peers[name] = w.joined(1, name, "room")
	}
	for i, name := range list {
		if err := w.servers[0].Of(name).Emit("all", i); err != nil {
			t.Error(err)
		}
		if err := w.servers[0].Of(name).To("room").Emit("room", i); err != nil {
			t.Error(err)
		}
	}
	for i, name := range list {
		peers[name].expects(fmt.Sprintf("all[%d]", i), fmt.Sprintf("room[%d]", i))
	}
}

// order: what one goroutine sends arrives in its order.
func order(t *testing.T, bus Bus) {
	const n = 300
	w := newWorld(t, bus, 2)
	b := w.joined(1, "/", "red", "blue")
	var want []string
	for i := range n {
		op := w.servers[0].All()
		if i%3 == 1 {
			op = w.servers[0].To("red")
		} else if i%3 == 2 {
			op = w.servers[0].To("red", "blue")
		}
		if bus.OrderByRoom {
			op = w.servers[0].To("red")
		}
		if err := op.Emit("n", i, []byte{byte(i)}[:i%2]); err != nil {
			t.Fatal(err)
		}
		want = append(want, "n"+Text([]any{i, []byte{byte(i)}[:i%2]}))
	}
	if bus.OrderByRoom { // expects would sort
		var last []string
		if !b.waits(limit, func(got []string) bool {
			last = events(got)
			return slices.Equal(last, want)
		}) {
			t.Errorf("%.2000q has come", last)
		}
		return
	}
	b.expects(want...)
}

// localOnly: what is local is local.
func localOnly(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 2)
	a, b := w.joined(0, "/", "red"), w.joined(1, "/", "red")
	_ = w.servers[0].Local().Emit("here")
	_ = w.servers[0].To("red").Local().Emit("here, red")
	_ = w.servers[0].To("red").Emit("end")
	a.expects("here[]", "here, red[]", "end[]")
	b.expects("end[]")
	if got := len(w.servers[0].Sockets()); got != 1 {
		t.Errorf("%d sockets are local", got)
	}
}

// changes: sockets of other servers join and leave rooms.
func changes(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 3)
	a, b := w.joined(0, "/", "red"), w.joined(1, "/", "red")
	from := w.servers[2]
	in := func(p *peer, room string) func() bool {
		return func() bool { return slices.Contains(w.servers[p.in].Socket(p.ID()).Rooms(), room) }
	}
	not := func(f func() bool) func() bool { return func() bool { return !f() } }
	if err := from.To(b.ID()).Join("one", "two #*"); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "b is in one", in(b, "one"))
	Eventually(t, "b is in two", in(b, "two #*"))
	if in(a, "one")() {
		t.Error("a is in one")
	}
	if err := from.To(b.ID()).Leave("one"); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "b has left one", not(in(b, "one")))
	if bus.NoTargets {
		return
	}
	if err := from.To("red").Except(a.ID()).Join("three"); err != nil {
		t.Fatal(err)
	}
	if err := from.All().Join("four"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*peer{a, b} {
		Eventually(t, "all are in four", in(p, "four"))
	}
	if in(a, "three")() || !in(b, "three")() {
		t.Error("three has the wrong sockets")
	}
	if err := from.CloseRoom("red"); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "nobody is in red", func() bool { return !in(a, "red")() && !in(b, "red")() })
}

// disconnects: sockets of other servers are disconnected.
func disconnects(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 2)
	a, b, c := w.joined(1, "/", "red"), w.joined(1, "/", "red"), w.joined(1, "/")
	ends := make(chan string, 3)
	for name, p := range map[string]*peer{"a": a, "b": b, "c": c} {
		p.OnDisconnect(func(reason string) { ends <- name + ": " + reason })
	}
	next := func(want string) {
		t.Helper()
		select {
		case got := <-ends:
			if got != want {
				t.Errorf("%q, not %q", got, want)
			}
		case <-time.After(limit):
			t.Fatalf("%q did not come", want)
		}
	}
	if err := w.servers[0].To(c.ID()).Disconnect(); err != nil {
		t.Fatal(err)
	}
	next("c: io server disconnect")
	if bus.NoTargets {
		return
	}
	if err := w.servers[0].To("red").Except(a.ID()).CloseSession(); err != nil {
		t.Fatal(err)
	}
	next("b: io server disconnect")
	if !a.Connected() {
		t.Error("a has gone, too")
	}
}

// fetches: sockets of all servers are described.
func fetches(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 3)
	a, b, c := w.joined(0, "/", "red"), w.joined(1, "/", "red", "blue"), w.joined(2, "/")
	w.servers[1].Socket(b.ID()).SetData(map[string]any{"name": "bee", "n": 1})
	list, err := w.servers[0].FetchSockets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]sockeye.RemoteSocket{}
	for _, s := range list {
		ids[s.ID] = s
	}
	if len(list) != 3 || len(ids) != 3 || ids[a.ID()].ID == "" || ids[b.ID()].ID == "" || ids[c.ID()].ID == "" {
		t.Fatalf("%d sockets", len(list))
	}
	s := ids[b.ID()]
	rooms := slices.Sorted(slices.Values(s.Rooms))
	want := slices.Sorted(slices.Values([]string{b.ID(), "red", "blue"}))
	if !slices.Equal(rooms, want) || string(s.Data) != `{"n":1,"name":"bee"}` || s.Handshake.Address != "127.0.0.1" || s.Handshake.Query.Get("EIO") != "4" {
		t.Errorf("%q, %s, %+v", s.Rooms, s.Data, s.Handshake)
	}
	if time.Since(s.Handshake.Time).Abs() > time.Minute {
		t.Errorf("it came at %v", s.Handshake.Time)
	}
	if list, err := w.servers[2].To("red").Except(a.ID()).FetchSockets(t.Context()); err != nil || len(list) != 1 || list[0].ID != b.ID() {
		t.Errorf("%d of red but a, %v", len(list), err)
	}
	if list, err := w.servers[2].To("red").Local().FetchSockets(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%d of red here, %v", len(list), err)
	}
	if err := s.Emit("hi", []byte{1}); err != nil {
		t.Error(err)
	}
	b.expects("hi[[1]]")
}

// calls: sockets of all servers answer.
func calls(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 3)
	peers := []*peer{w.joined(0, "/", "red"), w.joined(1, "/", "red"), w.joined(1, "/", "red"), w.joined(2, "/")}
	for i, p := range peers {
		p.mu.Lock()
		p.answer = func(e *client.Event) []any {
			return []any{map[string]any{"i": i, "bin": []byte{byte(i)}}}
		}
		p.mu.Unlock()
	}
	ask := func(op sockeye.Operator, want ...int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		answers, err := op.Call(ctx, "q", []byte("binary"), 1)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, a := range answers {
			var v map[string]any
			if err := a.Args.Decode(&v); err != nil {
				t.Fatal(err)
			}
			i := int(v["i"].(float64))
			if b, ok := v["bin"].([]byte); !ok || len(b) != 1 || b[0] != byte(i) {
				t.Errorf("an answer's binary is %v", v["bin"])
			}
			got = append(got, i)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%v have answered, not %v", got, want)
		}
	}
	ask(w.servers[0].All(), 0, 1, 2, 3)
	ask(w.servers[2].To("red"), 0, 1, 2)
	ask(w.servers[2].To("red").Except(peers[1].ID()), 0, 2)
	ask(w.servers[2].To("nobody"))
	ask(w.servers[1].All().Local(), 1, 2)
}

// missing: who does not answer is missed in time, and the others' answers are there.
func missing(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 2)
	a, b, silent := w.joined(0, "/"), w.joined(1, "/"), w.joined(1, "/")
	for _, p := range []*peer{a, b} {
		p.mu.Lock()
		p.answer = func(*client.Event) []any { return []any{"yes"} }
		p.mu.Unlock()
	}
	_ = silent
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	answers, err := w.servers[0].All().Call(ctx, "q")
	missing := new(sockeye.MissingError)
	if len(answers) != 2 || !errors.Is(err, sockeye.ErrAckTimeout) || !errors.As(err, &missing) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	if missing.Sockets != 1 {
		t.Errorf("%+v", missing)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// serverEvents reach the other servers.
func serverEvents(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 3)
	got := make(chan string, 10)
	for i, srv := range w.servers {
		srv.OnServerSide("hello", func(e *sockeye.ServerEvent) {
			var text string
			var b []byte
			if err := e.Decode(&text, &b); err != nil {
				t.Error(err)
			}
			got <- fmt.Sprint(i, text, b, e.HasAck())
		})
	}
	if err := w.servers[0].ServerSideEmit("hello", "world", []byte{7}); err != nil {
		t.Fatal(err)
	}
	var list []string
	for range 2 {
		select {
		case s := <-got:
			list = append(list, s)
		case <-time.After(limit):
			t.Fatal("it does not come")
		}
	}
	slices.Sort(list)
	if want := []string{"1world[7] false", "2world[7] false"}; !slices.Equal(list, want) {
		t.Errorf("%q", list)
	}
	select {
	case s := <-got:
		t.Errorf("%q has come, too", s)
	case <-time.After(20 * time.Millisecond):
	}
}

// serverCalls are answered by the other servers.
func serverCalls(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 3)
	for i, srv := range w.servers {
		srv.OnServerSide("sum", func(e *sockeye.ServerEvent) {
			var a, b int
			_ = e.Decode(&a, &b)
			go func() { _ = e.Ack(a + b + i) }()
		})
		srv.OnServerSide("mute", func(e *sockeye.ServerEvent) {
			if i == 1 {
				_ = e.Ack("one")
			}
		})
	}
	answers, err := w.servers[0].CallServers(t.Context(), "sum", 10, 20)
	var sums []int
	for _, a := range answers {
		var n int
		_ = a.Decode(&n)
		sums = append(sums, n)
	}
	slices.Sort(sums)
	if err != nil || !slices.Equal(sums, []int{31, 32}) {
		t.Errorf("%v, %v", sums, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	answers, err = w.servers[0].CallServers(ctx, "mute")
	missing := new(sockeye.MissingError)
	if len(answers) != 1 || !errors.As(err, &missing) || missing.Asked != 2 || missing.Answered != 1 {
		t.Errorf("%d answers, %v", len(answers), err)
	}
}

// leaving: a server that has gone is not waited for.
func leaving(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 3)
	w.joined(1, "/")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := w.servers[2].Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "two servers are left", func() bool {
		n, err := w.servers[0].Servers(ctx)
		return err == nil && n == 2
	})
	list, err := w.servers[0].FetchSockets(ctx)
	if err != nil || len(list) != 1 {
		t.Errorf("%d sockets, %v", len(list), err)
	}
	if err := w.servers[2].Emit("late"); !errors.Is(err, sockeye.ErrServerClosed) {
		t.Errorf("a closed server emits: %v", err)
	}
}

// crowd: rooms come and go while everybody emits; in the end everything is in its place.
func crowd(t *testing.T, bus Bus) {
	const servers, peersEach, rounds = 3, 4, 40
	w := newWorld(t, bus, servers)
	var peers []*peer
	for i := range servers {
		for range peersEach {
			peers = append(peers, w.joined(i, "/"))
		}
	}
	var all sync.WaitGroup
	for k, p := range peers {
		all.Go(func() {
			s := w.servers[p.in].Socket(p.ID())
			for r := range rounds {
				room := "room " + strconv.Itoa((r*7+k)%5)
				_ = s.Join(room)
				_ = w.servers[p.in].To(room).Emit("noise", r)
				s.Leave(room)
			}
			_ = s.Join(fmt.Sprint("last ", k))
		})
	}
	all.Wait()
	for k, p := range peers {
		for i := range servers {
			if i != p.in {
				w.untilReached(fmt.Sprint("ready ", i, k), w.servers[i].Namespace, fmt.Sprint("last ", k), p)
			}
		}
	}
	for _, p := range peers {
		p.Forget()
	}
	for k := range peers {
		for r := range 5 {
			if err := w.servers[k%servers].To("room " + strconv.Itoa(r)).Emit("nobody"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.servers[k%servers].To(fmt.Sprint("last ", k)).Emit("end", k); err != nil {
			t.Fatal(err)
		}
	}
	for k, p := range peers {
		p.expects(fmt.Sprintf("end[%d]", k))
	}
}

// down: while the bus is away this server's own sockets are served, callers are told, and
// afterwards everything goes on; nothing comes twice.
func down(t *testing.T, bus Bus) {
	w := newWorld(t, bus, 2)
	a, b := w.joined(0, "/", "red"), w.joined(1, "/", "red")
	from := w.servers[0]
	if err := from.To("red").Emit("before"); err != nil {
		t.Fatal(err)
	}
	b.expects("before[]")
	bus.Cut(t, true)
	n := 0
	Eventually(t, "the bus is found to be down", func() bool {
		n++
		err := from.To("red").Emit("n", n)
		if err != nil && !errors.Is(err, sockeye.ErrUnavailable) {
			t.Fatal(err)
		}
		return err != nil
	})
	want := []string{"before[]"}
	for i := range n {
		want = append(want, fmt.Sprintf("n[%d]", i+1))
	}
	a.expects(want...)
	if !bus.NoAnswers {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if list, err := from.FetchSockets(ctx); err == nil || len(list) != 1 {
			t.Errorf("%d sockets, %v", len(list), err)
		}
	}
	bus.Cut(t, false)
	w.untilReached("ready again", from.Namespace, "red", b)
	w.untilReached("ready again", w.servers[1].Namespace, "red", a)
	b.mu.Lock()
	seen := map[string]int{}
	for _, g := range b.got {
		if len(g) > 1 && g[:2] == "n[" {
			seen[g]++
		}
	}
	b.mu.Unlock()
	for g, k := range seen {
		if k > 1 {
			t.Errorf("%s has come %d times", g, k)
		}
	}
	if err := from.To("red").Emit("after"); err != nil {
		t.Fatal(err)
	}
	if !b.waits(limit, func(got []string) bool { return slices.Contains(got, "after[]") }) {
		t.Error("nothing comes any more")
	}
}
