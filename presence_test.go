package sockeye_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// present is what a Presence has told of.
type present struct {
	mu   sync.Mutex
	here map[string]string // info by ID
	bad  string
}

func (p *present) tell(e sockeye.PresenceEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, was := p.here[e.ID]; was == e.Joined {
		p.bad = fmt.Sprintf("%s: joined %v twice", e.ID, e.Joined)
	}
	if delete(p.here, e.ID); e.Joined {
		p.here[e.ID] = string(e.Info)
	}
}

func (p *present) is(want map[string]string) func() bool {
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return maps.Equal(p.here, want)
	}
}

// TestPresence: who is in a room is known on all servers, with what is told of them, and
// who was on a server that dies is gone within a lease.
func TestPresence(t *testing.T) {
	hub := new(adaptertest.Hub)
	sockets := make(chan *sockeye.Socket, 10)
	servers, addrs := clustered(t, hub, 3, sockeye.Config{PresenceLease: 400 * time.Millisecond}, func(i int, srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		srv.PresenceInfo(func(*sockeye.Socket) any { return map[string]int{"server": i} })
	})
	connect := func(i int) *sockeye.Socket {
		t.Helper()
		wiretest.Connect(t, addrs[i])
		return within(t, sockets)
	}
	a, b, c := connect(0), connect(1), connect(2)
	_ = a.Join("red")
	_ = b.Join("red", "blue")
	info := func(i int) string { return fmt.Sprintf(`{"server":%d}`, i) }
	seen := []*present{{here: map[string]string{}}, {here: map[string]string{}}}
	var all []*sockeye.Presence
	for i, p := range seen {
		all = append(all, servers[i].Presence("red", p.tell))
	}
	expect := func(what string, want map[string]string) {
		t.Helper()
		for i, p := range seen {
			adaptertest.Eventually(t, fmt.Sprintf("%s, on server %d", what, i), p.is(want))
			if p.bad != "" {
				t.Error(p.bad)
			}
			var ids []string
			for _, m := range all[i].Members() {
				ids = append(ids, m.ID)
			}
			slices.Sort(ids)
			if !slices.Equal(ids, slices.Sorted(maps.Keys(want))) {
				t.Errorf("Members: %q", ids)
			}
		}
	}
	expect("the first two", map[string]string{a.ID(): info(0), b.ID(): info(1)})
	_ = c.Join("red")
	expect("one joins", map[string]string{a.ID(): info(0), b.ID(): info(1), c.ID(): info(2)})
	b.Leave("red")
	expect("one leaves", map[string]string{a.ID(): info(0), c.ID(): info(2)})
	a.Disconnect()
	expect("one is disconnected", map[string]string{c.ID(): info(2)})

	// Server 2 is cut off, without a word.
	began := time.Now()
	hub.Cut(true)
	expect("a server is not heard of", map[string]string{})
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("it took %v, of a lease of 400 ms", d)
	}
	hub.Cut(false)
	expect("it is back", map[string]string{c.ID(): info(2)})

	for _, p := range all {
		p.Close()
		p.Close()
	}
	_ = b.Join("red")
	time.Sleep(10 * time.Millisecond)
	if seen[0].is(map[string]string{c.ID(): info(2), b.ID(): info(1)})() {
		t.Error("a closed Presence tells")
	}
}

// TestPresenceAlone: without other servers it tells of this one.
func TestPresenceAlone(t *testing.T) {
	sockets := make(chan *sockeye.Socket, 1)
	addr, srv := serve(t, sockeye.Config{PresenceLease: 300 * time.Millisecond}, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	p := &present{here: map[string]string{}}
	busy := make(chan struct{})
	h := srv.Presence("red", func(e sockeye.PresenceEvent) {
		<-busy
		p.tell(e)
		if e.Joined {
			panic("of the application's")
		}
	})
	defer h.Close()
	wiretest.Connect(t, addr)
	s := within(t, sockets)
	for range 1000 { // while f is busy nothing is kept but the difference
		_ = s.Join("red")
		s.Leave("red")
	}
	_ = s.Join("red")
	close(busy)
	adaptertest.Eventually(t, "it is there", p.is(map[string]string{s.ID(): ""}))
	time.Sleep(time.Second) // three leases
	if !p.is(map[string]string{s.ID(): ""})() {
		t.Error("it has gone by itself")
	}
	s.Disconnect()
	adaptertest.Eventually(t, "it has gone", p.is(map[string]string{}))
}

// TestPresenceStopLengths: who looks again after it was stopped for some time, however long, sees
// all that were there as long as they beat in time, and nobody who stays silent for a lease.
func TestPresenceStopLengths(t *testing.T) {
	const lease = 1200 * time.Millisecond
	for age := time.Duration(0); age <= lease/2; age += lease / 24 {
		for stop := lease / 6; stop <= 3*lease; stop += lease / 240 {
			if seen, later := sockeye.SeenAfterStop(lease, age, stop); !seen || later {
				t.Fatalf("heard of %v before, stopped for %v: seen %v, a lease later %v", age, stop, seen, later)
			}
		}
	}
}
