//go:build unix

package sockeye_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// cutter stands between servers: what it passes on can be cut.
type cutter struct {
	addr string       // that the others are told
	gate sync.RWMutex // held by who has everything wait

	mu     sync.Mutex
	to     string
	ln     net.Listener
	conns  []*net.TCPConn
	silent bool // it takes, and passes nothing on
}

func newCutter(t testing.TB, to string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{ln: ln, addr: ln.Addr().String(), to: to}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			to, silent := c.to, c.silent
			c.conns = append(c.conns, near.(*net.TCPConn))
			c.mu.Unlock()
			if silent {
				continue
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, far.(*net.TCPConn))
			c.mu.Unlock()
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(gatedConn{to, &c.gate}, from)
				c.gate.RLock()
				defer c.gate.RUnlock()
				_ = to.(*net.TCPConn).CloseWrite()
			}
			go pass(far, near)
			go pass(near, far)
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); c.cut() })
	return c
}

// gatedConn writes while the gate is open.
type gatedConn struct {
	net.Conn
	gate *sync.RWMutex
}

func (g gatedConn) Write(b []byte) (int, error) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.Conn.Write(b)
}

// cut resets all that is passed on.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
	c.conns = nil
}

// pair are two servers: what the second one passes on goes by the cutter.
func pair(t *testing.T, change func(i int, cfg *sockeye.Config), setup func(srv *sockeye.Server)) (owner, wrong node, c *cutter) {
	t.Helper()
	c = newCutter(t, freeAddress(t))
	all := forwarding(t, 2, func(i int, cfg *sockeye.Config) {
		if i == 0 {
			cfg.Forward.Listen, cfg.Forward.Advertise = c.to, c.addr
		}
		if change != nil {
			change(i, cfg)
		}
	}, setup)
	return all[0], all[1], c
}

// freeAddress is one on which nobody listens at present.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// at is a session of the owner's that goes on at another server.
func at(p *wiretest.Poll, to node) *wiretest.Poll {
	_, rest, _ := strings.Cut(strings.TrimPrefix(p.URL, "http://"), "/")
	return &wiretest.Poll{T: p.T, SID: p.SID, URL: "http://" + to.addr + "/" + rest}
}

// upgrade takes a polling session over to a WebSocket at another server.
func upgrade(t testing.TB, p *wiretest.Poll, to node) *wiretest.WS {
	t.Helper()
	w := wiretest.DialWS(t, to.addr, "/socket.io/?EIO=4&transport=websocket&sid="+p.SID)
	w.Write("2probe")
	w.Expect("3probe")
	w.Write("5")
	w.Write("40/unknown,") // what is answered is behind the upgrade
	w.Expect(`44/unknown,{"message":"Invalid namespace"}`)
	return w
}

// wantRefusal reads an error of the protocol.
func wantRefusal(t testing.TB, resp *http.Response, err error, status int, hint string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var body struct {
		Code          int
		Message, Hint string
	}
	if err := json.Unmarshal(b, &body); err != nil || resp.StatusCode != status || body.Code != 1 || body.Message != "Session ID unknown" || !strings.Contains(body.Hint, hint) || (hint == "") != (body.Hint == "") {
		t.Errorf("%s %q, want %d and the hint %q", resp.Status, b, status, hint)
	}
}

const unreachable = "the server of this session cannot be reached"

// TestForwardOwnerVanishes: before the answer, with a WebSocket, and before a link is
// there.
func TestForwardOwnerVanishes(t *testing.T) {
	owner, wrong, c := pair(t, nil, nil)
	p := at(wiretest.ConnectPoll(t, owner.addr), wrong)
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
	before := owner.Stats().Net.BytesIn
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		resp, err := http.Get(p.URL)
		wantRefusal(t, resp, err, 503, unreachable)
	}()
	eventually(t, func() bool { return owner.Stats().Engine.Opened == 2 && wrong.Stats().Net.Forwarded == 2 })
	// The owner has the poll: what a frame of the upgrade may add is less.
	eventually(t, func() bool { return owner.Stats().Net.BytesIn > before+100 })
	c.cut()
	within(t, polled)
	w.ExpectClosed()
	if n := wrong.Stats(); n.Net.ForwardFailures != 1 || n.Engine.RefusedBy["UNREACHABLE_SERVER"] != 1 {
		t.Errorf("%d failures, %v", n.Net.ForwardFailures, n.Engine.RefusedBy)
	}
	// The next request has a link of its own, and the owner's word.
	resp, err := http.Get(p.URL)
	wantRefusal(t, resp, err, 400, "")
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 0 && owner.Stats().Engine.Sessions == 0 })

	_ = c.ln.Close()
	c.cut()
	eventually(t, func() bool { return wrong.Stats().Net.Links == 0 })
	q := at(wiretest.ConnectPoll(t, owner.addr), wrong)
	resp, err = http.Post(q.URL, "text/plain", strings.NewReader(`42["x"]`))
	wantRefusal(t, resp, err, 503, unreachable)
	conn := wiretest.Dial(t, wrong.addr)
	fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=websocket&sid=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", q.SID)
	if b, _ := io.ReadAll(conn); !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
		t.Errorf("a WebSocket: %q", b)
	}
}

// TestForwardOwnerIsSilent: what is due is answered when the owner says goodbye.
func TestForwardOwnerIsSilent(t *testing.T) {
	owner, wrong, c := pair(t, nil, nil)
	p := at(wiretest.ConnectPoll(t, owner.addr), wrong)
	c.mu.Lock()
	c.silent = true
	c.mu.Unlock()
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		resp, err := http.Get(p.URL)
		wantRefusal(t, resp, err, 503, unreachable)
	}()
	eventually(t, func() bool { return wrong.Stats().Net.Forwarded == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
	defer cancel()
	if err := owner.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	within(t, polled)
	eventually(t, func() bool { return wrong.Peers() == 0 && wrong.Stats().Net.Links == 0 })
	resp, err := http.Get(p.URL)
	wantRefusal(t, resp, err, 400, "")
}

// TestForwardConnectTimeout: a link that is not there in time.
func TestForwardConnectTimeout(t *testing.T) {
	_, wrong, _ := pair(t, func(i int, cfg *sockeye.Config) {
		if i == 0 {
			cfg.Forward.Advertise = "192.0.2.1:9" // of nobody, RFC 5737
		}
		cfg.Forward.ConnectTimeout = 50 * time.Millisecond
	}, nil)
	begun := time.Now()
	resp, err := http.Get("http://" + wrong.addr + "/socket.io/?EIO=4&transport=polling&sid=" + otherID(wrong) + "xxxxxxxxxxxxxx")
	wantRefusal(t, resp, err, 503, unreachable)
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	eventually(t, func() bool { return wrong.Stats().Net.Links == 0 })
}

// otherID is the name of another server that srv knows.
func otherID(srv node) string { return srv.PeerIDs()[0] }

// TestForwardClientVanishes: the owner hears of it.
func TestForwardClientVanishes(t *testing.T) {
	gone := make(chan sockeye.Reason, 10)
	servers := forwarding(t, 2, nil, func(srv *sockeye.Server) {
		srv.OnDisconnect(func(_ *sockeye.Socket, reason sockeye.Reason) { gone <- reason })
	})
	owner, wrong := servers[0], servers[1]
	for _, reset := range []bool{false, true} {
		p := wiretest.ConnectPoll(t, owner.addr)
		conn := wiretest.Dial(t, wrong.addr)
		had := owner.Stats().Net.BytesIn
		fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", p.SID)
		eventually(t, func() bool { return owner.Stats().Net.BytesIn > had+120 }) // the poll is there
		end(conn, reset)
		if reason := within(t, gone); reason != sockeye.TransportClose && reason != sockeye.TransportError {
			t.Errorf("a poll: %v", reason)
		}
		w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
		eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
		end(w.Conn, reset)
		if reason := within(t, gone); reason != sockeye.TransportClose && !reset || reason != sockeye.TransportError && reset {
			t.Errorf("a WebSocket, reset %v: %v", reset, reason)
		}
		eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 0 })
	}
}

func end(conn net.Conn, reset bool) {
	if reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	_ = conn.Close()
}

// TestForwardSlowReader: it is cut where it is connected, by the rules there, and what
// waits for it is bounded on both sides.
func TestForwardSlowReader(t *testing.T) {
	gone := make(chan sockeye.Reason, 1)
	emitted := make(chan error, 1)
	servers := forwarding(t, 2, func(_ int, cfg *sockeye.Config) {
		cfg.SlowTimeout, cfg.MaxQueuedBytes = 500*time.Millisecond, 128<<10
	}, func(srv *sockeye.Server) {
		srv.OnDisconnect(func(_ *sockeye.Socket, reason sockeye.Reason) { gone <- reason })
		srv.On("flood", func(s *sockeye.Socket) {
			b := make([]byte, 64<<10)
			for {
				if err := s.Emit("b", b); err != nil {
					emitted <- err
					return
				}
			}
		})
	})
	owner, wrong := servers[0], servers[1]
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	w.Write(`42["flood"]`)
	most := int64(0)
	var reason sockeye.Reason
	for waiting := true; waiting; {
		most = max(most, wrong.Stats().Net.MemoryBytes, owner.Stats().Net.MemoryBytes)
		select {
		case reason = <-gone:
			waiting = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	within(t, emitted)
	if n := wrong.Stats().Net.SlowConsumers; n != 1 || owner.Stats().Net.SlowConsumers != 0 {
		t.Errorf("slow at the wrong server: %d, at the owner: %d; %v", n, owner.Stats().Net.SlowConsumers, reason)
	}
	if most > 1<<20 {
		t.Errorf("%d bytes waited", most)
	}
	eventually(t, func() bool {
		return wrong.Stats().Net.MemoryBytes == 0 && owner.Stats().Engine.Sessions == 0 && wrong.Stats().Net.ForwardedSockets == 0
	})
}

// TestForwardLargeAnswers: what is larger than any buffer passes whole, both ways, to
// clients that read at once and to one that waits.
func TestForwardLargeAnswers(t *testing.T) {
	owner, wrong, _ := pair(t, func(_ int, cfg *sockeye.Config) { cfg.HTTPCompressionThreshold, cfg.MaxPayload = -1, 4<<20 }, func(srv *sockeye.Server) {
		srv.On("back", func(s *sockeye.Socket, text string) { _ = s.Emit("back", text) })
	})
	text := strings.Repeat("0123456789abcdef", 100_000)
	p := at(wiretest.ConnectPoll(t, owner.addr), wrong)
	want := `42["back","` + text + `"]`
	for range 3 {
		p.Post(want, 200, "ok")
		if status, body := p.Get(); status != 200 || body != want {
			t.Errorf("%d, %d bytes", status, len(body))
		}
	}
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	for range 4 {
		w.Write(want)
	}
	for range 4 {
		w.Expect(want)
	}
	eventually(t, func() bool { return wrong.Stats().Net.MemoryBytes == 0 })
}

// TestForwardGoroutines: none belongs to a connection.
func TestForwardGoroutines(t *testing.T) {
	if os.Getenv("SOCKEYE_BRIDGE") != "" {
		t.Skip("there each connection has one")
	}
	const n = 1000
	servers := forwarding(t, 2, func(_ int, cfg *sockeye.Config) { cfg.MaxPendingSessions = -1 }, nil)
	owner, wrong := servers[0], servers[1]
	var all []*wiretest.WS
	open := func(n int) {
		for range n {
			all = append(all, upgrade(t, wiretest.OpenPoll(t, owner.addr), wrong))
		}
	}
	open(1)
	before := runtime.NumGoroutine()
	open(n - 1)
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == n && owner.Stats().Engine.Upgraded == n })
	eventually(t, func() bool { return runtime.NumGoroutine() <= before+20 })
	for _, w := range all {
		w.Write("40")
	}
	for _, w := range all {
		w.Expect(`40{"sid":"*`)
		_ = w.Conn.Close()
	}
	eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 0 && owner.Stats().Engine.Sessions == 0 })
}

// TestForwardHints: where it is off, the answer says what to do.
func TestForwardHints(t *testing.T) {
	for _, off := range []int{0, 1} {
		servers := forwarding(t, 2, func(i int, cfg *sockeye.Config) {
			if i == off {
				cfg.Forward = nil
			}
		}, nil)
		p := at(wiretest.OpenPoll(t, servers[0].addr), servers[1])
		resp, err := http.Get(p.URL)
		wantRefusal(t, resp, err, 400, "this session lives on server "+servers[0].ID())
		resp, err = http.Get(strings.Replace(p.URL, p.SID[:6], "nobody", 1))
		wantRefusal(t, resp, err, 400, "")
	}
}

// TestForwardStrangers: what is no server's gets nothing from a link.
func TestForwardStrangers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	servers := forwarding(t, 2, func(i int, cfg *sockeye.Config) {
		if cfg.Fallback = http.NotFoundHandler(); i == 0 {
			cfg.Forward.Listen = path
		}
	}, nil)
	owner, wrong := servers[0], servers[1]
	sid := wiretest.OpenPoll(t, owner.addr).SID
	secret := owner.LinkSecret()
	hello := "SOCKEYE/1 " + secret + "\r\n"
	handshake := "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, c := range []struct{ send, want string }{
		{handshake, ""},
		{"SOCKEYE/1 " + strings.Repeat("x", len(secret)) + "\r\nFOR @ 0\r\n" + handshake, ""},
		{"SOCKEYE/1 " + strings.Repeat("x", 1000), ""},
		{"SOCKEYE/2 " + secret + "\r\n", ""},
		{hello + handshake, ""},
		{hello + "FOR 1.2.3.4 0\r\n" + handshake, ""},
		{hello + "FOR @ 4\r\n" + handshake, ""},
		{hello + "HURRX\r\n", ""},
		{"HURRY\r\n" + hello, ""},
		{hello + "HURRY\r\nHURRY\r\nFOR @ 0\r\n" + handshake, "HTTP/1.1 400 "},
		{hello + "FOR " + strings.Repeat("1", 1000), ""},
		{hello + "FOR @ 0\r\n" + handshake, "HTTP/1.1 400 "},
		{hello + "FOR @ 0\r\nGET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 "},
		{hello + "FOR @ 0\r\n" + strings.Replace(handshake, "polling", "polling&sid="+wrong.ID()+"xxxxxxxxxxxxxx", 1), "HTTP/1.1 400 "}, // never on
		{hello + "FOR [::1]:5 3\r\nPOST /socket.io/?EIO=4&transport=polling&sid=" + sid + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n3", "HTTP/1.1 200 "},
	} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(wiretest.Limit))
		for i := 0; i < len(c.send); i += 7 { // in pieces
			if _, err := io.WriteString(conn, c.send[i:min(i+7, len(c.send))]); err != nil {
				break
			}
		}
		b := make([]byte, 13)
		n, _ := io.ReadFull(conn, b)
		if got := string(b[:n]); got != c.want {
			t.Errorf("%.100q: %q, want %q", c.send, got, c.want)
		}
		_ = conn.Close()
	}
	if n := owner.Stats().Net; n.BadLinks != 10 || n.Forwarded != 0 {
		t.Errorf("%d bad links, %d requests were passed on once more", n.BadLinks, n.Forwarded)
	}
	if h := owner.Health(); !h.Ready {
		t.Errorf("%v", h.NotReady)
	}
}

// TestForwardTells: the owner sees the client as it would have been seen there.
func TestForwardTells(t *testing.T) {
	told := make(chan *sockeye.Request, 1)
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	servers := forwarding(t, 2, func(i int, cfg *sockeye.Config) {
		cfg.TLS = &tls.Config{Certificates: web.TLS.Certificates}
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		if i == 0 {
			cfg.TrustedProxies = append(cfg.TrustedProxies, netip.MustParsePrefix("10.0.0.0/8"))
			cfg.OnRefused = func(r *sockeye.Request, _ sockeye.Refusal) { told <- r }
		}
	}, nil)
	owner, wrong := servers[0], servers[1]
	conn, err := tls.Dial("tcp", wrong.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its own
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=polling&sid=%sxxxxxxxxxxxxxx HTTP/1.1\r\nHost: a.example\r\nOrigin: https://a.example\r\n"+
		"Connection: x, keep-alive\r\nX-Forwarded-For: 9.9.9.9, 192.0.2.7, 10.0.0.1\r\nSOCKEYE: FOR @\r\n\r\n", owner.ID())
	r := within(t, told)
	if r.Address() != "192.0.2.7" || r.RemoteAddr() != conn.LocalAddr().String() || !r.Secure() || r.Header("Sockeye") != "FOR @" || r.Header("Connection") != "" {
		t.Errorf("address %s, connection %s, secure %v, %v", r.Address(), r.RemoteAddr(), r.Secure(), r.Headers())
	}
}

// TestForwardMounted: the loops end TLS, net/http does, or nobody.
func TestForwardMounted(t *testing.T) {
	servers := forwarding(t, 2, nil, func(srv *sockeye.Server) {
		srv.On("echo", func(b []byte) []byte { return b })
	})
	owner, wrong := servers[0], servers[1]
	for _, secure := range []bool{false, true} {
		mux := http.NewServeMux()
		mux.Handle("/socket.io/", wrong.Handler())
		web := httptest.NewUnstartedServer(mux)
		if secure {
			web.StartTLS()
		} else {
			web.Start()
		}
		defer web.Close()
		// The handshake is the owner's, all that follows comes here.
		rt := switching{web.Client().Transport, owner.addr, web.Listener.Addr().String()}
		for _, transports := range [][]string{{"polling"}, {"polling", "websocket"}} {
			c, err := client.Dial(t.Context(), web.URL, client.Config{
				Transports: transports, NoReconnect: true, HTTPClient: &http.Client{Transport: rt},
				TLS: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its own
			})
			if err != nil {
				t.Fatal(err)
			}
			for n := range 6 {
				want := make([]byte, n*30_000)
				answer, err := c.Call(t.Context(), "echo", want)
				var b []byte
				if err != nil || answer.Decode(&b) != nil || len(b) != len(want) {
					t.Fatalf("TLS %v: %d bytes, %v", secure, len(b), err)
				}
			}
			if len(transports) == 2 {
				eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
			}
			c.Close()
			eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 0 })
		}
	}
	if owner.Stats().Engine.Opened != 4 || wrong.Stats().Engine.Opened != 0 {
		t.Errorf("sessions: %d and %d", owner.Stats().Engine.Opened, wrong.Stats().Engine.Opened)
	}
}

// switching sends handshakes to one server, and what has a sid to another.
type switching struct {
	http.RoundTripper
	open, rest string
}

func (s switching) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("sid") == "" {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = "http", s.open
	}
	return s.RoundTripper.RoundTrip(r)
}

// TestForwardLimits: beyond MaxConns requests are refused, and work again afterwards.
func TestForwardLimits(t *testing.T) {
	owner, wrong, _ := pair(t, func(_ int, cfg *sockeye.Config) { cfg.Forward.MaxConns = 1 }, nil)
	w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
	p := at(wiretest.ConnectPoll(t, owner.addr), wrong)
	resp, err := http.Get(p.URL)
	wantRefusal(t, resp, err, 503, unreachable)
	_ = w.Conn.Close()
	eventually(t, func() bool { return wrong.Stats().Net.Links == 0 })
	p.Post("3", 200, "ok")
	p.Post("3", 200, "ok") // by the same link
	if n := wrong.Stats().Net; n.Links != 1 || n.Forwarded != 3 || n.ForwardFailures != 1 {
		t.Errorf("%+v", n)
	}
}

// TestForwardTwoPolls: the owner decides.
func TestForwardTwoPolls(t *testing.T) {
	owner, wrong, _ := pair(t, nil, nil)
	p := at(wiretest.ConnectPoll(t, owner.addr), wrong)
	answers := make(chan int, 2)
	for range 2 {
		go func() {
			status, _ := p.Get()
			answers <- status
		}()
	}
	if a, b := within(t, answers), within(t, answers); a+b != 600 && a+b != 800 {
		t.Errorf("%d and %d", a, b)
	}
	eventually(t, func() bool { return owner.Stats().Engine.Sessions == 0 })
}

// TestForwardShutdown: neither side keeps the other.
func TestForwardShutdown(t *testing.T) {
	for _, side := range []string{"owner", "wrong"} {
		t.Run(side, func(t *testing.T) {
			owner, wrong, _ := pair(t, func(_ int, cfg *sockeye.Config) { cfg.CloseTimeout = 200 * time.Millisecond }, nil)
			p := at(wiretest.ConnectPoll(t, owner.addr), wrong)
			w := upgrade(t, wiretest.ConnectPoll(t, owner.addr), wrong)
			p.Post("3", 200, "ok") // leaves a link that is idle
			eventually(t, func() bool { return wrong.Stats().Net.ForwardedSockets == 1 })
			before := owner.Stats().Net.BytesIn
			polled := make(chan string, 1)
			go func() {
				resp, err := http.Get(p.URL)
				if err != nil {
					polled <- "cut"
					return
				}
				defer resp.Body.Close()
				b, _ := io.ReadAll(resp.Body)
				polled <- string(b)
			}()
			eventually(t, func() bool { return wrong.Stats().Net.Forwarded == 3 })
			eventually(t, func() bool { return owner.Stats().Net.BytesIn > before+100 }) // it has the poll
			srv := owner
			if side == "wrong" {
				srv = wrong
			}
			ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if got := within(t, polled); side == "owner" && !strings.HasSuffix(got, "1") || side == "wrong" && got != "6" {
				t.Errorf("the poll: %q", got)
			}
			w.ExpectClosed()
			left := 0 // the poll's session lives on when only the way to it has gone
			if side == "wrong" {
				left = 1
			}
			eventually(t, func() bool { return owner.Stats().Engine.Sessions == left && wrong.Stats().Net.Links == 0 })
		})
	}
}

// TestForwardChurn: clients and links come and go, and nothing is left.
func TestForwardChurn(t *testing.T) {
	owner, wrong, c := pair(t, func(_ int, cfg *sockeye.Config) {
		cfg.PingInterval, cfg.PingTimeout, cfg.PollCloseTimeout = time.Second, time.Second, time.Second
	}, func(srv *sockeye.Server) {
		srv.On("echo", func(text string) string { return text })
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 12 {
		wg.Go(func() {
			rt := switching{&http.Transport{}, owner.addr, ""}
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), wiretest.Limit)
				cl, err := client.Dial(ctx, "http://"+wrong.addr, client.Config{
					Transports: [][]string{{"polling"}, {"polling", "websocket"}}[rand.IntN(2)], NoReconnect: true, HTTPClient: &http.Client{Transport: rt},
				})
				if err == nil {
					for range rand.IntN(10) {
						if _, err := cl.Call(ctx, "echo", "x"); err != nil {
							break
						}
						done.Add(1)
					}
					cl.Close()
				}
				cancel()
			}
		})
	}
	for cuts := 0; cuts < 10 || done.Load() < 40; cuts++ {
		time.Sleep(50 * time.Millisecond) // long enough for some, too short for others
		if cuts%8 < 6 {
			c.cut()
		}
		if cuts == 400 {
			t.Errorf("only %d calls", done.Load())
			break
		}
	}
	close(stop)
	wg.Wait()
	defer func() {
		if t.Failed() {
			w, o := wrong.Stats(), owner.Stats()
			w.Net.Loops, o.Net.Loops = nil, nil
			t.Logf("wrong: %+v\nowner: %+v", w.Net, o.Net)
		}
	}()
	eventually(t, func() bool {
		w, o := wrong.Stats(), owner.Stats()
		return w.Net.ForwardedSockets == 0 && w.Net.MemoryBytes == 0 && o.Net.MemoryBytes == 0 && o.Engine.QueuedBytes == 0 && o.Engine.Sessions == 0
	})
	c.cut()
	eventually(t, func() bool { return wrong.Stats().Net.Links == 0 })
}

// TestForwardConfig: faults are told at once.
func TestForwardConfig(t *testing.T) {
	_, err := sockeye.New(sockeye.Config{
		Forward:    &sockeye.Forward{Listen: ":5", Advertise: "0.0.0.0:5", MaxConns: -1},
		GenerateID: func(*sockeye.Request) string { return "x" },
	})
	for _, want := range []string{"Config.Forward needs Config.Adapter", "Config.GenerateID is set", "Forward.Advertise", "Forward.MaxConns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: has no %q", err, want)
		}
	}
	_, err = sockeye.New(sockeye.Config{Forward: &sockeye.Forward{Listen: "0.0.0.0:5"}})
	if err == nil || !strings.Contains(err.Error(), "Forward.Listen is \"0.0.0.0:5\", which other servers cannot reach") {
		t.Error(err)
	}
}

// TestForwardHeadLimits: a head that is as large as may be, in bytes and in fields, passes as it
// would at its own server, and one that is larger does not.
func TestForwardHeadLimits(t *testing.T) {
	for _, limit := range []int{4 << 10, 16 << 10, 128 << 10} {
		const fields = 20
		owner, wrong, _ := pair(t, func(_ int, cfg *sockeye.Config) {
			cfg.MaxHeadBytes, cfg.MaxHeaderFields, cfg.HeadTimeout = limit, fields, time.Second
		}, nil)
		for _, c := range []struct {
			bytes, fields int
			want          string
		}{{limit, fields, "HTTP/1.1 200 "}, {limit + 1, fields, "HTTP/1.1 431 "}, {limit, fields + 1, "HTTP/1.1 431 "}} {
			for _, to := range []node{owner, wrong} {
				// A POST without content is answered at once, and ends its session. What is
				// passed on has a length besides.
				p := wiretest.OpenPoll(t, owner.addr)
				head := "POST /socket.io/?EIO=4&transport=polling&sid=" + p.SID + " HTTP/1.1\r\nHost:x\r\n"
				for i := range c.fields - 2 {
					head += fmt.Sprintf("X-%d:\r\n", i)
				}
				head += "X-Last:" + strings.Repeat("x", c.bytes-len(head)-len("X-Last:\r\n\r\n")) + "\r\n\r\n"
				conn := wiretest.Dial(t, to.addr)
				_, _ = io.WriteString(conn, head)
				b := make([]byte, 13)
				n, _ := io.ReadFull(conn, b)
				if got := string(b[:n]); got != c.want {
					t.Errorf("of %d bytes, at the wrong server %v, with %d bytes and %d fields: %q, want %q", limit, to == wrong, c.bytes, c.fields, got, c.want)
				}
				_ = conn.Close()
			}
		}
	}
}
