package broadcast

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// world is rooms over sessions on an in-memory net; what is delivered is noted
// instead of sent.
type world struct {
	t       *testing.T
	net     *netpolltest.Net
	rooms   *Rooms
	members []*Member
	got     map[*Member][]string
	open    []*engine.Session
}

func (w *world) OnOpen(s *engine.Session)                    { w.open = append(w.open, s) }
func (w *world) OnMessage(*engine.Session, []byte, bool)     {}
func (w *world) OnClose(*engine.Session, engine.CloseReason) {}

// newWorld makes n members, dealt out to the loops.
func newWorld(t *testing.T, loops, n int) *world {
	w := &world{t: t, got: map[*Member][]string{}}
	e, err := engine.New(engine.Config{}, w)
	if err != nil {
		t.Fatal(err)
	}
	w.net = netpolltest.New(netpoll.Config{}, engine.Mux{e}, loops)
	w.rooms = New(w.net.Group, func(m *Member, msg *engine.Message, _ bool) {
		w.got[m] = append(w.got[m], string(msg.B[11:]))
	})
	for i := range n {
		w.net.Dial(i % loops).Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"))
	}
	w.net.Run()
	if len(w.open) != n {
		t.Fatalf("%d sessions", len(w.open))
	}
	for i, s := range w.open {
		m := &Member{ID: fmt.Sprint("id", i), Session: s}
		w.rooms.Add(m)
		w.members = append(w.members, m)
	}
	return w
}

func message(text string) *engine.Message {
	m := engine.NewMessage(false)
	m.B = append(m.B, text...)
	return m.Seal()
}

func (w *world) broadcast(text string, o Options) {
	m := message(text)
	w.rooms.Broadcast(m, o)
	m.Release()
}

// remove removes a member, as the layer above does.
func (w *world) remove(m *Member) {
	w.rooms.Settle(m)
	w.rooms.Remove(m)
}

// direct sends to one member, as the layer above does.
func (w *world) direct(m *Member, text string) {
	m.Session.Loop().Post(func(a, b any) {
		m, text := a.(*Member), b.(string)
		w.rooms.Settle(m)
		w.got[m] = append(w.got[m], text)
	}, m, text, 0)
}

func (w *world) want(m *Member, texts ...string) {
	w.t.Helper()
	if !slices.Equal(w.got[m], texts) {
		w.t.Errorf("%s got %q, want %q", m.ID, w.got[m], texts)
	}
}

func TestSelection(t *testing.T) {
	w := newWorld(t, 2, 6)
	m := w.members
	w.rooms.Join(m[0], "a", "b")
	w.rooms.Join(m[1], "a")
	w.rooms.Join(m[2], "b")
	w.rooms.Join(m[3], "c")
	w.rooms.Join(m[0], "a") // again
	w.broadcast("a", Options{Rooms: []string{"a"}})
	w.broadcast("a or b", Options{Rooms: []string{"a", "b"}})
	w.broadcast("b not a", Options{Rooms: []string{"b"}, Except: []string{"a"}})
	w.broadcast("not a, not id5", Options{Except: []string{"a", "id5"}})
	w.broadcast("id4", Options{Rooms: []string{"id4"}})
	w.broadcast("a but one", Options{Rooms: []string{"a"}, ExceptMember: m[1]})
	w.broadcast("nobody", Options{Rooms: []string{"nowhere"}})
	w.net.Run()
	w.want(m[0], "a", "a or b", "a but one")
	w.want(m[1], "a", "a or b")
	w.want(m[2], "a or b", "b not a", "not a, not id5")
	w.want(m[3], "not a, not id5")
	w.want(m[4], "not a, not id5", "id4")
	w.want(m[5])
	if got := w.rooms.Members(Options{Rooms: []string{"a", "b"}, Except: []string{"id2"}}); len(got) != 2 {
		t.Errorf("%d members", len(got))
	}
	if got, ok := w.rooms.In(m[0]); !ok || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("m0 is in %q", got)
	}
}

// TestRandomMembership runs random steps against a plain model: every member
// gets exactly what was broadcast while it was in, in order, with direct
// messages at their place.
func TestRandomMembership(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, 1+int(seed%3), 300) // more than a chunk on a loop
		in := map[*Member]map[string]bool{}
		want := map[*Member][]string{}
		rooms := []string{"a", "b", "c"}
		for _, m := range w.members {
			in[m] = map[string]bool{}
		}
		for step := range 600 {
			m := w.members[r.IntN(len(w.members))]
			room := rooms[r.IntN(len(rooms))]
			text := fmt.Sprint(step)
			switch r.IntN(8) {
			case 0, 1, 2:
				w.rooms.Join(m, room)
				in[m][room] = true
			case 3:
				w.rooms.Leave(m, room)
				delete(in[m], room)
			case 4:
				w.direct(m, text)
				want[m] = append(want[m], text)
			case 5:
				other := rooms[r.IntN(len(rooms))]
				w.broadcast(text, Options{Rooms: []string{room, other}, ExceptMember: m})
				for _, x := range w.members {
					if x != m && (in[x][room] || in[x][other]) {
						want[x] = append(want[x], text)
					}
				}
			case 6:
				w.broadcast(text, Options{Except: []string{room}})
				for _, x := range w.members {
					if !in[x][room] {
						want[x] = append(want[x], text)
					}
				}
			case 7:
				w.net.Group.Loop(r.IntN(w.net.Group.Len())).Turn() // some progress, at most a chunk
			}
		}
		w.net.Run()
		for _, m := range w.members {
			if !slices.Equal(w.got[m], want[m]) {
				t.Fatalf("seed %d: %s got %q, want %q", seed, m.ID, w.got[m], want[m])
			}
			if got, _ := w.rooms.In(m); len(got) != len(in[m]) {
				t.Fatalf("seed %d: %s is in %q, want %d rooms", seed, m.ID, got, len(in[m]))
			}
		}
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t, 1, 200)
	for _, m := range w.members {
		w.rooms.Join(m, "a")
	}
	w.broadcast("before", Options{Rooms: []string{"a"}})
	for _, m := range w.members {
		m.Session.Loop().Post(func(a, _ any) { w.remove(a.(*Member)) }, m, nil, 0)
	}
	w.broadcast("after", Options{})
	w.net.Run()
	for _, m := range w.members {
		// "after" was broadcast before the removals ran.
		w.want(m, "before", "after")
	}
	if w.rooms.Len() != 0 || w.rooms.Count() != 0 || w.rooms.Lookup("id0") != nil {
		t.Errorf("left: %d members, %d rooms", w.rooms.Len(), w.rooms.Count())
	}
	w.rooms.Join(w.members[0], "a") // too late: nothing
	if w.rooms.Count() != 0 {
		t.Error("a removed member has joined")
	}
}

// TestAFanOutYields: other work of the loop has its turn after each chunk.
func TestAFanOutYields(t *testing.T) {
	w := newWorld(t, 1, 5*chunk)
	w.broadcast("all", Options{})
	turns := 0
	for len(w.got) < 5*chunk {
		before := len(w.got)
		w.net.Group.Loop(0).Turn()
		if turns++; len(w.got)-before > chunk {
			t.Fatalf("%d members in one turn", len(w.got)-before)
		}
	}
	if turns != 5 {
		t.Errorf("%d turns", turns)
	}
}

// TestLaps: broadcasts that come while others go around go together, after them;
// and when they come back to back, a lap waits for as many as came before.
func TestLaps(t *testing.T) {
	w := newWorld(t, 1, 3*chunk)
	loop := w.net.Group.Loop(0)
	first, last := w.members[0], w.members[3*chunk-1]
	w.broadcast("a", Options{})
	loop.Turn()
	w.want(first, "a")
	w.want(last)
	w.broadcast("b", Options{})
	w.broadcast("c", Options{})
	w.net.Skip(8 * time.Millisecond)
	w.net.Run() // the lap has taken 8 ms: the next may wait for 4
	w.want(last, "a")
	w.want(first, "a") // there were three: the third may come
	w.broadcast("d", Options{})
	w.net.Run()
	for _, m := range w.members {
		w.want(m, "a", "b", "c", "d")
	}
	w.broadcast("e", Options{}) // that lap took no time: nothing is waited for
	w.net.Run()
	w.want(first, "a", "b", "c", "d", "e")

	// Nobody comes: the waiting ends.
	w.broadcast("f", Options{})
	loop.Turn()
	w.broadcast("g", Options{})
	w.net.Skip(8 * time.Millisecond)
	w.net.Run()
	w.want(first, "a", "b", "c", "d", "e", "f")
	w.net.Advance(3 * time.Millisecond)
	w.want(first, "a", "b", "c", "d", "e", "f")
	w.net.Advance(2 * time.Millisecond)
	w.want(first, "a", "b", "c", "d", "e", "f", "g")
}

// TestSmallFanOuts: a few members do not wait until everybody has been served,
// and get what everybody gets first, in order.
func TestSmallFanOuts(t *testing.T) {
	w := newWorld(t, 1, 5*chunk)
	last := w.members[5*chunk-1]
	w.rooms.Join(last, "few")
	w.broadcast("all", Options{})
	w.broadcast("all again", Options{})
	w.broadcast("few", Options{Rooms: []string{"few"}})
	w.net.Group.Loop(0).Turn()
	w.want(last, "all", "all again", "few")
	if len(w.got) > chunk+1 {
		t.Errorf("%d members have been served", len(w.got))
	}
	w.net.Run()
	w.want(last, "all", "all again", "few")
	w.want(w.members[0], "all", "all again")
}

// TestBackpressure: who broadcasts faster than the loops deliver waits.
func TestBackpressure(t *testing.T) {
	w := newWorld(t, 1, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range maxPending + 1 {
			w.broadcast("all", Options{})
		}
	}()
	select {
	case <-done:
		t.Fatal("nobody waited")
	case <-time.After(50 * time.Millisecond):
	}
	if !w.net.RunUntil(10*time.Second, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}) {
		t.Fatal("waiting for ever")
	}
}

// TestFanOutAllocates nothing for each member.
func TestFanOutAllocs(t *testing.T) {
	w := newWorld(t, 1, 1000)
	delivered := 0
	w.rooms.deliver = func(*Member, *engine.Message, bool) { delivered++ }
	msg := message("all")
	per := testing.AllocsPerRun(100, func() {
		w.rooms.Broadcast(msg, Options{})
		w.net.Run()
	})
	if per > 100 { // the in-memory net's own, for each chunk; none for each of 1,000 members
		t.Errorf("%v allocations for a broadcast to 1,000 members", per)
	}
	if delivered < 100_000 {
		t.Errorf("%d delivered", delivered)
	}
}
