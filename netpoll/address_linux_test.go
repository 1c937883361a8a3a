package netpoll_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// dialFrom connects from an address of this machine.
func dialFrom(t *testing.T, from, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	return c.(*net.TCPConn)
}

// refused tells whether the connection has been closed without an answer.
func refused(c net.Conn) bool {
	_, _ = c.Write(get("/mine/a"))
	n, err := c.Read(make([]byte, 100))
	return n == 0 && err != nil
}

// TestConnsPerAddress: a connection beyond the limit is closed; other addresses have
// their own, and a place becomes free with a connection's end.
func TestConnsPerAddress(t *testing.T) {
	t.Parallel()
	g, addr := listen(t, netpoll.Config{Loops: 3, PerAddress: netpoll.AddressLimits{Conns: 3}}, &mine{})
	var conns []*net.TCPConn
	for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
		for range 3 {
			c := dialFrom(t, from, addr)
			conns = append(conns, c)
			if refused(c) {
				t.Fatalf("%s: refused within the limit", from)
			}
		}
		for range 3 {
			if !refused(dialFrom(t, from, addr)) {
				t.Errorf("%s: not refused beyond the limit", from)
			}
		}
	}
	eventually(t, "the refused are gone", func() bool { return g.Stats().Open == 6 })
	if got := g.Stats().RefusedByAddress; got != 6 {
		t.Errorf("%d refusals counted", got)
	}
	_ = conns[0].Close()
	eventually(t, "one has ended", func() bool { return g.Stats().Open == 5 })
	if refused(dialFrom(t, "127.0.0.2", addr)) {
		t.Error("refused, though there is a place again")
	}
	if !refused(dialFrom(t, "127.0.0.3", addr)) {
		t.Error("another address has its place")
	}
}

// TestHandshakesPerAddress: as many at once as in ten seconds, by all connections of
// the address together.
func TestHandshakesPerAddress(t *testing.T) {
	t.Parallel()
	m := &mine{request: func(c *netpoll.Conn, _ *http1.Request) { respond(c, fmt.Sprint(c.TakeHandshake(netip.Addr{}))) }}
	_, addr := listen(t, netpoll.Config{PerAddress: netpoll.AddressLimits{HandshakesPerSecond: 3}}, m)
	take := func(from string, n int) (taken int) {
		c := dialFrom(t, from, addr)
		send(t, c, "%s", bytes.Repeat(get("/mine/a"), n)) // all at the same time
		r := bufio.NewReader(c)
		for range n {
			if _, body := response(t, r, "GET"); body == "true" {
				taken++
			}
		}
		return taken
	}
	if n := take("127.0.0.2", 40); n != 30 {
		t.Errorf("%d of 40 at once, want 30", n)
	}
	if n := take("127.0.0.2", 40); n >= 30 {
		t.Errorf("%d again on another connection", n)
	}
	if n := take("127.0.0.3", 40); n != 30 {
		t.Errorf("%d of another address, want 30", n)
	}
}

// TestMessagesPerAddress: as many at once as in two seconds, by all WebSockets of the
// address together; the one that goes beyond is closed.
func TestMessagesPerAddress(t *testing.T) {
	t.Parallel()
	g, addr := listen(t, netpoll.Config{PerAddress: netpoll.AddressLimits{MessagesPerSecond: 20}}, &mine{})
	one := frame(gobwas.NewTextFrame([]byte("x")))
	flood := func(from string, n int) (echoes int, code gobwas.StatusCode) {
		c := dialFrom(t, from, addr)
		send(t, c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s%s",
			bytes.Repeat(one, n), frame(gobwas.NewCloseFrame(gobwas.NewCloseFrameBody(1000, "")))) // all at the same time
		r := bufio.NewReader(c)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
			t.Fatalf("%v, %v", resp, err)
		}
		for {
			f, err := wiretest.ReadFrame(r)
			if err != nil {
				t.Fatal(err)
			}
			if f.Header.OpCode == gobwas.OpClose {
				code, _ := gobwas.ParseCloseFrameData(f.Payload)
				return echoes, code
			}
			echoes++
		}
	}
	if n, code := flood("127.0.0.2", 30); n != 30 || code != 1000 {
		t.Errorf("%d of 30 within the limit, closed with %d", n, code)
	}
	if n, code := flood("127.0.0.2", 60); n >= 60 || code != 1008 {
		t.Errorf("%d of 60 more on another connection, closed with %d", n, code)
	}
	if n, code := flood("127.0.0.3", 40); n != 40 || code != 1000 {
		t.Errorf("%d of 40 of another address, closed with %d", n, code)
	}
	if got := g.Stats().Floods; got != 1 {
		t.Errorf("%d floods counted", got)
	}
}

// TestLentConnsPerAddress: a connection at net/http is its address's as well, before,
// meanwhile and afterwards.
func TestLentConnsPerAddress(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}, 3), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "ok")
	})
	g, addr := listen(t, netpoll.Config{Fallback: h, PerAddress: netpoll.AddressLimits{Conns: 3}}, &mine{})
	var conns []*net.TCPConn
	for range 3 {
		c := dialFrom(t, "127.0.0.2", addr)
		send(t, c, "%s", get("/x"))
		within(t, "the handler", begun)
		conns = append(conns, c)
	}
	for range 3 {
		if !refused(dialFrom(t, "127.0.0.2", addr)) {
			t.Error("not refused beyond the limit")
		}
	}
	close(release)
	for _, c := range conns {
		r := bufio.NewReader(c)
		if _, body := response(t, r, "GET"); body != "ok" {
			t.Errorf("%q", body)
		}
		send(t, c, "%s", get("/mine/a"))
		if _, body := response(t, r, "GET"); body != "/mine/a|" {
			t.Errorf("%q", body)
		}
		_ = c.Close()
	}
	eventually(t, "all have ended", func() bool { return g.Stats().Open == 0 })
	for range 3 {
		if refused(dialFrom(t, "127.0.0.2", addr)) {
			t.Error("refused, though all places are free again")
		}
	}
}
