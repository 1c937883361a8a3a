package sockeye

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/seam"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// stage is a server in memory, and what is told of those who leave it.
type stage struct {
	t   *testing.T
	net *netpolltest.Net
	srv *Server

	mu   sync.Mutex
	gone []*Disconnect
	log  bytes.Buffer
}

func newStage(t *testing.T, cfg Config) *stage {
	t.Helper()
	st := &stage{t: t, net: netpolltest.NewNet(1)}
	cfg.Seams = &seam.Seams{Systems: st.net.Systems()}
	cfg.Logger = slog.New(slog.NewTextHandler(st, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if st.srv, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	st.srv.OnDisconnect(func(s *Socket, reason Reason) {
		st.mu.Lock()
		defer st.mu.Unlock()
		d := s.DisconnectDetail()
		if cause := (*Disconnect)(nil); d == nil || d.Reason != reason || !errors.As(context.Cause(s.Context()), &cause) || cause != d {
			t.Errorf("%s: detail %v, context's cause %v", reason, d, context.Cause(s.Context()))
		}
		st.gone = append(st.gone, d)
	})
	return st
}

func (st *stage) Write(b []byte) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.log.Write(b)
}

// until runs the server until cond is true.
func (st *stage) until(what string, cond func() bool) {
	st.t.Helper()
	if !st.net.RunUntil(10*time.Second, cond) {
		st.t.Fatal("in vain: " + what)
	}
}

// over waits until n sockets have gone, and returns how the last one has.
func (st *stage) over(n int) (d *Disconnect, log string) {
	st.t.Helper()
	st.until(fmt.Sprint(n, " have gone"), func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		return len(st.gone) >= n
	})
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.gone[n-1], st.log.String()
}

func maskedFrame(op ws.OpCode, payload string) []byte {
	b, _ := ws.CompileFrame(ws.MaskFrame(ws.NewFrame(op, true, []byte(payload))))
	return b
}

const upgradeLines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// webSocket joins the namespace "/" by a WebSocket.
func (st *stage) webSocket() *netpolltest.Peer {
	st.t.Helper()
	p := st.net.Dial(0)
	p.Write([]byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n" + upgradeLines + "\r\n"))
	p.Write(maskedFrame(ws.OpText, "40"))
	var got []byte
	st.until("a WebSocket's connect", func() bool { got = append(got, p.Read()...); return bytes.Contains(got, []byte(`40{"sid"`)) })
	return p
}

// polling is a peer that polls: by a connection for each request.
type pollingPeer struct {
	st  *stage
	sid string
}

func (st *stage) polling() *pollingPeer {
	st.t.Helper()
	p := &pollingPeer{st: st}
	_, body, _ := strings.Cut(p.answer(p.send("GET", "", "")), "\r\n\r\n")
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open); err != nil {
		st.t.Fatal(body, err)
	}
	p.sid = open.SID
	p.answer(p.send("POST", "", "40"))
	if got := p.answer(p.send("GET", "", "")); !strings.Contains(got, `40{"sid"`) {
		st.t.Fatal(got)
	}
	return p
}

func (p *pollingPeer) send(method, query, body string) *netpolltest.Peer {
	c := p.st.net.Dial(0)
	if query == "" {
		query = "transport=polling"
	}
	if p.sid != "" {
		query += "&sid=" + p.sid
	}
	fmt.Fprintf(peerWriter{c}, "%s /socket.io/?EIO=4&%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, query, len(body), body)
	p.st.net.Run()
	return c
}

func (p *pollingPeer) answer(c *netpolltest.Peer) string {
	p.st.t.Helper()
	var got []byte
	p.st.until("an answer", func() bool { got = append(got, c.Read()...); return bytes.Contains(got, []byte("\r\n\r\n")) })
	return string(got)
}

type peerWriter struct{ *netpolltest.Peer }

func (w peerWriter) Write(b []byte) (int, error) {
	w.Peer.Write(b)
	return len(b), nil
}

// otherEngine takes larger messages than the server's.
func otherEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := engine.New(engine.Config{Path: "/other/"}, (*sessionHandler)(nil))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestDisconnectsAreExplained stages what ends connections; each is named rightly, to
// OnDisconnect, to the log, to Stats and as the cause of the socket's context.
func TestDisconnectsAreExplained(t *testing.T) {
	const peer, network, server = "peer", "network", "server"
	large := strings.Repeat("x", 2000)
	for _, c := range []struct {
		name   string
		cfg    Config
		play   func(st *stage) (gone int)
		reason Reason
		cause  Cause
		by     string
		texts  []string // of the line
		check  func(d *Disconnect) bool
	}{
		{"the peer closes", Config{}, func(st *stage) int {
			p := st.webSocket()
			st.net.Advance(2 * time.Second)
			p.Write(maskedFrame(ws.OpText, `42["e"]`))
			st.net.Advance(3 * time.Second)
			p.Write(maskedFrame(ws.OpClose, "\x03\xe8"))
			return 1
		}, TransportClose, CausePeerClosed, peer, []string{"close frame, code 1000", "next ping due in 20s", "last in 3s ago", "last out 5s ago", "websocket", "0 bytes queued"}, func(d *Disconnect) bool {
			return d.LastIn == 3*time.Second && d.LastOut == 5*time.Second && !d.AwaitingPong && d.Overdue == -20*time.Second && d.Transport == "websocket" && d.Signs == nil
		}},
		{"the peer, which polls, closes", Config{}, func(st *stage) int {
			p := st.polling()
			p.send("POST", "", "1")
			return 1
		}, TransportClose, CausePeerClosed, peer, []string{"a close packet", "polling"}, nil},
		{"the peer's process dies", Config{}, func(st *stage) int {
			st.webSocket().Reset()
			return 1
		}, TransportError, CauseReset, network, []string{"was reset"}, func(d *Disconnect) bool { return d.Err != nil }},
		{"network silence of a WebSocket", Config{}, func(st *stage) int {
			st.webSocket()
			st.net.Advance(45*time.Second + 10*time.Millisecond)
			return 1
		}, PingTimeout, CauseSilent, network, []string{"its ping was not answered in time", "last in 45s ago", "last out 20s ago", "answer to the ping due 0s ago"}, func(d *Disconnect) bool {
			return d.AwaitingPong && d.Overdue >= 0 && d.Overdue < 10*time.Millisecond
		}},
		{"network silence of a polling peer", Config{}, func(st *stage) int {
			st.polling()
			st.net.Advance(45*time.Second + 10*time.Millisecond)
			return 1
		}, PingTimeout, CauseSilent, network, []string{"there is no poll", "polling", "last in 45s ago"}, nil},
		{"a slow reader is cut", Config{MaxQueuedBytes: 10_000}, func(st *stage) int {
			p := st.webSocket()
			p.SetWindow(1)
			for range 20 {
				_ = st.srv.Emit("e", large)
			}
			st.net.Advance(11 * time.Second)
			return 1
		}, TransportError, CauseSlowReader, peer, []string{"does not read"}, func(d *Disconnect) bool { return d.Queued > 10_000 }},
		{"a slow reader that polls is cut", Config{MaxQueuedBytes: 10_000}, func(st *stage) int {
			st.polling()
			for range 20 {
				_ = st.srv.Emit("e", large)
			}
			st.net.Advance(11 * time.Second)
			return 1
		}, TransportError, CauseSlowReader, peer, []string{"does not ask for what is sent to it"}, func(d *Disconnect) bool { return d.Queued > 10_000 }},
		{"a proxy cuts idle polls at one age", Config{PingInterval: 2 * time.Minute}, func(st *stage) int {
			for i := range 4 {
				poll := st.polling().send("GET", "", "")
				st.net.Advance(60 * time.Second)
				if poll.Close(); i == 2 {
					poll.Reset() // some do it so
				}
				st.over(i + 1)
			}
			return 4
		}, TransportError, CauseProxyTimeout, network, []string{"a poll that waits was cut after 1m0s, as 4 of the last 4", "a proxy's timeout"}, nil},
		{"polls are cut at any age", Config{PingInterval: 2 * time.Minute}, func(st *stage) int {
			for i := range 4 {
				poll := st.polling().send("GET", "", "")
				st.net.Advance(time.Duration(20*(i+1)) * time.Second)
				poll.Close()
				st.over(i + 1)
			}
			return 4
		}, TransportError, CausePeerClosed, peer, []string{"poll connection closed prematurely"}, nil},
		{"a proxy cuts idle WebSockets at one age", Config{PingInterval: 2 * time.Minute}, func(st *stage) int {
			for i := range 3 {
				p := st.webSocket()
				st.net.Advance(60 * time.Second)
				p.Close()
				st.over(i + 1)
			}
			return 3
		}, TransportClose, CauseProxyTimeout, network, []string{"a WebSocket on which nothing passes was cut after 1m0s, as 3 of the last 3"}, nil},
		{"many are cut at one moment", Config{PingInterval: 2 * time.Minute}, func(st *stage) int {
			var all []*netpolltest.Peer
			for range 10 {
				all = append(all, st.webSocket())
			}
			st.net.Advance(60 * time.Second)
			for i, p := range all {
				p.Close()
				st.over(i + 1)
			}
			return 10
		}, TransportClose, CausePeerClosed, peer, nil, nil},
		{"a proxy drops the Upgrade field", Config{}, func(st *stage) int {
			p := st.polling()
			if got := p.answer(p.send("GET", "transport=websocket", "")); !strings.Contains(got, "400 Bad Request") {
				st.t.Error(got)
			}
			p.send("POST", "", "1")
			return 1
		}, TransportClose, CausePeerClosed, peer, []string{"sign of a proxy: a WebSocket request of this session came without its Upgrade field"}, func(d *Disconnect) bool { return len(d.Signs) == 1 }},
		{"probes never succeed", Config{}, func(st *stage) int {
			p := st.polling()
			for range 3 {
				c := st.net.Dial(0)
				c.Write([]byte("GET /socket.io/?EIO=4&transport=websocket&sid=" + p.sid + " HTTP/1.1\r\nHost: h\r\n" + upgradeLines + "\r\n"))
				st.net.Run()
				c.Reset()
				st.net.Run()
			}
			p.send("POST", "", "1")
			return 1
		}, TransportClose, CausePeerClosed, peer, []string{"sign of a proxy: of 3 WebSocket probes none has succeeded"}, nil},
		{"the server disconnects the socket", Config{}, func(st *stage) int {
			st.webSocket()
			st.srv.Sockets()[0].Disconnect()
			return 1
		}, ServerNamespaceDisconnect, CauseServer, server, []string{"Disconnect or CloseSession was called"}, nil},
		{"a message is too large", Config{MaxPayload: 1000}, func(st *stage) int {
			st.webSocket().Write(maskedFrame(ws.OpText, `42["`+large+`"]`))
			return 1
		}, TransportError, CauseTooLarge, peer, []string{"larger than MaxPayload"}, nil},
		{"a message is too large here, though not for another engine", Config{MaxPayload: 1000, Engines: []*Engine{otherEngine(t)}}, func(st *stage) int {
			st.webSocket().Write(maskedFrame(ws.OpText, `42["`+large+`"]`))
			return 1
		}, TransportError, CauseTooLarge, peer, []string{"larger than MaxPayload"}, nil},
		{"a packet that is none", Config{}, func(st *stage) int {
			st.webSocket().Write(maskedFrame(ws.OpText, `4nonsense`))
			return 1
		}, ForcedClose, CauseViolation, peer, []string{"sio:"}, nil},
		{"a packet of Engine.IO that is none", Config{}, func(st *stage) int {
			st.webSocket().Write(maskedFrame(ws.OpText, `x`))
			return 1
		}, ParseError, CauseViolation, peer, []string{"eio:"}, nil},
		{"a frame that is none", Config{}, func(st *stage) int {
			st.webSocket().Write([]byte{0xf1, 0x80, 0, 0, 0, 0})
			return 1
		}, TransportError, CauseViolation, peer, []string{"WebSocket, code 1002"}, nil},
		{"two polls at once", Config{}, func(st *stage) int {
			p := st.polling()
			p.send("GET", "", "")
			p.send("GET", "", "")
			return 1
		}, TransportError, CauseViolation, peer, []string{"two polls at once"}, nil},
		{"the memory is spent", Config{MaxQueuedBytes: 50_000, MaxPayload: 10_000, MaxMemory: 100_000}, func(st *stage) int {
			st.webSocket().SetWindow(1)
			for range 100 {
				_ = st.srv.Emit("e", large)
			}
			return 1
		}, TransportError, CauseMemory, server, []string{"MaxMemory is spent"}, nil},
		{"the server shuts down", Config{}, func(st *stage) int {
			st.webSocket()
			go func() { _ = st.srv.Shutdown(context.Background()) }()
			return 1
		}, ServerShuttingDown, CauseShutdown, server, []string{"shutting down"}, nil},
		{"a handler holds the loop up until the peer gives up", Config{Inline: true}, func(st *stage) int {
			p := st.webSocket()
			st.srv.On("block", func() {
				st.net.Skip(50 * time.Second)
				p.Write(maskedFrame(ws.OpClose, "")) // as engine.io-client does it after 45 s without a ping
				p.Close()
			})
			p.Write(maskedFrame(ws.OpText, `42["block"]`))
			return 1
		}, TransportClose, CauseServerLate, server, []string{"this side had sent nothing for 50s", "held up for 50s", "next ping due 25s ago", "loop late by 50s"}, func(d *Disconnect) bool { return d.LoopLag == 50*time.Second }},
		{"a handler holds the loop up while a pong is due", Config{Inline: true}, func(st *stage) int {
			p := st.webSocket()
			st.srv.On("block", func() { st.net.Skip(30 * time.Second) })
			st.net.Advance(26 * time.Second)
			p.Write(maskedFrame(ws.OpText, `42["block"]`))
			st.net.Run()
			st.net.Advance(25 * time.Second)
			return 1
		}, PingTimeout, CauseServerLate, server, []string{"held up for 30s"}, nil},
		{"the peer leaves the namespace", Config{}, func(st *stage) int {
			st.webSocket().Write(maskedFrame(ws.OpText, "41"))
			return 1
		}, ClientNamespaceDisconnect, CausePeerLeft, peer, []string{"left the namespace"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t, c.cfg)
			n := c.play(st)
			d, log := st.over(n)
			t.Log(d)
			if d.Reason != c.reason || d.Cause != c.cause || d.Cause.By() != c.by || c.check != nil && !c.check(d) {
				t.Errorf("%s, by the %s: %+v", d.Reason, d.Cause.By(), d)
			}
			for _, text := range c.texts {
				if !strings.Contains(d.String(), text) {
					t.Errorf("%q is not in %s", text, d)
				}
			}
			if !strings.Contains(log, "sockeye: a socket is disconnected") || !strings.Contains(log, `cause="`+string(c.cause)+`"`) {
				t.Errorf("the log has %s", log)
			}
			if s := st.srv.Stats(); s.DisconnectedBy[c.reason] == 0 || s.DisconnectedFor[c.cause] == 0 {
				t.Errorf("counted: %v, %v", s.DisconnectedBy, s.DisconnectedFor)
			}
		})
	}
}
