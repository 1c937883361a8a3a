package netpoll_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// headApp is an app that is given heads before their bodies.
type headApp struct {
	app
	head func(c *netpoll.Conn, r *http1.Request)
}

func (a *headApp) HandleHead(c *netpoll.Conn, r *http1.Request) { a.head(c, r) }

// TestHeads: the handler sees the head of a request whose body is still to come, and
// decides whether it is waited for.
func TestHeads(t *testing.T) {
	const head = "POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
	heads := 0
	a := &headApp{}
	n := netpolltest.New(netpoll.Config{Logger: quiet}, a, 2)
	a.head = func(c *netpoll.Conn, r *http1.Request) {
		heads++
		switch to := n.Group.Loop(1); {
		case string(r.Path) == "/refused":
			respond(c, "no")
		case string(r.Path) == "/moved" && c.Loop() != to:
			c.MoveTo(to, r)
		case string(r.Path) == "/ended":
			c.Abort(errors.New("not wanted"))
		}
	}
	for _, c := range []struct {
		path  string
		heads int
		want  string
	}{{"waited", 1, "/waited|abcde"}, {"moved", 2, "/moved|abcde"}, {"refused", 1, "no"}, {"ended", 1, ""}} {
		for cut := range 5 { // of the body, with the head
			heads = 0
			p := n.Dial(0)
			p.Write(append(fmt.Appendf(nil, head, c.path), "abcde"[:cut]...))
			n.Run()
			if heads != c.heads {
				t.Errorf("%s: %d heads, want %d", c.path, heads, c.heads)
			}
			p.Write([]byte("abcde"[cut:]))
			p.Write(get("/next"))
			n.Run()
			got := p.Read()
			if body := "\r\n\r\n" + c.want; c.want != "" && !bytes.Contains(got, []byte(body)) {
				t.Errorf("%s, cut at %d: %q", c.path, cut, got)
			}
			again := strings.HasPrefix(c.want, "/")
			if got := bytes.HasSuffix(got, []byte("/next|")); got != again {
				t.Errorf("%s, cut at %d: the connection serves another request: %v", c.path, cut, got)
			}
			if p.Ended() == again {
				t.Errorf("%s, cut at %d: the connection is over: %v", c.path, cut, p.Ended())
			}
		}
	}
	heads = 0
	p := n.Dial(0)
	p.Write(post("/whole", "abcde"))
	n.Run()
	if heads != 0 || !bytes.HasSuffix(p.Read(), []byte("/whole|abcde")) {
		t.Error("a request that is here as a whole has no head of its own")
	}
}

// TestReceives: a message or a body that comes at MinRate is told from one that has
// stopped.
func TestReceives(t *testing.T) {
	var c *netpoll.Conn
	a := &headApp{head: func(x *netpoll.Conn, _ *http1.Request) { c = x }}
	n := netpolltest.New(netpoll.Config{Logger: quiet, MinRate: 100}, a, 1)
	message := frame(gobwas.NewTextFrame(bytes.Repeat([]byte("x"), 20_000)))
	body := post("/", strings.Repeat("x", 20_000))
	for name, whole := range map[string][]byte{"message": message, "body": body} {
		p := n.Dial(0)
		if name == "message" {
			p = upgrade(t, n, 0)
			c = a.conns[len(a.conns)-1]
			if c.Receives() {
				t.Error("nothing is arriving")
			}
		}
		step := func(bytes int, after time.Duration, want bool) {
			t.Helper()
			n.Advance(after / 2)
			p.Write(whole[:bytes])
			whole = whole[bytes:]
			n.Advance(after / 2)
			var got bool
			c.Loop().Post(func(_, _ any) { got = c.Receives() }, nil, nil, 0)
			n.Run()
			if got != want {
				t.Errorf("%s: %d bytes in %v: %v", name, bytes, after, got)
			}
		}
		step(200, 0, true) // it has just begun
		step(1000, 10*time.Second, true)
		step(990, 10*time.Second, false)
		step(0, 10*time.Second, false)
		step(5000, 10*time.Second, true)
		step(len(whole), time.Second, false)
		p.Reset()
		n.Run()
	}
}
