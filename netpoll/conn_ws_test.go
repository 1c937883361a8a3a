package netpoll_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// handshake asks for a WebSocket, with more header lines, and returns the head of
// the response.
func handshake(n *netpolltest.Net, lines string) (*netpolltest.Peer, string) {
	p := n.Dial(0)
	p.Write([]byte("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + lines + "\r\n"))
	n.Run()
	return p, string(p.Read())
}

const offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// compressed is a client's frame of permessage-deflate.
func compressed(op gobwas.OpCode, data []byte) []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, 9)
	_, _ = w.Write(data)
	_ = w.Flush()
	f := gobwas.NewFrame(op, true, bytes.TrimSuffix(buf.Bytes(), []byte("\x00\x00\xff\xff")))
	f.Header.Rsv = gobwas.Rsv(true, false, false)
	return frame(f)
}

// inflateFrame is the content of a server's frame, and whether it was compressed.
func inflateFrame(t *testing.T, b []byte) (data string, wasCompressed bool) {
	t.Helper()
	r := bytes.NewReader(b)
	h, err := gobwas.ReadHeader(r)
	if err != nil || int(h.Length) != r.Len() {
		t.Fatalf("%q: %v", b, err)
	}
	payload, _ := io.ReadAll(r)
	if h.Rsv == 0 {
		return string(payload), false
	}
	payload = append(payload, "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)
	all, err := io.ReadAll(flate.NewReader(bytes.NewReader(payload)))
	if err != nil {
		t.Fatal(err)
	}
	return string(all), true
}

func TestDeflateOnConnections(t *testing.T) {
	a := &app{}
	a.message = func(c *netpoll.Conn, data []byte, binary bool) {
		if !c.Deflates() {
			sendFrame(c, data, binary)
			return
		}
		buf := netpoll.NewBuffer(64)
		buf.B = ws.AppendDeflatedFrame(buf.B, data, binary, c.Loop().Group().Config().Deflate.Level)
		c.Send(buf, buf.B)
		buf.Release()
	}
	n := start(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, a, 1)
	text := strings.Repeat("hello, ", 1000)

	with, head := handshake(n, offer)
	if !strings.Contains(head, " 101 ") || strings.Count(head, "\r\n\r\n") != 1 || !strings.HasSuffix(head, "\r\n\r\n") ||
		!strings.Contains(head, "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n") {
		t.Fatalf("%q", head)
	}
	without, head := handshake(n, "")
	if !strings.Contains(head, " 101 ") || strings.Contains(head, "Extensions") {
		t.Fatalf("%q", head)
	}
	for range 3 { // each message by itself
		with.Write(compressed(gobwas.OpText, []byte(text)))
		n.Run()
		b := with.Read()
		if got, z := inflateFrame(t, b); got != text || !z || len(b) > 200 {
			t.Fatalf("%d bytes came back in %d, compressed: %v", len(got), len(b), z)
		}
		with.Write(frame(gobwas.NewTextFrame([]byte("plain"))))
		n.Run()
		if got, _ := inflateFrame(t, with.Read()); got != "plain" {
			t.Fatalf("%q", got)
		}
		without.Write(frame(gobwas.NewTextFrame([]byte(text))))
		n.Run()
		if got, z := inflateFrame(t, without.Read()); got != text || z {
			t.Fatalf("%d bytes came back, compressed: %v", len(got), z)
		}
	}

	// RFC 7692 section 6.1: control frames are not compressed.
	with.Write(frame(gobwas.NewPingFrame([]byte("p"))))
	n.Run()
	expect(t, frames(t, with.Read()), "pong:p")
	with.Write(frame(gobwas.NewCloseFrame(gobwas.NewCloseFrameBody(1000, ""))))
	n.Run()
	expect(t, frames(t, with.Read()), "close:1000")
	without.Write(compressed(gobwas.OpText, []byte("not agreed")))
	n.Run()
	expect(t, frames(t, without.Read()), "close:1002")
}

// RFC 6455 section 9.1: what is malformed is refused, where it is looked at.
func TestMalformedExtensions(t *testing.T) {
	const malformed = "Sec-WebSocket-Extensions: permessage-deflate;\r\n"
	for _, cfg := range []netpoll.Config{{}, {Deflate: &ws.DeflateConfig{}}} {
		a := &app{}
		var refused error
		a.request = func(c *netpoll.Conn, r *http1.Request) { refused = c.Upgrade(r, nil) }
		n := start(t, cfg, a, 1)
		p, head := handshake(n, malformed)
		if cfg.Deflate == nil {
			if !strings.Contains(head, " 101 ") || strings.Contains(head, "Extensions") || refused != nil || a.conns[0].Deflates() {
				t.Errorf("off: %q, %v", head, refused)
			}
			continue
		}
		var err *ws.Refusal
		if !strings.Contains(head, " 400 ") || !errors.As(refused, &err) || err.Status != 400 || !p.Ended() {
			t.Errorf("on: %q, %v", head, refused)
		}
	}
}

// An offer that is declined leaves a connection without.
func TestDeclinedDeflate(t *testing.T) {
	a := &app{}
	n := start(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, a, 1)
	_, head := handshake(n, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n")
	if !strings.Contains(head, " 101 ") || strings.Contains(head, "Extensions") {
		t.Errorf("%q", head)
	}
}

// A peer with a small window is sent compressed what fits into it.
func TestSmallWindow(t *testing.T) {
	a := &app{}
	n := start(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, a, 1)
	_, head := handshake(n, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n")
	if !strings.Contains(head, "server_max_window_bits=10") || a.conns[0].MaxDeflated() != 1024 {
		t.Errorf("%q, %d", head, a.conns[0].MaxDeflated())
	}
}

// TestSubprotocol: the first that is offered is selected, as package ws of npm does
// (RFC 6455 section 4.2.2); a list that is none is refused.
func TestSubprotocol(t *testing.T) {
	for offer, want := range map[string]string{
		"Sec-WebSocket-Protocol: chat, superchat\r\n": "\r\nSec-WebSocket-Protocol: chat\r\n",
		"":                                 " 101 ",
		"Sec-WebSocket-Protocol: a,,b\r\n": " 400 ",
	} {
		n := start(t, netpoll.Config{}, &app{}, 1)
		_, head := handshake(n, offer)
		if !strings.Contains(head, want) || offer == "" && strings.Contains(head, "Protocol:") {
			t.Errorf("%q: %q", offer, head)
		}
	}
}

// Upgrade leaves alone what the caller's lines lie in.
func TestUpgradeKeepsExtra(t *testing.T) {
	room := []byte("X-Extra: 1\r\nuntouched" + strings.Repeat(".", 300))
	a := &app{}
	a.request = func(c *netpoll.Conn, r *http1.Request) { _ = c.Upgrade(r, room[:len("X-Extra: 1\r\n")]) }
	n := start(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, a, 1)
	_, head := handshake(n, offer)
	if !strings.Contains(head, "\r\nX-Extra: 1\r\n") || !strings.Contains(head, "permessage-deflate") {
		t.Errorf("%q", head)
	}
	if !strings.Contains(string(room), "untouched...") {
		t.Errorf("%.40q", room)
	}
}

// Faults in what is compressed end the connection with the code that says so.
func TestDeflateFaults(t *testing.T) {
	cut := compressed(gobwas.OpBinary, []byte("Hello"))
	garbage := gobwas.NewFrame(gobwas.OpBinary, true, []byte("Hello"))
	garbage.Header.Rsv = gobwas.Rsv(true, false, false)
	for _, c := range []struct {
		name string
		in   []byte
		code string
		want uint16
	}{
		{"bomb", compressed(gobwas.OpBinary, make([]byte, 1_000_000)), "close:1009", 1009},
		{"garbage", frame(garbage), "close:1007", 1007},
		{"not UTF-8", compressed(gobwas.OpText, []byte("\xff")), "close:1007", 1007},
		{"RSV1 on a ping", append([]byte{cut[0]&0xf0 | 9, 0x80}, 0, 0, 0, 0), "close:1002", 1002},
	} {
		a := &app{}
		n := start(t, netpoll.Config{MaxMessageBytes: 10_000, Deflate: &ws.DeflateConfig{}}, a, 1)
		p, _ := handshake(n, offer)
		p.Write(append(bytes.Clone(c.in), frame(gobwas.NewTextFrame([]byte("not read")))...))
		n.RunUntil(10*time.Second, func() bool { return len(a.closed) > 0 }) // some are inflated elsewhere
		expect(t, frames(t, p.Read()), c.code)
		p.Close()
		n.Run()
		var err *netpoll.CloseError
		if len(a.closed) != 1 || !errors.As(a.closed[0], &err) || err.Code != c.want || err.Remote || n.Group.Stats().BadFrames != 1 {
			t.Errorf("%s: %v", c.name, a.closed)
		}
	}
}

// A handler that closes or pauses in the middle of a compressed message.
func TestDeflateCloseAndPause(t *testing.T) {
	a := &app{}
	var got []string
	a.message = func(c *netpoll.Conn, data []byte, _ bool) {
		switch string(data) {
		case "pause":
			c.Pause()
		case "close":
			c.CloseWebSocket(1000, "")
		}
		got = append(got, string(data))
	}
	n := start(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, a, 1)
	p, _ := handshake(n, offer)
	var in []byte
	for _, s := range []string{"a", "pause", "b", "close", "c"} {
		in = append(in, compressed(gobwas.OpText, []byte(s))...)
	}
	p.Write(in)
	n.Run()
	expect(t, got, "a", "pause")
	n.Group.Loop(0).Post(func(_, _ any) { a.conns[0].Resume() }, nil, nil, 0)
	n.Run()
	expect(t, got, "a", "pause", "b", "close")
	expect(t, frames(t, p.Read()), "close:1000")
}

func TestDeflateCutAtEveryByte(t *testing.T) {
	in := compressed(gobwas.OpText, []byte(strings.Repeat("hello ", 30)))
	in = append(in, frame(gobwas.NewPingFrame([]byte("p")))...)
	in = append(in, compressed(gobwas.OpBinary, []byte("\x00\xff"))...)
	for cut := range in {
		a := &app{}
		n := start(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, a, 1)
		p, _ := handshake(n, offer)
		p.Write(in[:cut])
		n.Run()
		p.Write(in[cut:])
		n.Run()
		expect(t, frames(t, p.Read()), "text:"+strings.Repeat("hello ", 30), "pong:p", "binary:\x00\xff")
	}
}

// TestPongWhileBlocked: once the peer reads again, the latest of its pings is answered
// (RFC 6455 sections 5.5.2 and 5.5.3).
func TestPongWhileBlocked(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	p := upgrade(t, n, 0)
	p.SetWindow(100)
	big := strings.Repeat("x", 500)
	p.Write(frame(gobwas.NewTextFrame([]byte(big)))) // its echo does not fit
	n.Run()
	for _, payload := range []string{"first", "second", "latest"} {
		p.Write(frame(gobwas.NewPingFrame([]byte(payload))))
		n.Run()
	}
	p.Write(frame(gobwas.NewTextFrame([]byte("behind"))))
	n.Run()
	var out []byte
	for range 20 {
		out = append(out, p.Read()...)
		n.Run()
	}
	got := frames(t, append(out, p.Read()...))
	slices.Sort(got) // where it stands among the others is not said
	expect(t, got, "pong:latest", "text:behind", "text:"+big)

	// And those after it at once.
	p.SetWindow(-1)
	p.Write(frame(gobwas.NewPingFrame([]byte("again"))))
	n.Run()
	expect(t, frames(t, p.Read()), "pong:again")
	if n.Group.Stats().MemoryBytes != 0 {
		t.Errorf("%d bytes are charged", n.Group.Stats().MemoryBytes)
	}
}

// TestUpgradeLater: what a peer has sent behind its request, before a late Upgrade, is
// handled without waiting for more.
func TestUpgradeLater(t *testing.T) {
	for _, size := range []int{2, 60_000, 300_000} {
		var waiting *netpoll.Conn
		var request *http1.Request
		var got []string
		a := &app{}
		a.request = func(c *netpoll.Conn, r *http1.Request) { waiting, request = c, r.Clone() }
		a.message = func(_ *netpoll.Conn, data []byte, _ bool) { got = append(got, string(data)) }
		n := start(t, netpoll.Config{}, a, 1)
		p := n.Dial(0)
		p.Write([]byte("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		first := strings.Repeat("h", size)
		p.Write(frame(gobwas.NewTextFrame([]byte(first))))
		n.Run()
		p.Write(frame(gobwas.NewTextFrame([]byte("second"))))
		n.Run()
		if len(got) > 0 {
			t.Fatalf("handled before the upgrade: %.20q", got)
		}
		n.Group.Loop(0).Post(func(_, _ any) {
			if err := waiting.Upgrade(request, nil); err != nil {
				t.Error(err)
			}
		}, nil, nil, 0)
		n.Run()
		if !slices.Equal(got, []string{first, "second"}) {
			t.Errorf("%d bytes: %d messages were handled", size, len(got))
		}
	}
}
