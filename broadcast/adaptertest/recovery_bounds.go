package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
)

// large: what is missed is more than is read at once.
func large(t *testing.T, bus Bus) {
	w := recoveryWorld(t, bus, 2, nil)
	r := w.roam(0, "red")
	w.emit(w.servers[0].To("red"), "first")
	r.expects("first[]")
	want := []string{"first[]"}
	r.away()
	for i := range 30 {
		data := strings.Repeat("x", 1+i*4000)
		w.emit(w.servers[1].To("red"), "big", i, data)
		want = append(want, "big"+Text([]any{i, data}))
	}
	r.back(1, true)
	r.expects(want...)
	for _, srv := range w.servers {
		Eventually(t, "nothing is held", func() bool { return srv.RecoveryStats().Bytes == 0 })
	}
}

// stalls: the way to the bus stops, or breaks, at any moment while clients come back: each is
// connected soon, as itself with everything that it has missed, or as a new socket.
func stalls(t *testing.T, bus Bus) {
	if bus.Link == nil {
		t.Skip("the way to the bus cannot be stalled")
	}
	w := recoveryWorld(t, bus, 2, nil)
	for _, srv := range w.servers {
		srv.OnConnect(func(s *sockeye.Socket) error {
			if s.Recovered() {
				return nil
			}
			return s.Join("red")
		})
	}
	r := w.roam(0)
	Eventually(t, "it is in the room", func() bool { return len(w.servers[0].To("red").Sockets()) == 1 })
	n, recovered, as := 0, 0, 0
	emit := func() {
		w.emit(w.servers[0].To("red"), "n", n)
		n++
	}
	last := func() int {
		got := -1
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, g := range r.got {
			if _, err := fmt.Sscanf(g, "n[%d]", &got); err != nil {
				t.Fatal(g)
			}
		}
		return got
	}
	emit()
	Eventually(t, "the first comes", func() bool { return last() == 0 })
	for k := range 6 {
		r.to(0) // home, with a bus that works
		if k > 0 {
			r.board.Cut()
			Eventually(t, "it is at home", func() bool { return r.Connected() && w.servers[0].Socket(r.ID()) != nil })
			emit()
			Eventually(t, "what is emitted comes", func() bool { return last() == n-1 })
		}
		before := last()
		r.away()
		r.Forget()
		for range 5 {
			emit()
		}
		link := bus.Link(1)
		at := time.Now()
		go func() {
			time.Sleep(time.Duration(rand.N(4000)) * time.Microsecond)
			if k%3 == 2 {
				link.Reset()
				return
			}
			link.Stall(true)
			time.Sleep(time.Duration([]int{3000, 300}[k%2]) * time.Millisecond)
			link.Stall(false)
		}()
		r.to(1)
		Eventually(t, "the client is back", r.Connected)
		if d := time.Since(at); d > 8*time.Second {
			t.Errorf("it was back after %v", d)
		}
		as++
		missed := n
		if r.Recovered() {
			recovered++
			Eventually(t, "what was missed comes", func() bool { return last() == missed-1 })
		}
		Eventually(t, "what is emitted afterwards comes", func() bool {
			emit()
			time.Sleep(20 * time.Millisecond)
			return last() >= missed
		})
		r.mu.Lock()
		got := slices.Clone(r.got)
		r.mu.Unlock()
		due := before + 1
		for i, g := range got {
			var number int
			if _, err := fmt.Sscanf(g, "n[%d]", &number); err != nil {
				t.Fatal(g)
			}
			if i == 0 && !r.Recovered() && number > before {
				due = number // what was on its way when it came may come
			}
			if number != due {
				t.Fatalf("%d comes where %d is due (recovered: %v): %q", number, due, r.Recovered(), got)
			}
			due++
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d of %d came back as themselves", recovered, as)
}

// waits: what a server's own clients wait for while the bus does not answer is bounded, and
// comes in order, once, also to who comes back elsewhere later.
func waits(t *testing.T, bus Bus) {
	if bus.Link == nil {
		t.Skip("the way to the bus cannot be stalled")
	}
	w := recoveryWorld(t, bus, 2, nil)
	r := w.roam(0, "red")
	w.emit(w.servers[0].To("red"), "first")
	r.expects("first[]")
	want := []string{"first[]"}
	bus.Link(0).Stall(true)
	most := 0
	big := strings.Repeat("x", 500_000)
	for i := range 50 {
		for _, f := range []func() error{
			func() error { return w.servers[0].To("nobody").Local().Emit("big", big) }, // behind the others
			func() error { return w.servers[0].To("red").Emit("n", i) },
		} {
			began := time.Now()
			if err := f(); err != nil && !errors.Is(err, sockeye.ErrUnavailable) { // it is known to be away, after a while
				t.Fatal(err)
			}
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("Emit has taken %v", d)
			}
			most = max(most, w.servers[0].RecoveryStats().Bytes)
		}
		want = append(want, fmt.Sprintf("n[%d]", i))
	}
	r.expects(want...)
	if most < 1<<20 || most > 16<<20 {
		t.Errorf("up to %d bytes waited", most)
	}
	bus.Link(0).Stall(false)
	other := w.connect(1, "/", "blue")
	for end := time.Now().Add(3 * limit); ; { // a client of the bus may wait for what was on its way
		_ = w.servers[0].To("blue").Emit("probe")
		if other.waits(20*time.Millisecond, func(got []string) bool { return slices.Contains(got, "probe[]") }) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the bus is not back")
		}
	}
	w.emit(w.servers[0].To("red"), "after")
	want = append(want, "after[]")
	r.expects(want...)
	r.away()
	w.emit(w.servers[0].To("red"), "missed")
	want = append(want, "missed[]")
	r.back(1, true)
	r.expects(want...)
}

// early: who has got what the bus has not taken yet does not get it again elsewhere.
func early(t *testing.T, bus Bus) { earlyBy(t, bus, nil) }

// earlyByParser: nor with a Config.Parser.
func earlyByParser(t *testing.T, bus Bus) { earlyBy(t, bus, textParser{}) }

func earlyBy(t *testing.T, bus Bus, parser sockeye.Parser) {
	if bus.Link == nil {
		t.Skip("the way to the bus cannot be stalled")
	}
	w := recoveryWorld(t, bus, 2, func(cfg *sockeye.Config, _ int) { cfg.Parser = parser })
	for range 3 {
		r := w.roam(0, "red")
		w.emit(w.servers[0].To("red"), "first")
		r.expects("first[]")
		bus.Link(0).Stall(true)
		want := []string{"first[]"}
		for i := range 5 {
			w.emit(w.servers[0].To("red"), "n", i)
			want = append(want, fmt.Sprintf("n[%d]", i))
		}
		r.expects(want...)
		r.to(1)
		r.board.Cut()
		time.Sleep(200 * time.Millisecond) // it asks to be restored meanwhile, or later
		bus.Link(0).Stall(false)
		Eventually(t, "the client is back", r.Connected)
		if !r.Recovered() {
			continue // the machine was slow
		}
		w.emit(w.servers[1].To("red"), "after")
		r.expects(append(want, "after[]")...)
		return
	}
	t.Error("it was never recovered")
}

// batches: what is read at once is bounded by bytes, and what is no longer there is said to
// be so.
func batches(t *testing.T, bus Bus) {
	if bus.World != nil {
		bus.World(t, 1)
	}
	a := bus.Adapter(t)
	l := &keeper{}
	remote, err := a.Join(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	h := remote.(interface{ History() broadcast.History }).History()
	Eventually(t, "the history is read", func() bool { return h.Position() != "" })
	before := h.Position()
	const n, size = 20, 10_000
	for i := range n {
		p := broadcast.Payload{JSON: []byte(fmt.Sprintf(`["n",%d,"%s"]`, i, strings.Repeat("x", size)))}
		if err := h.Append(p, broadcast.Target{}, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	Eventually(t, "all have come", func() bool { return l.count() == n })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, limit := range []int{1, 3 * size, 1 << 20} {
		got := 0
		for at, reads := before, 0; at != h.Position(); reads++ {
			list, next, err := h.Read(ctx, at, h.Position(), nil, limit)
			if err != nil {
				t.Fatal(err)
			}
			if reads > 3*n {
				t.Fatal("it does not end")
			}
			bytes := 0
			for _, e := range list {
				got++
				bytes += len(e.Payload.JSON)
				if int(e.Number) != got || e.Origin != h.Origin() {
					t.Fatalf("%d of %s comes where %d is due", e.Number, e.Origin, got)
				}
			}
			if bytes > limit && len(list) > 1 {
				t.Errorf("%d bytes are read at once, not %d", bytes, limit)
			}
			at = next
		}
		if got != n {
			t.Errorf("with %d bytes at once %d have been read", limit, got)
		}
	}
}

// keeper is a Local of events alone.
type keeper struct {
	broadcast.Local // of nothing else

	mu  sync.Mutex
	got []broadcast.Kept
}

func (l *keeper) Name() string { return "/" }

func (l *keeper) Server() string { return "keeper" }

func (l *keeper) Recorded(e broadcast.Kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, e)
}

func (l *keeper) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got)
}
