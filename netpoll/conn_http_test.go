package netpoll_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/tlspeer"
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

// tlsTrickle is a peer of TLS 1.3 whose records come in pieces.
type tlsTrickle struct {
	*netpolltest.Peer
	tls *tlspeer.Peer
}

func dialTrickle(t *testing.T, n *netpolltest.Net) tlsTrickle {
	t.Helper()
	p := tlsTrickle{n.DialTLS(0), tlspeer.New(&tls.Config{DynamicRecordSizingDisabled: true})}
	for i := 0; i < 4 && !p.tls.Open(); i++ {
		p.Write(p.tls.Take())
		n.Run()
		p.tls.Receive(p.Read())
	}
	p.Write(p.tls.Take())
	n.Run()
	if !p.tls.Open() {
		t.Fatal(p.tls.Err())
	}
	return p
}

// sealed is b as records, which are not sent.
func (p tlsTrickle) sealed(t *testing.T, b []byte) []byte {
	t.Helper()
	if err := p.tls.Write(b); err != nil {
		t.Fatal(err)
	}
	return p.tls.Take()
}

// TestReceivesRecords: what has come of a record counts, though nobody can open it yet:
// who sends at MinRate is waited for.
func TestReceivesRecords(t *testing.T) {
	cfg := netpoll.Config{Logger: quiet, MinRate: 100, BodyTimeout: 2 * time.Second, TLS: tlspeer.ServerConfig()}
	a := &app{}
	n := netpolltest.NewNet(1)
	n.Group = netpoll.NewManual(cfg, a, n.Systems()...)
	for _, c := range []struct {
		rate int
		want string
	}{{120, "HTTP/1.1 200"}, {80, "HTTP/1.1 408"}} {
		p := dialTrickle(t, n)
		p.Write(p.sealed(t, []byte("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 16000\r\n\r\n")))
		body := p.sealed(t, make([]byte, 16_000))
		for len(body) > 0 {
			k := min(c.rate, len(body))
			p.Write(body[:k])
			body = body[k:]
			n.Advance(time.Second)
		}
		if got := string(p.tls.Receive(p.Read())); !strings.HasPrefix(got, c.want) {
			t.Errorf("%d bytes a second: %.30q, want %q", c.rate, got, c.want)
		}
	}

	p := dialTrickle(t, n)
	p.Write(p.sealed(t, []byte("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")))
	n.Run()
	p.tls.Receive(p.Read())
	conn := a.conns[len(a.conns)-1]
	for round := range 2 {
		records := p.sealed(t, frame(gobwas.NewTextFrame(make([]byte, 40_000))))
		for i, c := range []struct {
			bytes int // in 10 seconds
			want  bool
		}{{0, false}, {500, true}, {1000, true}, {990, false}, {0, false}, {5000, true}, {9000, true}, {2000, true}, {0, false}, {9000, true}} {
			p.Write(records[:c.bytes])
			records = records[c.bytes:]
			n.Advance(10 * time.Second)
			var got bool
			conn.Loop().Post(func(_, _ any) { got = conn.Receives() }, nil, nil, 0)
			if n.Run(); got != c.want {
				t.Errorf("message %d, step %d: %v", round, i, got)
			}
		}
		p.Write(records)
		n.Run()
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
