package netpoll_test

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// alarm is a timer with a callback.
type alarm struct {
	netpoll.Timer
	f func()
}

func (a *alarm) Expire(*netpoll.Timer) { a.f() }

// TestPanicInTimer costs that timer, and nothing else.
func TestPanicInTimer(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	p := upgrade(t, n, 0)
	l := n.Group.Loop(0)
	fired := 0
	var alarms []*alarm
	for i := range 10 {
		alarms = append(alarms, &alarm{f: func() {
			if fired++; i%2 == 0 {
				panic("in a timer")
			}
		}})
	}
	l.Post(func(_, _ any) {
		for _, a := range alarms {
			l.Arm(&a.Timer, a, time.Second)
		}
	}, nil, nil, 0)
	n.Advance(2 * time.Second)
	if got := n.Group.Stats().CallbackPanics; fired != 10 || got != 5 {
		t.Errorf("%d fired, %d panics counted", fired, got)
	}
	p.Write(frame(gobwas.NewTextFrame([]byte("still here"))))
	n.Run()
	expect(t, frames(t, p.Read()), "text:still here")
}

// TestHugeTimes: a time that is too long for the clock is for ever, and not at once.
func TestHugeTimes(t *testing.T) {
	const huge = time.Duration(math.MaxInt64)
	cfg := netpoll.Config{HeadTimeout: huge, BodyTimeout: huge, WriteTimeout: huge, IdleTimeout: huge, CloseTimeout: huge}
	for _, in := range []string{"", "GET", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", string(get("/")), "GET / HTTP/1.0\r\n\r\n"} {
		n := start(t, cfg, &app{}, 1)
		p := n.Dial(0)
		p.SetWindow(10)
		p.Write([]byte(in))
		for range 30 {
			n.Advance(24 * time.Hour)
		}
		if p.Closed() {
			t.Errorf("%q: closed", in)
		}
	}
}

// TestReadsBeforeLateDeadlines: after the process has been stopped, or the loop busy,
// for longer than a deadline, what peers have sent in time is read first.
func TestReadsBeforeLateDeadlines(t *testing.T) {
	for _, stop := range []time.Duration{2 * time.Second, 30 * time.Second, time.Hour} {
		a := &app{}
		n := start(t, netpoll.Config{HeadTimeout: 900 * time.Millisecond, BodyTimeout: 900 * time.Millisecond, IdleTimeout: 900 * time.Millisecond}, a, 2)
		var overdue []string
		var inTime []*netpolltest.Peer
		deadlines := map[*netpoll.Conn]*alarm{}
		a.message = func(c *netpoll.Conn, _ []byte, _ bool) { c.Loop().Stop(&deadlines[c].Timer) }
		for i := range 2 {
			good, bad := upgrade(t, n, i), upgrade(t, n, i)
			for k, c := range a.conns[len(a.conns)-2:] {
				name := []string{"good", "bad"}[k]
				deadlines[c] = &alarm{f: func() { overdue = append(overdue, name) }}
				c.Loop().Post(func(_, _ any) { c.Loop().Arm(&deadlines[c].Timer, deadlines[c], 800*time.Millisecond) }, nil, nil, 0)
			}
			inTime = append(inTime, good)
			_ = bad
		}
		head, body, idle, none := n.Dial(0), n.Dial(1), n.Dial(0), n.Dial(1)
		head.Write(get("/head")[:10])
		body.Write(post("/body", "abc")[:len(post("/body", "abc"))-1])
		idle.Write(get("/idle"))
		n.Run()
		idle.Read()
		for _, p := range inTime {
			p.Write(frame(gobwas.NewTextFrame([]byte("pong"))))
		}
		head.Write(get("/head")[10:])
		body.Write([]byte("c"))
		idle.Write(get("/next"))
		n.Skip(stop)
		n.Advance(100 * time.Millisecond)
		if !slices.Equal(overdue, []string{"bad", "bad"}) {
			t.Errorf("stopped for %v: overdue are %v", stop, overdue)
		}
		for p, want := range map[string][]byte{"/head|": head.Read(), "/body|abc": body.Read(), "/next|": idle.Read()} {
			if !bytes.HasSuffix(want, []byte(p)) {
				t.Errorf("stopped for %v: %q, want %s", stop, want, p)
			}
		}
		if !none.Closed() {
			t.Errorf("stopped for %v: a peer that has sent nothing is still there", stop)
		}
	}
}

// TestThaw: after the process has been frozen, deadlines wait for what has to be
// accepted, read and moved first, and not for long.
func TestThaw(t *testing.T) {
	n := start(t, netpoll.Config{HeadTimeout: 900 * time.Millisecond}, &app{}, 1)
	l := n.Group.Loop(0)
	answered, overdue := &alarm{}, 0
	answered.f = func() { overdue++ }
	l.Post(func(_, _ any) { l.Arm(&answered.Timer, answered, time.Second) }, nil, nil, 0)
	n.Run()
	n.Skip(2 * time.Second)
	n.Run() // what is known to the loop has been read
	for range 3 {
		n.Advance(30 * time.Millisecond)
		if overdue != 0 {
			t.Fatal("the deadline was over before what was under way could arrive")
		}
	}
	n.Advance(30 * time.Millisecond)
	if overdue != 1 {
		t.Errorf("120 ms after the process has gone on, the deadline has fired %d times", overdue)
	}
}

// TestReadsBeforeSlightlyLateDeadlines: the same where the loop has only been busy for
// a moment in which a deadline came: what had arrived before it was in time.
func TestReadsBeforeSlightlyLateDeadlines(t *testing.T) {
	for _, late := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 240 * time.Millisecond} {
		n := start(t, netpoll.Config{HeadTimeout: time.Second}, &app{}, 1)
		p := n.Dial(0)
		p.Write(get("/head")[:10])
		n.Advance(990 * time.Millisecond)
		p.Write(get("/head")[10:]) // 10 ms before its deadline
		n.Skip(10*time.Millisecond + late)
		n.Run()
		if out := p.Read(); !bytes.HasSuffix(out, []byte("/head|")) {
			t.Errorf("%v late: %.20q", late, out)
		}
	}
}
