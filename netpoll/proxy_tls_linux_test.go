package netpoll_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
)

// slowConn writes byte by byte, the first of them so that each is read by itself.
type slowConn struct {
	net.Conn
	wait func()
	left int
}

func (c *slowConn) Write(b []byte) (n int, err error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		if c.left--; c.left > 0 {
			c.wait()
		}
	}
	return len(b), nil
}

// TestProxyHeaderBeforeTLS: the header is in front of TLS, and its address that of the
// peer for handshakes, requests and net/http.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	t.Parallel()
	m, fallback := whoHandler()
	seen := make(chan string, 100)
	cfg := &tls.Config{Certificates: []tls.Certificate{certificate()}, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		seen <- hello.Conn.RemoteAddr().String()
		return nil, nil
	}}
	g, addr := listenTLS(t, netpoll.Config{Loops: 2, Fallback: fallback, TLS: cfg, ProxyProtocol: networks("127.0.0.0/8")}, m)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, header := range []string{string(proxyV1(headerAddr)), string(proxyV2("\x21\x11", v2Addresses)), "PROXY UNKNOWN\r\n"} {
			for _, slow := range []bool{false, true} {
				raw := dial(t, addr)
				want := headerAddr
				if strings.Contains(header, "UNKNOWN") {
					want = raw.LocalAddr().String()
				}
				var below net.Conn = raw
				if slow {
					below = &slowConn{raw, func() { turned(t, g.Loop(0)); turned(t, g.Loop(1)) }, 100}
				}
				send(t, below, "%s", header)
				c := tls.Client(below, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				if got := within(t, "the handshake", seen); got != want {
					t.Errorf("%q: the handshake is %s's, want %s", header, got, want)
				}
				r := bufio.NewReader(c)
				for _, path := range []string{"/mine/a", "/x", "/mine/b"} {
					send(t, c, "%s", get(path))
					if _, body := response(t, r, "GET"); body != want {
						t.Errorf("%q, %s: %q, want %q", header, path, body, want)
					}
				}
				_ = c.Close()
			}
		}
	}
	// A header, and no TLS behind it.
	c := dial(t, addr)
	send(t, c, "PROXY UNKNOWN\r\n%s", get("/mine/a"))
	if resp, body := response(t, bufio.NewReader(c), "GET"); resp.StatusCode != 400 || !strings.Contains(body, "speaks TLS") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	// TLS, and no header in front of it.
	if s := g.Stats(); s.BadProxyHeaders != 0 {
		t.Errorf("%+v", s)
	}
	if err := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake without a header")
	}
	eventually(t, "it is counted", func() bool { return g.Stats().BadProxyHeaders == 1 })
}

// TestProxyHeaderOfOthersBeforeTLS: a network that is not listed has to speak TLS at
// once.
func TestProxyHeaderOfOthersBeforeTLS(t *testing.T) {
	t.Parallel()
	m, _ := whoHandler()
	g, addr := listenTLS(t, netpoll.Config{ProxyProtocol: networks("192.0.2.0/24")}, m)
	c := dial(t, addr)
	send(t, c, "%s", proxyV2("\x21\x11", v2Addresses))
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("answered %q", b)
	}
	eventually(t, "it is counted", func() bool { return g.Stats().TLSFaults == 1 })
	if s := g.Stats(); s.BadProxyHeaders != 0 {
		t.Errorf("%+v", s)
	}
}
