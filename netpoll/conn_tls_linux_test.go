package netpoll

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// wanderer has each request answered on the next loop.
type wanderer struct{}

func (wanderer) Claims([]byte) bool                { return true }
func (wanderer) HandleMessage(*Conn, []byte, bool) {}
func (wanderer) HandleClose(*Conn, error)          {}

func (wanderer) HandleRequest(c *Conn, r *http1.Request) {
	g := c.Loop().Group()
	if h := c.Context; h == nil {
		c.Context = true
		c.MoveTo(g.Loop((c.Loop().index+1)%g.Len()), r)
		return
	}
	c.Context = nil
	buf := NewBuffer(64)
	buf.B = append(buf.B, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"...)
	c.Respond(buf)
	buf.Release()
}

// TestWanderersCiphers: a connection that goes to and fro between loops, as those of proxies
// do, is looked after once by each of them, and by none that it has left.
func TestWanderersCiphers(t *testing.T) {
	g, err := New(Config{Loops: 3, TLS: tlspeer.ServerConfig()}, wanderer{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = g.Close(ctx)
	}()
	addr, err := g.ListenTLS("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	ask := func() {
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	longest := func() (n int) {
		for i := range g.Len() {
			got := make(chan int)
			g.Loop(i).Post(func(a, _ any) { a.(chan int) <- len(g.Loop(i).tls.warm) }, got, nil, 0)
			n = max(n, <-got)
		}
		return n
	}
	for begun := time.Now(); time.Since(begun) < 5*time.Second/2; { // longer than coolAfter
		for range 20 {
			ask()
		}
		if n := longest(); n > 1 {
			t.Fatalf("a loop has a connection %d times", n)
		}
	}
}
