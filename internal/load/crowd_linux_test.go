package load

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// limit bounds each test.
const limit = 15 * time.Second

// startServer starts Sockeye with the events that are used here.
func startServer(t *testing.T, cfg sockeye.Config) netip.AddrPort {
	t.Helper()
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*sockeye.Namespace{srv.Of("/"), srv.Of("/custom")} {
		ns.On("echo", func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack(e.Arguments()...) })
		ns.On("who", func(s *sockeye.Socket) map[string]any {
			auth := map[string]any{}
			_ = s.Auth(&auth)
			return map[string]any{"auth": auth, "header": s.Handshake().Headers.Get("X-Load"), "query": s.Handshake().Query.Get("room")}
		})
	}
	srv.Of("/refused").Use(func(*sockeye.Socket) error { return &sockeye.ConnectError{Message: "not today"} })
	addrs, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return netip.MustParseAddrPort(addrs.String())
}

// crowd is one whose end is awaited.
type crowd struct {
	*Crowd
	t      *testing.T
	conns  []Conn
	got    []string
	faults []*Fault
}

func newCrowd(t *testing.T, cfg Config, n int) *crowd {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = "/socket.io/"
	}
	l, err := NewCrowd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	c := &crowd{Crowd: l, t: t, conns: make([]Conn, n)}
	l.OnMessage = func(_ *Conn, p []byte) { c.got = append(c.got, string(p)) }
	l.OnGone = func(_ *Conn, f *Fault) { c.faults = append(c.faults, f) }
	for i := range c.conns {
		l.Open(&c.conns[i], i)
	}
	return c
}

// await runs until something is true.
func (c *crowd) await(what string, is func() bool) {
	c.t.Helper()
	for end := time.Now().Add(limit); !is(); {
		if err := c.Run(10 * time.Millisecond); err != nil {
			c.t.Fatal(err)
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s does not come: %d ready, %d under way, %d failed %v", what, c.Ready, c.UnderWay, c.Failed, c.faults)
		}
	}
}

func (c *crowd) awaitReady() {
	c.t.Helper()
	c.await("everybody", func() bool { return c.Ready == len(c.conns) })
}

func TestConversation(t *testing.T) {
	plain := startServer(t, sockeye.Config{})
	secure := startServer(t, sockeye.Config{TLS: tlspeer.ServerConfig()})
	for _, polling := range []bool{false, true} {
		for _, secured := range []bool{false, true} {
			for _, ns := range []string{"/", "/custom"} {
				t.Run(fmt.Sprintf("polling %v, TLS %v, %s", polling, secured, ns), func(t *testing.T) {
					cfg := Config{
						Servers: []netip.AddrPort{plain}, Polling: polling, Namespace: ns, Header: "X-Load: yes\r\n", Query: "room=7",
						Auth: func(id int) []byte { return fmt.Appendf(nil, `{"n":%d}`, id) },
					}
					if secured {
						cfg.Servers[0], cfg.TLS = secure, &tls.Config{InsecureSkipVerify: true}
					}
					c := newCrowd(t, cfg, 4)
					c.awaitReady()
					long := strings.Repeat("x", 70000)
					for i := range c.conns {
						c.conns[i].Send(fmt.Appendf(nil, `42%s%d["echo",%q]`, c.Prefix(), i, long))
						c.conns[i].Send(fmt.Appendf(nil, `42%s%d["who"]`, c.Prefix(), 100+i))
					}
					c.await("all answers", func() bool { return len(c.got) == 2*len(c.conns) })
					for _, p := range c.got {
						packet, ok := Parse([]byte(p[1:]))
						if !ok || !packet.IsAck() || "/"+strings.TrimPrefix(string(packet.Namespace), "/") != ns {
							t.Fatalf("%.60s: %+v", p, packet)
						}
						want := fmt.Sprintf(`[%q]`, long)
						if packet.ID >= 100 {
							want = fmt.Sprintf(`[{"auth":{"n":%d},"header":"yes","query":"7"}]`, packet.ID-100)
						}
						if string(packet.Data) != want {
							t.Fatalf("%d: %.100s", packet.ID, packet.Data)
						}
					}
					for i := range c.conns {
						c.Leave(&c.conns[i])
					}
					c.await("the end", func() bool { return c.Ready == 0 && c.Leaving == 0 })
					if c.Failed != 0 || c.UnderWay != 0 || c.held != 0 {
						t.Errorf("%d failed, %d under way, %d bytes held", c.Failed, c.UnderWay, c.held)
					}
				})
			}
		}
	}
}

// TestGoroutines: none stays of a handshake of TLS.
func TestGoroutines(t *testing.T) {
	cfg := Config{Servers: []netip.AddrPort{startServer(t, sockeye.Config{TLS: tlspeer.ServerConfig()})}, TLS: &tls.Config{InsecureSkipVerify: true}}
	c := newCrowd(t, cfg, 20)
	ours := func() (n int) {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for g := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(g, "internal/load.(*socket)") && !strings.Contains(g, "testing.tRunner") {
				n++
			}
		}
		return n
	}
	c.await("handshakes", func() bool { return ours() > 0 })
	c.awaitReady()
	c.await("their end", func() bool { return ours() == 0 })
}

// TestComeAgain: a Conn is used again and again.
func TestComeAgain(t *testing.T) {
	server := startServer(t, sockeye.Config{})
	for _, polling := range []bool{false, true} {
		c := newCrowd(t, Config{Servers: []netip.AddrPort{server}, Polling: polling}, 10)
		for range 20 {
			c.awaitReady()
			for i := range c.conns {
				c.Leave(&c.conns[i])
			}
			c.await("their leave", func() bool { return c.Leaving == 0 })
			for i := range c.conns {
				c.Open(&c.conns[i], i)
			}
		}
		c.awaitReady()
		if c.Failed > 0 {
			t.Errorf("polling %v: %v", polling, c.faults)
		}
	}
}

// head reads the head of a request, and what follows it if it has a length.
func head(r *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			break
		}
	}
	if m := regexp.MustCompile(`Content-Length: (\d+)`).FindStringSubmatch(b.String()); m != nil {
		n, _ := decimal([]byte(m[1]))
		body := make([]byte, n)
		_, _ = io.ReadFull(r, body)
		b.Write(body)
	}
	return b.String()
}

// upgrade answers the request for a WebSocket.
func upgrade(c net.Conn, r *bufio.Reader) {
	m := regexp.MustCompile(`Sec-WebSocket-Key: (\S+)`).FindStringSubmatch(head(r))
	if m != nil {
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept(m[1]))
	}
}

const openPacket = `0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`

// join does all that is needed for a connection to be ready.
func join(c net.Conn, r *bufio.Reader, open string) {
	upgrade(c, r)
	_, _ = c.Write(append(serverFrame(opText, open), serverFrame(opText, `40{"sid":"x"}`)...))
}

func body(status, text string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
}

// TestHostileServers: what each does is an error of a kind, after a bounded time.
func TestHostileServers(t *testing.T) {
	wait := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, h := range map[string]struct {
		do      func(c net.Conn, r *bufio.Reader)
		cfg     Config
		kind    string
		text    string
		polling bool
	}{
		"nothing is said": {do: func(c net.Conn, _ *bufio.Reader) { wait(c) }, kind: KindTimeout, text: "upgrade to WebSocket"},
		"no open packet":  {do: func(c net.Conn, r *bufio.Reader) { upgrade(c, r); wait(c) }, kind: KindTimeout, text: "open packet"},
		"no answer to join": {do: func(c net.Conn, r *bufio.Reader) {
			upgrade(c, r)
			_, _ = c.Write(serverFrame(opText, openPacket))
			wait(c)
		}, kind: KindTimeout, text: "namespace"},
		"polling, nothing": {do: func(c net.Conn, _ *bufio.Reader) { wait(c) }, kind: KindTimeout, text: "open packet", polling: true},
		"TLS, nothing":     {do: func(c net.Conn, _ *bufio.Reader) { wait(c) }, kind: KindTimeout, text: "TLS", cfg: Config{TLS: &tls.Config{InsecureSkipVerify: true}}},
		"TLS, garbage":     {do: func(c net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(c, "220 smtp\r\n") }, kind: KindTLS, text: "handshake", cfg: Config{TLS: &tls.Config{InsecureSkipVerify: true}}},
		"closed at once":   {do: func(net.Conn, *bufio.Reader) {}, kind: KindClosed},
		"closed in TLS":    {do: func(net.Conn, *bufio.Reader) {}, kind: KindTLS, text: "closed|reset", cfg: Config{TLS: &tls.Config{InsecureSkipVerify: true}}},
		"closed in the upgrade": {
			do:   func(c net.Conn, r *bufio.Reader) { head(r); _, _ = io.WriteString(c, "HTTP/1.1 101 Swi") },
			kind: KindClosed, text: "upgrade",
		},
		"400": {do: func(c net.Conn, r *bufio.Reader) {
			head(r)
			_, _ = io.WriteString(c, body("400 Bad Request", `{"code":5}`))
		}, kind: KindRefused, text: `HTTP 400 Bad Request: {"code":5}`},
		"503 without length": {
			do: func(c net.Conn, r *bufio.Reader) {
				head(r)
				_, _ = io.WriteString(c, "HTTP/1.0 503 No\r\n\r\nat the limit\x00\x1b[31m")
			},
			kind: KindRefused, text: `HTTP 503 Service Unavailable: at the limit··\[31m$`,
		},
		"polling 503": {do: func(c net.Conn, r *bufio.Reader) { head(r); _, _ = io.WriteString(c, body("503 No", "full")) }, kind: KindRefused, text: "503.*full", polling: true},
		"not HTTP":    {do: func(c net.Conn, _ *bufio.Reader) { _, _ = c.Write([]byte("\x00\xff\x00garbage")); wait(c) }, kind: KindProtocol, text: "not HTTP"},
		"endless head": {
			do: func(c net.Conn, r *bufio.Reader) {
				head(r)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20))
				wait(c)
			},
			kind: KindTooLarge, text: "head",
		},
		"wrong accept": {
			do: func(c net.Conn, r *bufio.Reader) {
				head(r)
				_, _ = io.WriteString(c, "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: x\r\n\r\n")
				wait(c)
			},
			kind: KindProtocol, text: "Accept",
		},
		"huge frame": {
			do: func(c net.Conn, r *bufio.Reader) {
				upgrade(c, r)
				_, _ = c.Write([]byte{0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0})
				wait(c)
			},
			kind: KindTooLarge, text: "1099511627776",
		},
		"huge in fragments": {do: func(c net.Conn, r *bufio.Reader) {
			upgrade(c, r)
			_, _ = c.Write([]byte{0x01, 126, 0x10, 0})
			_, _ = c.Write(make([]byte, 4096))
			for {
				if _, err := c.Write(append([]byte{0x00, 126, 0x10, 0}, make([]byte, 4096)...)); err != nil {
					return
				}
			}
		}, cfg: Config{MaxMessage: 1 << 16}, kind: KindTooLarge, text: "fragments"},
		"all too much together": {do: func(c net.Conn, r *bufio.Reader) {
			upgrade(c, r)
			_, _ = c.Write([]byte{0x81, 127, 0, 0, 0, 0, 0, 0xff, 0, 0})
			for {
				if _, err := c.Write(make([]byte, 65536)); err != nil {
					return
				}
			}
		}, cfg: Config{MaxHeld: 1 << 20}, kind: KindMemory, text: "1 MiB"},
		"huge body": {
			do: func(c net.Conn, r *bufio.Reader) {
				head(r)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
				wait(c)
			},
			kind: KindTooLarge, polling: true,
		},
		"compressed": {do: func(c net.Conn, r *bufio.Reader) { upgrade(c, r); _, _ = c.Write([]byte{0xc1, 1, 'x'}); wait(c) }, kind: KindProtocol, text: "reserved"},
		"not Engine.IO": {do: func(c net.Conn, r *bufio.Reader) {
			upgrade(c, r)
			_, _ = c.Write(serverFrame(opText, "hello"))
			wait(c)
		}, kind: KindProtocol, text: "not Engine.IO: hello"},
		"empty message": {do: func(c net.Conn, r *bufio.Reader) { upgrade(c, r); _, _ = c.Write(serverFrame(opText, "")); wait(c) }, kind: KindProtocol},
		"bad open packet": {do: func(c net.Conn, r *bufio.Reader) {
			upgrade(c, r)
			_, _ = c.Write(serverFrame(opText, `0{"sid":7}`))
			wait(c)
		}, kind: KindProtocol, text: "open packet"},
		"not Socket.IO": {do: func(c net.Conn, r *bufio.Reader) {
			join(c, r, openPacket)
			_, _ = c.Write(serverFrame(opText, "4x"))
			wait(c)
		}, kind: KindProtocol, text: "not Socket.IO"},
		"refused": {do: func(c net.Conn, r *bufio.Reader) {
			upgrade(c, r)
			_, _ = c.Write(append(serverFrame(opText, openPacket), serverFrame(opText, `44{"message":"no"}`)...))
			wait(c)
		}, kind: KindNamespace, text: `{"message":"no"}`},
		"close frame": {do: func(c net.Conn, r *bufio.Reader) {
			join(c, r, openPacket)
			_, _ = c.Write(serverFrame(opClose, "\x03\xf1big"))
			wait(c)
		}, kind: KindClosed, text: "1009 big"},
		"vanishes": {do: func(c net.Conn, r *bufio.Reader) { join(c, r, openPacket) }, kind: KindClosed, text: "connected"},
		"resets":   {do: func(c net.Conn, r *bufio.Reader) { join(c, r, openPacket); _ = c.(*net.TCPConn).SetLinger(0) }, kind: KindClosed, text: "connected"},
		"silent": {do: func(c net.Conn, r *bufio.Reader) {
			join(c, r, `0{"sid":"a","pingInterval":100,"pingTimeout":100}`)
			wait(c)
		}, kind: KindHeartbeat, text: "200ms"},
		"disconnects": {do: func(c net.Conn, r *bufio.Reader) {
			join(c, r, openPacket)
			_, _ = c.Write(serverFrame(opText, "41"))
			wait(c)
		}, kind: KindClosed, text: "disconnect packet"},
		"a POST is refused":   {do: pollingServer(body("400 Bad Request", `{"code":1}`)), kind: KindRefused, text: "400", polling: true},
		"a POST not answered": {do: pollingServer(""), kind: KindTimeout, text: "namespace", polling: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.cfg.Servers = []netip.AddrPort{wiretest.Serve(t, limit, h.do)}
			h.cfg.Polling = h.polling
			if h.cfg.Timeout = limit; h.kind == KindTimeout {
				h.cfg.Timeout = 300 * time.Millisecond
			}
			const n = 3
			c := newCrowd(t, h.cfg, n)
			c.await("the errors", func() bool { return len(c.faults) == n })
			for _, f := range c.faults {
				if f.Kind != h.kind || !regexp.MustCompile(h.text).MatchString(f.Text) && !strings.Contains(f.Text, h.text) {
					t.Errorf("%v, want %s: %s", f, h.kind, h.text)
				}
			}
			if c.Ready != 0 || c.UnderWay != 0 || c.held != 0 || c.Failed != n {
				t.Errorf("%d ready, %d under way, %d bytes held, %d failed", c.Ready, c.UnderWay, c.held, c.Failed)
			}
		})
	}
}

// pollingServer answers GET with an open packet, and POST with something.
func pollingServer(post string) func(c net.Conn, r *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		switch request := head(r); {
		case strings.HasPrefix(request, "POST"):
			_, _ = io.WriteString(c, post)
		case !strings.Contains(request, "sid="):
			_, _ = io.WriteString(c, body("200 OK", openPacket))
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

// TestServerClosesEachPoll: HTTP/1.0, or Connection: close, takes a connection more.
func TestServerClosesEachPoll(t *testing.T) {
	joined := make(chan struct{})
	polls := make(chan struct{}, 100)
	server := wiretest.Serve(t, limit, func(c net.Conn, r *bufio.Reader) {
		request := head(r)
		text := "ok"
		switch {
		case strings.HasPrefix(request, "POST"):
			if strings.HasSuffix(request, "40") {
				close(joined)
			}
		case !strings.Contains(request, "sid="):
			text = openPacket
		default:
			<-joined
			polls <- struct{}{}
			if text = `40{"sid":"x"}`; len(polls) > 1 {
				text = `42["tick"]`
			}
		}
		fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s", text)
	})
	c := newCrowd(t, Config{Servers: []netip.AddrPort{server}, Polling: true}, 1)
	c.awaitReady()
	c.await("ticks", func() bool { return len(c.got) >= 3 })
	if c.Failed > 0 {
		t.Error(c.faults)
	}
}

// TestRefusedConnect: nobody listens.
func TestRefusedConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	_ = ln.Close()
	c := newCrowd(t, Config{Servers: []netip.AddrPort{addr}}, 2)
	c.await("the errors", func() bool { return c.Failed == 2 })
	if f := c.faults[0]; f.Kind != KindConnect || !strings.Contains(f.Text, "refused") {
		t.Error(f)
	}
}

// TestForeignSource: an address that is not this machine's.
func TestForeignSource(t *testing.T) {
	server := startServer(t, sockeye.Config{})
	c := newCrowd(t, Config{Servers: []netip.AddrPort{server}, Source: func(int) netip.Addr { return netip.MustParseAddr("192.0.2.1") }}, 1)
	if len(c.faults) != 1 || c.faults[0].Kind != KindPorts || !strings.Contains(c.faults[0].Text, "-source") {
		t.Error(c.faults)
	}
	c = newCrowd(t, Config{Servers: []netip.AddrPort{server}, Source: func(int) netip.Addr { return netip.MustParseAddr("127.0.0.9") }}, 1)
	c.awaitReady()
}

// TestServerDoesNotRead: what waits is known, and held to account.
func TestServerDoesNotRead(t *testing.T) {
	server := wiretest.Serve(t, limit, func(c net.Conn, r *bufio.Reader) {
		join(c, r, openPacket)
		time.Sleep(limit)
	})
	c := newCrowd(t, Config{Servers: []netip.AddrPort{server}}, 1)
	c.awaitReady()
	message := []byte(`42["m","` + strings.Repeat("x", 1<<20) + `"]`)
	for range 12 {
		c.conns[0].Send(message)
	}
	if n := c.conns[0].Waiting(); n < 1<<20 || c.held < n {
		t.Errorf("%d bytes wait, %d are held", n, c.held)
	}
	c.Cut(&c.conns[0])
	if c.held != 0 {
		t.Errorf("%d bytes are held of nobody", c.held)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	var fs Faults
	for i := range 1000 {
		fs.Add(Fault{KindRefused, fmt.Sprint(i)}, 2, time.Second)
	}
	if n := len(fs.All()); n != maxFaults+1 || fs.Total() != 2000 {
		t.Errorf("%d kinds, %d in all", n, fs.Total())
	}
	if last := fs.All()[maxFaults]; last.Kind != "others" || last.Count != 2*(1000-maxFaults) {
		t.Errorf("%+v", last)
	}
}

func TestSaid(t *testing.T) {
	if got := said([]byte("a\x00b\xff\r\n\u202ec")); got != "a·b····c" {
		t.Errorf("%q", got)
	}
	if got := said([]byte(strings.Repeat("é", 500))); len(got) > saidBytes+8 {
		t.Errorf("%d bytes", len(got))
	}
}
