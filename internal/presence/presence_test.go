package presence

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const lease = 9 * time.Second

// world are servers that tell each other of one room, over a bus that loses and delays, with
// a clock of its own. What is sent by one server to another stays in order.
type world struct {
	t       *testing.T
	r       *rand.Rand
	now     time.Time
	servers map[string]*server
	made    int
	loss    int // of 100
	stopped *server
}

type server struct {
	name    string
	members map[string]bool // the truth
	source  *Source
	view    *View
	in      []any // watch or Update, on their way here
	ask     bool
	watched time.Time
	born    time.Time
}

type watch struct{ whole bool }

func (w *world) add() *server {
	w.made++
	s := &server{name: fmt.Sprint("s", w.made), members: map[string]bool{}, view: NewView(lease), born: w.now, ask: true}
	s.source = NewSource(s.name, lease)
	w.servers[s.name] = s
	return s
}

// send puts m on its way to the others, and to s itself for certain.
func (w *world) send(from *server, m any) {
	for _, name := range slices.Sorted(maps.Keys(w.servers)) {
		if s := w.servers[name]; s == from || w.r.IntN(100) >= w.loss {
			s.in = append(s.in, m)
		}
	}
}

func (w *world) deliver(s *server) {
	n := w.r.IntN(len(s.in) + 1)
	for _, m := range s.in[:n] {
		switch m := m.(type) {
		case watch:
			if s.source.Watch("room", w.now, m.whole) {
				s.source.Start("room", slices.Collect(maps.Keys(s.members)))
			}
		case Update:
			s.ask = s.view.Apply(&m, w.now) || s.ask
		}
	}
	s.in = s.in[n:]
}

// step lets 100 ms pass.
func (w *world) step() { w.pass(100 * time.Millisecond) }

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for _, name := range slices.Sorted(maps.Keys(w.servers)) {
		s := w.servers[name]
		if s == w.stopped {
			continue
		}
		w.deliver(s)
		if s.ask || w.now.Sub(s.watched) >= lease/3 {
			w.send(s, watch{s.ask})
			s.ask, s.watched = false, w.now
		}
		for _, u := range s.source.Tick(w.now) {
			for i := range u.Joined {
				u.Joined[i].Info = json.RawMessage(`"` + u.Joined[i].ID + `"`)
			}
			w.send(s, u)
		}
		s.view.Expire(w.now)
	}
}

func (w *world) change(s *server) {
	id := fmt.Sprint(s.name, "-", w.r.IntN(20))
	in := !s.members[id]
	if s.members[id] = in; !in {
		delete(s.members, id)
	}
	s.source.Note("room", id, in)
}

func (w *world) truth() map[string]Placed {
	all := map[string]Placed{}
	for _, s := range w.servers {
		for id := range s.members {
			all[id] = Placed{Member{id, json.RawMessage(`"` + id + `"`)}, s.name}
		}
	}
	return all
}

func same(a, b map[string]Placed) bool {
	return maps.EqualFunc(a, b, func(x, y Placed) bool { return x.Server == y.Server && string(x.Info) == string(y.Info) })
}

// TestWorlds: whatever is lost, whoever dies, all views are right soon after it has become
// quiet, and nobody is seen on a server that has been dead for a lease.
func TestWorlds(t *testing.T) {
	for seed := range uint64(60) {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), servers: map[string]*server{}}
		w.loss = []int{0, 5, 30}[seed%3]
		for range 3 {
			w.add()
		}
		died := map[string]time.Time{}
		for range 600 {
			names := slices.Sorted(maps.Keys(w.servers))
			s := w.servers[names[w.r.IntN(len(names))]]
			switch w.r.IntN(100) {
			case 0:
				if len(names) > 1 {
					delete(w.servers, s.name)
					died[s.name] = w.now
				}
			case 1:
				if len(names) < 5 {
					w.add()
				}
			default:
				for range w.r.IntN(4) {
					w.change(s)
				}
			}
			w.step()
			for _, s := range w.servers {
				for id, p := range s.view.Members() {
					// What a dead server has said may have been on its way for a while.
					if at, dead := died[p.Server]; dead && w.now.Sub(at) > 2*lease {
						t.Fatalf("seed %d: %s sees %s on %s, dead for %v", seed, s.name, id, p.Server, w.now.Sub(at))
					}
				}
			}
		}
		w.loss = 0
		for range 250 {
			w.step()
		}
		for name, s := range w.servers {
			if got, want := s.view.Members(), w.truth(); !same(got, want) {
				t.Fatalf("seed %d: %s sees %d, there are %d\n%v\n%v", seed, name, len(got), len(want), got, want)
			}
		}
	}
}

// TestDeadWithinALease: who dies is gone a lease after its last word.
func TestDeadWithinALease(t *testing.T) {
	now := time.Unix(1000, 0)
	s := NewSource("a", lease)
	v := NewView(lease)
	s.Watch("room", now, true)
	s.Start("room", []string{"x", "y"})
	for _, u := range s.Tick(now) {
		v.Apply(&u, now)
	}
	v.Expire(now.Add(lease))
	if len(v.Members()) != 2 {
		t.Fatal("gone too early")
	}
	v.Expire(now.Add(lease + 1))
	if len(v.Members()) != 0 {
		t.Fatal("still there")
	}
	if s.Tick(now.Add(lease + 1)); !s.Empty() || s.Note("room", "z", true) {
		t.Error("a room is told of that nobody watches")
	}
}

// TestParts: a large room comes in parts, and is there when all have come.
func TestParts(t *testing.T) {
	now := time.Unix(1000, 0)
	s := NewSource("a", lease)
	var ids []string
	for i := range 2*partMembers + 1 {
		ids = append(ids, fmt.Sprint(i))
	}
	s.Watch("room", now, true)
	s.Start("room", ids)
	list := s.Tick(now)
	if len(list) != 3 {
		t.Fatalf("%d parts", len(list))
	}
	v := NewView(lease)
	for i, u := range list {
		if n := len(v.Members()); n != 0 {
			t.Errorf("%d members before part %d", n, i)
		}
		if v.Apply(&u, now) {
			t.Errorf("part %d is not taken", i)
		}
	}
	if len(v.Members()) != len(ids) {
		t.Errorf("%d members", len(v.Members()))
	}
	v = NewView(lease)
	v.Apply(&list[0], now)
	if !v.Apply(&list[2], now) || len(v.Members()) != 0 {
		t.Error("a part was missing, and nobody asks")
	}
	s.Note("room", "new", true)
	s.Watch("room", now, true)
	later := s.Tick(now.Add(time.Second))
	v = NewView(lease)
	if v.Apply(&list[0], now); !v.Apply(&later[1], now) || len(v.Members()) != 0 {
		t.Error("parts of two wholes are taken for one")
	}
}

// TestWholeIsNotRepeated: who asks again and again, while a large room is told of, does not fill
// the bus; a small one is told of at once, and changes in between.
func TestWholeIsNotRepeated(t *testing.T) {
	for _, n := range []int{10, 2*partMembers + 1} {
		now := time.Unix(1000, 0)
		s := NewSource("a", lease)
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint(i))
		}
		s.Watch("room", now, true)
		s.Start("room", ids)
		parts, changes := 0, 0
		for i := range 1000 { // a second
			s.Watch("room", now, true)
			if i%100 == 50 {
				s.Note("room", "new", i%200 == 50)
			}
			for _, u := range s.Tick(now) {
				if u.Parts > 0 {
					parts++
				} else {
					changes++
				}
			}
			now = now.Add(time.Millisecond)
		}
		if n == 10 && parts != 1000 || n > 10 && (parts < 45 || parts > 54 || changes < 8) {
			t.Errorf("%d members: %d parts, %d changes", n, parts, changes)
		}
		v := NewView(lease)
		s.Watch("room", now, true)
		for range 100 {
			for _, u := range s.Tick(now) {
				v.Apply(&u, now)
			}
			now = now.Add(time.Millisecond)
		}
		if len(v.Members()) != n {
			t.Errorf("%d of %d members", len(v.Members()), n)
		}
	}
}

// TestServersAreBounded: who makes servers up does not fill the memory.
func TestServersAreBounded(t *testing.T) {
	v := NewView(lease)
	for i := range 2 * maxServers {
		v.Apply(&Update{Room: "room", Server: fmt.Sprint(i), Part: 1, Parts: 1}, time.Unix(1000, 0))
	}
	if len(v.servers) != maxServers {
		t.Errorf("%d servers", len(v.servers))
	}
}

// TestForgottenRoom: a room that was forgotten, and is told of again, is not taken for what it
// was, although the whole got lost.
func TestForgottenRoom(t *testing.T) {
	now := time.Unix(1000, 0)
	s, v := NewSource("a", lease), NewView(lease)
	tick := func(lost bool) (ask bool) {
		for _, u := range s.Tick(now) {
			ask = !lost && v.Apply(&u, now) || ask
		}
		return ask
	}
	s.Watch("room", now, true)
	s.Start("room", []string{"ghost"})
	tick(false)
	now = now.Add(lease + 1) // no watch comes
	tick(false)
	if !s.Empty() {
		t.Fatal("it is not forgotten")
	}
	s.Watch("room", now, false) // the View, refreshed, still has it
	v.Refresh(now)
	s.Start("room", []string{"new"})
	tick(true)
	now = now.Add(lease / 2)
	if ask := tick(false); !ask {
		t.Fatal("the whole was lost, and nobody asks")
	}
	s.Watch("room", now, true)
	tick(false)
	if m := v.Members(); len(m) != 1 || m["new"].Server != "a" {
		t.Errorf("%v", m)
	}
}

// TestStops: one of two servers is stopped, for less than a lease, for one, or for longer, at any
// moment. The other sees its members go once and come back once, or stay; it sees the other's
// stay, whatever it finds in its queue when it goes on.
func TestStops(t *testing.T) {
	const step = 100 * time.Millisecond
	stayed, went := 0, 0
	for phase := range int(lease / step) {
		for _, stop := range []time.Duration{lease / 6, lease / 2, lease*2/3 - step, lease - 1, lease, lease + 1, lease + lease/3, 3 * lease} {
			w := &world{t: t, r: rand.New(rand.NewPCG(uint64(phase), 1)), now: time.Unix(1000, 0), servers: map[string]*server{}}
			a, b := w.add(), w.add()
			w.change(a)
			w.change(b)
			for range 100 + phase {
				w.step()
			}
			here := w.truth()
			if !same(a.view.Members(), here) || !same(b.view.Members(), here) {
				t.Fatal("they do not see each other")
			}
			changes := map[string][]int{} // how many members each sees, one after the other
			look := func(s *server) {
				n := len(s.view.Members())
				if list := changes[s.name]; len(list) == 0 || list[len(list)-1] != n {
					changes[s.name] = append(list, n)
				}
			}
			w.step()
			w.stopped = a // nothing comes out of it, and what is sent to it waits
			for end := w.now.Add(stop); w.now.Before(end); {
				w.pass(min(step, end.Sub(w.now)))
				look(b)
			}
			w.stopped = nil
			a.view.Refresh(w.now) // as package sockeye does after more than a sixth of a lease
			look(a)
			for range 200 {
				w.step()
				look(a)
				look(b)
			}
			if got := changes[a.name]; !slices.Equal(got, []int{2}) {
				t.Errorf("stopped for %v: it has seen %v", stop, got)
			}
			switch got := changes[b.name]; {
			case slices.Equal(got, []int{2}):
				stayed++
				if stop > lease+lease/6 {
					t.Errorf("stopped for %v: it has not gone", stop)
				}
			case slices.Equal(got, []int{2, 1, 2}):
				went++
				if stop < lease/2 {
					t.Errorf("stopped for %v: it has gone", stop)
				}
			default:
				t.Errorf("stopped for %v: the other has seen %v", stop, got)
			}
			if !same(a.view.Members(), here) || !same(b.view.Members(), here) {
				t.Errorf("stopped for %v: a ghost", stop)
			}
		}
	}
	if stayed == 0 || went == 0 {
		t.Errorf("%d stayed, %d went", stayed, went)
	}
}
