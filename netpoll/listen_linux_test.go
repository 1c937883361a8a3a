package netpoll_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// TestMaxUnsentBytes has a peer not read at all: the kernel takes what
// MaxUnsentBytes says and what the peer's own buffer holds.
func TestMaxUnsentBytes(t *testing.T) {
	for _, c := range []struct{ max, least, most int }{{0, 64 << 10, 1 << 20}, {1 << 20, 1 << 20, 2 << 20}, {-1, 2 << 20, 16 << 20}} {
		const size = 16 << 20
		took := make(chan int)
		a := &app{request: func(c *netpoll.Conn, _ *http1.Request) {
			buf := netpoll.NewBuffer(size)
			defer buf.Release()
			buf.B = buf.B[:size]
			c.Respond(buf)
			tell := func(any, any) { took <- size - c.QueuedBytes() }
			c.Loop().Post(func(any, any) { c.Loop().Post(tell, nil, nil, 0) }, nil, nil, 0) // after this batch
		}}
		g, err := netpoll.New(netpoll.Config{Loops: 1, MaxUnsentBytes: c.max}, a)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := g.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		peer, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if n := <-took; n < c.least || n > c.most {
			t.Errorf("MaxUnsentBytes %d: the kernel took %d bytes, want %d to %d", c.max, n, c.least, c.most)
		}
		_ = peer.Close()
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
