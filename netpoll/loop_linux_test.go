package netpoll_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// TestGoexitInCallback, as t.Fatal does it: it costs the connection, or the job, and
// the loop goes on with what else there is to do.
func TestGoexitInCallback(t *testing.T) {
	t.Parallel()
	m := &mine{request: func(c *netpoll.Conn, r *http1.Request) {
		if string(r.Path) == "/mine/exit" {
			runtime.Goexit()
		}
		respond(c, "ok")
	}}
	g, addr := listen(t, netpoll.Config{}, m)
	l := g.Loop(0)
	other := dial(t, addr)
	r := bufio.NewReader(other)
	for round := range 5 {
		c := dial(t, addr)
		send(t, c, "%s", get("/mine/exit"))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("answered")
		}
		var ran atomic.Int64
		letGo := blockLoop0(t, g) // so that the jobs come at once
		for i := range 10 {
			l.PostNow(func(_, _ any) {
				ran.Add(1)
				l.Check()
				if i == 3 {
					runtime.Goexit()
				}
			}, nil, nil, 0)
		}
		a := &alarm{f: func() { runtime.Goexit() }}
		l.PostNow(func(_, _ any) { l.Arm(&a.Timer, a, 1) }, nil, nil, 0)
		letGo()
		eventually(t, "all jobs have run", func() bool { return ran.Load() == 10 })
		send(t, other, "%s", get("/mine/a"))
		if _, body := response(t, r, "GET"); body != "ok" {
			t.Errorf("%q", body)
		}
		eventually(t, "the timer has ended its goroutine, too", func() bool { return g.Stats().CallbackPanics == uint64(3*(round+1)) })
	}
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Error(err)
	}
}

// TestTwoGroups: loops that post to each other without end, across groups, do not
// wait for each other.
func TestTwoGroups(t *testing.T) {
	t.Parallel()
	const most, each = 100, 20_000
	var groups [2]*netpoll.Group
	for i := range groups {
		groups[i], _ = listen(t, netpoll.Config{MaxPostedJobs: most}, &mine{})
	}
	var ran atomic.Int64
	count := func(_, _ any) { ran.Add(1) }
	flood := func(a, _ any) {
		for range each {
			a.(*netpoll.Loop).Post(count, nil, nil, 0)
		}
	}
	for i, g := range groups {
		g.Loop(0).PostNow(flood, groups[1-i].Loop(0), nil, 0)
	}
	eventually(t, "all jobs have run", func() bool { return ran.Load() == 2*each })
}

// TestGoexitBehindUnread: a callback that ends its goroutine while input that was left
// unread is worked through costs its own connection only.
func TestGoexitBehindUnread(t *testing.T) {
	var first atomic.Pointer[netpoll.Conn]
	m := &mine{request: func(c *netpoll.Conn, r *http1.Request) {
		switch string(r.Path) {
		case "/mine/later":
			first.Store(c)
		case "/mine/exit":
			runtime.Goexit()
		default:
			respond(c, "ok")
		}
	}}
	g, addr := listen(t, netpoll.Config{}, m)
	c := dial(t, addr)
	send(t, c, "%s%s", get("/mine/later"), get("/mine/exit"))
	eventually(t, "the first request is here", func() bool { return first.Load() != nil })
	turned(t, g.Loop(0))
	g.Loop(0).PostNow(func(a, _ any) { respond(a.(*netpoll.Conn), "late") }, first.Load(), nil, 0)
	if b, err := io.ReadAll(c); err == nil && bytes.Contains(b, []byte("ok")) {
		t.Errorf("%q", b)
	}
	if _, body := ask(t, addr, string(get("/mine/a"))); body != "ok" {
		t.Errorf("%q", body)
	}
}

// TestGoexitInBacklog: nor does it cost those that wait for their next share.
func TestGoexitInBacklog(t *testing.T) {
	m := &mine{}
	var exits, answered atomic.Int32
	m.request = func(c *netpoll.Conn, r *http1.Request) {
		if string(r.Path) == "/mine/exit" {
			exits.Add(1)
			runtime.Goexit()
		}
		time.Sleep(10 * time.Microsecond) // a share is soon used up
		answered.Add(1)
		respond(c, "ok")
	}
	g, addr := listen(t, netpoll.Config{}, m)
	const many = 40
	bad, good := dial(t, addr), dial(t, addr)
	turned(t, g.Loop(0))
	letGo := blockLoop0(t, g)
	send(t, bad, "%s%s", strings.Repeat(string(get("/mine/a")), many), get("/mine/exit"))
	send(t, good, "%s", strings.Repeat(string(get("/mine/a")), many))
	letGo()
	r := bufio.NewReader(good)
	_ = good.SetDeadline(time.Now().Add(5 * time.Second))
	for i := range many {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}

// TestGoexitInTimer: nor timers that are due at the same time.
func TestGoexitInTimer(t *testing.T) {
	g, _ := listen(t, netpoll.Config{}, &mine{})
	l := g.Loop(0)
	var fired atomic.Int32
	alarms := [4]*alarm{}
	for i := range alarms {
		alarms[i] = &alarm{f: func() {
			if fired.Add(1) == 1 {
				runtime.Goexit()
			}
		}}
	}
	l.PostNow(func(_, _ any) {
		for _, a := range alarms {
			l.Arm(&a.Timer, a, 5*time.Millisecond)
		}
	}, nil, nil, 0)
	eventually(t, "all timers have fired", func() bool { return fired.Load() == 4 })
}

// TestBacklogAndReady: a connection that has had its share and is to be looked at again
// has one share a turn, and works on when it moves.
func TestBacklogAndReady(t *testing.T) {
	a := &app{}
	var n *netpolltest.Net
	late := &alarm{}
	moved := 0
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		switch string(r.Path) {
		case "/hold":
			late.f = func() { respond(c, "held") }
			c.Loop().Arm(&late.Timer, late, 10*time.Millisecond)
		case "/move":
			if to := n.Group.Loop(1); c.Loop() != to {
				moved++
				c.MoveTo(to, r)
				return
			}
			fallthrough
		default:
			respond(c, "x")
		}
	}
	n = start(t, netpoll.Config{}, a, 2)
	p := n.Dial(0)
	p.Write(get("/hold"))
	p.Write([]byte(strings.Repeat(string(get("/a")), 200)))
	n.Run()
	p.Write([]byte(strings.Repeat(string(get("/a")), 10)))
	p.Write(get("/move"))
	n.Skip(10 * time.Millisecond)
	n.Group.Loop(0).Deliver(false, 1) // the timer and the socket at once
	n.Run()
	p.Write(get("/b"))
	n.Run()
	if got, s := len(bodies(t, p.Read())), n.Group.Stats(); got != 213 || moved != 1 || s.Yields != 1 {
		t.Errorf("%d answers, moved %d times, %d yields", got, moved, s.Yields)
	}
}
