package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// A model of servers on a bus that fails as buses do: in the middle of a batch, with what
// was sent in doubt, slowly, for a while; of servers that stop without a word; of sockets
// that never answer. Seeds decide, and the clock is synctest's.

// hub carries frames.
type hub struct {
	// Guarded by mu.
	mu    sync.Mutex
	r     *rand.Rand
	ends  []*end
	down  bool
	flaky int           // of 100: how often a batch fails in its middle
	slow  time.Duration // how long a batch takes at most
	sent  map[string]int
}

type end struct {
	h      *hub
	a      *Adapter
	in     chan []byte
	joined map[string]bool
	dead   bool
}

var errHub = errors.New("the hub fails")

func (e *end) Open(a *Adapter) error {
	e.a = a
	e.h.mu.Lock()
	defer e.h.mu.Unlock()
	e.h.ends = append(e.h.ends, e)
	go func() {
		for data := range e.in {
			m, err := Decode(data)
			if err != nil {
				a.Ignore("hub", err)
				continue
			}
			a.Receive(m, len(data))
		}
	}()
	return nil
}

func (e *end) set(namespace string, joined bool) {
	e.h.mu.Lock()
	defer e.h.mu.Unlock()
	e.joined[namespace] = joined
}
func (e *end) Join(namespace string)     { e.set(namespace, true) }
func (e *end) Leave(namespace string)    { e.set(namespace, false) }
func (e *end) Room(string, string, bool) {}

func (e *end) Encode(m *Message) (Frame, error) {
	return Frame{Channel: m.Namespace, Data: AppendJSON(nil, m)}, nil
}

func (e *end) Send(ctx context.Context, frames []Frame) (sent, lost int, err error) {
	h := e.h
	h.mu.Lock()
	wait := time.Duration(0)
	if h.slow > 0 {
		wait = time.Duration(h.r.Int64N(int64(h.slow)))
	}
	h.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return 0, len(frames), ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down || e.dead {
		return 0, 0, errHub
	}
	n := len(frames)
	if h.r.IntN(100) < h.flaky {
		n = h.r.IntN(len(frames) + 1)
		lost = h.r.IntN(len(frames) - n + 1)
		err = errHub
	}
	for i, f := range frames[:n+lost] {
		if i >= n && h.r.IntN(2) == 0 {
			continue // in doubt: it has not come through
		}
		for _, to := range h.ends {
			if to != e && !to.dead && to.joined[f.Channel] {
				select {
				case to.in <- f.Data:
				default:
					panic("the model's channel is full")
				}
			}
		}
	}
	return n, lost, err
}

func (e *end) Ping(context.Context) error {
	e.h.mu.Lock()
	defer e.h.mu.Unlock()
	if e.h.down || e.dead {
		return errHub
	}
	return nil
}

func (e *end) Others(context.Context, string) (int, error) { return 0, broadcast.ErrUnsupported }

func (e *end) Close() error {
	e.h.mu.Lock()
	defer e.h.mu.Unlock()
	if !e.dead {
		e.dead = true
		close(e.in)
	}
	return nil
}

// fakeLocal is one server's part of "/": it notes what comes.
type fakeLocal struct {
	name string
	mute bool // its socket does not answer

	mu  sync.Mutex
	got map[string][]int // by sender: the numbers, in their order
}

func (l *fakeLocal) Name() string   { return "/" }
func (l *fakeLocal) Server() string { return l.name }

func (l *fakeLocal) note(p broadcast.Payload) {
	from, number, _ := strings.Cut(strings.Trim(string(p.JSON), `["]`), "-")
	n, err := strconv.Atoi(number)
	if err != nil {
		panic(string(p.JSON))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got[from] = append(l.got[from], n)
}

func (l *fakeLocal) Broadcast(p broadcast.Payload, _ broadcast.Target) error {
	l.note(p)
	return nil
}

func (l *fakeLocal) Call(p broadcast.Payload, _ broadcast.Target, _ time.Duration, answered func(broadcast.Payload)) (int, error) {
	l.note(p)
	if !l.mute {
		answered(broadcast.Payload{JSON: fmt.Appendf(nil, "[%q]", l.name)})
	}
	return 1, nil
}

func (l *fakeLocal) Sockets(broadcast.Target) []broadcast.SocketInfo {
	return []broadcast.SocketInfo{{ID: l.name}}
}
func (l *fakeLocal) JoinRooms(broadcast.Target, []string)  {}
func (l *fakeLocal) LeaveRooms(broadcast.Target, []string) {}
func (l *fakeLocal) Disconnect(broadcast.Target, bool)     {}
func (l *fakeLocal) ServerEvent(p broadcast.Payload, answer func(broadcast.Payload)) {
	l.note(p)
	if answer != nil && !l.mute {
		go answer(broadcast.Payload{JSON: fmt.Appendf(nil, "[%q]", l.name)})
	}
}
func (l *fakeLocal) HasRoom(string) bool { return true }
func (l *fakeLocal) Rooms() []string     { return nil }

// modelServer is a server, and what it has said.
type modelServer struct {
	a       *Adapter
	e       *end
	l       *fakeLocal
	remote  broadcast.Remote
	said    int          // the last number
	refused map[int]bool // numbers that were refused
	calm    map[int]bool // numbers that were said while nothing failed
}

// TestModel: nothing comes twice, or in another order; what was refused reaches nobody; while
// nothing fails everything comes; each question ends, in its time, with what it must have.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { model(t, seed) }) })
	}
}

func model(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	h := &hub{r: rand.New(rand.NewPCG(seed, 8)), sent: map[string]int{}}
	var all []*modelServer
	for i := range 3 {
		e := &end{h: h, in: make(chan []byte, 100_000), joined: map[string]bool{}}
		a, err := New(e, Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), QueueWhileDown: seed%4 == 3, MaxQueued: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		l := &fakeLocal{name: fmt.Sprint("s", i), mute: seed%5 == 4 && i == 2, got: map[string][]int{}}
		remote, err := a.Join(l)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &modelServer{a: a, e: e, l: l, remote: remote, refused: map[int]bool{}, calm: map[int]bool{}})
	}
	time.Sleep(6 * time.Second) // they know of each other
	var asking sync.WaitGroup
	failed := func() bool { return h.down || h.flaky > 0 }
	died := false
	for range 300 {
		s := all[r.IntN(len(all))]
		h.mu.Lock()
		switch r.IntN(60) {
		case 0:
			h.down = !h.down
		case 1:
			h.flaky = []int{0, 0, 30}[r.IntN(3)]
		case 2:
			h.slow = []time.Duration{0, time.Millisecond, time.Second}[r.IntN(3)]
		case 3:
			if r.IntN(10) == 0 && !died {
				died = true
				all[1].e.dead = true // kill -9
				close(all[1].e.in)
			}
		}
		bad := failed()
		h.mu.Unlock()
		s.said++
		n := s.said
		p := broadcast.Payload{JSON: fmt.Appendf(nil, `["%s-%d"]`, s.l.name, n)}
		switch k := r.IntN(20); {
		case k < 17:
			err := s.remote.Broadcast(p, broadcast.Target{})
			switch {
			case errors.Is(err, broadcast.ErrUnavailable):
				s.refused[n] = true
			case err != nil:
				t.Fatal(err)
			case !bad:
				s.calm[n] = true
			}
		case s.e.dead:
		default:
			p.JSON = fmt.Appendf(nil, `["q%s-%d"]`, s.l.name, n) // they are no one goroutine's
			asking.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				began := time.Now()
				var answers []string
				var err error
				if k == 19 {
					err = s.remote.Call(ctx, p, broadcast.Target{}, func(p broadcast.Payload) { answers = append(answers, string(p.JSON)) })
				} else {
					var list []broadcast.Payload
					list, err = s.remote.CallServers(ctx, p)
					for _, p := range list {
						answers = append(answers, string(p.JSON))
					}
				}
				if d := time.Since(began); d > 3*time.Second {
					t.Errorf("a question took %v", d)
				}
				slices.Sort(answers)
				if len(slices.Compact(slices.Clone(answers))) != len(answers) {
					t.Errorf("answers came twice: %q", answers)
				}
				var missing *broadcast.MissingError
				if err != nil && !errors.As(err, &missing) && !errors.Is(err, broadcast.ErrUnavailable) {
					t.Errorf("a question ended with %v", err)
				}
				if missing != nil && missing.Answered >= missing.Asked && missing.Sockets == 0 {
					t.Errorf("nobody is missing: %+v", missing)
				}
			})
		}
		if r.IntN(3) == 0 {
			time.Sleep(time.Duration(r.Int64N(int64(300 * time.Millisecond))))
		}
	}
	h.mu.Lock()
	h.down, h.flaky, h.slow = false, 0, 0
	h.mu.Unlock()
	time.Sleep(30 * time.Second)
	asking.Wait()
	synctest.Wait()
	for _, s := range all {
		for from, numbers := range s.l.got {
			if from, asked := strings.CutPrefix(from, "q"); !asked && !slices.IsSorted(numbers) {
				t.Errorf("%s got from %s: %v", s.l.name, from, numbers)
			}
			slices.Sort(numbers)
			if len(slices.Compact(slices.Clone(numbers))) != len(numbers) {
				t.Errorf("%s got from %s something twice: %v", s.l.name, from, numbers)
			}
			for _, n := range numbers {
				if all[from[len(from)-1]-'0'].refused[n] {
					t.Errorf("%s got %s-%d, which was refused", s.l.name, from, n)
				}
			}
		}
	}
	for _, s := range all {
		st := s.a.Stats()
		if !s.e.dead && (st.Queued != 0 || st.Down) {
			t.Errorf("%s: %+v", s.l.name, st)
		}
		if died && s == all[1] {
			continue
		}
		// Everything comes again: to all that live.
		s.said++
		if err := s.remote.Broadcast(broadcast.Payload{JSON: fmt.Appendf(nil, `["%s-%d"]`, s.l.name, s.said)}, broadcast.Target{}); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	for _, s := range all {
		for _, to := range all {
			if s == to || s.e.dead || to.e.dead {
				continue
			}
			if got := to.l.got[s.l.name]; len(got) == 0 || got[len(got)-1] != s.said {
				t.Errorf("%s did not get the last of %s", to.l.name, s.l.name)
			}
		}
	}
	names := 2
	if died {
		names = 1
	}
	if n, err := all[0].remote.Servers(t.Context()); err != nil || n != names {
		t.Errorf("%d others, %v", n, err)
	}
	mute := all[2].l.mute
	began := time.Now()
	answers, err := all[0].remote.CallServers(t.Context(), broadcast.Payload{JSON: []byte(`["q-1"]`)})
	if missing := new(broadcast.MissingError); mute && (len(answers) != names-1 || !errors.As(err, &missing) || !slices.Equal(missing.Servers, []string{all[2].a.UID()})) {
		t.Errorf("%d answers, %v", len(answers), err)
	} else if d := time.Since(began); !mute && (err != nil || len(answers) != names || d > time.Second) {
		t.Errorf("%d answers, %v, after %v", len(answers), err, d)
	}
	if !died && !mute { // one dies while it is asked
		all[1].e.h.mu.Lock()
		all[1].e.dead = true
		close(all[1].e.in)
		all[1].e.h.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		began := time.Now()
		answers, err := all[0].remote.CallServers(ctx, broadcast.Payload{JSON: []byte(`["q-2"]`)})
		cancel()
		if d := time.Since(began); err != nil || len(answers) != 1 || d > 15*time.Second {
			t.Errorf("%d answers, %v, after %v", len(answers), err, d)
		}
	}
	h.mu.Lock()
	h.down = true
	h.mu.Unlock()
	queues := all[0].a.o.QueueWhileDown
	refused := 0
	for range 100 {
		if all[0].remote.Broadcast(broadcast.Payload{JSON: []byte(`["q-3"]`)}, broadcast.Target{}) != nil {
			refused++
		}
		time.Sleep(time.Second)
	}
	if st := all[0].a.Stats(); !st.Down || (refused == 0) != queues || (st.Queued > 0) != queues {
		t.Errorf("while the bus is down %d of 100 are refused, %+v", refused, st)
	}
	for _, s := range all {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_ = s.a.Close(ctx)
		cancel()
		if err := s.remote.Broadcast(broadcast.Payload{JSON: []byte(`["x-1"]`)}, broadcast.Target{}); !errors.Is(err, broadcast.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	time.Sleep(time.Minute) // all goroutines end: synctest sees to it
}
