package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// crowd is an engine with any number of sessions, in memory.
type crowd struct {
	t        *testing.T
	net      *netpolltest.Net
	engine   *Engine
	sessions []*Session
}

func (w *crowd) OnOpen(s *Session)                { w.sessions = append(w.sessions, s) }
func (w *crowd) OnMessage(*Session, []byte, bool) {}
func (w *crowd) OnClose(*Session, CloseReason)    {}

func newCrowd(t *testing.T, cfg Config) *crowd {
	w := &crowd{t: t}
	w.engine = mustNew(cfg, w)
	w.net = netpolltest.New(netpoll.Config{}, Mux{w.engine}, 2)
	return w
}

const handshakeRequest = "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"

// statuses reads the answers that p has got.
func (w *crowd) statuses(p *netpolltest.Peer) (list []int) {
	w.net.Run()
	r := bufio.NewReader(bytes.NewReader(p.Read()))
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return list
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil && resp.StatusCode != 101 {
			w.t.Error(err)
		}
		list = append(list, resp.StatusCode)
		if resp.StatusCode == 101 {
			return list
		}
	}
}

func (w *crowd) handshakes(p *netpolltest.Peer, n int) []int {
	p.Write([]byte(strings.Repeat(handshakeRequest, n)))
	return w.statuses(p)
}

func (w *crowd) expect(p *netpolltest.Peer, ask, ok, refused int) {
	w.t.Helper()
	var gotOK, gotRefused int
	for _, status := range w.handshakes(p, ask) {
		switch status {
		case 200:
			gotOK++
		case 503:
			gotRefused++
		default:
			w.t.Errorf("status %d", status)
		}
	}
	if gotOK != ok || gotRefused != refused {
		w.t.Errorf("%d handshakes: %d served and %d refused, want %d and %d", ask, gotOK, gotRefused, ok, refused)
	}
}

// onLoop runs f on the session's loop.
func (w *crowd) onLoop(s *Session, f func()) {
	s.Loop().Post(func(any, any) { f() }, nil, nil, 0)
	w.net.Run()
}

// TestMaxPendingSessions: one connection opens 100 sessions that join nothing, and
// no more, until one of them is established or ends, in whatever way.
func TestMaxPendingSessions(t *testing.T) {
	w := newCrowd(t, Config{})
	p := w.net.Dial(0)
	w.expect(p, 150, 100, 50)
	if got := w.engine.Stats(); got.RefusedSessions != 50 || got.Sessions != 100 {
		t.Errorf("%d refused, %d sessions", got.RefusedSessions, got.Sessions)
	}
	w.expect(w.net.Dial(1), 3, 3, 0) // others are served

	w.onLoop(w.sessions[0], func() { w.sessions[0].Establish(); w.sessions[0].Establish() })
	w.expect(p, 2, 1, 1)
	w.onLoop(w.sessions[0], func() { w.sessions[0].CloseNow(TransportClose) }) // counted already
	w.expect(p, 1, 0, 1)
	w.onLoop(w.sessions[1], func() { w.sessions[1].CloseNow(TransportClose) })
	w.expect(p, 2, 1, 1)

	// By the peer: a close packet; two polls at once; what is no packet.
	for i, body := range []string{"1", "x"} {
		other := w.net.Dial(1)
		fmt.Fprintf(writer{other}, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%s", w.sessions[2+i].ID(), body)
		w.net.Run()
		w.net.Advance(lateRequestTime)
		w.expect(p, 2, 1, 1)
	}
	// The opener itself has moved to another loop meanwhile.
	far := w.net.Dial(1)
	w.expect(far, 1, 1, 0)
	fmt.Fprintf(writer{p}, "GET /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: h\r\n\r\n", w.sessions[len(w.sessions)-1].ID())
	w.net.Run()
	far.Close()
	w.onLoop(w.sessions[len(w.sessions)-1], func() {
		m := message(false, []byte("x"))
		w.sessions[len(w.sessions)-1].Send(m)
		m.Release()
	})
	w.statuses(p)
	w.expect(p, 1, 0, 1)
	w.onLoop(w.sessions[5], func() { w.sessions[5].Establish() })
	w.expect(p, 2, 1, 1)

	// The upgrade leaves it pending; Establish ends that afterwards.
	s := w.sessions[6]
	ws := w.net.Dial(1)
	fmt.Fprintf(writer{ws}, "GET /engine.io/?EIO=4&transport=websocket&sid=%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", s.ID())
	w.net.Run()
	ws.Write(append(maskedText(t, "2probe"), maskedText(t, "5")...))
	w.net.Run()
	if s.Transport() != "websocket" {
		t.Fatal("not upgraded")
	}
	w.expect(p, 1, 0, 1)
	w.onLoop(s, func() { s.Establish() })
	if s.poll != nil {
		t.Error("a WebSocket keeps what polling needs")
	}
	w.expect(p, 2, 1, 1)

	// All of them end, by the ping timeout or with the server.
	w.net.Advance(2 * time.Minute)
	if n := w.engine.Stats().Sessions; n != 0 {
		t.Fatalf("%d sessions are left", n)
	}
	p = w.net.Dial(0)
	w.expect(p, 101, 100, 1)
	for i := range w.sessions {
		w.sessions[i].Close(ForcedClose)
	}
	w.net.Advance(time.Second)
	w.expect(p, 1, 0, 1) // they wait for a poll to tell that they are over
	w.net.Advance(40 * time.Second)
	w.expect(p, 101, 100, 1)
}

// writer is a peer as an io.Writer.
type writer struct{ p *netpolltest.Peer }

func (w writer) Write(b []byte) (int, error) {
	w.p.Write(b)
	return len(b), nil
}

// TestEstablishedSessionsDoNotCount: a proxy's connection may open any number.
func TestEstablishedSessionsDoNotCount(t *testing.T) {
	w := newCrowd(t, Config{MaxPendingSessions: 2})
	p := w.net.Dial(0)
	for i := range 50 {
		w.expect(p, 1, 1, 0)
		w.onLoop(w.sessions[i], w.sessions[i].Establish)
	}
	w.expect(p, 3, 2, 1)
	w = newCrowd(t, Config{MaxPendingSessions: -1})
	w.expect(w.net.Dial(0), 300, 300, 0)
}

// TestMaxSessions: so many sessions, over any connections and transports, and not
// one more.
func TestMaxSessions(t *testing.T) {
	w := newCrowd(t, Config{MaxSessions: 3})
	a, b := w.net.Dial(0), w.net.Dial(1)
	w.expect(a, 2, 2, 0)
	webSocket := func() []int {
		p := w.net.Dial(1)
		p.Write([]byte("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		return w.statuses(p)
	}
	if got := webSocket(); fmt.Sprint(got) != "[101]" {
		t.Error(got)
	}
	b.Write([]byte(handshakeRequest))
	w.net.Run()
	if got := string(b.Read()); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Connection: close\r\n") || !strings.HasSuffix(got, "\r\n\r\ntoo many sessions") || !b.Ended() {
		t.Errorf("%q, ended %v", got, b.Ended())
	}
	if got := webSocket(); fmt.Sprint(got) != "[503]" {
		t.Error(got)
	}
	if got := w.engine.Stats(); got.Sessions != 3 || got.RefusedSessions != 2 || got.Opened != 3 {
		t.Errorf("%+v", got)
	}
	w.onLoop(w.sessions[2], func() { w.sessions[2].CloseNow(TransportClose) })
	w.expect(w.net.Dial(1), 2, 1, 1)
	// An sid that is in use takes no room.
	w = newCrowd(t, Config{MaxSessions: 2, GenerateID: func(*Request) string { return "same" }})
	for range 5 {
		w.handshakes(w.net.Dial(0), 1)
	}
	if got := w.engine.Stats(); got.Sessions != 1 || got.RefusedSessions != 0 || got.Refused != 4 {
		t.Errorf("%+v", got)
	}
	w = newCrowd(t, Config{MaxSessions: -1})
	w.expect(w.net.Dial(0), 10, 10, 0)
}

// TestRefusal: what OnRefused is told, by the check that failed.
func TestRefusal(t *testing.T) {
	var got []string
	w := newCrowd(t, Config{
		OnRefused: func(_ *Request, x Refusal) {
			got = append(got, fmt.Sprint(x.Code, x.Check, " ", x.Transport, " ", x.SID))
		},
		GenerateID: func(r *Request) string { return r.Query().Get("id") },
	})
	p := w.net.Dial(0)
	p.Write([]byte("GET /engine.io/?EIO=4&transport=polling&id=a HTTP/1.1\r\nHost: h\r\n\r\n"))
	w.net.Run()
	for _, c := range []struct{ method, query, want string }{
		{"GET", "EIO=4&transport=smoke", "0UNKNOWN_TRANSPORT smoke "},
		{"GET", "EIO=4&transport=polling&sid=b%3A", "1UNKNOWN_SID polling b:"},
		{"PUT", "EIO=4&transport=polling", "2BAD_HANDSHAKE_METHOD polling "},
		{"GET", "EIO=4&transport=websocket", "3TRANSPORT_HANDSHAKE_ERROR websocket "},
		{"GET", "EIO=4&transport=websocket&sid=a", "3TRANSPORT_MISMATCH websocket a"},
		{"GET", "EIO=4&transport=polling", "3ID_GENERATION_ERROR polling "},
		{"GET", "EIO=3&transport=polling", "5UNSUPPORTED_PROTOCOL_VERSION polling "},
	} {
		got = nil
		p := w.net.Dial(1)
		fmt.Fprintf(writer{p}, "%s /engine.io/?%s HTTP/1.1\r\nHost: h\r\n\r\n", c.method, c.query)
		w.net.Run()
		if fmt.Sprint(got) != "["+c.want+"]" {
			t.Errorf("%s: %q, want %q", c.query, got, c.want)
		}
	}
}

// TestHeadWithoutContent: no answer to HEAD has content (RFC 9110, section 9.3.2).
func TestHeadWithoutContent(t *testing.T) {
	w := newCrowd(t, Config{Origins: []string{"*"}})
	p := w.net.Dial(0)
	w.expect(p, 1, 1, 0)
	for _, query := range []string{"", "EIO=4&transport=polling", "EIO=4&transport=websocket", "EIO=4&transport=polling&sid=x", "EIO=4&transport=polling&sid=" + w.sessions[0].ID()} {
		fmt.Fprintf(writer{p}, "HEAD /engine.io/?%s HTTP/1.1\r\nHost: h\r\n\r\n", query)
		w.net.Run()
		if got := string(p.Read()); !strings.HasPrefix(got, "HTTP/1.1 ") || !strings.HasSuffix(got, "\r\n\r\n") || strings.Count(got, "\r\n\r\n") != 1 {
			t.Errorf("%s: %q", query, got)
		}
	}
}

// TestKeptHead: a session keeps 4 KiB of a head, what matters most first; who
// decides on the handshake sees all of it.
func TestKeptHead(t *testing.T) {
	var seen http.Header
	cfg := Config{Origins: []string{"http://o"}, GenerateID: func(r *Request) string {
		seen = r.Headers()
		if r.Truncated() {
			t.Error("GenerateID is given less than the whole")
		}
		return NewID()
	}}
	open := func(cfg Config, head string) *Session {
		w := newCrowd(t, cfg)
		p := w.net.Dial(0)
		p.Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\n" + head + "\r\n"))
		if got := w.statuses(p); fmt.Sprint(got) != "[200]" {
			t.Fatal(got)
		}
		return w.sessions[0]
	}
	junk := strings.Repeat("X-Junk: "+strings.Repeat("j", 190)+"\r\n", 60)
	head := junk + "Host: example.org\r\nUser-Agent: U\r\nCookie: c=" + strings.Repeat("c", 1000) + "\r\nOrigin: http://o\r\n"
	s := open(cfg, head)
	if len(seen["X-Junk"]) != 60 || len(seen) != 5 {
		t.Errorf("GenerateID saw %d fields", len(seen))
	}
	r := s.Request()
	h := r.Headers()
	if !r.Truncated() || len(r.data) > 4096+100 || len(h["X-Junk"]) != 15 {
		t.Errorf("truncated %v, %d bytes, %d of X-Junk", r.Truncated(), len(r.data), len(h["X-Junk"]))
	}
	if len(h.Get("Cookie")) != 1002 || h.Get("Origin") != "http://o" || h.Get("User-Agent") != "U" || h.Get("Host") != "example.org" || r.HTTP().Host != "example.org" {
		t.Errorf("%v", h)
	}
	if r.Query().Get("EIO") != "4" || r.RemoteAddr() == "" {
		t.Errorf("%q from %q", r.URL(), r.RemoteAddr())
	}
	cfg.MaxKeptHeadBytes = -1
	if r := open(cfg, head).Request(); r.Truncated() || len(r.Headers()["X-Junk"]) != 60 {
		t.Error("truncated without a limit")
	}
	if r := open(Config{}, "Host: h\r\nA: "+strings.Repeat("a", 1800)+"\r\n").Request(); r.Truncated() {
		t.Error("truncated below the limit")
	}
}

// TestNoSessionWithoutMemory: who is here already has what is left.
func TestNoSessionWithoutMemory(t *testing.T) {
	w := newCrowd(t, Config{})
	m := w.net.Group.Memory()
	w.expect(w.net.Dial(0), 1, 1, 0)
	n := 0
	for ; !m.Near(); n += 1 << 20 {
		m.Add(1 << 20)
	}
	w.expect(w.net.Dial(0), 1, 0, 1)
	m.Add(-n)
	w.expect(w.net.Dial(0), 1, 1, 0)
}

// TestHandshakesPerAddress: an address that has made too many is answered 429, before
// anything is made of the handshake; netpoll.Config.PerAddress.
func TestHandshakesPerAddress(t *testing.T) {
	made := 0
	e := mustNew(Config{GenerateID: func(*Request) string { made++; return NewID() }}, &crowd{t: t})
	g, err := Start(netpoll.Config{Loops: 1, PerAddress: netpoll.AddressLimits{HandshakesPerSecond: 1}}, e)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	const requests = 50
	if _, err := io.WriteString(c, strings.Repeat(handshakeRequest, requests)); err != nil {
		t.Fatal(err)
	}
	in, got := bufio.NewReader(c), map[int]int{}
	for got[429] == 0 {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		got[resp.StatusCode]++
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
	if got[200] == 0 || len(got) != 2 || e.Stats().RefusedSessions != 1 {
		t.Errorf("answers: %v, %+v", got, e.Stats())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := errors.Join(e.Close(ctx), g.Close(ctx)); err != nil {
		t.Error(err)
	}
	if made != got[200] {
		t.Errorf("%d sids were made for %d sessions", made, got[200])
	}
}

// TestSessionsAreCharged: what a session keeps is charged to the group's memory for as
// long as it lives, however it ends.
func TestSessionsAreCharged(t *testing.T) {
	netpolltest.Plain(t)
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, transport := range []string{"polling", "websocket"} {
		w := newCrowd(t, Config{})
		memory := w.net.Group.Memory()
		for range 3 {
			fields := "X: " + strings.Repeat("x", 1000) + "\r\n"
			if transport == "websocket" {
				fields += upgrade
			}
			p := w.net.Dial(0)
			fmt.Fprintf(writer{p}, "GET /engine.io/?EIO=4&transport=%s HTTP/1.1\r\nHost: h\r\n%s\r\n", transport, fields)
			w.statuses(p)
		}
		if used := memory.Used(); used < 3*1700 || used > 3*2200 {
			t.Errorf("%s: three sessions are charged %d bytes", transport, used)
		}
		// A handshake that opens none leaves nothing behind.
		p := w.net.Dial(0)
		fmt.Fprintf(writer{p}, "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n%s\r\n", strings.Replace(upgrade, "13", "12", 1))
		if got := w.statuses(p); fmt.Sprint(got) != "[426]" {
			t.Error(got)
		}
		w.onLoop(w.sessions[0], func() { w.sessions[0].CloseNow(TransportError) })
		w.onLoop(w.sessions[1], func() { w.sessions[1].CloseNow(ForcedClose); w.sessions[1].CloseNow(ForcedClose) })
		w.net.Advance(2 * time.Minute)
		if n, used := w.engine.Stats().Sessions, memory.Used(); n != 0 || used != 0 {
			t.Errorf("%s: %d sessions, %d bytes are charged at the end", transport, n, used)
		}
	}
}

// TestDecisionIsNotKept: the context of a session's request leads to what was decided
// on, of which the whole head is not kept.
func TestDecisionIsNotKept(t *testing.T) {
	type key struct{}
	w := newCrowd(t, Config{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("X-Answer", "a")
			next.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), key{}, "kept")))
		})
	}})
	p := w.net.Dial(0)
	p.Write([]byte(handshakeRequest))
	var answer []byte
	if !w.net.RunUntil(10*time.Second, func() bool { answer = append(answer, p.Read()...); return len(answer) > 0 }) {
		t.Fatal("no answer")
	}
	if !strings.Contains(string(answer), "X-Answer: a\r\n") {
		t.Errorf("%q", answer)
	}
	ctx := w.sessions[0].Request().Context()
	if ctx.Value(key{}) != "kept" {
		t.Error("the middleware's value is lost")
	}
	if d := ctx.Value(decisionKey{}).(*decision); d.r != nil || d.req != nil || d.c != nil || d.answer.header != nil {
		t.Errorf("%+v is kept", d)
	}
}

// TestHandshakeOfAGonePeer: a peer that has reset its connection has no address any
// more, and gets no session.
func TestHandshakeOfAGonePeer(t *testing.T) {
	for name, cfg := range map[string]Config{
		"plain": {},
		"id":    {GenerateID: func(r *Request) string { return r.Query().Get("id") }},
		"asked": {AllowRequest: func(*Request) error { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			var p *netpolltest.Peer
			told := 0
			cfg.OnRefused = func(*Request, Refusal) { told++; p.Reset() }
			if make := cfg.GenerateID; make != nil {
				cfg.GenerateID = func(r *Request) string {
					if r.RemoteAddr() == "" {
						t.Error("GenerateID is asked for a peer without an address")
					}
					return make(r)
				}
			}
			w := newCrowd(t, cfg)
			p = w.net.Dial(0)
			p.Write([]byte("GET /engine.io/ HTTP/1.1\r\nHost: h\r\n\r\n" + strings.Replace(handshakeRequest, " HTTP", "&id=a HTTP", 1)))
			w.net.RunUntil(10*time.Second, p.Closed)
			if s := w.engine.Stats(); told != 1 || len(w.sessions) != 0 || s.Opened != 0 || !p.Closed() {
				t.Errorf("told %d times, %d sessions, closed %v, %+v", told, len(w.sessions), p.Closed(), s)
			}
		})
	}
}

// TestDate: every answer has one Date (RFC 9110, section 6.6.1).
func TestDate(t *testing.T) {
	w := newCrowd(t, Config{
		Origins:                  []string{"*"},
		HTTPCompressionThreshold: 10,
		Headers:                  func(h http.Header, _ *Request, _ bool) { h.Set("Date", "today") },
	})
	p := w.net.Dial(0)
	check := func(request string) {
		t.Helper()
		p.Write([]byte(request))
		w.net.Run()
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(p.Read())), nil)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		dates := resp.Header["Date"]
		if len(dates) != 1 {
			t.Fatalf("%q: %d, Date: %q", request, resp.StatusCode, dates)
		}
		if at, err := http.ParseTime(dates[0]); err != nil || time.Since(at).Abs() > time.Hour {
			t.Errorf("%q: %q, %v", request, dates, err)
		}
	}
	const target = " /engine.io/?EIO=4&transport=polling"
	check("GET" + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
	sid := "&sid=" + w.sessions[0].ID()
	for _, encoding := range []string{"identity", "gzip"} {
		m := message(false, []byte(strings.Repeat("x", 100)))
		w.onLoop(w.sessions[0], func() { w.sessions[0].Send(m) })
		m.Release()
		check("GET" + target + sid + " HTTP/1.1\r\nHost: h\r\nAccept-Encoding: " + encoding + "\r\n\r\n")
	}
	check("POST" + target + sid + " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n4a")
	check("OPTIONS" + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
	check("PUT" + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
	w = newCrowd(t, Config{Middleware: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Date", "today")
			rw.WriteHeader(http.StatusTeapot)
		})
	}})
	p = w.net.Dial(0)
	p.Write([]byte("GET" + target + " HTTP/1.1\r\nHost: h\r\n\r\n"))
	var answer []byte
	w.net.RunUntil(10*time.Second, func() bool { answer = append(answer, p.Read()...); return len(answer) > 0 })
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 418 ")) || bytes.Count(answer, []byte("\r\nDate: ")) != 1 || bytes.Contains(answer, []byte("today")) {
		t.Errorf("%q", answer)
	}
}

// TestPongsInARow: pongs that nobody has asked for are counted as control frames; a
// peer that only answers pings is never cut for it.
func TestPongsInARow(t *testing.T) {
	for _, c := range []struct {
		name   string
		pongs  int
		closed bool
	}{{"as many as may be", 1000, false}, {"one more", 1001, true}} {
		w := newCrowd(t, Config{})
		p := w.net.Dial(0)
		p.Write([]byte("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		w.net.Run()
		p.Write(bytes.Repeat([]byte{0x81, 0x81, 0, 0, 0, 0, '3'}, c.pongs))
		w.net.Run()
		if p.Ended() != c.closed {
			t.Errorf("%s: closed %v", c.name, p.Ended())
		}
	}
	w := newCrowd(t, Config{})
	p := w.net.Dial(0)
	p.Write([]byte("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	w.net.Run()
	for range 1100 {
		w.net.Advance(25 * time.Second)
		p.Write([]byte{0x81, 0x81, 0, 0, 0, 0, '3'})
		w.net.Run()
	}
	if p.Ended() {
		t.Error("a peer that answers pings has been cut")
	}
}

// TestHandshakeBesideClose: no session is opened behind the look that Close has had.
func TestHandshakeBesideClose(t *testing.T) {
	const webSocket = "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for _, request := range []string{handshakeRequest, webSocket} {
		var w *crowd
		w = newCrowd(t, Config{GenerateID: func(*Request) string {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = w.engine.Close(ctx)
			return "id"
		}})
		p := w.net.Dial(0)
		p.Write([]byte(request))
		if got := w.statuses(p); len(got) != 1 || got[0] != 503 || w.engine.Len() != 0 {
			t.Errorf("statuses %v, %d sessions", got, w.engine.Len())
		}
	}
}
