//go:build unix

package netpoll

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// TestProxiedAreForgotten: what a header has told goes with its connection, wherever
// that ends.
func TestProxiedAreForgotten(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		}
	})
	g := newTestGroup(t, Config{Loops: 2, Fallback: h, ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, PerAddress: AddressLimits{Conns: 50}})
	addr, err := g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const header = "PROXY TCP4 198.51.100.7 192.0.2.2 %d 443\r\n"
	for i, c := range []struct {
		request string
		reads   bool
	}{
		{"", false},
		{"garbage\r\n", true},
		{"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", true},
		{"GET /hijack HTTP/1.1\r\nHost: h\r\n\r\n", false},
	} {
		for range 3 {
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(conn, header+"%s", i, c.request)
			if c.reads {
				if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
					t.Error(err)
				}
			}
			_ = conn.Close()
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		left := 0
		for _, l := range g.loops {
			got := make(chan int)
			l.PostNow(func(_, _ any) { got <- len(l.proxied) + len(l.addresses) }, nil, nil, 0)
			left += <-got
		}
		if left == 0 && g.Stats().Accepted == 12 && g.Stats().Open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d are left, %+v", left, g.Stats())
		}
	}
}
