package sockeye_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestSilentWhileStopped: a server that was stopped for a while has heard nobody, and forgets
// nobody for that; who stays silent is forgotten.
func TestSilentWhileStopped(t *testing.T) {
	a := new(adaptertest.Hub).Adapter(t, cluster.Options{})
	defer a.Close(t.Context())
	const s = time.Second
	for _, c := range []struct {
		after []time.Duration
		known int
	}{
		{[]time.Duration{0, 10 * s, 20 * s}, 1},
		{[]time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s}, 0},
		{[]time.Duration{0, 10200 * s / 1000, 30100 * s / 1000}, 1}, // stopped for 20 s
		{[]time.Duration{0, 10 * s, 3600 * s, 3610 * s}, 1},         // stopped for an hour
		{[]time.Duration{0, 10 * s, 3600 * s, 3610 * s, 3620 * s, 3630 * s, 3640 * s}, 0},
	} {
		if n := sockeye.ForgetSilent(a, c.after...); n != c.known {
			t.Errorf("after %v %d servers are known", c.after, n)
		}
	}
}

// TestPresenceWhileStopped: a server that was stopped for some leases sees nobody go for it.
func TestPresenceWhileStopped(t *testing.T) {
	const lease = 400 * time.Millisecond
	hub := new(adaptertest.Hub)
	sockets := make(chan *sockeye.Socket, 10)
	servers, addrs := clustered(t, hub, 2, sockeye.Config{PresenceLease: lease}, func(_ int, srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	wiretest.Connect(t, addrs[1])
	s := within(t, sockets)
	_ = s.Join("red")
	var mu sync.Mutex
	var gone []sockeye.PresenceEvent
	p := &present{here: map[string]string{}}
	h := servers[0].Presence("red", func(e sockeye.PresenceEvent) {
		p.tell(e)
		if !e.Joined {
			mu.Lock()
			defer mu.Unlock()
			gone = append(gone, e)
		}
	})
	defer h.Close()
	here := map[string]string{s.ID(): ""}
	adaptertest.Eventually(t, "it is there", p.is(here))
	release := servers[0].HoldPresence()
	time.Sleep(3 * lease)
	release()
	_ = s.Join("blue")
	time.Sleep(2 * lease) // for what must not happen
	mu.Lock()
	defer mu.Unlock()
	if len(gone) > 0 || !p.is(here)() {
		t.Errorf("%+v", gone)
	}
}

// TestWatched: rooms that others follow are bounded; those that are known go on.
func TestWatched(t *testing.T) {
	_, srv := serve(t, sockeye.Config{PresenceLease: time.Hour}, nil)
	const limit = 100
	srv.LimitWatched(limit)
	for i := range limit {
		if !srv.WatchFor(fmt.Sprint("room ", i)) {
			t.Fatalf("room %d is refused", i)
		}
	}
	if srv.WatchFor("more") || !srv.WatchFor("room 0") {
		t.Error("another one is told of, or a known one no longer")
	}
	if n := srv.Watched(); n != limit {
		t.Errorf("%d rooms are watched", n)
	}
}

// TestPresenceErr: what a Presence does not see, it tells; so does Config.Forward.
func TestPresenceErr(t *testing.T) {
	var log wiretest.Output
	_, srv := serve(t, sockeye.Config{Adapter: adaptertest.Voiceless{Adapter: new(adaptertest.Hub).Adapter(t, cluster.Options{})}, Forward: &sockeye.Forward{}, Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	p := srv.Presence("red", nil)
	defer p.Close()
	if err := p.Err(); !errors.Is(err, sockeye.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"Presence does not see", "Config.Forward: other servers cannot be told"} {
		adaptertest.Eventually(t, want, func() bool { return strings.Count(log.String(), want) == 1 })
	}

	hub := new(adaptertest.Hub)
	servers, _ := clustered(t, hub, 2, sockeye.Config{PresenceLease: 300 * time.Millisecond}, nil)
	p = servers[0].Presence("red", nil)
	defer p.Close()
	if err := p.Err(); err != nil {
		t.Error(err)
	}
	hub.Cut(true)
	adaptertest.Eventually(t, "the bus is away", func() bool { return errors.Is(p.Err(), sockeye.ErrUnavailable) })
	hub.Cut(false)
	adaptertest.Eventually(t, "it is back", func() bool { return p.Err() == nil })
}

// gated is an adapter of which events for servers wait at a gate.
type gated struct {
	*cluster.Adapter
	open chan struct{}
}

func (g gated) Join(l broadcast.Local) (broadcast.Remote, error) {
	return g.Adapter.Join(gatedLocal{l, g.open})
}

type gatedLocal struct {
	broadcast.Local
	open chan struct{}
}

func (g gatedLocal) ServerEvent(p broadcast.Payload, answer func(broadcast.Payload)) {
	<-g.open
	g.Local.ServerEvent(p, answer)
}

// TestClaimTwice: a socket that claims a key again, while another has claimed it in between,
// is the newest.
func TestClaimTwice(t *testing.T) {
	hub := new(adaptertest.Hub)
	open := make(chan struct{})
	sockets := make(chan *sockeye.Socket, 2)
	var adapters []gated
	var list []*sockeye.Socket
	for range 2 {
		a := gated{hub.Adapter(t, cluster.Options{}), open}
		adapters = append(adapters, a)
		addr, _ := serve(t, sockeye.Config{Adapter: a}, func(srv *sockeye.Server) {
			srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		})
		wiretest.Connect(t, addr)
		list = append(list, within(t, sockets))
	}
	s, other := list[0], list[1]
	quiet := func() (n uint64) {
		for _, a := range adapters {
			n += a.Stats().Sent
		}
		return n
	}
	ends := make(chan error, 3)
	claim := func(s *sockeye.Socket) {
		before := quiet()
		go func() { ends <- s.Claim(t.Context(), "key") }()
		adaptertest.Eventually(t, "it has asked", func() bool { return quiet() > before })
	}
	adaptertest.Eventually(t, "the adapters are quiet", func() bool {
		before := quiet()
		time.Sleep(50 * time.Millisecond)
		return quiet() == before
	})
	claim(s)
	claim(other)
	claim(s)
	close(open)
	for range 3 {
		within(t, ends)
	}
	adaptertest.Eventually(t, "the other has been replaced", func() bool { return !other.Connected() })
	if !s.Connected() {
		t.Error("nobody is left")
	}
}

// TestServerEventsQueue: what waits for slow handlers is bounded in number and in bytes; what is
// beyond is counted as lost, what cannot be read as ignored, and claims do not wait for handlers.
func TestServerEventsQueue(t *testing.T) {
	hub := new(adaptertest.Hub)
	free, events := make(chan struct{}), make(chan string, 20_000)
	sockets := make(chan *sockeye.Socket, 2)
	servers, addrs := clustered(t, hub, 2, sockeye.Config{}, func(i int, srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		if i == 0 {
			srv.LimitServerEvents(16 << 16)
			for _, name := range []string{"large", "small", "last"} {
				srv.OnServerSide(name, func(e *sockeye.ServerEvent) { <-free; events <- e.Name })
			}
		}
	})
	other := hub.Adapter(t, cluster.Options{MaxQueued: 1 << 30})
	defer other.Close(t.Context())
	r, err := other.Join(polite{&adaptertest.Record{ID: "foreig"}})
	if err != nil {
		t.Fatal(err)
	}
	send := func(n int, json string) {
		t.Helper()
		for range n {
			if err := r.ServerEvent(broadcast.Payload{JSON: []byte(json)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cluster := func() sockeye.AdapterStats { return servers[0].Stats().Cluster }
	lost := func(n int) {
		t.Helper()
		adaptertest.Eventually(t, fmt.Sprint(n, " are lost"), func() bool { return cluster().Lost >= uint64(n) })
	}
	send(20, `["large","`+strings.Repeat("x", 1<<16)+`"]`) // one is being handled, 15 fit
	lost(4)
	wiretest.Connect(t, addrs[0])
	wiretest.Connect(t, addrs[1])
	a, b := within(t, sockets), within(t, sockets)
	for _, s := range []*sockeye.Socket{a, b} {
		if err := s.Claim(t.Context(), "key"); err != nil {
			t.Error(err)
		}
	}
	send(3, `[]`)
	send(3000, `["small"]`)
	send(1, `["large","`+strings.Repeat("x", 1<<16)+`"]`) // all are there
	lost(1000)
	close(free)
	adaptertest.Eventually(t, "all have come, and are handled", func() bool {
		return cluster().Ignored == 3 && uint64(len(events))+cluster().Lost == 20+3000+1
	})
	before := cluster().Lost
	send(1, `["last"]`)
	adaptertest.Eventually(t, "it goes on", func() bool { return len(events) > 0 && drained(events) == "last" })
	if cluster().Lost != before {
		t.Errorf("%d are lost", cluster().Lost)
	}
}

// polite answers all servers.
type polite struct{ *adaptertest.Record }

func (polite) ServerEvent(_ broadcast.Payload, answer func(broadcast.Payload)) {
	if answer != nil {
		answer(broadcast.Payload{JSON: []byte(`["older"]`)})
	}
}

// drained is the last that is in c.
func drained(c chan string) (last string) {
	for {
		select {
		case last = <-c:
		default:
			return last
		}
	}
}

// faulty is an adapter by which no sockets can be asked for.
type faulty struct{ *cluster.Adapter }

func (f faulty) Join(l broadcast.Local) (broadcast.Remote, error) {
	r, err := f.Adapter.Join(l)
	return faultyRemote{r}, err
}

type faultyRemote struct{ broadcast.Remote }

func (faultyRemote) Sockets(context.Context, broadcast.Target) ([]broadcast.SocketInfo, error) {
	return nil, broadcast.ErrUnavailable
}

// TestFetchAll: of several namespaces all sockets that are known are returned, with an error.
func TestFetchAll(t *testing.T) {
	var parent *sockeye.ParentNamespace
	sockets := make(chan *sockeye.Socket, 2)
	addr, _ := serve(t, sockeye.Config{Adapter: faulty{new(adaptertest.Hub).Adapter(t, cluster.Options{})}}, func(srv *sockeye.Server) {
		parent = srv.OfFunc(func(string, json.RawMessage) bool { return true })
		parent.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	w := wiretest.Connect(t, addr)
	for _, name := range []string{"/a", "/b", "/c"} {
		w.Write("40" + name + ",")
		w.Expect("40" + name + "*")
		within(t, sockets)
	}
	list, err := parent.All().FetchSockets(t.Context())
	if len(list) != 3 || !errors.Is(err, sockeye.ErrUnavailable) {
		t.Errorf("%d sockets, %v", len(list), err)
	}
}

// TestPresenceInfoExits: a PresenceInfo that ends its goroutine, or panics, costs what it was
// asked for.
func TestPresenceInfoExits(t *testing.T) {
	sockets, exits := make(chan *sockeye.Socket, 3), make(chan struct{}, 1)
	addr, srv := serve(t, sockeye.Config{PresenceLease: 300 * time.Millisecond}, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		srv.PresenceInfo(func(s *sockeye.Socket) any {
			switch {
			case slices.Contains(s.Rooms(), "exits"):
				select {
				case exits <- struct{}{}:
				default:
				}
				runtime.Goexit()
			case slices.Contains(s.Rooms(), "panics"):
				panic("of the application's")
			}
			return 1
		})
	})
	p := &present{here: map[string]string{}}
	defer srv.Presence("red", p.tell).Close()
	want := map[string]string{}
	for _, room := range []string{"exits", "panics", "good"} {
		wiretest.Connect(t, addr)
		s := within(t, sockets)
		if _ = s.Join(room, "red"); room == "exits" {
			within(t, exits)
			continue
		}
		want[s.ID()] = map[string]string{"panics": "", "good": "1"}[room]
	}
	for _, s := range srv.Sockets() {
		if slices.Contains(s.Rooms(), "exits") {
			s.Disconnect() // or the whole is never told
		}
	}
	adaptertest.Eventually(t, "the others are seen", p.is(want))
}

// TestFetchPanics: data that panic when they are encoded cost themselves, and not the server
// that another one asks.
func TestFetchPanics(t *testing.T) {
	sockets := make(chan *sockeye.Socket, 2)
	servers, addrs := clustered(t, new(adaptertest.Hub), 2, sockeye.Config{Logger: slog.New(slog.DiscardHandler)}, func(_ int, srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	wiretest.Connect(t, addrs[0])
	bad := within(t, sockets)
	bad.SetData(unsendable{})
	wiretest.Connect(t, addrs[0])
	within(t, sockets).SetData("good")
	for i, srv := range servers {
		list, err := srv.FetchSockets(t.Context())
		if err != nil || len(list) != 2 {
			t.Fatalf("server %d: %v, %v", i, list, err)
		}
		for _, s := range list {
			if want := map[bool]string{true: "{}", false: `"good"`}[s.ID == bad.ID()]; string(s.Data) != want {
				t.Errorf("server %d: %s", i, s.Data)
			}
		}
	}
	if n := servers[0].Stats().HandlerPanics; n == 0 {
		t.Error("it is not counted")
	}
}

// flood is a server without sockets whose answers have no end.
type flood struct {
	*adaptertest.Record
	each []byte // answer
}

func (f flood) Call(_ broadcast.Payload, _ broadcast.Target, _ time.Duration, answered func(broadcast.Payload)) (int, error) {
	for range 2000 {
		answered(broadcast.Payload{JSON: f.each})
	}
	return 0, nil
}

func (f flood) Sockets(broadcast.Target) []broadcast.SocketInfo {
	return make([]broadcast.SocketInfo, 2000)
}

func (f flood) ServerEvent(_ broadcast.Payload, answer func(broadcast.Payload)) {
	if answer != nil {
		answer(broadcast.Payload{JSON: []byte(`[1]`)})
		answer(broadcast.Payload{JSON: []byte(`[2]`)})
	}
}

// TestAnswersWithoutEnd: a server that answers more than it may costs who has asked no more
// memory, nor time, than is allowed; one that answers twice has answered once.
func TestAnswersWithoutEnd(t *testing.T) {
	hub := new(adaptertest.Hub)
	other := hub.Adapter(t, cluster.Options{MaxQueued: 1 << 30})
	defer other.Close(t.Context())
	if _, err := other.Join(flood{&adaptertest.Record{ID: "foreig"}, []byte(`["` + strings.Repeat("x", 1000) + `"]`)}); err != nil {
		t.Fatal(err)
	}
	sockets := make(chan *sockeye.Socket, 1)
	addr, srv := serve(t, sockeye.Config{Adapter: hub.Adapter(t, cluster.Options{MaxAnswerBytes: 100_000})}, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	w := wiretest.Connect(t, addr)
	within(t, sockets)
	short := func(what string, n, most int, err error) {
		t.Helper()
		if !errors.As(err, new(*sockeye.MissingError)) || n == 0 || n > most {
			t.Errorf("%s: %d answers, %v", what, n, err)
		}
	}
	began := time.Now()
	type result struct {
		n   int
		err error
	}
	results := make(chan result, 2)
	go func() {
		answers, err := srv.All().Call(t.Context(), "q")
		results <- result{len(answers), err}
	}()
	w.Expect(`420["q"]`)
	w.Write(`430["mine"]`)
	r := within(t, results)
	short("Call", r.n, 100, r.err)
	if err := srv.All().EmitWithAck(func(answers []sockeye.Answer, err error) { results <- result{len(answers), err} }, "q"); err != nil {
		t.Fatal(err)
	}
	w.Expect(`421["q"]`)
	w.Write(`431["mine"]`)
	r = within(t, results)
	short("EmitWithAck", r.n, 100, r.err)
	list, err := srv.FetchSockets(t.Context())
	short("FetchSockets", len(list), 1, err)
	all, err := srv.CallServers(t.Context(), "q")
	if err != nil || len(all) != 1 {
		t.Errorf("CallServers: %d answers, %v", len(all), err)
	}
	if d := time.Since(began); d > 10*time.Second { // of 30 for an answer
		t.Errorf("it took %v", d)
	}
	select {
	case r := <-results:
		t.Errorf("EmitWithAck has called twice: %+v", r)
	default:
	}
}
