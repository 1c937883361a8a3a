package netpoll_test

import (
	"bufio"
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
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
