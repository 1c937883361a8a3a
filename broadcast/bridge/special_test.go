package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// server is a server with one client.
type server struct {
	*sockeye.Server
	c      *client.Client
	probes atomic.Int64

	mu  sync.Mutex
	got []string
}

func start(t *testing.T, a broadcast.Adapter) *server {
	t.Helper()
	srv, err := sockeye.New(sockeye.Config{Adapter: a, Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: srv}
	s.c, err = client.New("http://"+addr.String(), client.Config{Transports: []string{"websocket"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.c.Close() })
	s.c.OnAny(func(e *client.Event) {
		if e.Name == "ask" {
			_ = e.Ack(s.c.ID())
		}
		s.note(e.Name)
	})
	if err := s.c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) note(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, event)
}

// count is how often an event has come.
func (s *server) count(event string) (n int) {
	for _, got := range s.all() {
		if got == event {
			n++
		}
	}
	return n
}

func (s *server) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// reaches waits until what s emits comes to others, again and again until it does.
func (s *server) reaches(t *testing.T, others ...*server) {
	t.Helper()
	for _, to := range others {
		adaptertest.Eventually(t, "one server reaches another", func() bool {
			event := fmt.Sprint("ready ", s.c.ID(), s.probes.Add(1)) // never the same
			_ = s.To(to.c.ID()).Emit(event)
			for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if slices.Contains(to.all(), event) {
					return true
				}
			}
			return false
		})
	}
}

// expect: of what begins with prefix, s has got exactly this.
func (s *server) expect(t *testing.T, prefix string, want ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		got = nil
		for _, g := range s.all() {
			if strings.HasPrefix(g, prefix) {
				got = append(got, g)
			}
		}
		if len(got) >= len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q has come, not %q", got, want)
	}
}

// once: all servers emit, and all get it once. An end from each is proof that nothing more
// of it is on its way.
func once(t *testing.T, round string, all ...*server) {
	t.Helper()
	for i, from := range all {
		event := fmt.Sprintf("%s from %d", round, i)
		if err := from.Emit(event); err != nil {
			t.Error(err)
		}
		for _, to := range all {
			to.expect(t, event, event)
		}
		for _, x := range all { // what is doubled comes before what its sender sends later
			x.reaches(t, all...)
		}
		for _, to := range all {
			to.expect(t, event, event)
		}
	}
}

func atWork(list ...*bridge.Bridge) (n int) {
	for _, br := range list {
		if br.AtWork() {
			n++
		}
	}
	return n
}

// TestTwo: of two bridges one is at work, and everything arrives once; when it is closed the
// other takes over.
func TestTwo(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	brs := []*bridge.Bridge{newBridge(t, a.Adapter(t, o), b.Adapter(t, o)), newBridge(t, a.Adapter(t, o), b.Adapter(t, o))}
	onA, onB, x, y := start(t, a.Adapter(t, o)), start(t, b.Adapter(t, o)), start(t, brs[0]), start(t, brs[1])
	adaptertest.Eventually(t, "one is at work", func() bool { return atWork(brs...) == 1 })
	onA.reaches(t, onB)
	once(t, "first", onA, onB, x, y)
	if n := atWork(brs...); n != 1 {
		t.Errorf("%d are at work", n)
	}
	first, left, br := x, y, brs[1]
	if brs[1].AtWork() {
		first, left, br = y, x, brs[0]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := first.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, "the other takes over", br.AtWork)
	onA.reaches(t, onB)
	onB.reaches(t, onA)
	once(t, "second", onA, onB, left)
}

// TestApart: bridges that could not hear each other are all at work, and each passes on what is
// sent, once; when they hear each other all but one stop, and everything arrives once again.
func TestApart(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var a, b, c adaptertest.Hub
			o := cluster.Options{Logger: quiet}
			onA, onB := start(t, a.Adapter(t, o)), start(t, b.Adapter(t, o))
			var brs []*bridge.Bridge
			all := []*server{onA, onB}
			for range n {
				brs = append(brs, newBridge(t, split{a.Adapter(t, o), &c}, split{b.Adapter(t, o), &c}))
				all = append(all, start(t, brs[len(brs)-1]))
			}
			for _, s := range all {
				s.OnServerSide("server", func(e *sockeye.ServerEvent) {
					var round string
					_ = e.Decode(&round)
					s.note("server " + round)
				})
			}
			adaptertest.Eventually(t, "all are at work", func() bool { return atWork(brs...) == n })
			settle := func() { // what a bridge has passed on comes before what it sends itself
				t.Helper()
				for range 2 {
					for _, s := range all {
						s.reaches(t, all...)
					}
				}
			}
			settle()
			for _, from := range []*server{onA, onB} {
				round := "of " + from.c.ID()
				if err := errors.Join(from.Emit(round), from.ServerSideEmit("server", round)); err != nil {
					t.Fatal(err)
				}
				settle()
				for i, to := range all {
					times, events := 1, 1
					switch {
					case to == from:
						events = 0
					case to == onA, to == onB:
						times, events = n, n // by each bridge
					}
					if got := to.count(round); got != times {
						t.Errorf("an event comes %d times to server %d, not %d", got, i, times)
					}
					if got := to.count("server " + round); got != events {
						t.Errorf("an event for servers comes %d times to server %d, not %d", got, i, events)
					}
				}
			}
			c.Cut(true) // together again: split lets what bridges say through
			adaptertest.Eventually(t, "all but one stop", func() bool { return atWork(brs...) == 1 })
			settle()
			once(t, "again", all...)
			for _, from := range []*server{onA, onB} {
				round := "again " + from.c.ID()
				if err := from.ServerSideEmit("server", round); err != nil {
					t.Fatal(err)
				}
				settle()
				for i, to := range all {
					want := 1
					if to == from {
						want = 0
					}
					if got := to.count("server " + round); got != want {
						t.Errorf("an event for servers comes %d times to server %d", got, i)
					}
				}
			}
		})
	}
}

// split is an adapter that hears nothing of other bridges until its hub is cut.
type split struct {
	*cluster.Adapter
	together *adaptertest.Hub
}

func (s split) Join(local broadcast.Local) (broadcast.Remote, error) {
	if local.Name() == bridge.Namespace {
		return s.Adapter.Join(&deaf{local.(broadcast.Gateway), s.together})
	}
	return s.Adapter.Join(local)
}

type deaf struct {
	broadcast.Gateway
	together *adaptertest.Hub
}

func (d *deaf) Broadcast(p broadcast.Payload, t broadcast.Target) error {
	if d.together.Down() {
		return d.Gateway.Broadcast(p, t)
	}
	return nil
}

// TestStopped: a bridge that was stopped, while another one has taken over, passes nothing on of
// what has come to it meanwhile.
func TestStopped(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	x := newBridge(t, a.Adapter(t, o), b.Adapter(t, o))
	onA, onB, sx := start(t, a.Adapter(t, o)), start(t, b.Adapter(t, o)), start(t, x)
	adaptertest.Eventually(t, "it is at work", x.AtWork)
	y := newBridge(t, a.Adapter(t, o), b.Adapter(t, o))
	sy := start(t, y)
	all := []*server{onA, onB, sy}
	onA.reaches(t, onB, sx, sy)
	onB.reaches(t, onA, sx, sy)
	if y.AtWork() {
		t.Fatal("both are at work")
	}
	time.Sleep(lease / 2) // for it to have heard of the other
	release := x.Hold()
	adaptertest.Eventually(t, "the other takes over", y.AtWork)
	onA.reaches(t, onB, sy)
	onB.reaches(t, onA, sy)
	for _, from := range []*server{onA, onB} {
		for i := range 5 {
			if err := from.Emit(fmt.Sprint("meanwhile ", from.c.ID(), i)); err != nil {
				t.Error(err)
			}
		}
	}
	onA.reaches(t, onB)
	onB.reaches(t, onA)
	release()
	adaptertest.Eventually(t, "it stops", func() bool { return !x.AtWork() })
	onA.reaches(t, sx)
	for _, from := range []*server{onA, onB} {
		for _, to := range all {
			prefix := "meanwhile " + from.c.ID()
			var want []string
			for i := range 5 {
				want = append(want, fmt.Sprint(prefix, i))
			}
			to.expect(t, prefix, want...)
		}
	}
	once(t, "afterwards", onA, onB, sx, sy)
}

// TestOneSideDown: the other goes on, and callers are told which.
func TestOneSideDown(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	br := newBridge(t, a.Adapter(t, o), b.Adapter(t, o))
	onA, onA2, onB, both := start(t, a.Adapter(t, o)), start(t, a.Adapter(t, o)), start(t, b.Adapter(t, o)), start(t, br)
	adaptertest.Eventually(t, "it is at work", br.AtWork)
	onA.reaches(t, onA2, onB, both)
	b.Cut(true)
	adaptertest.Eventually(t, "it is found out", func() bool { return both.Emit("probe") != nil })
	err := both.Emit("down")
	if !errors.Is(err, sockeye.ErrUnavailable) || !strings.Contains(err.Error(), "bridge: b: ") || strings.Contains(err.Error(), "bridge: a: ") {
		t.Error(err)
	}
	for _, s := range []*server{both, onA, onA2} {
		s.expect(t, "down", "down")
	}
	if err := onA.Emit("passed"); err != nil {
		t.Error(err)
	}
	for _, s := range []*server{both, onA, onA2} {
		s.expect(t, "passed", "passed")
	}
	answers, err := onA.All().Call(t.Context(), "ask")
	if err != nil || len(answers) != 3 {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	if s := br.Stats(); !s.Down || s.Refused == 0 {
		t.Errorf("%+v", s)
	}
	if !br.AtWork() {
		t.Error("it is not at work any more")
	}
	b.Cut(false)
	onA.reaches(t, onB)
	onB.reaches(t, onA2)
	onB.expect(t, "down")
}

// TestAnswers: a call of one socket is answered wherever it is, and servers of both sides
// answer the bridge's.
func TestAnswers(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	br := newBridge(t, a.Adapter(t, o), mute(b.Adapter(t, o)))
	onA, onA2, onB, both := start(t, a.Adapter(t, o)), start(t, a.Adapter(t, o)), start(t, b.Adapter(t, o)), start(t, br)
	adaptertest.Eventually(t, "it is at work", br.AtWork)
	all := []*server{onA, onA2, onB, both}
	for _, s := range all {
		s.reaches(t, all...)
	}
	for i, from := range all {
		for j, to := range all {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			began := time.Now()
			answers, err := from.To(to.c.ID()).Call(ctx, "ask")
			cancel()
			if err != nil || len(answers) != 1 || time.Since(began) > 3*time.Second {
				t.Errorf("%d asks %d: %d answers, %v", i, j, len(answers), err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	answers, err := onA.To(onB.c.ID()).Call(ctx, "say nothing")
	if len(answers) != 0 || !errors.Is(err, sockeye.ErrAckTimeout) {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	_, err = both.FetchSockets(t.Context())
	if !errors.Is(err, broadcast.ErrUnsupported) || !strings.Contains(err.Error(), "bridge: b: ") {
		t.Error(err)
	}
}

// mute is an adapter whose format tells nothing of other servers, and answers of one socket
// alone, without a number.
func mute(a *cluster.Adapter) broadcast.Adapter { return muted{a} }

type muted struct{ *cluster.Adapter }

func (m muted) Join(local broadcast.Local) (broadcast.Remote, error) {
	r, err := m.Adapter.Join(local)
	return mutedRemote{r}, err
}

type mutedRemote struct{ broadcast.Remote }

func (m mutedRemote) Servers(context.Context) (int, error) { return 0, broadcast.ErrUnsupported }
func (m mutedRemote) Sockets(context.Context, broadcast.Target) ([]broadcast.SocketInfo, error) {
	return nil, broadcast.ErrUnsupported
}

func (m mutedRemote) Call(ctx context.Context, p broadcast.Payload, t broadcast.Target, answered func(broadcast.Payload)) error {
	found := false
	err := m.Remote.Call(ctx, p, t, func(p broadcast.Payload) {
		found = true
		answered(p)
	})
	if !found {
		<-ctx.Done()
		return &broadcast.MissingError{Asked: 1, Err: ctx.Err()}
	}
	return err
}

// TestSameTwice: two adapters of one cluster are not joined: all would come twice, and events for
// servers go around for ever.
func TestSameTwice(t *testing.T) {
	var a adaptertest.Hub
	out := new(wiretest.Output)
	o := cluster.Options{Logger: quiet}
	br, err := bridge.New(a.Adapter(t, o), a.Adapter(t, o), bridge.Options{Lease: lease, Logger: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	onA, both := start(t, a.Adapter(t, o)), start(t, br)
	adaptertest.Eventually(t, "it is told", func() bool { return strings.Contains(out.String(), "the same cluster") })
	onA.reaches(t, both)
	both.reaches(t, onA)
	once(t, "one", onA, both)
	for end := time.Now().Add(2 * lease); time.Now().Before(end); time.Sleep(lease / 10) {
		if br.AtWork() {
			t.Fatal("it is at work")
		}
	}
}

// TestMarked: what another bridge has passed on is not passed on.
func TestMarked(t *testing.T) {
	var a, b adaptertest.Hub
	o := cluster.Options{Logger: quiet}
	other := a.Adapter(t, o)
	t.Cleanup(func() { _ = other.Close(t.Context()) })
	br := newBridge(t, a.Adapter(t, o), b.Adapter(t, o))
	onA, onB, both := start(t, a.Adapter(t, o)), start(t, b.Adapter(t, o)), start(t, br)
	adaptertest.Eventually(t, "it is at work", br.AtWork)
	onA.reaches(t, onB, both)
	r, err := other.Join(nobody{onA.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Broadcast(broadcast.Payload{JSON: []byte(`["marked"]`)}, broadcast.Target{Passed: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.Broadcast(broadcast.Payload{JSON: []byte(`["plain"]`)}, broadcast.Target{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*server{onA, onB, both} {
		s.expect(t, "plain", "plain")
	}
	onA.expect(t, "marked", "marked")
	onB.expect(t, "marked")
	both.expect(t, "marked") // it came, or comes, by the other side
}

// nobody is a Local without sockets.
type nobody struct{ ns *sockeye.Namespace }

func (n nobody) Name() string                                         { return n.ns.Name() }
func (nobody) Server() string                                         { return "nobody" }
func (nobody) Broadcast(broadcast.Payload, broadcast.Target) error    { return nil }
func (nobody) Sockets(broadcast.Target) []broadcast.SocketInfo        { return nil }
func (nobody) JoinRooms(broadcast.Target, []string)                   {}
func (nobody) LeaveRooms(broadcast.Target, []string)                  {}
func (nobody) Disconnect(broadcast.Target, bool)                      {}
func (nobody) ServerEvent(broadcast.Payload, func(broadcast.Payload)) {}
func (nobody) HasRoom(string) bool                                    { return false }
func (nobody) Rooms() []string                                        { return nil }
func (nobody) Call(broadcast.Payload, broadcast.Target, time.Duration, func(broadcast.Payload)) (int, error) {
	return 0, nil
}
