package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/client"
)

// Faulty is a bus that is a process of its own, for what goes wrong between it and servers.
// In each case two servers emit all the time, and whatever happens: a server's own clients
// get what it emits, soon and in order; what comes to the other's comes once and in order;
// Emit waits for nobody; what waits is bounded; and when it is over everything goes on by
// itself.
type Faulty struct {
	// Adapter makes an adapter for one more server, by the bus at an address.
	Adapter func(t testing.TB, addr string) broadcast.Adapter
	// Addr is the bus's.
	Addr string
	// Kill is kill -9; Restart starts the bus again, at Addr.
	Kill    func()
	Restart func(t testing.TB)

	// NoAnswers is as in Bus.
	NoAnswers bool
	// Queues: what is emitted while the bus is away waits for it.
	Queues bool
	// Unknown is how many may get lost without being refused or counted, when the bus is
	// killed; -1 for a bus that hands on once what is on its way.
	Unknown int
}

// RunFaults runs all cases, each with a bus of its own.
func RunFaults(t *testing.T, start func(t testing.TB) Faulty) {
	for _, c := range []struct {
		name string
		run  func(f Faulty, t *testing.T)
	}{{"Outage", Faulty.Outage}, {"Resets", Faulty.Resets}, {"Slow", Faulty.Slow}, {"Partition", Faulty.Partition}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(start(t), t)
		})
	}
}

// outage is for how long the bus is away: SOCKEYE_OUTAGE, or 10 s; 2 s in short tests.
func outage(t testing.TB) time.Duration {
	t.Helper()
	switch text := os.Getenv("SOCKEYE_OUTAGE"); {
	case text != "":
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	case testing.Short():
		return 2 * time.Second
	}
	return 10 * time.Second
}

// mostQueued bounds what may wait for a bus, by default.
const mostQueued = 16 << 20

// Outage: the bus is killed, and comes back with nothing that it kept in memory.
func (f Faulty) Outage(t *testing.T) {
	tr := f.traffic(t, f.Addr, f.Addr)
	tr.flows()
	f.Kill()
	for range int(outage(t) / (10 * time.Millisecond)) {
		time.Sleep(10 * time.Millisecond)
		for i := range tr.servers {
			if q := tr.stats(i).Queued; q > mostQueued {
				t.Fatalf("%d bytes are queued", q)
			}
		}
	}
	for i, srv := range tr.servers {
		if !tr.stats(i).Down {
			t.Errorf("server %d does not know that the bus is away", i)
		}
		if f.Queues == (tr.refused[i].Load() > 0) {
			t.Errorf("%d were refused", tr.refused[i].Load())
		}
		if f.NoAnswers {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		began := time.Now()
		if _, err := srv.FetchSockets(ctx); !errors.Is(err, sockeye.ErrUnavailable) {
			t.Errorf("FetchSockets without the bus: %v after %v", err, time.Since(began))
		}
		cancel()
	}
	f.Restart(t)
	tr.flows()
	tr.settle()
	for i, lost := range tr.end() {
		known := tr.known(i)
		t.Logf("of server %d's %d did not arrive, %d were refused or counted as lost", i, lost, known)
		if f.Queues && known > 2000 {
			t.Errorf("%d were refused or lost although they could wait", known)
		}
		if f.Unknown >= 0 && lost > known+int64(f.Unknown) {
			t.Errorf("%d are lost, %d are known to be", lost, known)
		}
	}
}

// Resets: connections are reset all the time.
func (f Faulty) Resets(t *testing.T) {
	p := [2]*Proxy{NewProxy(t, f.Addr), NewProxy(t, f.Addr)}
	tr := f.traffic(t, p[0].Addr(), p[1].Addr())
	for k := range 20 {
		time.Sleep(150 * time.Millisecond)
		p[k%2].Reset()
	}
	tr.flows()
	for i, lost := range tr.end() {
		if known := tr.known(i); f.Unknown >= 0 && lost > known {
			t.Errorf("of server %d's %d are lost, %d are known to be", i, lost, known)
		}
	}
}

// Slow: the way to the bus is slow, then it stops; nobody here notices, what is queued is
// bounded, and it goes on.
func (f Faulty) Slow(t *testing.T) {
	p := NewProxy(t, f.Addr)
	tr := f.traffic(t, p.Addr(), f.Addr)
	p.Delay(100 * time.Millisecond)
	tr.flows()
	p.Delay(0)
	p.Stall(true)
	refused := false
	for range 600 { // 30 MB
		err := tr.servers[0].To("nobody").Emit("big", make([]byte, 50_000))
		refused = refused || errors.Is(err, sockeye.ErrUnavailable)
		if q := tr.stats(0).Queued; q > mostQueued {
			t.Fatalf("%d bytes are queued", q)
		}
	}
	if !refused {
		t.Error("nothing was refused")
	}
	time.Sleep(4 * time.Second) // longer than clients of buses wait for an answer
	p.Stall(false)
	tr.flows()
	tr.end()
}

// Partition: one server cannot reach the bus, and nothing tells so; the other can.
func (f Faulty) Partition(t *testing.T) {
	p := NewProxy(t, f.Addr)
	tr := f.traffic(t, p.Addr(), f.Addr)
	p.Stall(true)
	for i, srv := range tr.servers {
		if f.NoAnswers {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		began := time.Now()
		list, err := srv.FetchSockets(ctx)
		missing := new(sockeye.MissingError)
		if d := time.Since(began); d > 4*time.Second || len(list) != 1 || !errors.As(err, &missing) && !errors.Is(err, sockeye.ErrUnavailable) {
			t.Errorf("server %d: %d sockets, %v after %v", i, len(list), err, d)
		}
		cancel()
	}
	tr.until("the one without a bus knows", func() bool { return tr.refused[0].Load() > 0 })
	p.Stall(false)
	tr.flows()
	tr.settle()
	tr.end()
}

// traffic are two servers that emit numbered events all the time, each with a client.
type traffic struct {
	*world
	in   [2]inbox
	stop func() // once or more
	all  sync.WaitGroup

	emitted, refused [2]atomic.Int64
	slowest          [2]atomic.Int64 // Emit, in ns
}

// inbox is what has come to a client: the numbers of each server's events.
type inbox struct {
	mu    sync.Mutex
	from  [2][]int64
	ahead [2]int64 // the slowest of its own server's, in ns
}

func (f Faulty) traffic(t *testing.T, addrs ...string) *traffic {
	t.Helper()
	next := 0
	stop := make(chan struct{})
	tr := &traffic{stop: sync.OnceFunc(func() { close(stop) }), world: newWorld(t, Bus{
		NoAnswers: f.NoAnswers,
		Adapter: func(t testing.TB) broadcast.Adapter {
			next++
			return f.Adapter(t, addrs[next-1])
		},
	}, len(addrs))}
	for i := range tr.servers {
		p := tr.connect(i, "/", "red")
		in := &tr.in[i]
		p.On("n", func(e *client.Event) {
			var from, number, at int64
			if err := e.Args.Decode(&from, &number, &at); err != nil {
				t.Error(err)
				return
			}
			in.mu.Lock()
			defer in.mu.Unlock()
			in.from[from] = append(in.from[from], number)
			if int(from) == i {
				in.ahead[i] = max(in.ahead[i], time.Now().UnixNano()-at)
			}
		})
	}
	for i := range tr.servers {
		tr.until("both reach each other at first", func() bool { return tr.last(1-i, i) >= 0 || !tr.emit(i) })
	}
	t.Cleanup(func() { // also when the test has failed
		tr.stop()
		tr.all.Wait()
	})
	for i := range tr.servers {
		tr.all.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
					tr.emit(i)
				}
			}
		})
	}
	return tr
}

func (tr *traffic) stats(i int) broadcast.AdapterStats { return tr.servers[i].Stats().Cluster }

// known is how many of a server's are known to be lost.
func (tr *traffic) known(i int) int64 { return tr.refused[i].Load() + int64(tr.stats(i).Lost) }

// emit emits the next number; it always returns true.
func (tr *traffic) emit(i int) bool {
	began := time.Now()
	k := tr.emitted[i].Add(1) - 1
	room := []string{"red"}
	if k%3 == 0 {
		room = nil // to all
	}
	err := tr.servers[i].To(room...).Emit("n", i, k, began.UnixNano())
	switch {
	case errors.Is(err, sockeye.ErrUnavailable):
		tr.refused[i].Add(1)
	case err != nil:
		tr.t.Error(err)
	}
	tr.slowest[i].Store(max(tr.slowest[i].Load(), int64(time.Since(began))))
	return true
}

// last is the last number of a server's that has come to a client; -1 if there is none.
func (tr *traffic) last(at, from int) int64 {
	in := &tr.in[at]
	in.mu.Lock()
	defer in.mu.Unlock()
	if list := in.from[from]; len(list) > 0 {
		return list[len(list)-1]
	}
	return -1
}

func (tr *traffic) until(what string, cond func() bool) {
	tr.t.Helper()
	for end := time.Now().Add(40 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tr.t.Fatalf("not within 40 s: %s", what)
		}
	}
}

// flows waits until what is emitted from now on arrives at the other, both ways.
func (tr *traffic) flows() {
	tr.t.Helper()
	for i := range tr.servers {
		now := tr.emitted[i].Load()
		tr.until(fmt.Sprintf("what %d emits reaches %d", i, 1-i), func() bool { return tr.last(1-i, i) >= now })
	}
}

// soon is less than a bus is away, or slow, and more than a machine with much to do takes.
const soon = 5 * time.Second

// end ends the traffic, and checks what has come. It returns how many of each server's have
// not come to the other.
func (tr *traffic) end() (lost [2]int64) {
	tr.t.Helper()
	tr.flows()
	tr.stop()
	tr.all.Wait()
	for i := range tr.servers { // one behind which nothing is on its way
		last := int64(-1)
		var at time.Time
		tr.until("the last has come to the other's client", func() bool {
			if time.Since(at) > time.Second {
				at = time.Now()
				last = tr.emitted[i].Load()
				tr.emit(i)
			}
			return tr.last(1-i, i) >= last
		})
	}
	for i := range tr.servers {
		n := tr.emitted[i].Load()
		tr.until("the last has come to its own server's client", func() bool { return tr.last(i, i) == n-1 })
		in := &tr.in[i]
		in.mu.Lock()
		if got := int64(len(in.from[i])); got != n {
			tr.t.Errorf("server %d has emitted %d, its own client has %d", i, n, got)
		}
		if !slices.IsSorted(in.from[i]) {
			tr.t.Errorf("server %d's own client has them out of order", i)
		}
		other := in.from[1-i]
		for k := 1; k < len(other); k++ {
			if other[k] <= other[k-1] {
				tr.t.Errorf("to the client of %d comes %d after %d", i, other[k], other[k-1])
			}
		}
		if d := time.Duration(in.ahead[i]); d > soon {
			tr.t.Errorf("server %d's own client waited up to %v", i, d)
		}
		lost[1-i] = tr.emitted[1-i].Load() - other[0] - int64(len(other)) // before, they did not hear each other yet
		in.mu.Unlock()
		if d := time.Duration(tr.slowest[i].Load()); d > soon {
			tr.t.Errorf("an Emit of server %d took %v", i, d)
		}
		tr.t.Logf("server %d: %d emitted, %d refused, %+v, local delivery up to %v", i, n, tr.refused[i].Load(), tr.stats(i), time.Duration(in.ahead[i]))
	}
	return lost
}
