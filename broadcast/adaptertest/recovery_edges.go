package adaptertest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// claims: whatever a client claims to be, or to have got, it gets what it had a right to, or
// nothing, as a new socket.
func claims(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	old := w.wire(0, "")
	w.emit(w.servers[0].All(), "long ago")
	old.until("long ago[]")
	// Who is meant comes later, and joins the room later still.
	first := w.wire(0, "")
	if err := w.servers[0].Socket(old.id).Join("red"); err != nil {
		t.Fatal(err)
	}
	w.emit(w.servers[0].To("red"), "before")
	old.until("before[]")
	if err := w.servers[0].Socket(first.id).Join("red"); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		w.emit(w.servers[1].To("red"), "n", i)
	}
	first.until("n[3]")
	first.close()
	w.gone(0, first.id)
	w.emit(w.servers[1].To("red"), "n", 4)
	w.emit(w.servers[1].To("blue"), "secret")
	at := func(event string) string { return first.offsets[slices.Index(first.got, event)] }
	other := at("n[3]")[:len(at("n[3]"))-1] + "x"
	for _, c := range []struct {
		name, pid, offset string
		server            int
		want              []string // nil: a new socket
	}{
		{"another's pid", strings.Repeat("A", 20), at("n[3]"), 1, nil},
		{"a pid that is none", "../" + first.pid, at("n[3]"), 1, nil},
		{"a long pid", strings.Repeat("A", 100_000), at("n[3]"), 1, nil},
		{"an offset that is none", first.pid, other, 1, nil},
		{"a long offset", first.pid, at("n[3]") + strings.Repeat("0", 10_000), 1, nil},
		{"early, without a number", first.pid, at("n[1]") + ".nobody.", 1, nil},
		{"an early number that is huge", first.pid, at("n[1]") + ".nobody.99999999999999999999", 1, nil},
		{"what came last", "", at("n[3]"), 1, []string{"n[4]"}},
		{"an older one", "", at("n[1]"), 0, []string{"n[2]", "n[3]", "n[4]"}},
		{"none", "", "", 1, []string{"n[0]", "n[1]", "n[2]", "n[3]", "n[4]"}},
		{"one of before", "", old.offsets[len(old.offsets)-1], 0, []string{"n[0]", "n[1]", "n[2]", "n[3]", "n[4]"}},
	} {
		p := w.wire(c.server, asks(cmp.Or(c.pid, first.pid), c.offset))
		if c.want == nil {
			if p.over || p.pid == first.pid || p.id == first.id {
				t.Errorf("%s: it is not a new socket", c.name)
			}
			w.emit(w.servers[c.server].To(p.id), "end")
		} else {
			if p.id != first.id || p.pid != first.pid {
				t.Fatalf("%s: not recovered", c.name)
			}
			w.emit(w.servers[c.server].To(first.id).Local(), "end")
		}
		p.until("end[]")
		if got := p.got[:len(p.got)-1]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q has come, not %q", c.name, got, c.want)
		}
		p.close()
		w.gone(c.server, p.id)
	}
	// Offsets that may be right, of what has not come here yet, are waited for.
	for _, forged := range []func(offset string) string{
		func(offset string) string { return "9" + offset },
		func(offset string) string { return offset + ".nobody.3" },
	} {
		first := w.wire(0, "")
		w.emit(w.servers[0].To(first.id), "first")
		first.until("first[]")
		first.close()
		w.gone(0, first.id)
		w.emit(w.servers[0].All(), "missed")
		p := w.wire(1, asks(first.pid, forged(first.offsets[0])))
		if p.over || p.id == first.id || p.pid == first.pid {
			t.Errorf("it is not a new socket")
		}
		w.emit(w.servers[1].To(p.id), "end")
		p.until("end[]")
		if len(p.got) != 1 {
			t.Errorf("%q has come", p.got)
		}
	}
}

// noPart: who has missed something that the bus has forgotten is a new socket, and gets no
// part of it.
func noPart(t *testing.T, bus Bus) {
	if bus.Trim == nil {
		t.Skip("the bus forgets nothing")
	}
	w := recoveryWorld(t, bus, 2, nil)
	for _, left := range []int{3, 0} {
		r := w.roam(0, "red")
		w.emit(w.servers[1].To("red"), "first")
		r.expects("first[]")
		r.away()
		for i := range 6 {
			w.emit(w.servers[1].To("red"), "missed", i)
		}
		see := w.roam(1, "red")
		w.emit(w.servers[1].To("red"), "flushed")
		see.expects("flushed[]")
		bus.Trim(t, left)
		r.back(1, false)
		w.emit(w.servers[0].All(), "end")
		r.expects("first[]", "end[]")
		if n := w.servers[1].RecoveryStats().Missed; n == 0 {
			t.Error("it is not counted")
		}
	}
}

// twins: of two clients that come back with one pid at the same time, on two servers, one
// has the socket in the end, and the other one is told that it has not.
func twins(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 3, func(cfg *sockeye.Config, _ int) { cfg.Recovery.MaxDisconnection = time.Hour }) // no renewal
	p := w.wire(0, "")
	if err := w.servers[0].Socket(p.id).Join("red"); err != nil {
		t.Fatal(err)
	}
	w.emit(w.servers[0].To("red"), "first")
	p.until("first[]")
	id, pid, offset := p.id, p.pid, p.offsets[0]
	in := 0
	for k := range 10 {
		p.close()
		w.gone(in, id)
		w.emit(w.servers[0].To("red"), "n", k)
		var pair [2]*wire
		var both sync.WaitGroup
		for i := range pair {
			both.Go(func() { pair[i] = w.wire(1+i, asks(pid, offset)) })
		}
		both.Wait()
		count := func() (n int) {
			for _, srv := range w.servers {
				if srv.Socket(id) != nil {
					n++
				}
			}
			return n
		}
		Eventually(t, "one has the socket", func() bool { return count() == 1 })
		w.emit(w.servers[0].To("red"), "after", k)
		after := fmt.Sprintf("after[%d]", k)
		winners := 0
		for i, q := range pair {
			if q.id != id || q.over || !q.until(after) {
				continue
			}
			winners++
			p, in = q, 1+i
			if want := []string{fmt.Sprintf("n[%d]", k), after}; !slices.Equal(q.got, want) {
				t.Errorf("%q has come, not %q", q.got, want)
			}
		}
		if winners != 1 {
			t.Fatalf("%d have the socket", winners)
		}
		offset = p.offsets[len(p.offsets)-1]
	}
}

// backData: Recovery.Data makes a value of the application's own of what SetData had kept.
func backData(t *testing.T, bus Bus) {
	type user struct{ Name string }
	w := recoveryWorld(t, bus, 2, func(cfg *sockeye.Config, _ int) {
		cfg.Recovery.Data = func(data []byte) any {
			u := new(user)
			if err := json.Unmarshal(data, u); err != nil {
				t.Errorf("%s: %v", data, err)
			}
			return u
		}
	})
	r := w.roam(0)
	w.emit(w.servers[0].All(), "first")
	r.expects("first[]")
	w.servers[0].Socket(r.ID()).SetData(&user{"eve"})
	r.away()
	r.back(1, true)
	if u, ok := w.servers[1].Socket(r.ID()).Data().(*user); !ok || u.Name != "eve" {
		t.Errorf("its data are %v", w.servers[1].Socket(r.ID()).Data())
	}
}

// backNames: namespaces and rooms may have any names, also long ones.
func backNames(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	for _, name := range append([]string{strings.Repeat("long ", 40)}, Names...) {
		if name == "new\nline" || name == "a,b" || name == "?" { // the protocol's own bounds
			continue
		}
		namespace := "/" + name
		for _, srv := range w.servers {
			srv.Of(namespace)
		}
		r := w.roamBy([]string{"websocket"}, namespace, 0, name)
		w.emit(w.servers[0].Of(namespace).To(name), "first")
		r.expects("first[]")
		r.away()
		w.emit(w.servers[1].Of(namespace).To(name), "missed")
		w.emit(w.servers[1].Of(namespace).To(name+"x"), "not for it")
		w.emit(w.servers[1].To(name), "nor this")
		r.back(1, true)
		w.emit(w.servers[0].Of(namespace).All(), "end")
		r.expects("first[]", "missed[]", "end[]")
	}
}

// roams: a client in "red" goes away four times, and comes back on the other
// server with what it has missed.
func (r *roamer) roams(perRound int) {
	r.w.t.Helper()
	r.w.emit(r.w.servers[0].To("red"), "first", 1)
	r.expects("first[1]")
	want := []string{"first[1]"}
	for k := range 4 {
		r.away()
		for i := range perRound {
			r.w.emit(r.w.servers[i%2].To("red"), "n", k, i)
			want = append(want, fmt.Sprintf("n[%d %d]", k, i))
		}
		r.back((k+1)%2, true)
		r.holds(want...)
	}
}

// byPolling: a client by polling comes back, and one that upgrades.
func byPolling(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	for _, transports := range [][]string{{"polling"}, {"polling", "websocket"}} {
		r := w.roamBy(transports, "/", 0, "red")
		r.roams(5)
		_ = r.Close()
	}
}

// holds waits until exactly want has come, in any order.
func (r *roamer) holds(want ...string) {
	r.w.t.Helper()
	want = slices.Sorted(slices.Values(want))
	var last []string
	if !r.waits(limit, func(got []string) bool {
		last = slices.Sorted(slices.Values(events(got)))
		return slices.Equal(last, want)
	}) {
		r.w.t.Errorf("%q has come, not %q", last, want)
	}
}

// byParser: events of a Config.Parser have offsets, too, and it may call whatever it likes.
func byParser(t *testing.T, bus Bus) {
	inner := new(innerParser)
	w := recoveryWorld(t, bus, 2, func(cfg *sockeye.Config, _ int) { cfg.Parser = inner })
	w.roam(0, "red").roams(3)
	r := w.roam(0, "red")
	s := w.servers[0].Socket(r.ID())
	inner.emits.Store(&innerEmits{s, w.servers[1]})
	for i, emit := range []func(event string, args ...any) error{
		s.Emit, s.Volatile().Emit, w.servers[0].To("red").Emit, w.servers[1].To("red").Emit, w.servers[0].To("red").Local().Emit,
	} {
		done := make(chan error, 1)
		go func() { done <- emit("outer", i) }()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(limit):
			t.Fatalf("emit %d hangs", i)
		}
		outer, in := fmt.Sprintf("outer[%d]", i), fmt.Sprintf("inner[%d]", i)
		if !r.waits(limit, func(got []string) bool { return slices.Contains(got, outer) && slices.Contains(got, in) }) {
			t.Errorf("%s or %s has not come", outer, in)
		}
	}
}

// innerParser emits, to a socket and by another server, while it encodes.
type innerParser struct {
	textParser
	emits atomic.Pointer[innerEmits]
}

type innerEmits struct {
	s     *sockeye.Socket
	other *sockeye.Server
}

func (p *innerParser) Append(dst []byte, packet sockeye.Packet, data any) ([]byte, error) {
	if list, _ := data.([]any); len(list) > 1 && list[0] == "outer" {
		if e := p.emits.Load(); e != nil {
			n, _ := json.Marshal(list[1])
			_ = e.s.Join("blue")
			_ = e.s.Emit("inner", json.RawMessage(n))
			_ = e.other.To("nobody").Emit("aside")
		}
	}
	return p.textParser.Append(dst, packet, data)
}

// textParser is Socket.IO's own form without binary.
type textParser struct{}

func (textParser) Binary() bool { return false }

func (textParser) Append(dst []byte, p sockeye.Packet, data any) ([]byte, error) {
	dst = sio.AppendHeader(dst, p)
	if data == nil {
		return dst, nil
	}
	if list, ok := data.([]any); ok && list == nil {
		data = []any{}
	}
	b, err := json.Marshal(data)
	return append(dst, b...), err
}

func (textParser) Consume(message []byte) (sockeye.Packet, error) {
	return sio.Limits{}.ConsumePacket(message)
}

func (textParser) Split(data []byte, dst [][]byte) ([][]byte, error) {
	return sio.SplitArray(data, dst, 0)
}

func (textParser) EventName(element []byte) ([]byte, error) { return sio.EventName(element) }

func (textParser) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
