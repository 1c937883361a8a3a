package netpoll_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/vectors"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
)

func networks(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// everyone are all peers that have an address.
var everyone = networks("0.0.0.0/0", "::/0")

func proxyV1(from string) []byte {
	a := netip.MustParseAddrPort(from)
	to := map[bool]string{true: "TCP4 %v 192.0.2.2 %d 443\r\n", false: "TCP6 %v 2001:db8::2 %d 443\r\n"}[a.Addr().Is4()]
	return fmt.Appendf(nil, "PROXY "+to, a.Addr(), a.Port())
}

// proxyV2 is a header with TLVs; command and family are "\x21\x11" for TCP over IPv4.
func proxyV2(command, addresses string, tlvs ...string) []byte {
	rest := addresses + strings.Join(tlvs, "")
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return append(b, rest...)
}

const (
	v2Addresses = "\xc6\x33\x64\x07\xc0\x00\x02\x02\x10\xe1\x01\xbb" // 198.51.100.7:4321 to 192.0.2.2:443
	kernelAddr  = "192.0.2.1:1234"                                   // of connections of a Net
	headerAddr  = "198.51.100.7:4321"
)

// whoApp answers with the peer's address, and whether TLS was ended in front.
func whoApp() *app {
	return &app{request: func(c *netpoll.Conn, r *http1.Request) {
		if string(r.Path) == "/ws" {
			_ = c.Upgrade(r, nil)
			return
		}
		if n := c.Loop().Group().Len(); string(r.Path) == "/move" && c.Loop().Index() < n-1 {
			c.MoveTo(c.Loop().Group().Loop(n-1), r)
			return
		}
		b, _ := c.AppendRemoteAddr(nil)
		respond(c, fmt.Sprint(string(b), c.SecureInFront()))
	}, message: func(c *netpoll.Conn, _ []byte, _ bool) {
		b, _ := c.AppendRemoteAddr(nil)
		sendFrame(c, b, false)
	}}
}

// TestProxyHeader: the address in a header is the peer's, however the header is cut and
// whatever comes with it; on another loop, and for a WebSocket, too.
func TestProxyHeader(t *testing.T) {
	for name, c := range map[string]struct {
		header []byte
		want   string
	}{
		"v1":                  {proxyV1(headerAddr), headerAddr + "false"},
		"v1, IPv6":            {proxyV1("[2001:db8::7]:4321"), "[2001:db8::7]:4321false"},
		"v1 UNKNOWN":          {[]byte("PROXY UNKNOWN\r\n"), kernelAddr + "false"},
		"v2":                  {proxyV2("\x21\x11", v2Addresses), headerAddr + "false"},
		"v2, TLVs":            {proxyV2("\x21\x11", v2Addresses, "\x04\x00\x02ab", "\xea\x00\x00"), headerAddr + "false"},
		"v2, TLS":             {proxyV2("\x21\x11", v2Addresses, "\x20\x00\x05\x01\x00\x00\x00\x00"), headerAddr + "true"},
		"v2, TLS, no address": {proxyV2("\x21\x00", "", "\x20\x00\x05\x01\x00\x00\x00\x00"), kernelAddr + "true"},
		"v2 LOCAL":            {proxyV2("\x20\x11", v2Addresses), kernelAddr + "false"},
		"v2 Unix":             {proxyV2("\x21\x31", strings.Repeat("/", 216)), kernelAddr + "false"},
		"v2 UNSPEC":           {proxyV2("\x21\x00", "whatever"[:0]), kernelAddr + "false"},
	} {
		t.Run(name, func(t *testing.T) {
			in := slices.Concat(c.header, get("/a"), get("/move"), get("/b"))
			check := func(how string, pieces ...[]byte) {
				t.Helper()
				n := start(t, netpoll.Config{ProxyProtocol: networks("192.0.2.0/24")}, whoApp(), 2)
				p := n.Dial(0)
				for _, piece := range pieces {
					p.Write(piece)
					n.Run()
				}
				if got := bodies(t, p.Read()); !slices.Equal(got, []string{c.want, c.want, c.want}) {
					t.Fatalf("%s: %q, want %q", how, got, c.want)
				}
				p.Close()
				n.Run()
				if s := n.Group.Stats(); s.Open != 0 || s.BadProxyHeaders != 0 || s.MemoryBytes != 0 {
					t.Fatalf("%s: %+v", how, s)
				}
			}
			check("whole", in)
			for cut := 1; cut < len(c.header)+20; cut++ {
				check(fmt.Sprint("cut at ", cut), in[:cut], in[cut:])
			}
			check("byte by byte", slices.Collect(slices.Chunk(in, 1))...)

			n := start(t, netpoll.Config{ProxyProtocol: networks("192.0.2.0/24")}, whoApp(), 1)
			p := n.Dial(0)
			p.Write(append(bytes.Clone(c.header), "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"...))
			n.Run()
			p.Read()
			p.Write(frame(gobwas.NewTextFrame([]byte("who"))))
			n.Run()
			expect(t, frames(t, p.Read()), "text:"+strings.TrimRight(c.want, "truefalse"))
		})
	}
}

// TestBadProxyHeaders: what a listed network sends in place of a header is not
// answered, but counted, and told at Debug.
func TestBadProxyHeaders(t *testing.T) {
	cases := map[string][]byte{
		"a request":       get("/a"),
		"TLS":             []byte("\x16\x03\x01\x02\x00\x01"),
		"one byte":        []byte("G"),
		"v2, too long":    []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"),
		"v1 without end":  append([]byte("PROXY UNKNOWN "), bytes.Repeat([]byte{'a'}, 200)...),
		"v1, and its lie": []byte("PROXY TCP4 999.0.0.1 192.0.2.2 1 2\r\n"),
	}
	for _, c := range vectors.Load(t, "../proto/proxyproto/testdata", vectors.Proxy) {
		if strings.HasPrefix(c.Want[0], "error ") {
			cases[c.Pos] = c.Input
		}
	}
	for name, in := range cases {
		for _, pieces := range [][][]byte{{in}, slices.Collect(slices.Chunk(in, 1))} {
			var log bytes.Buffer
			a := whoApp()
			n := netpolltest.New(netpoll.Config{
				ProxyProtocol: everyone,
				Logger:        slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}, a, 1)
			p := n.Dial(0)
			for _, piece := range pieces {
				p.Write(piece)
				n.Run()
			}
			if got := p.Read(); len(got) > 0 || !p.Closed() || len(a.conns) > 0 {
				t.Errorf("%s: answered %q, closed %v", name, got, p.Closed())
			}
			if s := n.Group.Stats(); s.BadProxyHeaders != 1 || s.BadRequests != 0 || s.Open != 0 || s.MemoryBytes != 0 {
				t.Errorf("%s: %+v", name, s)
			}
			if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "netpoll: a connection is ended") || !strings.Contains(text, kernelAddr) {
				t.Errorf("%s: the log has %q", name, text)
			}
		}
	}
}

// TestProxyHeaderOfOthers: a connection of a network that is not listed is not looked
// at: a header is garbage to HTTP.
func TestProxyHeaderOfOthers(t *testing.T) {
	for _, list := range [][]netip.Prefix{nil, networks("198.51.100.0/24", "2001:db8::/32"), {netpoll.UnixPeers}} {
		for name, header := range map[string][]byte{
			"v1": proxyV1(headerAddr), "v2": proxyV2("\x21\x11", v2Addresses), "none": nil,
		} {
			n := start(t, netpoll.Config{ProxyProtocol: list}, whoApp(), 1)
			p := n.Dial(0)
			p.Write(append(bytes.Clone(header), get("/a")...))
			n.Run()
			got, s := string(p.Read()), n.Group.Stats()
			switch {
			case header == nil && !strings.HasSuffix(got, kernelAddr+"false"):
				t.Errorf("%v, %s: %q", list, name, got)
			case header != nil && (!strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.HasSuffix(got, map[string]string{
				"v1": "the HTTP version is malformed\n", "v2": "the request line is malformed\n",
			}[name]) || s.BadRequests != 1 || s.BadProxyHeaders != 0):
				t.Errorf("%v, %s: %q, %+v", list, name, got, s)
			}
		}
	}
}

// TestTwoProxyHeaders: a second one is garbage to HTTP, of whichever version.
func TestTwoProxyHeaders(t *testing.T) {
	v1, v2 := proxyV1(headerAddr), proxyV2("\x21\x11", v2Addresses)
	for _, in := range [][]byte{slices.Concat(v1, v2), slices.Concat(v2, v1), slices.Concat(v1, v1), slices.Concat(v2, v2)} {
		n := start(t, netpoll.Config{ProxyProtocol: everyone}, whoApp(), 1)
		p := n.Dial(0)
		p.Write(append(bytes.Clone(in), get("/a")...))
		n.Run()
		if got := string(p.Read()); !strings.HasPrefix(got, "HTTP/1.1 400 ") || n.Group.Stats().BadProxyHeaders != 0 {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestProxyHeaderTimes: header and head have HeadTimeout together. Who connects and
// says nothing, or goes, is no line in the log.
func TestProxyHeaderTimes(t *testing.T) {
	for _, c := range []struct {
		name   string
		send   string
		wait   time.Duration
		leave  func(p *netpolltest.Peer)
		bad    uint64
		lines  int
		answer string
	}{
		{"nothing", "", 10 * time.Second, nil, 0, 1, ""},
		{"a part", "PROXY TC", 10 * time.Second, nil, 1, 1, ""},
		{"a header, and no request", "PROXY UNKNOWN\r\n", 10 * time.Second, nil, 0, 1, ""},
		{"a header, and a part of a request", "PROXY UNKNOWN\r\nGET", 10 * time.Second, nil, 0, 1, "HTTP/1.1 408 "},
		{"connects and closes", "", 0, (*netpolltest.Peer).Close, 0, 0, ""},
		{"connects and resets", "", 0, (*netpolltest.Peer).Reset, 0, 0, ""},
		{"vanishes in the middle", "PROXY TC", 0, (*netpolltest.Peer).Close, 0, 0, ""},
		{"resets in the middle", "PROXY TC", 0, (*netpolltest.Peer).Reset, 0, 0, ""},
		{"a health check", string(proxyV2("\x20\x00", "")), 0, (*netpolltest.Peer).Close, 0, 0, ""},
	} {
		var log bytes.Buffer
		n := netpolltest.New(netpoll.Config{
			ProxyProtocol: everyone,
			Logger:        slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}, whoApp(), 1)
		p := n.Dial(0)
		if n.Run(); c.wait > 0 {
			n.Advance(c.wait / 2)
		}
		p.Write([]byte(c.send))
		n.Run()
		if c.wait > 0 {
			n.Advance(c.wait/2 - time.Millisecond)
			if p.Closed() {
				t.Errorf("%s: closed before its time", c.name)
			}
			n.Advance(10 * time.Millisecond)
		} else {
			c.leave(p)
			n.Run()
		}
		if got := string(p.Read()); !strings.HasPrefix(got, c.answer) || c.answer == "" && got != "" {
			t.Errorf("%s: answered %q", c.name, got)
		}
		if !p.Ended() {
			t.Errorf("%s: not closed", c.name)
		}
		p.Close()
		n.Run()
		if s := n.Group.Stats(); s.BadProxyHeaders != c.bad || s.Open != 0 || s.MemoryBytes != 0 {
			t.Errorf("%s: %+v", c.name, s)
		}
		if got := strings.Count(log.String(), "\n"); got != c.lines {
			t.Errorf("%s: %d lines in the log, want %d: %s", c.name, got, c.lines, log.String())
		}
	}
}

// TestProxyHeaderOfUnixPeers: they are listed by UnixPeers alone, whatever their socket
// is called.
func TestProxyHeaderOfUnixPeers(t *testing.T) {
	for _, name := range []string{"@", "/run/proxy"} {
		for _, c := range []struct {
			list []netip.Prefix
			want string
		}{{everyone, "HTTP/1.1 400 "}, {append(everyone[:2:2], netpoll.UnixPeers), "HTTP/1.1 200 "}} {
			n := start(t, netpoll.Config{ProxyProtocol: c.list}, whoApp(), 1)
			p := n.DialFrom(0, &net.UnixAddr{Name: name, Net: "unix"})
			p.Write(append(proxyV1(headerAddr), get("/a")...))
			n.Run()
			got := string(p.Read())
			if !strings.HasPrefix(got, c.want) || strings.Contains(got, " 200 ") && !strings.HasSuffix(got, headerAddr+"false") {
				t.Errorf("%q, %v: %q", name, c.list, got)
			}
		}
	}
}

// TestAmong: which addresses are of which networks.
func TestAmong(t *testing.T) {
	list := append(networks("10.0.0.0/8", "2001:db8::/32", "fe80::/10"), netpoll.UnixPeers)
	for s, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.1": false, "::ffff:10.0.0.1": true, "2001:db8::1": true, "2001:db9::1": false,
		"fe80::1%eth0": true, "::": false, "0.0.0.0": false, "": true,
	} {
		a, _ := netip.ParseAddr(s)
		if got := netpoll.Among(list, a); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
	if netpoll.Among(everyone, netip.Addr{}) || netpoll.Among(nil, netip.Addr{}) {
		t.Error("a Unix socket's peer is in a network of addresses")
	}
	if netpoll.Among([]netip.Prefix{{}}, netip.Addr{}) || netpoll.Among([]netip.Prefix{{}}, netip.MustParseAddr("10.0.0.1")) {
		t.Error("somebody is in a network that is none")
	}
}

// TestNetworkFaults: lists that do not say what they seem to.
func TestNetworkFaults(t *testing.T) {
	for _, c := range []struct {
		p    netip.Prefix
		want string
	}{
		{netip.Prefix{}, "ProxyProtocol[1] is invalid Prefix: it is no network"},
		{netip.MustParsePrefix("::ffff:10.0.0.0/104"), "write the IPv4 network"},
		{netip.MustParsePrefix("10.0.0.1/8"), "write 10.0.0.0/8"},
	} {
		err := netpoll.Config{ProxyProtocol: []netip.Prefix{netpoll.UnixPeers, c.p}}.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.p, err, c.want)
		}
		if err := (netpoll.Config{TrustedProxies: []netip.Prefix{c.p}}).Validate(); err == nil {
			t.Errorf("%v: no fault of TrustedProxies", c.p)
		}
	}
}

// TestConnsPerProxiedAddress: PerAddress counts the peers that headers tell, and
// neither the proxy nor its health checks.
func TestConnsPerProxiedAddress(t *testing.T) {
	n := start(t, netpoll.Config{ProxyProtocol: everyone, PerAddress: netpoll.AddressLimits{Conns: 2}}, whoApp(), 3)
	dial := func(loop int, header []byte) *netpolltest.Peer {
		p := n.Dial(loop)
		p.Write(append(bytes.Clone(header), get("/move")...))
		n.Run()
		return p
	}
	var peers []*netpolltest.Peer
	for i := range 2 {
		for _, from := range []string{"198.51.100.7:%d", "198.51.100.8:%d", "[2001:db8::%d]:1"} {
			p := dial(i, proxyV1(fmt.Sprintf(from, i+1)))
			if peers = append(peers, p); p.Ended() {
				t.Fatalf(from+": refused within the limit", i)
			}
		}
	}
	for range 5 {
		for _, header := range [][]byte{proxyV2("\x20\x00", ""), []byte("PROXY UNKNOWN\r\n")} {
			if dial(0, header).Ended() {
				t.Error("the proxy is counted")
			}
		}
	}
	for _, from := range []string{"198.51.100.7:9", "[2001:db8::9]:1"} {
		if p := dial(2, proxyV1(from)); !p.Closed() || len(p.Read()) > 0 {
			t.Errorf("%s: not refused beyond the limit", from)
		}
	}
	if got := n.Group.Stats().RefusedByAddress; got != 2 {
		t.Errorf("%d refusals counted", got)
	}
	peers[0].Close()
	n.Run()
	if dial(1, proxyV1("198.51.100.7:9")).Ended() {
		t.Error("refused, though there is a place again")
	}
	if !dial(1, proxyV1("198.51.100.7:10")).Ended() || !dial(1, proxyV1("198.51.100.8:10")).Ended() {
		t.Error("not refused beyond the limit")
	}
}

// TestTrustedProxiesAreNotCounted: they speak for many. Handshakes are counted for whom
// they speak for.
func TestTrustedProxiesAreNotCounted(t *testing.T) {
	a := &app{request: func(c *netpoll.Conn, r *http1.Request) {
		behind, _ := netip.ParseAddr(string(r.Header("X-For")))
		respond(c, fmt.Sprint(c.TakeHandshake(behind)))
	}}
	n := start(t, netpoll.Config{
		TrustedProxies: networks("192.0.2.0/24"), PerAddress: netpoll.AddressLimits{Conns: 2, HandshakesPerSecond: 1},
	}, a, 1)
	taken := func(from net.Addr, behind string) (taken int) {
		p := n.DialFrom(0, from)
		for range 11 {
			p.Write([]byte("GET /a HTTP/1.1\r\nHost: h\r\nX-For: " + behind + "\r\n\r\n"))
		}
		n.Run()
		for _, body := range bodies(t, p.Read()) {
			if body == "true" {
				taken++
			}
		}
		return taken
	}
	proxy := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 1}
	other := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1}
	for i, c := range []struct {
		from   net.Addr
		behind string
		want   int
	}{
		{proxy, "203.0.113.1", 10},
		{proxy, "203.0.113.1", 0},
		{proxy, "203.0.113.2", 10},
		{proxy, "2001:db8::1", 10},
		{proxy, "2001:db8::2", 0},
		{proxy, "", 11}, // it speaks for nobody
		{other, "", 10},
		{other, "", 0},
	} {
		if got := taken(c.from, c.behind); got != c.want {
			t.Errorf("%d: %v for %q: %d handshakes, want %d", i, c.from, c.behind, got, c.want)
		}
	}
	if n.DialFrom(0, other); n.Group.Stats().RefusedByAddress != 1+11+1+1+11+0+1+11+1 { // the last one is a connection
		t.Errorf("%d refusals counted", n.Group.Stats().RefusedByAddress)
	}
}
