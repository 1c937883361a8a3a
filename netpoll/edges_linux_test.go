//go:build linux

package netpoll_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// TestLargeHeadLimit: a limit above the size of one read does no harm to what arrives
// in pieces.
func TestLargeHeadLimit(t *testing.T) {
	a := &app{}
	n := start(t, netpoll.Config{MaxHeadBytes: 256 << 10, MaxRequestLineBytes: 8 << 10}, a, 1)
	p := n.Dial(0)
	request := []byte("GET /a HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: "+strings.Repeat("x", 2000)+"\r\n", 70) + "\r\n")
	for _, part := range [][]byte{request[:20], request[20:30], request[30:]} {
		p.Write(part)
		n.Run()
	}
	if got := bodies(t, p.Read()); len(got) != 1 || got[0] != "/a|" || n.Group.Stats().CallbackPanics != 0 {
		t.Errorf("%q, %+v", got, n.Group.Stats())
	}
}

// TestRequestAfterSlowlyReadAnswer: a peer that had not read an answer when
// IdleTimeout was over, and has read it since, is served, and closed when it is idle.
func TestRequestAfterSlowlyReadAnswer(t *testing.T) {
	a := &app{}
	n := start(t, netpoll.Config{}, a, 1)
	p := n.Dial(0)
	p.SetWindow(10_000)
	p.Write(get("/a"))
	n.Run()
	n.Advance(76 * time.Second)
	if got := bodies(t, p.Read()); len(got) != 1 || p.Closed() {
		t.Fatalf("%q, closed: %v", got, p.Closed())
	}
	p.Write(get("/b"))
	n.Run()
	if got := bodies(t, p.Read()); len(got) != 1 || got[0] != "/b|" {
		t.Errorf("the next request: %q", got)
	}
	n.Advance(10 * time.Minute)
	if !p.Closed() || p.WasReset() || n.Group.Stats().Open != 0 {
		t.Errorf("closed: %v, reset: %v", p.Closed(), p.WasReset())
	}
}

// TestIdleEndsAfterSlowlyReadAnswer is the same without a next request.
func TestIdleEndsAfterSlowlyReadAnswer(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	p := n.Dial(0)
	p.SetWindow(10_000)
	p.Write(get("/a"))
	n.Run()
	n.Advance(76 * time.Second)
	p.Read()
	n.Advance(10 * time.Minute)
	if !p.Closed() || p.WasReset() || n.Group.Stats().Open != 0 {
		t.Errorf("closed: %v, reset: %v", p.Closed(), p.WasReset())
	}
}

// TestLentGivesItsChargeBack: what was charged for a request that had come in pieces
// is given back however the connection ends at net/http.
func TestLentGivesItsChargeBack(t *testing.T) {
	var group atomic.Pointer[netpoll.Group]
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if used := group.Load().Memory().Used(); used < 30_000 {
			t.Errorf("%s: %d bytes are charged for a request of 30,000", r.URL.Path, used)
		}
		if r.URL.Path == "/hijack" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.Close()
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{})
	group.Store(g)
	for _, path := range []string{"/hijack", "/echo"} {
		c := dial(t, addr)
		send(t, c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n%s", path, pattern(15_000))
		eventually(t, "the first piece is charged", func() bool { return g.Memory().Used() > 15_000 })
		send(t, c, "%s", pattern(15_000))
		if path == "/echo" {
			response(t, bufio.NewReader(c), "POST")
		}
		_ = c.Close()
		eventually(t, "the connection is counted out", func() bool { return g.Stats().Open == 0 })
		if used := g.Memory().Used(); used != 0 {
			t.Errorf("%s: %d bytes are charged", path, used)
		}
	}
}

// TestHijackAfterTheEnd: a handler that hijacks after Group.Close has cut its
// connection does not have it counted out, or its descriptor closed, twice.
func TestHijackAfterTheEnd(t *testing.T) {
	served, ended, hijacked := make(chan struct{}), make(chan struct{}), make(chan error)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(served)
		<-ended
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, err = c.Write([]byte("x"))
			_ = c.Close()
		}
		hijacked <- err
	})
	var closes atomic.Int32
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{closed: func(*netpoll.Conn, error) { closes.Add(1) }})
	c := dial(t, addr)
	send(t, c, "%s", get("/"))
	within(t, "the handler is called", served)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_ = g.Close(done)
	close(ended)
	if err := within(t, "Hijack returns", hijacked); err == nil {
		t.Error("the connection can be written to")
	}
	if s := g.Stats(); s.Open != 0 || s.Lent != 0 || s.MemoryBytes != 0 || closes.Load() != 1 {
		t.Errorf("%+v, %d calls of HandleClose", s, closes.Load())
	}
}

// TestEndedConnIsNoHolder: a connection that ends with input and output held is not
// looked at when memory is spent later.
func TestEndedConnIsNoHolder(t *testing.T) {
	a := &app{}
	a.message = func(c *netpoll.Conn, _ []byte, _ bool) { sendFrame(c, pattern(50_000), true) }
	n := start(t, netpoll.Config{MaxMemory: 1 << 20}, a, 1)
	p := upgrade(t, n, 0)
	p.SetWindow(10)
	f := frame(gobwas.NewTextFrame([]byte("m")))
	for range 3 {
		p.Write(f)
		n.Run()
	}
	p.Write(frame(gobwas.NewBinaryFrame(pattern(9_000)))[:5_000])
	n.Run()
	p.Reset()
	n.Run()
	n.Advance(time.Second)
	if s := n.Group.Stats(); s.Open != 0 || s.MemoryBytes != 0 {
		t.Fatalf("%+v", s)
	}
	n.Group.Memory().Add(2 << 20) // a layer above
	n.Run()
	if s := n.Group.Stats(); s.Shed != 0 {
		t.Errorf("%d holders were ended, and there is none", s.Shed)
	}
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

// TestCloseOfPausedConn: a WebSocket whose handler has paused it is closed as others
// are: what was sent before, and is on its way, arrives.
func TestCloseOfPausedConn(t *testing.T) {
	a := &app{}
	a.message = func(c *netpoll.Conn, data []byte, binary bool) {
		sendFrame(c, data, binary)
		c.Pause()
	}
	n := start(t, netpoll.Config{}, a, 1)
	p := upgrade(t, n, 0)
	p.Write(frame(gobwas.NewTextFrame([]byte("a"))))
	n.Run()
	p.Write(frame(gobwas.NewTextFrame([]byte("b"))))
	n.Run()
	n.Group.Loop(0).PostNow(func(c, _ any) { c.(*netpoll.Conn).Close(errors.New("enough")) }, a.conns[0], nil, 0)
	n.Run()
	if p.Closed() || !p.Ended() || p.Unread() != 0 {
		t.Errorf("closed at once: %v, ended: %v, %d bytes unread", p.Closed(), p.Ended(), p.Unread())
	}
	p.Close()
	n.Run()
	if !p.Closed() || p.WasReset() {
		t.Error("not closed")
	}
}

// TestPauseWhileInflating: a message that is inflated when its connection is paused
// waits for Resume, and is given back if that does not come.
func TestPauseWhileInflating(t *testing.T) {
	for _, resume := range []bool{true, false} {
		a := &app{}
		var got []string
		a.message = func(_ *netpoll.Conn, data []byte, _ bool) { got = append(got, string(data[:1])) }
		n := start(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, a, 1)
		p, head := handshake(n, offer)
		if !strings.Contains(head, "permessage-deflate") {
			t.Fatal(head)
		}
		c, l := a.conns[0], n.Group.Loop(0)
		p.Write(compressed(gobwas.OpText, bytes.Repeat([]byte("a"), 200_000)))
		p.Write(frame(gobwas.NewTextFrame([]byte("b"))))
		l.Claim()
		l.Deliver(false, 1)
		c.Pause()
		if !n.RunUntil(10*time.Second, func() bool { return n.Group.Memory().Used() >= 200_000 }) {
			t.Errorf("%d bytes are charged while 200,000 wait", n.Group.Memory().Used())
		}
		if n.Run(); len(got) > 0 {
			t.Errorf("%q were delivered to a paused connection", got)
		}
		want := 2
		if !resume {
			want = 0
			c.Abort(nil)
			n.Run()
		}
		c.Resume()
		if n.Run(); len(got) != want || n.Group.Memory().Used() != 0 {
			t.Errorf("resumed %v: %q, %d bytes are charged", resume, got, n.Group.Memory().Used())
		}
	}
}

// TestUpgradeOfBrokenConn: the peer has gone, which the answers before show.
func TestUpgradeOfBrokenConn(t *testing.T) {
	a := &app{}
	var p *netpolltest.Peer
	var upgraded []error
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		if string(r.Path) == "/ws" {
			p.Reset()
			upgraded = append(upgraded, c.Upgrade(r, nil))
			if c.Open() {
				t.Error("open")
			}
			return
		}
		respond(c, "x")
	}
	n := start(t, netpoll.Config{}, a, 1)
	p = n.Dial(0)
	p.Write([]byte(strings.Repeat(string(get("/a")), 16)))
	p.Write([]byte("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	n.Run()
	if s := n.Group.Stats(); s.Open != 0 || len(a.closed) != 1 || len(upgraded) != 1 || upgraded[0] == nil {
		t.Errorf("%+v, closed %v, upgraded %v", s, a.closed, upgraded)
	}
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

// TestLentAtTheEnd: a request that comes to net/http after Group.Close has cut what is
// there is cut, too.
func TestLentAtTheEnd(t *testing.T) {
	claims := make(chan struct{})
	goOn := make(chan struct{})
	m := &blockingClaims{reached: claims, goOn: goOn}
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	g, addr := listen(t, netpoll.Config{Fallback: h}, m)
	c := dial(t, addr)
	send(t, c, "%s", get("/"))
	within(t, "the loop looks at the request", claims)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error, 1)
	go func() { closed <- g.Close(done) }()
	eventually(t, "net/http has ended", func() bool { return m.ended(g) })
	close(goOn)
	within(t, "Close returns", closed)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Error("the connection is open:", err)
	}
	if s := g.Stats(); s.Open != 0 || s.Lent != 0 {
		t.Errorf("%+v", s)
	}
}

type blockingClaims struct {
	mine
	reached, goOn chan struct{}
}

func (b *blockingClaims) Claims([]byte) bool {
	close(b.reached)
	<-b.goOn
	return false
}

// ended waits until lender.end is over.
func (b *blockingClaims) ended(*netpoll.Group) bool {
	buf := make([]byte, 1<<16)
	s := string(buf[:runtime.Stack(buf, true)])
	return !strings.Contains(s, "waitForConns") && !strings.Contains(s, "lender).Accept") && !strings.Contains(s, "lender).end")
}

var _ = fmt.Sprint
