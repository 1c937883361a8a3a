package nats_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/nats"
	"github.com/sockeye-io/sockeye/client"
)

// natsCluster is three NATS servers that keep streams together.
type natsCluster []*natsServer

func startCluster(t testing.TB) natsCluster {
	t.Helper()
	var c natsCluster
	var routes []string
	for i := range 3 {
		s := &natsServer{o: serverOptions{Port: freePort(t), Max: 1 << 20, Dir: t.TempDir(), Name: fmt.Sprint("n", i), Inner: freePort(t)}}
		routes = append(routes, fmt.Sprint("nats://127.0.0.1:", s.o.Inner))
		c = append(c, s)
	}
	for _, s := range c {
		s.o.Routes = strings.Join(routes, ",")
		s.launch(t)
		t.Cleanup(func() { s.kill() })
	}
	js, err := jetstream.New(connect(t, c.addrs(0), natsgo.RetryOnFailedConnect(true)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ready", Subjects: []string{"ready"}, Replicas: 3})
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if err := js.DeleteStream(t.Context(), "ready"); err != nil {
		t.Fatal(err)
	}
	return c
}

// addrs are all addresses, that of one first.
func (c natsCluster) addrs(first int) string {
	list := []string{}
	for i := range c {
		list = append(list, c[(first+i)%len(c)].addr())
	}
	return strings.Join(list, ",nats://")
}

// leader is which one leads a stream; -1 while that is nobody.
func (c natsCluster) leader(t testing.TB, js jetstream.JetStream, stream string) int {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return -1
	}
	return slices.IndexFunc(c, func(s2 *natsServer) bool { return s2.o.Name == s.CachedInfo().Cluster.Leader })
}

func replicated(o *nats.Options) {
	o.JetStream = &nats.JetStream{Recovery: true, Replicas: 3, MaxAge: time.Hour}
	o.QueueWhileDown, o.SendTimeout = true, 10*time.Second // which an election takes
}

// adapter makes one by a server, however long the streams have no leader.
func (c natsCluster) adapter(t testing.TB, at int, o nats.Options) (a *cluster.Adapter) {
	t.Helper()
	nc := connect(t, c.addrs(at), natsgo.DontRandomize())
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if a, err = nats.New(nc, o); err == nil {
			return a
		}
	}
	t.Fatal(err)
	return nil
}

// TestCluster: three NATS servers keep the streams together.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for _, f := range []struct {
		name string
		f    func(t *testing.T, c natsCluster)
	}{{"StepDown", stepDown}, {"Killed", leaderKilled}, {"Clients", leaderKilledUnderClients}} {
		t.Run(f.name, func(t *testing.T) { f.f(t, c) })
	}
}

// stepDown: the leaders of the streams change in order, as when NATS servers are made new one
// by one: nothing is out of order, doubled or refused, and what is lost had just been sent.
func stepDown(t *testing.T, c natsCluster) {
	var list []*keeper
	for i := range c {
		list = append(list, c.keeper(t, i))
	}
	a, b := list[0], list[1]
	js := streams(t, c.addrs(2))
	nc := connect(t, c.addrs(2))
	var stop atomic.Bool
	var all sync.WaitGroup
	sent := uint64(0)
	all.Go(func() {
		for ; !stop.Load(); time.Sleep(2 * time.Millisecond) {
			if err := a.h.Append(broadcast.Payload{JSON: []byte(`["e"]`)}, broadcast.Target{}, sent+1); err != nil {
				t.Error(err)
				return
			}
			sent++
		}
	})
	var worst time.Duration
	all.Go(func() {
		for n := 0; !stop.Load(); n++ {
			began := time.Now()
			owner, next, data := fmt.Sprint("owner ", n), fmt.Sprint("owner ", n+1), fmt.Sprint("data ", n)
			patiently(t, "a session is written", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				lost, err := a.h.PutSessions(ctx, []broadcast.StoredSession{session("stepDown", owner, data, time.Minute)})
				return err == nil && len(lost) == 0
			})
			patiently(t, "it is taken", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				got, was, err := b.h.TakeSession(ctx, "stepDown", next, time.Minute)
				if err == nil && (string(got) != data || was != owner) {
					t.Errorf("%q of %q, not %q of %q", got, was, data, owner)
				}
				return err == nil
			})
			worst = max(worst, time.Since(began))
		}
	})
	for i := range 10 {
		stream := []string{"sockeye", "KV_sockeye-sessions"}[i%2]
		before := c.leader(t, js, stream)
		if _, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		patiently(t, "another one leads", func() bool { i := c.leader(t, js, stream); return i >= 0 && i != before })
		time.Sleep(300 * time.Millisecond)
	}
	stop.Store(true)
	all.Wait()
	adaptertest.Eventually(t, "nothing waits", func() bool { return a.a.Stats().Queued == 0 })
	st := a.a.Stats()
	for i, k := range list {
		adaptertest.Eventually(t, fmt.Sprintf("all has come at %d", i), func() bool { return k.count() >= int(sent-st.Lost) })
		k.mu.Lock()
		last := 0
		for _, e := range k.got {
			n := 0
			if _, err := fmt.Sscanf(e, `["e"] %d`, &n); err != nil || n <= last {
				t.Errorf("%d: %s comes after %d", i, e, last)
			}
			last = n
		}
		k.mu.Unlock()
	}
	if st.Lost > 50 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	t.Logf("%d events, %d lost; a session was written and taken in %v at most", sent, st.Lost, worst)
}

// keeper is a server at one of them.
func (c natsCluster) keeper(t testing.TB, at int) *keeper {
	t.Helper()
	a := c.adapter(t, at, quick(silent, replicated))
	return keeps(t, a)
}

func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.got)
}

// leaderKilled: of three NATS servers the one that leads the stream is killed, twice, and
// then one that does not. Servers get what the stream has, all of it, once, in its
// order, and sessions stay, with one owner.
func leaderKilled(t *testing.T, c natsCluster) {
	var list []*keeper
	for i := range c {
		list = append(list, c.keeper(t, i))
	}
	start := list[0].h.Position()
	js := streams(t, c.addrs(0))
	var stop atomic.Bool
	var all sync.WaitGroup
	for i, k := range list {
		all.Go(func() {
			n := uint64(0)
			for !stop.Load() {
				n++
				err := k.h.Append(broadcast.Payload{JSON: fmt.Appendf(nil, `["n%d"]`, i)}, broadcast.Target{}, n)
				if err != nil && !errors.Is(err, broadcast.ErrUnavailable) {
					t.Error(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		all.Go(func() {
			owner, pid := "first", fmt.Sprint("p", i)
			for n := 0; !stop.Load(); n++ {
				data := fmt.Sprint("data ", n)
				for !stop.Load() {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					lost, err := k.h.PutSessions(ctx, []broadcast.StoredSession{session(pid, owner, data, time.Minute)})
					cancel()
					if err == nil {
						if len(lost) > 0 {
							t.Errorf("%s has lost %s", owner, pid)
						}
						break
					}
				}
				next := fmt.Sprint("owner ", n)
				for !stop.Load() {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					d, was, err := list[(i+1)%3].h.TakeSession(ctx, pid, next, time.Minute)
					cancel()
					if err == nil {
						if string(d) != data || was != owner {
							t.Errorf("%q of %q, not %q of %q", d, was, data, owner)
						}
						owner = next
						break
					}
				}
			}
		})
	}
	for round := range 3 {
		i := -1
		adaptertest.Eventually(t, "there is a leader", func() bool { i = c.leader(t, js, "sockeye"); return i >= 0 })
		if round == 2 {
			i = (i + 1) % 3
		}
		began := time.Now()
		c[i].kill()
		for j, k := range list {
			before := k.count()
			patiently(t, fmt.Sprintf("events come at %d", j), func() bool { return k.count() > before+100 })
		}
		t.Logf("round %d: after %v all go on", round, time.Since(began).Round(time.Millisecond))
		c[i].launch(t)
		patiently(t, "it is back", func() bool { return c.whole(t, js) })
	}
	stop.Store(true)
	all.Wait()
	var want []string
	patiently(t, "all is read", func() bool {
		for _, k := range list {
			if k.a.Stats().Queued > 0 {
				return false
			}
		}
		want = want[:0]
		for at, end := start, list[0].h.Position(); at != end; {
			some, next, err := list[0].h.Read(t.Context(), at, end, nil, 64<<10)
			if err != nil {
				return false
			}
			for _, e := range some {
				want = append(want, text(e))
			}
			at = next
		}
		return !slices.ContainsFunc(list, func(k *keeper) bool { return k.h.Position() != list[0].h.Position() })
	})
	for i, k := range list {
		k.mu.Lock()
		got := slices.Clone(k.got)
		k.mu.Unlock()
		if !slices.Equal(got, want) {
			at := 0
			for at < min(len(got), len(want)) && got[at] == want[at] {
				at++
			}
			t.Errorf("%d has got %d events, the stream has %d; from %d on: %.200q, not %.200q", i, len(got), len(want), at, got[max(at-2, 0):], want[max(at-2, 0):])
		}
		t.Logf("%d: %d events, %+v", i, len(got), k.a.Stats())
	}
}

// patiently is Eventually for what waits for an election.
func patiently(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// wanderer is a client that changes servers, and what it has got: a part for each socket that
// it has been.
type wanderer struct {
	*client.Client
	board *adaptertest.Switchboard

	mu    sync.Mutex
	parts []part
	again int // times that it was recovered
}

// part is what has come to one socket: servers and numbers.
type part struct {
	id  string // "": it had gone when it was asked
	got [][2]int
}

func newWanderer(t *testing.T, to string) *wanderer {
	t.Helper()
	w := &wanderer{board: adaptertest.NewSwitchboard(t)}
	w.board.Switch(to)
	var err error
	if w.Client, err = client.New("http://"+w.board.Addr(), client.Config{Transports: []string{"websocket"}, ReconnectDelay: 5 * time.Millisecond, ReconnectDelayMax: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	w.OnConnect(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.Recovered() {
			w.again++
			return
		}
		w.parts = append(w.parts, part{id: w.ID()})
	})
	w.On("e", func(e *client.Event) {
		var by, n int
		if err := e.Args.Decode(&by, &n); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		last := &w.parts[len(w.parts)-1]
		last.got = append(last.got, [2]int{by, n})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// leaderKilledUnderClients: the NATS server that leads the stream is killed while clients
// are cut and come to other servers: as the same socket, with all that it has missed, or as a
// new one, and never with an event twice.
func leaderKilledUnderClients(t *testing.T, c natsCluster) {
	const servers, clients = 3, 6
	var list []*sockeye.Server
	var addrs []string
	var emitted [servers]atomic.Int64
	var before sync.Map // what a server had emitted when a socket had joined there, by its ID
	for i := range servers {
		a := c.adapter(t, i, quick(replicated))
		srv, err := sockeye.New(sockeye.Config{Adapter: a, Logger: logger(), Recovery: &sockeye.Recovery{MaxDisconnection: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		srv.OnConnect(func(s *sockeye.Socket) error {
			if s.Recovered() {
				return nil
			}
			err := s.Join("red")
			before.Store(s.ID(), [2]int{i, int(emitted[i].Load())})
			return err
		})
		addr, err := srv.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		list, addrs = append(list, srv), append(addrs, addr.String())
	}
	k := c.keeper(t, 0)
	start := k.h.Position()
	var wanderers []*wanderer
	for i := range clients {
		wanderers = append(wanderers, newWanderer(t, addrs[i%servers]))
	}
	var stop atomic.Bool
	var all sync.WaitGroup
	for i, srv := range list {
		all.Go(func() {
			for n := 0; !stop.Load(); n++ {
				emitted[i].Store(int64(n))
				_ = srv.To("red").Emit("e", i, n) // refused: its own clients have got it
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	js := streams(t, c.addrs(1))
	cuts := 0
	wander := func(until time.Duration) {
		for end := time.Now().Add(until); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			w := wanderers[cuts%clients]
			if !w.Connected() {
				continue
			}
			w.board.Switch(addrs[rand.N(servers)])
			w.board.Cut()
			cuts++
			time.Sleep(time.Duration(rand.N(100)) * time.Millisecond)
		}
	}
	wander(2 * time.Second)
	for range 2 {
		i := -1
		patiently(t, "there is a leader", func() bool { i = c.leader(t, js, "sockeye"); return i >= 0 })
		c[i].kill()
		wander(12 * time.Second)
		c[i].launch(t)
		wander(3 * time.Second)
		patiently(t, "it is back", func() bool { return c.whole(t, js) })
		wander(time.Second)
	}
	stop.Store(true)
	all.Wait()
	patiently(t, "the end comes", func() bool {
		_ = list[0].Emit("e", 0, theEnd)
		for _, w := range wanderers {
			w.mu.Lock()
			last := w.parts[len(w.parts)-1]
			ok := slices.Contains(last.got, [2]int{0, theEnd})
			w.mu.Unlock()
			if !ok {
				return false
			}
		}
		return true
	})
	var order [servers][]int // of each server's events, what the stream has
	for from, end := start, k.h.Position(); from != end; {
		some, next, err := k.h.Read(t.Context(), from, end, []string{"red"}, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range some {
			var by, n int
			if _, err := fmt.Sscanf(string(e.Payload.JSON), `["e",%d,%d]`, &by, &n); err == nil && n < theEnd {
				order[by] = append(order[by], n)
			}
		}
		from = next
	}
	again, anew, lost := 0, 0, 0
	for i, w := range wanderers {
		w.mu.Lock()
		parts := w.parts
		again, anew = again+w.again, anew+len(parts)-1
		w.mu.Unlock()
		for p, part := range parts {
			joined, ok := before.Load(part.id)
			if !ok {
				continue
			}
			var got [servers][]int
			for _, e := range part.got {
				if by, n := e[0], e[1]; n < theEnd {
					if of := got[by]; len(of) > 0 && n <= of[len(of)-1] {
						t.Errorf("client %d, as socket %d of %d: %d of server %d comes after %d", i, p, len(parts), n, by, of[len(of)-1])
					}
					got[by] = append(got[by], n)
				}
			}
			for by, of := range got {
				if len(of) == 0 {
					continue
				}
				for _, n := range order[by] { // what it has got besides is of a server that it was at
					if at := joined.([2]int); by == at[0] && n <= at[1] {
						continue // it was on its way when the socket came, and not for it
					}
					if _, has := slices.BinarySearch(of, n); !has && n > of[0] && (n < of[len(of)-1] || p == len(parts)-1) {
						if lost++; lost < 10 {
							t.Errorf("client %d, as socket %d of %d, has lost %d of server %d: %d to %d have come", i, p, len(parts), n, by, of[0], of[len(of)-1])
						}
					}
				}
			}
		}
	}
	t.Logf("%d cuts: recovered %d times, a new socket %d times; the stream has %d, %d and %d events; %d lost", cuts, again, anew, len(order[0]), len(order[1]), len(order[2]), lost)
}

// theEnd is the number of the last event.
const theEnd = 1_000_000_000

// whole tells whether the stream's three replicas are all there.
func (c natsCluster) whole(t testing.TB, js jetstream.JetStream) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, "sockeye")
	if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
		return false
	}
	n := 0
	for _, r := range s.CachedInfo().Cluster.Replicas {
		if r.Current && !r.Offline {
			n++
		}
	}
	return n == 2
}
