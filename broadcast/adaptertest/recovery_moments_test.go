package adaptertest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye"
)

// reaches waits until a step is reached.
func reaches(t *testing.T, at <-chan struct{}) {
	t.Helper()
	Eventually(t, "the step is reached", func() bool {
		select {
		case <-at:
			return true
		default:
			return false
		}
	})
}

// TestLeaveOfThePast: Leave, called of a socket that has gone and has not been written yet,
// does not change what its peer comes back to.
func TestLeaveOfThePast(t *testing.T) {
	_, w, buses := steppedWorld(t, 2)
	p := w.wire(0, "")
	s := w.servers[0].Socket(p.id)
	_ = s.Join("red")
	at, goOn := buses[0].arm("before the record is written")
	_ = s.Join("blue")
	reaches(t, at)
	p.close()
	Eventually(t, "it has gone", func() bool { return !s.Connected() && w.servers[0].RecoveryStats().Sockets == 0 })
	s.Leave("red")
	for range 2 { // the one that is under way, and that of the end
		var next func()
		at, next = buses[0].arm("the record is written")
		goOn()
		reaches(t, at)
		goOn = next
	}
	goOn()
	q := w.wire(1, asks(p.pid, ""))
	if q.id != p.id {
		t.Fatal("not recovered")
	}
	if rooms := w.servers[1].Socket(q.id).Rooms(); len(rooms) != 3 {
		t.Errorf("it comes back to %q", rooms)
	}
}

// TestGoesWhileRestored: of a peer that goes while it is restored, and comes no more,
// nothing is left.
func TestGoesWhileRestored(t *testing.T) {
	_, w, buses := steppedWorld(t, 2)
	p := w.wire(0, "")
	p.close()
	w.gone(0, p.id)
	at, goOn := buses[1].arm("the record is taken")
	defer goOn()
	second := w.opens(1)
	second.do(http.MethodPost, "40"+asks(p.pid, ""))
	reaches(t, at)
	second.close()
	Eventually(t, "its session has ended", func() bool { return w.servers[1].Stats().Engine.Sessions == 0 })
	goOn()
	Eventually(t, "it is restored", func() bool { return w.servers[1].RecoveryStats().Recovered == 1 })
	Eventually(t, "nothing is left", func() bool { return w.servers[1].RecoveryStats().Sockets == 0 })
}

// TestDataOfAKilledServer: what SetData has kept is there when its server was killed.
func TestDataOfAKilledServer(t *testing.T) {
	hub, w, buses := steppedWorld(t, 2)
	p := w.wire(0, "")
	w.servers[0].Socket(p.id).SetData("later")
	Eventually(t, "it is written", func() bool {
		hub.kept.mu.Lock()
		defer hub.kept.mu.Unlock()
		s := hub.kept.sessions[p.pid+"/"]
		return s != nil && strings.Contains(string(s.data), `"data":"later"`)
	})
	buses[0].dead.Store(true)
	p.torn = true
	_ = w.servers[0].Close()
	q := w.wire(1, asks(p.pid, ""))
	if q.id != p.id || w.servers[1].Socket(q.id).Data() != "later" {
		t.Errorf("recovered %v, with %v", q.id == p.id, w.servers[1].Socket(q.id).Data())
	}
}

// TestMiddlewareOfOneThatComesBack sees the rooms that it had, and may take it out of them;
// what it emits does not say that what was missed has come.
func TestMiddlewareOfOneThatComesBack(t *testing.T) {
	hub, w, buses := steppedWorld(t, 3)
	var had atomic.Value
	had.Store("[blue red]")
	for i, srv := range w.servers[1:] {
		srv.Use(func(s *sockeye.Socket) error {
			rooms := s.Rooms()
			slices.Sort(rooms[1:])
			if got := fmt.Sprint(rooms[1:]); got != had.Load() {
				t.Errorf("it sees %s", got)
			}
			_ = s.Emit("early")
			s.Leave("blue")
			buses[1+i].step("middleware")
			return s.Join("green")
		})
	}
	p := w.wire(0, "")
	if err := w.servers[0].Socket(p.id).Join("red", "blue"); err != nil {
		t.Fatal(err)
	}
	w.emit(w.servers[0].To("red"), "n", 0)
	p.until("n[0]")
	p.close()
	w.gone(0, p.id)
	w.emit(w.servers[2].To("red"), "n", 1)
	Eventually(t, "the hub has it", func() bool { return hub.keeps(`["n",1]`) })

	at, goOn := buses[1].arm("middleware")
	defer goOn()
	second := w.opens(1)
	second.do(http.MethodPost, "40"+asks(p.pid, p.offsets[0]))
	second.until("early[]")
	reaches(t, at)
	second.close()
	goOn()
	if len(second.got) != 1 {
		t.Fatalf("%q has come", second.got)
	}
	third := w.wire(2, asks(p.pid, second.offsets[0]))
	third.until("n[1]")
	if third.id != p.id || len(third.got) != 2 {
		t.Errorf("recovered %v, %q has come", third.id == p.id, third.got)
	}
	rooms := w.servers[2].Socket(third.id).Rooms()
	slices.Sort(rooms[1:])
	if got := fmt.Sprint(rooms[1:]); got != "[green red]" {
		t.Errorf("it is in %s", got)
	}
	s := w.servers[2].Socket(third.id)
	third.close()
	Eventually(t, "it is written", func() bool {
		hub.kept.mu.Lock()
		defer hub.kept.mu.Unlock()
		return !s.Connected() && strings.Contains(string(hub.kept.sessions[p.pid+"/"].data), `"green"`)
	})
	had.Store("[green red]")
	if fourth := w.wire(1, asks(p.pid, third.offsets[len(third.offsets)-1])); fourth.id != p.id {
		t.Error("not recovered")
	}
}

// TestExceptedThen: who was excepted from an event, as a member of a room that it has left
// since, does not get it when it comes back.
func TestExceptedThen(t *testing.T) {
	hub, w, _ := steppedWorld(t, 3)
	p := w.wire(0, "")
	s := w.servers[0].Socket(p.id)
	w.emit(w.servers[0].All(), "n", 0)
	p.until("n[0]")
	for i := range 3 {
		_ = s.Join("guests")
		w.emit(w.servers[i%2].Except("guests"), "secret", i)
		Eventually(t, "the hub has it", func() bool { return hub.keeps(fmt.Sprintf(`["secret",%d]`, i)) })
		s.Leave("guests")
	}
	w.emit(w.servers[1].Except("guests"), "n", 1)
	p.until("n[1]")
	first := p.offsets[0]
	for server := range 3 { // with the offset of before, also twice
		p.close()
		w.gone(server, p.id)
		id := p.id
		if p = w.wire((server+1)%3, asks(p.pid, first)); p.id != id {
			t.Fatal("not recovered")
		}
		p.until("n[1]")
		if fmt.Sprint(p.got) != "[n[1]]" {
			t.Errorf("%q has come", p.got)
		}
	}
}

// TestUnwritten: a peer that asks for what its server has not written yet gets it as it is,
// and not as it was written before.
func TestUnwritten(t *testing.T) {
	_, w, buses := steppedWorld(t, 1)
	p := w.wire(0, "")
	s := w.servers[0].Socket(p.id)
	at, goOn := buses[0].arm("before the record is written")
	_ = s.Join("red")
	reaches(t, at)
	p.torn = true
	q := w.opens(0)
	q.do(http.MethodPost, "40"+asks(p.pid, ""))
	Eventually(t, "the one before has ended", func() bool { return !s.Connected() })
	goOn()
	Eventually(t, "it is back", func() bool { return w.servers[0].RecoveryStats().Recovered == 1 })
	Eventually(t, "it is in", func() bool { return w.servers[0].Socket(p.id) != nil })
	if rooms := w.servers[0].Socket(p.id).Rooms(); len(rooms) != 2 {
		t.Errorf("it comes back to %q", rooms)
	}
}
