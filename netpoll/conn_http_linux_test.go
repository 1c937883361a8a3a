//go:build linux

package netpoll_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
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

// TestRefusals: a refusal has a Date, and no content for a HEAD request (RFC 9110
// sections 6.6.1 and 9.3.2).
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	for _, c := range []struct{ in, status string }{
		{"HEAD /other HTTP/1.1\r\nHost: h\r\n\r\n", "404"},
		{"GET /other HTTP/1.1\r\nHost: h\r\n\r\n", "404"},
		{"GET /mine/a HTTP/1.1\r\n\r\n", "400"},
		{"GET /" + long + " HTTP/1.1\r\nHost: h\r\n\r\n", "414"},
		{"GET /mine/a HTTP/1.1\r\nHost: h\r\nX: " + long + "\r\n\r\n", "431"},
		{"GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", "4"},
		{"HEAD /ws HTTP/1.1\r\nHost: h\r\n\r\n", "4"},
		{"POST /mine/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "408"},
		{"HEAD /mine/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "408"},
	} {
		n := startOf(netpoll.Config{Logger: quiet}, &mine{})
		p := n.Dial(0)
		p.Write([]byte(c.in))
		n.Advance(31 * time.Second)
		head, content, ok := strings.Cut(string(p.Read()), "\r\n\r\n")
		if !ok || !strings.HasPrefix(head, "HTTP/1.1 "+c.status) || !strings.Contains(head, "\r\nDate: ") || !strings.HasSuffix(head[strings.Index(head, "\r\nDate: "):][:37], " GMT") {
			t.Errorf("%.40q: %q", c.in, head)
		}
		if isHead := strings.HasPrefix(c.in, "HEAD"); isHead == (content != "") || isHead && !strings.Contains(head, "Content-Length: ") {
			t.Errorf("%.40q: %q, and then %q", c.in, head, content)
		}
	}
}
