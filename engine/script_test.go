package engine

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/golden"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// TestScripts runs each script of testdata: commands, each followed by the
// whole trace of what the server did, two spaces in. -update rewrites the
// traces, to be reviewed as a diff.
//
//	get A QUERY            connection A sends a GET           A < status body
//	post A QUERY BODY      ... a POST
//	ws A QUERY             ... a WebSocket request            A < frame text|binary|close ...
//	text A DATA, binary A DATA                                a frame from A
//	close A, reset A       A closes, or breaks
//	send DATA, bytes DATA, volatile DATA                      the server sends to the last session
//	end REASON, send+end DATA the server closes the session
//	pause, resume          the server stops, goes on delivering
//	tick DURATION          the clock moves on
//	skip DURATION          ... while nothing runs: the process is frozen
//	eio3                   (first) the engine allows version 3
//	origins LIST           (first) ... pages of these origins
//	slow                   (first) ... takes one byte a second for progress
//	told                   refusals are traced from here on
//	part A QUERY SIZE BODY connection A sends a POST of that size, and so much of its body
//	more A DATA            ... more of it, or of a frame
//	frame A SIZE DATA      ... a text frame of that size, and so much of it
//	header [LINE]          a header line of the requests that follow, or none
func TestScripts(t *testing.T) {
	golden.Run(t, "testdata/*.txt", func(*testing.T) golden.Script {
		s := newScript(Config{})
		return func(command string) (string, error) {
			err := s.do(command)
			return s.takeTrace(), err
		}
	})
}

// script drives an engine over the in-memory net.
type script struct {
	net     *netpolltest.Net
	engine  *Engine
	last    *Session
	ids     int
	peers   map[string]*scriptPeer
	order   []string
	trace   bytes.Buffer
	holding bool // pause after each message
	told    bool // trace refusals
	header  string
	cfg     netpoll.Config
	logger  *slog.Logger // nil for none
}

type scriptPeer struct {
	*netpolltest.Peer
	buf   bytes.Buffer
	ws    bool
	ended bool
	head  bool
}

// mustNew makes an engine of a configuration that is right.
func mustNew(cfg Config, h Handler) *Engine {
	e, err := New(cfg, h)
	if err != nil {
		panic(err)
	}
	return e
}

func newScript(cfg Config) *script {
	s := &script{peers: map[string]*scriptPeer{}}
	s.start(cfg)
	return s
}

func (s *script) start(cfg Config) {
	cfg.HTTPCompressionThreshold = 40
	cfg.MaxPayload = 100
	if cfg.Logger = s.logger; cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.OnRefused = func(_ *Request, r Refusal) {
		if s.told {
			fmt.Fprintf(&s.trace, "refused %s: %s\n", r.Check, r.Reason)
		}
	}
	cfg.GenerateID = func(*Request) string { s.ids++; return fmt.Sprintf("sid%d", s.ids) }
	s.engine = mustNew(cfg, (*scriptHandler)(s))
	s.net = netpolltest.New(limitsFor(s.cfg, []*Engine{s.engine}), Mux{s.engine}, 2)
}

type scriptHandler script

func (h *scriptHandler) OnOpen(s *Session) {
	h.last = s
	fmt.Fprintf(&h.trace, "open %s %s\n", s.ID(), s.Transport())
}

func (h *scriptHandler) OnMessage(s *Session, data []byte, binary bool) {
	kind := "text"
	if binary {
		kind = "binary"
	}
	fmt.Fprintf(&h.trace, "message %s %s %q\n", s.ID(), kind, data)
	if h.holding {
		s.Pause()
	}
}

func (h *scriptHandler) OnClose(s *Session, reason CloseReason) {
	fmt.Fprintf(&h.trace, "closed %s: %s\n", s.ID(), reason)
}

func (s *script) peer(name string) *scriptPeer {
	p := s.peers[name]
	if p == nil || p.Closed() {
		if p == nil {
			s.order = append(s.order, name)
		}
		p = &scriptPeer{Peer: s.net.Dial(len(s.order) % 2)} // every other connection on the other loop
		s.peers[name] = p
	}
	return p
}

func (s *script) do(line string) error {
	f := strings.SplitN(line, " ", 4)
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(line, f[0]+" "), arg(1)+" ")
	switch f[0] {
	case "get", "head", "options", "put":
		s.peer(arg(1)).Write(fmt.Appendf(nil, "%s /engine.io/?%s HTTP/1.1\r\nHost: h\r\n%s\r\n", strings.ToUpper(f[0]), arg(2), s.header))
	case "post":
		body, err := unquote(arg(3))
		if err != nil {
			return err
		}
		s.peer(arg(1)).Write(fmt.Appendf(nil, "POST /engine.io/?%s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n%s", arg(2), s.header, len(body), body))
	case "ws":
		p := s.peer(arg(1))
		p.ws = true
		p.Write(fmt.Appendf(nil, "GET /engine.io/?%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", arg(2), s.header))
	case "part":
		var size int
		var body string
		if _, err := fmt.Sscanf(arg(3), "%d %q", &size, &body); err != nil {
			return err
		}
		s.peer(arg(1)).Write(fmt.Appendf(nil, "POST /engine.io/?%s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n%s", arg(2), s.header, size, body))
	case "more":
		s.peer(arg(1)).Write([]byte(rest))
	case "frame": // with the mask 0
		size, err := strconv.Atoi(arg(2))
		if err != nil {
			return err
		}
		s.peer(arg(1)).Write(append([]byte{0x81, 0x80 | byte(size), 0, 0, 0, 0}, arg(3)...))
	case "origins":
		s.start(Config{Origins: strings.Fields(strings.TrimPrefix(line, "origins"))})
	case "slow":
		s.cfg.MinRate = 1
		s.start(Config{})
	case "told":
		s.told = true
	case "skip":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			return err
		}
		s.net.Skip(d)
	case "text", "binary":
		data, err := unquote(rest)
		if err != nil {
			return err
		}
		op := ws.OpText
		if f[0] == "binary" {
			op = ws.OpBinary
		}
		frame := ws.MaskFrame(ws.NewFrame(op, true, []byte(data)))
		b, err := ws.CompileFrame(frame)
		if err != nil {
			return err
		}
		s.peer(arg(1)).Write(b)
	case "eio3":
		s.start(Config{AllowEIO3: true})
	case "header":
		s.header = strings.TrimPrefix(line, "header")
		if s.header = strings.TrimSpace(s.header); s.header != "" {
			s.header += "\r\n"
		}
	case "close":
		s.peer(arg(1)).Close()
	case "reset":
		s.peer(arg(1)).Reset()
	case "send", "bytes", "volatile", "send+end":
		data, err := unquote(strings.TrimPrefix(line, f[0]+" "))
		if err != nil {
			return err
		}
		m := NewMessage(f[0] == "bytes")
		m.B = append(m.B, data...)
		m.Seal()
		s.last.Loop().Post(func(a, b any) {
			sess, m := a.(*Session), b.(*Message)
			if f[0] != "volatile" {
				sess.Send(m)
			} else if !sess.SendVolatile(m) {
				s.trace.WriteString("dropped\n")
			}
			m.Release()
		}, s.last, m, 0)
		if f[0] == "send+end" { // in one batch
			s.last.Close(ForcedClose)
		}
	case "end":
		s.last.Close(CloseReason(strings.TrimPrefix(line, "end ")))
	case "pause":
		s.holding = true
	case "resume":
		s.holding = false
		s.last.Loop().Post(func(a, _ any) { a.(*Session).Resume() }, s.last, nil, 0)
	case "tick":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			return err
		}
		s.net.Advance(d)
	default:
		return fmt.Errorf("unknown command")
	}
	s.net.Run()
	return nil
}

func unquote(s string) (string, error) {
	var out string
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	_, err := fmt.Sscanf(s, "%q", &out)
	return out, err
}

// takeTrace renders what happened since the last call.
func (s *script) takeTrace() string {
	for _, name := range s.order {
		p := s.peers[name]
		p.buf.Write(p.Read())
		for p.buf.Len() > 0 {
			before := p.buf.Len()
			s.render(name, p)
			if p.buf.Len() == before {
				break
			}
		}
		if p.Ended() && !p.ended {
			p.ended = true
			fmt.Fprintf(&s.trace, "%s < end\n", name)
		}
		if !p.Ended() {
			p.ended = false
		}
	}
	defer s.trace.Reset()
	return s.trace.String()
}

func (s *script) render(name string, p *scriptPeer) {
	if p.ws && p.head {
		f, err := wiretest.ReadFrame(&p.buf)
		switch {
		case err != nil:
			fmt.Fprintf(&s.trace, "%s < bad frame: %v\n", name, err)
		case f.Header.OpCode == ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			fmt.Fprintf(&s.trace, "%s < close %d %q\n", name, code, reason)
		case f.Header.OpCode == ws.OpBinary:
			fmt.Fprintf(&s.trace, "%s < binary %q\n", name, f.Payload)
		default:
			fmt.Fprintf(&s.trace, "%s < text %q\n", name, f.Payload)
		}
		return
	}
	r := bufio.NewReader(bytes.NewReader(p.buf.Bytes()))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		fmt.Fprintf(&s.trace, "%s < not HTTP: %v\n", name, err)
		p.buf.Reset()
		return
	}
	if resp.StatusCode == 101 {
		p.head = true
		left, _ := io.ReadAll(r)
		p.buf.Reset()
		p.buf.Write(left)
		fmt.Fprintf(&s.trace, "%s < 101\n", name)
		return
	}
	p.ws = false
	body, _ := io.ReadAll(resp.Body)
	left, _ := io.ReadAll(r)
	p.buf.Reset()
	p.buf.Write(left)
	kind := ""
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "gzip":
		z, _ := gzip.NewReader(bytes.NewReader(body))
		body, err = io.ReadAll(z)
		kind = " gzip"
	case "deflate":
		z, _ := zlib.NewReader(bytes.NewReader(body))
		body, err = io.ReadAll(z)
		kind = " deflate"
	}
	if t := resp.Header.Get("Content-Type"); strings.Contains(t, "javascript") || strings.Contains(t, "octet-stream") {
		kind += " " + t
	}
	if err != nil {
		kind += " " + err.Error()
	}
	fmt.Fprintf(&s.trace, "%s < %d%s %q\n", name, resp.StatusCode, kind, body)
}
