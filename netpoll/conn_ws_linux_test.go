//go:build linux

package netpoll_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

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
		for tries := 1; !pauseWhileInflating(t, resume); tries++ {
			if tries == 100 {
				t.Fatal("it is inflated at once")
			}
		}
	}
}

// pauseWhileInflating is false if the message has been inflated before its connection
// could be paused.
func pauseWhileInflating(t *testing.T, resume bool) bool {
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
	if len(got) > 0 {
		return false
	}
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
	return true
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
