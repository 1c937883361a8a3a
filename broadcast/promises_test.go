package broadcast

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// opened tells of sessions.
type opened chan *engine.Session

func (o opened) OnOpen(s *engine.Session)                    { o <- s }
func (o opened) OnMessage(*engine.Session, []byte, bool)     {}
func (o opened) OnClose(*engine.Session, engine.CloseReason) {}

// live is rooms over the loops of a real group, with sessions of real connections.
func live(t *testing.T, cfg netpoll.Config, members int, deliver func(m *Member, msg *engine.Message)) (*Rooms, []*Member) {
	t.Helper()
	sessions := make(opened, members)
	e, err := engine.New(engine.Config{}, sessions)
	if err != nil {
		t.Fatal(err)
	}
	g, err := engine.Start(cfg, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = g.Close(ctx)
	})
	addr, err := g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := New(g, func(m *Member, msg *engine.Message, _ bool) { deliver(m, msg) })
	var all []*Member
	for i := range members {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		m := &Member{ID: fmt.Sprint("id", i), Session: <-sessions}
		r.Add(m)
		all = append(all, m)
	}
	return r, all
}

// TestEveryWaiterIsWoken: of many who wait for a loop that is held up all are let go,
// those who have nobody to send to at once; Close and contexts end the wait.
func TestEveryWaiterIsWoken(t *testing.T) {
	var delivered atomic.Int64
	r, members := live(t, netpoll.Config{Loops: 1}, 1, func(*Member, *engine.Message) { delivered.Add(1) })
	hold, goOn := make(chan struct{}), make(chan struct{})
	members[0].Session.Loop().Post(func(_, _ any) { close(hold); <-goOn }, nil, nil, 0)
	<-hold
	msg := message("x")
	for range maxPending {
		if err := r.Broadcast(msg, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	const waiters = 500
	var waiting, nobody sync.WaitGroup
	for i := range waiters {
		waiting.Go(func() {
			if err := r.Broadcast(msg, Options{}); err != nil {
				t.Error(err)
			}
		})
		waiting.Go(func() { _ = r.WaitForSpace(Options{}) })
		nobody.Go(func() {
			if err := r.Broadcast(msg, Options{Rooms: []string{fmt.Sprint("nobody", i)}}); err != nil {
				t.Error(err)
			}
		})
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if err := r.Broadcast(msg, Options{Context: ctx}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	nobody.Wait() // the loop is still held up
	close(goOn)
	done := make(chan struct{})
	go func() { waiting.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("some were not woken")
	}
	r.Close()
	if err := r.Broadcast(msg, Options{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestOrderWhileOthersLeave: what a goroutine broadcasts to a member's room and sends
// to the member alone arrives in that order, though others make it leave meanwhile and
// posting has to wait.
func TestOrderWhileOthersLeave(t *testing.T) {
	for _, jobs := range []int{2, 8} {
		var mu sync.Mutex
		last := map[*Member]int{}
		bad := 0
		note := func(m *Member, n int) {
			mu.Lock()
			defer mu.Unlock()
			if n < last[m] {
				bad++
			}
			last[m] = n
		}
		r, members := live(t, netpoll.Config{Loops: 2, MaxPostedJobs: jobs}, 8, func(m *Member, msg *engine.Message) {
			var n int
			_, _ = fmt.Sscan(string(msg.B[11:]), &n)
			note(m, n)
		})
		stop := make(chan struct{})
		var others sync.WaitGroup
		for range 3 {
			others.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					m := members[i%len(members)]
					r.Leave(m, "room")
					r.Join(m, "room")
				}
			})
		}
		for n := 1; n < 2000; n += 2 {
			m := members[n%len(members)]
			msg := message(fmt.Sprint(n))
			if err := r.Broadcast(msg, Options{Rooms: []string{"room"}}); err != nil {
				t.Fatal(err)
			}
			msg.Release()
			m.Session.Loop().Post(func(a, b any) {
				r.Settle(a.(*Member))
				note(a.(*Member), b.(int))
			}, m, n+1, 0)
		}
		close(stop)
		others.Wait()
		mu.Lock()
		if bad > 0 {
			t.Errorf("MaxPostedJobs %d: %d times out of order", jobs, bad)
		}
		mu.Unlock()
	}
}

// TestNamesHideNoIDs: a room that is named like a member's ID takes nothing from the
// member and gives nothing to it.
func TestNamesHideNoIDs(t *testing.T) {
	for loops := 1; loops <= 2; loops++ {
		w := newWorld(t, loops, 4)
		m := w.members
		w.rooms.Join(m[1], m[0].ID)
		w.rooms.Join(m[0], m[0].ID)
		w.broadcast("to the name", Options{Rooms: []string{m[0].ID}})
		w.broadcast("to the member", Options{Member: m[0]})
		w.broadcast("not to the name", Options{Except: []string{m[0].ID}})
		w.net.Run()
		w.want(m[0], "to the name", "to the member")
		w.want(m[1], "to the name")
		w.want(m[2], "not to the name")
		if in, ok := w.rooms.In(m[0]); !ok || len(in) != 0 {
			t.Errorf("it is in %q besides its own room", in)
		}
		if got := w.rooms.Members(Options{Rooms: []string{m[0].ID}}); len(got) != 2 {
			t.Errorf("%d members", len(got))
		}
		w.onLoop(m[0], func() { w.rooms.Remove(m[0]); w.rooms.Remove(m[0]) })
		if w.rooms.Add(m[0]) || len(w.rooms.Members(Options{Member: m[0]})) != 0 {
			t.Error("it has been added after it was removed")
		}
		w.rooms.Join(m[0], "x")
		if w.rooms.Count() != 1 || w.rooms.Len() != 3 {
			t.Errorf("%d rooms, %d members", w.rooms.Count(), w.rooms.Len())
		}
	}
}

func (w *world) onLoop(m *Member, f func()) {
	m.Session.Loop().Post(func(_, _ any) { f() }, nil, nil, 0)
	w.net.Run()
}

// TestObserveLater: rooms that were joined before are counted, over all loops; the
// function may call everything.
func TestObserveLater(t *testing.T) {
	w := newWorld(t, 2, 4)
	m := w.members
	w.rooms.Join(m[0], "old")
	w.rooms.Join(m[1], "old")
	var mu sync.Mutex
	var got []string
	events := make(chan struct{}, 100)
	w.rooms.Observe(func(e RoomEvent) {
		w.rooms.Join(m[3], "from within")
		_ = w.rooms.Len()
		mu.Lock()
		defer mu.Unlock()
		if e.Room != "from within" {
			got = append(got, fmt.Sprintf("%s %s %s", e.Kind, e.Room, e.ID))
			events <- struct{}{}
		}
	})
	w.rooms.Leave(m[0], "old")
	w.rooms.Leave(m[1], "old")
	w.rooms.Join(m[0], "new")
	want := []string{
		"leave-room old id0", "leave-room old id1", "delete-room old ", "create-room new ", "join-room new id0",
	}
	for range want {
		select {
		case <-events:
		case <-time.After(10 * time.Second):
			t.Fatal("not told")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
