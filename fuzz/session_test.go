package fuzz

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// FuzzSession drives one session by a script of random steps, one byte each, as
// a client that keeps to the protocol takes them: polls, POSTs, probes,
// upgrades, abandoned probes, and the server sending at any moment. No message
// is lost, doubled or out of order, in either direction.
func FuzzSession(f *testing.F) {
	f.Add([]byte("pspsPwu5sPsp"))      // the ordinary upgrade
	f.Add([]byte("pswxpswaspwusp5sP")) // probes that are abandoned
	f.Add([]byte("ssspPtptpwtutst5"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			return
		}
		s := newSession(t)
		for _, step := range script {
			s.step(step)
		}
		s.drain()
		if !slices.Equal(s.received, s.sent) {
			t.Errorf("script %q: the client received %v, the server sent %v", script, s.received, s.sent)
		}
		if !slices.Equal(s.heard, s.said) {
			t.Errorf("script %q: the server heard %v, the client said %v", script, s.heard, s.said)
		}
	})
}

// session is a client on an in-memory net, and the handler of its server.
type session struct {
	t    *testing.T
	net  *netpolltest.Net
	srv  *engine.Session
	sid  string
	poll *peer // a GET that waits; nil for none
	post *peer // for POSTs
	ws   *peer // probing, or the transport

	upgraded, probed bool
	sent, received   []string // server to client
	said, heard      []string // client to server
	closed           bool
}

type peer struct {
	*netpolltest.Peer
	buf bytes.Buffer
}

func (s *session) OnOpen(e *engine.Session) { s.srv = e }
func (s *session) OnMessage(_ *engine.Session, data []byte, _ bool) {
	s.heard = append(s.heard, string(data))
}

func (s *session) OnClose(_ *engine.Session, reason engine.CloseReason) {
	s.closed = true
	s.t.Errorf("the session was closed: %s", reason)
}

func newSession(t *testing.T) *session {
	s := &session{t: t}
	e, err := engine.New(engine.Config{}, s)
	if err != nil {
		t.Fatal(err)
	}
	s.net = netpolltest.New(netpoll.Config{}, engine.Mux{e}, 2)
	s.poll, s.post = s.dial(0), s.dial(1)
	s.get(s.poll, "")
	body := s.response(s.poll)
	if len(body) < 29 {
		t.Fatalf("handshake: %q", body)
	}
	s.poll = nil
	s.sid = string(body[9:29])
	return s
}

func (s *session) dial(loop int) *peer { return &peer{Peer: s.net.Dial(loop)} }

func (s *session) get(p *peer, query string) {
	p.Write(fmt.Appendf(nil, "GET /engine.io/?EIO=4&transport=polling%s HTTP/1.1\r\nHost: h\r\n\r\n", query))
	s.net.Run()
}

// response takes a whole answer from p; nil if there is none yet.
func (s *session) response(p *peer) []byte {
	p.buf.Write(p.Read())
	if p.buf.Len() == 0 {
		return nil
	}
	r := bufio.NewReader(bytes.NewReader(p.buf.Bytes()))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatalf("answer: %v", err)
	}
	if resp.StatusCode == 101 {
		left, _ := io.ReadAll(r)
		p.buf.Reset()
		p.buf.Write(left)
		return []byte("101")
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("answer: %d %q, %v", resp.StatusCode, body, err)
	}
	p.buf.Reset()
	return body
}

func (s *session) step(b byte) {
	switch b {
	case 'p': // poll, as a client does that has not been told that its probe succeeded
		if s.polling() {
			return
		}
		if !s.upgraded && !s.probed {
			s.poll = s.dial(int(b) % 2)
			s.get(s.poll, "&sid="+s.sid)
			s.takePoll()
		}
	case 'P': // say something
		text := fmt.Sprint("c", len(s.said))
		switch {
		case s.upgraded:
			s.frame(s.ws, "4"+text)
		case s.probed:
			return // clients do not POST between probe and upgrade
		default:
			s.post.Write(fmt.Appendf(nil, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n4%s", s.sid, len(text)+1, text))
			s.net.Run()
			if body := s.response(s.post); string(body) != "ok" {
				s.t.Fatalf("POST: %q", body)
			}
		}
		s.said = append(s.said, text)
	case 's': // the server sends
		text := fmt.Sprint("s", len(s.sent))
		s.sent = append(s.sent, text)
		s.srv.Loop().Post(func(a, b any) {
			m := engine.NewMessage(false)
			m.B = append(m.B, b.(string)...)
			a.(*engine.Session).Send(m.Seal())
			m.Release()
		}, s.srv, text, 0)
	case 'w': // open a WebSocket
		if s.ws == nil {
			s.ws = s.dial(1)
			s.ws.Write(fmt.Appendf(nil, "GET /engine.io/?EIO=4&transport=websocket&sid=%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", s.sid))
			s.net.Run()
			if body := s.response(s.ws); string(body) != "101" {
				s.t.Fatalf("upgrade: %q", body)
			}
		}
	case 'u': // probe
		if s.ws != nil && !s.probed && !s.upgraded {
			s.frame(s.ws, "2probe")
			s.net.Run()
			if got := s.frames(); len(got) != 1 || got[0] != "3probe" {
				s.t.Fatalf("probe: %q", got)
			}
			s.probed = true
		}
	case '5': // complete the upgrade, when no poll is under way
		if s.probed && !s.polling() {
			s.frame(s.ws, "5")
			s.upgraded, s.probed = true, false
		}
	case 'a', 'x': // the probe is abandoned, or its connection breaks
		if s.ws != nil && !s.upgraded {
			if b == 'a' {
				s.frame(s.ws, "4not a probe")
			} else {
				s.ws.Reset()
			}
			s.ws, s.probed = nil, false
		}
	case 't': // some time passes; pings are answered
		s.net.Advance(700 * time.Millisecond)
	}
	s.net.Run()
	s.take()
}

// polling tells whether a poll is waiting.
func (s *session) polling() bool {
	s.takePoll()
	return s.poll != nil
}

func (s *session) takePoll() {
	if s.poll == nil {
		return
	}
	body := s.response(s.poll)
	if body == nil {
		return
	}
	s.poll = nil
	for _, p := range strings.Split(string(body), "\x1e") {
		s.packet(p)
	}
}

func (s *session) take() {
	s.takePoll()
	if s.upgraded {
		for _, p := range s.frames() {
			s.packet(p)
		}
	}
}

func (s *session) packet(p string) {
	if strings.HasPrefix(p, "4") {
		s.received = append(s.received, p[1:])
	} else if p != "6" && p[0] != '0' {
		s.t.Errorf("unexpected packet %q", p)
	}
}

func (s *session) frame(p *peer, text string) {
	b, err := ws.CompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text))))
	if err != nil {
		s.t.Fatal(err)
	}
	p.Write(b)
}

func (s *session) frames() (texts []string) {
	s.ws.buf.Write(s.ws.Read())
	for s.ws.buf.Len() > 0 {
		f, err := wiretest.ReadFrame(&s.ws.buf)
		if err != nil || f.Header.OpCode != ws.OpText {
			s.t.Fatalf("frame: %v %v", f.Header, err)
		}
		texts = append(texts, string(f.Payload))
	}
	return texts
}

// drain takes what is still on its way.
func (s *session) drain() {
	if s.upgraded {
		s.net.Run()
		s.take()
		return
	}
	s.probed = false
	for len(s.received) < len(s.sent) {
		before := len(s.received)
		s.step('p')
		if len(s.received) == before && s.poll != nil {
			return // the poll waits: nothing is left
		}
	}
}
