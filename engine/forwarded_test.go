package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/vectors"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
)

var trustedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netpoll.UnixPeers}

// fieldsOf are the fields of a head.
func fieldsOf(t testing.TB, lines []byte) (f proxyFields) {
	t.Helper()
	head := append([]byte("GET / HTTP/1.1\r\nHost: h\r\n"), lines...)
	var r http1.Request
	n, err := r.ParseHead(append(head, "\r\n"...), http1.HeadLimits{LineBytes: 1 << 20, HeadBytes: 1 << 20, Fields: 100})
	if n == 0 || err != nil {
		t.Fatalf("%.100q: %v", lines, err)
	}
	r.EachHeader(func(name, value []byte) { f.add(name, string(value)) })
	return f
}

func (f forwarded) String() string {
	client := "-"
	if f.client.IsValid() {
		client = f.client.String()
	}
	return client + " " + cmp.Or(f.scheme, "-") + " " + cmp.Or(f.host, "-")
}

// TestForwardedVectors: each case of testdata/forwarded.
func TestForwardedVectors(t *testing.T) {
	for _, c := range vectors.Load(t, "testdata/forwarded", vectors.HTTP) {
		f := fieldsOf(t, c.Input)
		if got := f.read(trustedNetworks).String(); got != c.Want[0] {
			t.Errorf("%s: %s: %s, want %s", c.Pos, c.Name, got, c.Want[0])
		}
	}
}

// FuzzForwarded: whatever a client has put in front, the last word is the proxy's.
func FuzzForwarded(f *testing.F) {
	for _, c := range vectors.Load(f, "testdata/forwarded", vectors.HTTP) {
		if len(c.Input) < 4096 {
			fields := fieldsOf(f, c.Input)
			f.Add(strings.Join(fields.client, ", "), strings.Join(fields.forwarded, ", "))
		}
	}
	f.Fuzz(func(t *testing.T, xff, fwd string) {
		const client = "203.0.113.1"
		for _, last := range []string{client, client + ", 10.0.0.2", "::ffff:" + client + ",[fd00::1]:5"} {
			fields := proxyFields{client: []string{xff + "," + last}}
			if got := fields.read(trustedNetworks); got.client.String() != client {
				t.Errorf("%q: %v", fields.client, got)
			}
			fields = proxyFields{client: append(strings.Split(xff, "\n"), last), forwarded: []string{fwd}}
			if got := fields.read(trustedNetworks); got.client.String() != client {
				t.Errorf("%q: %v", fields.client, got)
			}
		}
		fields := proxyFields{forwarded: []string{fwd, "for=" + client + ";proto=http"}}
		if got := fields.read(trustedNetworks); got.client.String() != client || got.scheme != "http" {
			t.Errorf("%q: %v", fields.forwarded, got)
		}
		fields.forwarded = []string{fwd}
		if got := fields.read(trustedNetworks); got.host != "" && !http1.ValidHost(got.host) || got.scheme != "" && defaultPort(got.scheme) == "" {
			t.Errorf("%q: %v", fwd, got)
		}
	})
}

// TestForwardedIsBounded: a head of a megabyte that a hostile client has filled costs
// no more than to read it.
func TestForwardedIsBounded(t *testing.T) {
	for _, f := range []proxyFields{
		{client: []string{strings.Repeat("10.0.0.2,", 100_000) + "10.0.0.2"}},
		{client: []string{strings.Repeat("a", 1_000_000) + ", 203.0.113.1"}, scheme: []string{strings.Repeat("https,", 100_000) + "http"}},
		{forwarded: []string{strings.Repeat("for=10.0.0.2,", 70_000) + "for=10.0.0.2"}},
	} {
		if got := testing.AllocsPerRun(10, func() { f.read(trustedNetworks) }); got > 1 {
			t.Errorf("%v allocations", got)
		}
	}
}

// told is a handler that keeps the requests that have opened sessions.
type told struct {
	echoHandler
	requests []*Request
}

func (h *told) OnOpen(s *Session) {
	h.requests = append(h.requests, s.Request())
	h.echoHandler.OnOpen(s)
}

// TestTrustedProxies: what a proxy says counts for Address, Secure and origins, if the
// connection is of a listed network; RemoteAddr is the connection's in any case.
func TestTrustedProxies(t *testing.T) {
	netpolltest.Plain(t)
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	unix := &net.UnixAddr{Name: "@", Net: "unix"}
	const xff = "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\n"
	for _, c := range []struct {
		from    net.Addr
		lines   string
		address string
		secure  bool
	}{
		{tcp("10.0.0.1:5"), xff, "203.0.113.1", true},
		{tcp("[::ffff:10.0.0.1]:5"), xff, "203.0.113.1", true},
		{tcp("[fd00::1]:5"), xff, "203.0.113.1", true},
		{unix, xff, "203.0.113.1", true},
		{tcp("10.0.0.1:5"), "", "10.0.0.1", false},
		{tcp("10.0.0.1:5"), "X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\n", "10.0.0.1", false},
		{tcp("11.0.0.1:5"), xff, "11.0.0.1", false},
		{tcp("[2001:db8::1]:5"), xff, "2001:db8::1", false},
		{tcp("203.0.113.9:5"), "Forwarded: for=10.0.0.1;proto=https\r\n", "203.0.113.9", false},
	} {
		for _, deciding := range []bool{false, true} {
			h := new(told)
			cfg := Config{TrustedProxies: trustedNetworks}
			var asked *Request
			if deciding {
				cfg.AllowRequest = func(r *Request) error { asked = r; return nil }
			}
			n := netpolltest.New(netpoll.Config{}, Mux{mustNew(cfg, h)}, 1)
			p := n.DialFrom(0, c.from)
			p.Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n" + c.lines + "\r\n"))
			if !n.RunUntil(5*time.Second, func() bool { return len(h.requests) > 0 }) {
				t.Fatalf("%v %q: no session: %q", c.from, c.lines, p.Read())
			}
			for _, r := range append(h.requests, asked) {
				if r == nil {
					continue
				}
				if remote := c.from.String(); r.Address() != c.address || r.Secure() != c.secure || r.RemoteAddr() != remote {
					t.Errorf("%v %q: Address %q, Secure %v, RemoteAddr %q; want %q, %v", c.from, c.lines, r.Address(), r.Secure(), r.RemoteAddr(), c.address, c.secure)
				}
				if got := r.Header("X-Forwarded-For"); strings.Contains(c.lines, "For: 203") && got != "203.0.113.1" || r.HTTP().RemoteAddr != r.RemoteAddr() {
					t.Errorf("the head is damaged: %q", got)
				}
			}
		}
	}
}

// TestForwardedIsNotBelieved of anybody, by default.
func TestForwardedIsNotBelieved(t *testing.T) {
	netpolltest.Plain(t)
	h := new(told)
	n := netpolltest.New(netpoll.Config{}, Mux{mustNew(Config{}, h)}, 1)
	p := n.Dial(0)
	p.Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=203.0.113.2;proto=https\r\n\r\n"))
	n.Run()
	if r := h.requests[0]; r.Address() != "192.0.2.1" || r.Secure() {
		t.Errorf("Address %q, Secure %v", r.Address(), r.Secure())
	}
}

// TestOriginsBehindTrustedProxies: the host and the scheme that the client has used are
// compared with the page's.
func TestOriginsBehindTrustedProxies(t *testing.T) {
	for _, c := range []struct {
		trusted bool
		lines   string
		origin  string
		want    int
	}{
		{true, "X-Forwarded-Host: example.org\r\n", "https://example.org", 200},
		{true, "X-Forwarded-Host: example.org\r\n", "https://h", 403},
		{false, "X-Forwarded-Host: example.org\r\n", "https://example.org", 403},
		{false, "X-Forwarded-Host: example.org\r\n", "https://h", 200},
		{true, "", "https://h", 200},
		{true, "", "http://h", 200},
		{true, "X-Forwarded-Proto: https\r\n", "https://h", 200},
		{true, "X-Forwarded-Proto: https\r\n", "http://h", 403},
		{true, "X-Forwarded-Proto: wss\r\n", "https://h", 200},
		{true, "X-Forwarded-Proto: http\r\n", "http://h", 200},
		{true, "X-Forwarded-Proto: http\r\n", "https://h", 403},
		{false, "X-Forwarded-Proto: https\r\n", "http://h", 200},
		{true, "Forwarded: host=example.org;proto=https\r\n", "https://example.org", 200},
		{true, "X-Forwarded-Host: evil.example, h\r\n", "https://evil.example", 403},
		{true, "X-Forwarded-Host: ex ample\r\n", "https://h", 200},
	} {
		cfg := Config{Origins: []string{"https://listed.example"}}
		if c.trusted {
			cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		e := mustNew(cfg, new(echoHandler))
		if got := ask(t, e, c.lines+"Origin: "+c.origin+"\r\n").StatusCode; got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
		r := httpRequest(t, c.lines+"Origin: "+c.origin+"\r\n")
		h := http.Header{}
		if e.AddCORS(h, r); (h.Get("Access-Control-Allow-Origin") != "") != (c.want == 200) {
			t.Errorf("%+v: CORS beside the engine: %v", c, h)
		}
	}
}

func httpRequest(t *testing.T, lines string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://h/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Add(name, value)
	}
	r.RemoteAddr = "192.0.2.1:1234"
	return r
}

// TestHandshakesBehindTrustedProxies: they are counted at the client's address, whoever
// carries them.
func TestHandshakesBehindTrustedProxies(t *testing.T) {
	e := mustNew(Config{TrustedProxies: trustedNetworks}, new(echoHandler))
	n := netpolltest.New(netpoll.Config{TrustedProxies: trustedNetworks, PerAddress: netpoll.AddressLimits{HandshakesPerSecond: 1, Conns: 1}}, Mux{e}, 1)
	handshakes := func(from, client string) (served, refused int) {
		p := n.DialFrom(0, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)))
		p.Write([]byte(strings.Repeat("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: "+client+"\r\n\r\n", 12)))
		n.Run()
		b := p.Read()
		return bytes.Count(b, []byte("HTTP/1.1 200")), bytes.Count(b, []byte("HTTP/1.1 429"))
	}
	for _, c := range []struct {
		from, client    string
		served, refused int
	}{
		{"10.0.0.1:1", "203.0.113.1", 10, 1}, // and closed
		{"10.0.0.2:1", "203.0.113.1", 0, 1},
		{"10.0.0.2:2", "203.0.113.2", 10, 1},
		{"203.0.113.3:1", "203.0.113.4", 10, 1}, // its own address, whatever it says
	} {
		if served, refused := handshakes(c.from, c.client); served != c.served || refused != c.refused {
			t.Errorf("%s for %s: %d served, %d refused; want %d, %d", c.from, c.client, served, refused, c.served, c.refused)
		}
	}
}

// TestWebSocketsBehindTrustedProxies: one carries one client, whose connection and
// messages are counted.
func TestWebSocketsBehindTrustedProxies(t *testing.T) {
	e := mustNew(Config{TrustedProxies: trustedNetworks}, new(echoHandler))
	n := netpolltest.New(netpoll.Config{
		TrustedProxies: trustedNetworks, PerAddress: netpoll.AddressLimits{Conns: 2, MessagesPerSecond: 2},
	}, Mux{e}, 2)
	upgrade := func(loop int, client, query string) (*netpolltest.Peer, string) {
		p := n.DialFrom(loop, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:1")))
		p.Write([]byte("GET /engine.io/?EIO=4&transport=websocket" + query + " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: " + client + "\r\n\r\n"))
		n.Run()
		status, _, _ := strings.Cut(string(p.Read()), "\r\n")
		return p, status
	}
	const client, other = "203.0.113.1", "203.0.113.2"
	var peers []*netpolltest.Peer
	for i, c := range []struct{ client, query, want string }{
		{client, "", "101"}, {client, "", "101"}, {client, "", "429"}, {client, "&sid=unknown", "429"}, {other, "", "101"}, {"unknown", "", "101"},
	} {
		p, status := upgrade(i%2, c.client, c.query)
		if !strings.Contains(status, c.want) {
			t.Errorf("%d: %s: %q, want %s", i, c.client, status, c.want)
		}
		if c.want == "429" && !p.Ended() {
			t.Errorf("%d: the connection goes on", i)
		}
		peers = append(peers, p)
	}
	frame := []byte{0x81, 0x82, 0, 0, 0, 0, '4', 'a'}
	for i, c := range []struct {
		peer  int
		ended bool
	}{{0, false}, {1, false}, {0, false}, {1, false}, {0, true}, {4, false}, {5, false}} {
		peers[c.peer].Write(frame)
		n.Run()
		if peers[c.peer].Ended() != c.ended {
			t.Errorf("message %d, of peer %d: ended %v", i, c.peer, !c.ended)
		}
	}
	peers[0].Close()
	peers[1].Close()
	n.Run()
	if _, status := upgrade(1, client, ""); !strings.Contains(status, "101") {
		t.Errorf("there is a place again, and %q", status)
	}
	// A handshake that is refused for another reason gives its place back.
	for range 5 {
		if p, status := upgrade(0, client, "&sid=unknown"); !strings.Contains(status, "400") {
			t.Errorf("%q", status)
		} else {
			p.Close()
			n.Run()
		}
	}
}

// TestTrustedProxiesFaults: a list that does not say what it seems to is a fault.
func TestTrustedProxiesFaults(t *testing.T) {
	err := Config{TrustedProxies: []netip.Prefix{{}, netip.MustParsePrefix("10.1.0.0/8")}}.Validate()
	if got := fmt.Sprint(err); strings.Count(got, "Config.TrustedProxies[") != 2 {
		t.Error(got)
	}
}
