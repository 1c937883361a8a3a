//go:build unix

package netpoll_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// whoHandler answers with the peer's address, on the loop and at net/http.
func whoHandler() (*mine, http.Handler) {
	onLoop := &mine{request: func(c *netpoll.Conn, _ *http1.Request) {
		b, _ := c.AppendRemoteAddr(nil)
		respond(c, string(b))
	}}
	return onLoop, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%v", conn.RemoteAddr())
				_ = conn.Close()
			}
			return
		}
		_, _ = io.WriteString(w, r.RemoteAddr)
	})
}

// TestProxiedSockets: the address of a header holds on loops, at net/http, back from
// there, and for hijackers; in one piece and in many.
func TestProxiedSockets(t *testing.T) {
	t.Parallel()
	m, fallback := whoHandler()
	g, addr := listen(t, netpoll.Config{Loops: 2, Fallback: fallback, ProxyProtocol: networks("127.0.0.0/8")}, m)
	for _, pieces := range []bool{false, true} {
		for _, c := range []struct{ header, want string }{
			{string(proxyV1(headerAddr)), headerAddr},
			{string(proxyV1("[2001:db8::7]:4321")), "[2001:db8::7]:4321"},
			{string(proxyV2("\x21\x11", v2Addresses)), headerAddr},
			{"PROXY UNKNOWN\r\n", ""},
		} {
			conn := dial(t, addr)
			if c.want == "" {
				c.want = conn.LocalAddr().String()
			}
			if pieces {
				for i := range len(c.header) {
					send(t, conn, "%s", c.header[i:i+1])
					turned(t, g.Loop(0))
					turned(t, g.Loop(1))
				}
			} else {
				send(t, conn, "%s", c.header)
			}
			r := bufio.NewReader(conn)
			for _, path := range []string{"/mine/a", "/x", "/y", "/mine/b", "/z", "/mine/c", "/hijack"} {
				send(t, conn, "%s", get(path))
				if _, body := response(t, r, "GET"); body != c.want {
					t.Errorf("%q, %s: %q, want %q", c.header, path, body, c.want)
				}
			}
		}
	}
	if s := g.Stats(); s.BadProxyHeaders != 0 || s.BadRequests != 0 {
		t.Errorf("%+v", s)
	}
}

// TestProxiedUnixSockets: a Unix socket whose name looks like an address is not taken
// for one, and UnixPeers lists all of them.
func TestProxiedUnixSockets(t *testing.T) {
	m, _ := whoHandler()
	dir := t.TempDir()
	t.Chdir(dir)
	for i, c := range []struct {
		list   []netip.Prefix
		status int
		plain  bool
		want   string
	}{
		{[]netip.Prefix{netpoll.UnixPeers}, 200, false, headerAddr},
		{networks("192.0.2.0/24"), 400, false, ""},
		{networks("192.0.2.0/24"), 200, true, "./192.0.2.1:80"},
	} {
		g, _ := listen(t, netpoll.Config{ProxyProtocol: c.list, TrustedProxies: c.list}, m)
		at := filepath.Join(dir, fmt.Sprint("s", i))
		if _, err := g.Listen("unix", at); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove("192.0.2.1:80")
		conn, err := net.DialUnix("unix", &net.UnixAddr{Name: "192.0.2.1:80", Net: "unix"}, &net.UnixAddr{Name: at, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if !c.plain {
			send(t, conn, "%s", proxyV1(headerAddr))
		}
		send(t, conn, "%s", get("/mine/a"))
		resp, body := response(t, bufio.NewReader(conn), "GET")
		if resp.StatusCode != c.status || c.status == 200 && body != c.want {
			t.Errorf("%v: %d %q", c.list, resp.StatusCode, body)
		}
	}
}

// TestProxyHeaderThatIsNone, over real sockets: no answer, and a count.
func TestProxyHeaderThatIsNone(t *testing.T) {
	t.Parallel()
	g, addr := listen(t, netpoll.Config{ProxyProtocol: networks("127.0.0.0/8")}, &mine{})
	conn := dial(t, addr)
	send(t, conn, "%s", get("/mine/a"))
	if b, err := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	eventually(t, "it is counted", func() bool { return g.Stats().BadProxyHeaders == 1 })
	// A health check: it connects, and closes or resets.
	for _, linger := range []int{-1, 0} {
		conn := dial(t, addr)
		_ = conn.SetLinger(linger)
		_ = conn.Close()
	}
	eventually(t, "they are gone", func() bool { return g.Stats().Accepted == 3 && g.Stats().Open == 0 })
	if s := g.Stats(); s.BadProxyHeaders != 1 {
		t.Errorf("%+v", s)
	}
}
