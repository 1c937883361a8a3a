package netpoll_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// app is a handler whose parts a test sets as it needs them. Requests for
// /ws are upgraded, others answered with their target and body.
type app struct {
	request func(c *netpoll.Conn, r *http1.Request)
	message func(c *netpoll.Conn, data []byte, binary bool)
	conns   []*netpoll.Conn
	closed  []error
}

func (a *app) Claims([]byte) bool { return true }

func (a *app) HandleRequest(c *netpoll.Conn, r *http1.Request) {
	a.conns = append(a.conns, c)
	switch {
	case a.request != nil:
		a.request(c, r)
	case string(r.Path) == "/ws":
		_ = c.Upgrade(r, nil)
	default:
		respond(c, string(r.Path)+"|"+string(r.Body))
	}
}

func (a *app) HandleMessage(c *netpoll.Conn, data []byte, binary bool) {
	if a.message != nil {
		a.message(c, data, binary)
		return
	}
	sendFrame(c, data, binary) // an echo
}

func (a *app) HandleClose(_ *netpoll.Conn, err error) { a.closed = append(a.closed, err) }

func respond(c *netpoll.Conn, body string) {
	buf := netpoll.NewBuffer(256)
	buf.B = append(http1.AppendResponseHead(buf.B, 200, "text/plain", len(body), c.KeepAlive(), nil), body...)
	c.Respond(buf)
	buf.Release()
}

func sendFrame(c *netpoll.Conn, data []byte, binary bool) {
	buf := netpoll.NewBuffer(ws.FrameHeadroom + len(data))
	buf.B = append(buf.B[:ws.FrameHeadroom], data...)
	c.Send(buf, buf.B[ws.PutFrameHeader(buf.B, ws.FrameHeadroom, binary):])
	buf.Release()
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func start(t *testing.T, cfg netpoll.Config, a *app, loops int) *netpolltest.Net {
	t.Helper()
	cfg.Logger = quiet
	return netpolltest.New(cfg, a, loops)
}

func get(path string) []byte { return []byte("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n") }

func post(path, body string) []byte {
	return []byte("POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// bodies are those of the responses in b.
func bodies(t *testing.T, b []byte) (all []string) {
	t.Helper()
	for len(b) > 0 {
		head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
		var n int
		for line := range strings.Lines(string(head)) {
			if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				n, _ = strconv.Atoi(strings.TrimSpace(v))
			}
		}
		if !ok || n > len(rest) {
			t.Fatalf("not a whole response: %q", b)
		}
		all = append(all, string(rest[:n]))
		b = rest[n:]
	}
	return all
}

func upgrade(t *testing.T, n *netpolltest.Net, loop int) *netpolltest.Peer {
	t.Helper()
	p := n.Dial(loop)
	p.Write([]byte("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	n.Run()
	if b := p.Read(); !bytes.Contains(b, []byte(" 101 ")) || !bytes.Contains(b, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
		t.Fatalf("not upgraded: %q", b)
	}
	return p
}

func frame(f gobwas.Frame) []byte { return gobwas.MustCompileFrame(gobwas.MaskFrame(f)) }

// frames are those in b, as "text:data".
func frames(t *testing.T, b []byte) (all []string) {
	t.Helper()
	for r := bytes.NewReader(b); r.Len() > 0; {
		h, err := gobwas.ReadHeader(r)
		if err != nil || h.Length > int64(r.Len()) {
			t.Fatalf("%q: %v", b, err)
		}
		payload := make([]byte, h.Length)
		_, _ = r.Read(payload)
		name := map[gobwas.OpCode]string{gobwas.OpText: "text", gobwas.OpBinary: "binary", gobwas.OpPing: "ping", gobwas.OpPong: "pong", gobwas.OpClose: "close"}[h.OpCode]
		data := string(payload)
		if h.OpCode == gobwas.OpClose {
			code, _ := gobwas.ParseCloseFrameData(payload)
			data = strconv.Itoa(int(code))
		}
		all = append(all, name+":"+data)
	}
	return all
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// RFC 9112, section 9.3.2, "Pipelining", cut at every byte.
func TestPipelining(t *testing.T) {
	in := append(append(append(get("/a"), post("/b", "body")...),
		"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"...), get("/d")...)
	for cut := range in {
		n := start(t, netpoll.Config{}, &app{}, 1)
		p := n.Dial(0)
		p.Write(in[:cut])
		n.Run()
		p.Write(in[cut:])
		n.Run()
		got := bodies(t, p.Read())
		if fmt.Sprint(got) != "[/a| /b|body /c|abc /d|]" {
			t.Fatalf("cut at %d: %q", cut, got)
		}
	}
}

// A request that is answered later holds back those behind it, and what may
// wait there is bounded.
func TestLateAnswersStayInOrder(t *testing.T) {
	var waiting *netpoll.Conn
	a := &app{}
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		if string(r.Path) == "/late" {
			waiting = c
			return
		}
		respond(c, string(r.Path))
	}
	n := start(t, netpoll.Config{}, a, 1)
	p := n.Dial(0)
	p.Write(append(get("/late"), get("/next")...))
	n.Run()
	if b := p.Read(); len(b) > 0 {
		t.Fatalf("answered too early: %q", b)
	}
	p.Write(bytes.Repeat(get("/many"), 10_000))
	n.Run()
	if left := p.Unread(); left < 100_000 {
		t.Errorf("only %d bytes are held back", left)
	}
	n.Group.Loop(0).Post(func(a, _ any) { respond(a.(*netpoll.Conn), "late") }, waiting, nil, 0)
	n.Run()
	got := bodies(t, p.Read())
	if len(got) != 10_002 || got[0] != "late" || got[1] != "/next" || got[10_001] != "/many" {
		t.Errorf("%d answers: %.3q", len(got), got)
	}
}

func TestConnectionClose(t *testing.T) {
	for _, in := range []string{"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET /a HTTP/1.0\r\n\r\n"} {
		a := &app{}
		n := start(t, netpoll.Config{}, a, 1)
		p := n.Dial(0)
		p.Write(append([]byte(in), get("/b")...))
		n.Run()
		expect(t, bodies(t, p.Read()), "/a|")
		if !p.Ended() || p.Closed() {
			t.Errorf("%q: ended %v, closed %v: want the peer's turn to close", in, p.Ended(), p.Closed())
		}
		p.Close()
		n.Run()
		if !p.Closed() || len(a.closed) != 1 || n.Group.Stats().Open != 0 {
			t.Errorf("%q: closed %v, reported %v", in, p.Closed(), a.closed)
		}
	}
}

// A peer that does not close after the end of the answers is cut.
func TestLingering(t *testing.T) {
	n := start(t, netpoll.Config{CloseTimeout: 3 * time.Second}, &app{}, 1)
	p := n.Dial(0)
	p.Write([]byte("nonsense\r\n\r\n"))
	n.Run()
	if b := p.Read(); !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) {
		t.Errorf("%q", b)
	}
	p.Write(bytes.Repeat([]byte("more "), 100_000))
	n.Advance(2900 * time.Millisecond)
	if p.Closed() || p.Unread() > 0 {
		t.Errorf("closed %v, unread %d", p.Closed(), p.Unread())
	}
	n.Advance(200 * time.Millisecond)
	if !p.Closed() {
		t.Error("still open")
	}
}

func TestDeadlines(t *testing.T) {
	cfg := netpoll.Config{HeadTimeout: time.Second, BodyTimeout: 2 * time.Second, IdleTimeout: 5 * time.Second}
	for _, c := range []struct {
		name   string
		steps  []string // a second less 10 ms apart
		after  time.Duration
		status string // of the last answer, or none
	}{
		{"nothing", nil, time.Second, ""},
		{"part of a head", []string{"GET / HT"}, time.Second, "408"},
		{"byte by byte", []string{"G", "E", "T"}, 0, "408"},
		{"part of a body", []string{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"}, 2 * time.Second, "408"},
		{"part of a chunk", []string{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}, 2 * time.Second, "408"},
		{"no next request", []string{string(get("/"))}, 5 * time.Second, "200"},
		{"part of a next request", []string{string(get("/")) + "GET"}, time.Second, "408"},
	} {
		a := &app{}
		n := start(t, cfg, a, 1)
		p := n.Dial(0)
		for i, s := range c.steps {
			if i > 0 {
				n.Advance(990 * time.Millisecond)
			}
			p.Write([]byte(s))
			n.Run()
		}
		if c.after > 0 {
			n.Advance(c.after - 10*time.Millisecond)
			if p.Ended() {
				t.Errorf("%s: ended too early", c.name)
			}
			n.Advance(20 * time.Millisecond)
		}
		out := string(p.Read())
		last := out[max(0, strings.LastIndex(out, "HTTP/1.1 ")):]
		if !p.Ended() || c.status == "" && out != "" || c.status != "" && !strings.HasPrefix(last, "HTTP/1.1 "+c.status) {
			t.Errorf("%s: ended %v, answered %q", c.name, p.Ended(), out)
		}
		if p.Close(); len(a.closed) != 1 {
			t.Errorf("%s: reported %v", c.name, a.closed)
		}
	}
}

// Neither a poll that waits nor a WebSocket has a deadline of its own.
func TestNoDeadlineWhileAnswering(t *testing.T) {
	a := &app{}
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		if string(r.Path) == "/ws" {
			_ = c.Upgrade(r, nil)
		}
	}
	n := start(t, netpoll.Config{}, a, 1)
	p, w := n.Dial(0), upgrade(t, n, 0)
	p.Write(get("/"))
	n.Advance(time.Hour)
	if p.Ended() || w.Ended() {
		t.Errorf("poll ended %v, WebSocket ended %v", p.Ended(), w.Ended())
	}
}

// DESIGN: one write path. Whatever is sent in one batch leaves in one write.
func TestOneWritePerBatch(t *testing.T) {
	a := &app{}
	a.message = func(c *netpoll.Conn, data []byte, binary bool) {
		for range 5 {
			sendFrame(c, data, binary)
		}
	}
	n := start(t, netpoll.Config{}, a, 1)
	p := upgrade(t, n, 0)
	before := p.Writes()
	p.Write(append(frame(gobwas.NewTextFrame([]byte("a"))), frame(gobwas.NewTextFrame([]byte("b")))...))
	n.Run()
	if got := frames(t, p.Read()); len(got) != 10 || got[4] != "text:a" || got[5] != "text:b" {
		t.Errorf("%q", got)
	}
	if w := p.Writes() - before; w != 1 {
		t.Errorf("%d writes", w)
	}
	// Large ones go by reference, in one writev.
	before = p.Writes()
	big := bytes.Repeat([]byte("x"), 20_000)
	p.Write(frame(gobwas.NewBinaryFrame(big)))
	n.Run()
	if got := frames(t, p.Read()); len(got) != 5 || got[4] != "binary:"+string(big) {
		t.Errorf("%d frames", len(got))
	}
	if w := p.Writes() - before; w != 1 {
		t.Errorf("%d writes of large frames", w)
	}
}

// A kernel that takes a few bytes at a time gets them all, in order.
func TestPartialWrites(t *testing.T) {
	for _, window := range []int{1, 3, 100, 1000, 5000} {
		a := &app{}
		n := start(t, netpoll.Config{}, a, 1)
		p := upgrade(t, n, 0)
		var want []string
		c := a.conns[0]
		p.SetWindow(window)
		n.Group.Loop(0).Post(func(_, _ any) {
			for i := range 40 {
				data := bytes.Repeat([]byte{byte('a' + i%26)}, []int{0, 1, 200, 20 * window}[i%4])
				want = append(want, "text:"+string(data))
				sendFrame(c, data, false)
				if window == 1 && i < 16 && !c.Writable() {
					t.Error("not writable before the first write")
				}
			}
		}, nil, nil, 0)
		var got []byte
		for range 1 << 20 {
			n.Run()
			if got = append(got, p.Read()...); c.QueuedBytes() == 0 {
				break
			}
		}
		n.Run()
		got = append(got, p.Read()...)
		if fmt.Sprint(frames(t, got)) != fmt.Sprint(want) {
			t.Errorf("window %d: other frames than sent", window)
		}
		if c.QueuedBytes() != 0 || !c.Writable() {
			t.Errorf("window %d: %d bytes are left, writable %v", window, c.QueuedBytes(), c.Writable())
		}
	}
}

func TestSlowConsumer(t *testing.T) {
	a := &app{}
	n := start(t, netpoll.Config{MaxQueuedBytes: 10_000}, a, 1)
	slow, fast := upgrade(t, n, 0), upgrade(t, n, 0)
	slow.SetWindow(3000) // what it reads at a time
	const sent = 1000
	for range sent {
		n.Group.Loop(0).Post(func(_, _ any) {
			for _, c := range a.conns {
				sendFrame(c, make([]byte, 100), true)
			}
		}, nil, nil, 0)
		n.Run()
	}
	if len(a.closed) != 0 {
		t.Fatalf("closed for what this side has sent: %v", a.closed)
	}
	// Time passes in which it reads what it must, and then in which it does not.
	for range 3 {
		_ = slow.Read()
		n.Advance(10 * time.Second)
		if len(a.closed) != 0 {
			t.Fatalf("closed though it reads: %v", a.closed)
		}
	}
	n.Advance(10*time.Second - time.Millisecond)
	if len(a.closed) != 0 {
		t.Fatalf("closed too early: %v", a.closed)
	}
	n.Advance(2 * time.Millisecond)
	if len(a.closed) != 1 || !errors.Is(a.closed[0], netpoll.ErrSlowConsumer) || !slow.Closed() || fast.Closed() {
		t.Fatalf("after %d messages: %v, slow closed %v, fast closed %v", sent, a.closed, slow.Closed(), fast.Closed())
	}
	if got := frames(t, fast.Read()); len(got) != sent {
		t.Errorf("the other peer got %d of %d", len(got), sent)
	}
	if n.Group.Stats().SlowConsumers != 1 {
		t.Error("not counted")
	}
}

// A burst in one batch over the limit does not close a peer that reads.
func TestBurstIsNotSlow(t *testing.T) {
	a := &app{}
	n := start(t, netpoll.Config{MaxQueuedBytes: 10_000}, a, 1)
	p := upgrade(t, n, 0)
	n.Group.Loop(0).Post(func(_, _ any) {
		for range 1000 {
			sendFrame(a.conns[0], make([]byte, 100), true)
		}
	}, nil, nil, 0)
	n.Run()
	if got := frames(t, p.Read()); len(got) != 1000 || len(a.closed) > 0 {
		t.Errorf("%d frames, closed: %v", len(got), a.closed)
	}
}

func TestWebSocketCutAtEveryByte(t *testing.T) {
	in := frame(gobwas.NewTextFrame([]byte("hello")))
	in = append(in, frame(gobwas.NewFrame(gobwas.OpText, false, []byte("fr")))...)
	in = append(in, frame(gobwas.NewPingFrame([]byte("p")))...)
	in = append(in, frame(gobwas.NewFrame(gobwas.OpContinuation, true, []byte("ag")))...)
	in = append(in, frame(gobwas.NewBinaryFrame(make([]byte, 200)))...)
	in = append(in, frame(gobwas.NewCloseFrame(gobwas.NewCloseFrameBody(1000, "bye")))...)
	for cut := range in {
		a := &app{}
		n := start(t, netpoll.Config{}, a, 1)
		p := upgrade(t, n, 0)
		p.Write(in[:cut])
		n.Run()
		p.Write(in[cut:])
		n.Run()
		got := frames(t, p.Read())
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", []string{"text:hello", "pong:p", "text:frag", "binary:" + string(make([]byte, 200)), "close:1000"}) {
			t.Fatalf("cut at %d: %q", cut, got)
		}
		var end *netpoll.CloseError
		if len(a.closed) != 1 || !errors.As(a.closed[0], &end) || !end.Remote || end.Code != 1000 || end.Reason != "bye" {
			t.Fatalf("cut at %d: %v", cut, a.closed)
		}
	}
}

func TestUpgradeWithFramesBehind(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	p := n.Dial(0)
	p.Write(append([]byte("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), frame(gobwas.NewTextFrame([]byte("early")))...))
	n.Run()
	_, rest, _ := bytes.Cut(p.Read(), []byte("\r\n\r\n"))
	expect(t, frames(t, rest), "text:early")
}

func TestPauseStopsReading(t *testing.T) {
	var got []string
	a := &app{}
	a.message = func(c *netpoll.Conn, data []byte, _ bool) {
		if got = append(got, string(data)); len(got) == 1 {
			c.Pause()
		}
	}
	n := start(t, netpoll.Config{}, a, 1)
	p := upgrade(t, n, 0)
	p.Write(append(frame(gobwas.NewTextFrame([]byte("1"))), frame(gobwas.NewTextFrame([]byte("2")))...))
	n.Run()
	p.Write(frame(gobwas.NewTextFrame([]byte("3"))))
	n.Run()
	expect(t, got, "1")
	if p.Unread() == 0 {
		t.Error("read while paused")
	}
	n.Group.Loop(0).Post(func(_, _ any) { a.conns[0].Resume() }, nil, nil, 0)
	n.Run()
	expect(t, got, "1", "2", "3")
}

func TestMoveTo(t *testing.T) {
	a := &app{}
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		if want := n2(r.Path); c.Loop().Index() != want {
			c.MoveTo(c.Loop().Group().Loop(want), r)
			return
		}
		c.Loop().Check()
		respond(c, string(r.Path)+"|"+string(r.Body)+"@"+strconv.Itoa(c.Loop().Index()))
	}
	n := start(t, netpoll.Config{}, a, 3)
	p := n.Dial(0)
	p.Write(append(append(append(post("/2", "two"), get("/2")...), get("/1")...), get("/0")...))
	n.Run()
	expect(t, bodies(t, p.Read()), "/2|two@2", "/2|@2", "/1|@1", "/0|@0")
	p.Write(get("/1"))
	n.Run()
	expect(t, bodies(t, p.Read()), "/1|@1")
	p.Reset()
	n.Run()
	if len(a.closed) != 1 || n.Group.Stats().Open != 0 {
		t.Errorf("closed: %v, open: %d", a.closed, n.Group.Stats().Open)
	}
}

func n2(path []byte) int { i, _ := strconv.Atoi(string(path[1:])); return i }

// What happens to a connection whose peer resets it while it is moving is
// found out on the new loop.
func TestResetWhileMoving(t *testing.T) {
	a := &app{}
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		if c.Loop().Index() == 0 {
			c.MoveTo(c.Loop().Group().Loop(1), r)
		}
	}
	n := start(t, netpoll.Config{}, a, 2)
	p := n.Dial(0)
	p.Write(get("/"))
	n.Group.Loop(0).Deliver(false, 1)
	p.Reset()
	n.Run()
	if len(a.closed) != 1 || !p.Closed() {
		t.Errorf("closed: %v, %v", a.closed, p.Closed())
	}
}

// A panic costs the connection in whose name it happened, and nothing else.
func TestPanicsInCallbacks(t *testing.T) {
	a := &app{}
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		switch string(r.Path) {
		case "/panic":
			panic("request")
		case "/ws":
			_ = c.Upgrade(r, nil)
		}
	}
	a.message = func(*netpoll.Conn, []byte, bool) { panic("message") }
	n := start(t, netpoll.Config{}, a, 1)
	p, w, other := n.Dial(0), upgrade(t, n, 0), upgrade(t, n, 0)
	p.Write(get("/panic"))
	w.Write(frame(gobwas.NewTextFrame([]byte("x"))))
	n.Group.Loop(0).Post(func(_, _ any) { panic("job") }, nil, nil, 0)
	n.Run()
	if !p.Closed() || !w.Closed() || other.Closed() || len(a.closed) != 2 {
		t.Errorf("closed: %v %v %v, reported %v", p.Closed(), w.Closed(), other.Closed(), a.closed)
	}
	if got := n.Group.Stats().CallbackPanics; got != 3 {
		t.Errorf("%d panics counted", got)
	}
	a.message = nil
	other.Write(frame(gobwas.NewTextFrame([]byte("still here"))))
	n.Run()
	expect(t, frames(t, other.Read()), "text:still here")
}

// Jobs of one goroutine run in the order in which they were posted.
func TestPostKeepsOrder(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	const each, posters = 2000, 4
	var got [posters][]int
	run := func(a, b any) { got[a.(int)] = append(got[a.(int)], b.(int)) }
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				n.Group.Loop(0).Post(run, p, i, 0)
			}
		})
	}
	done := func() bool {
		for p := range posters {
			if len(got[p]) < each {
				return false
			}
		}
		return true
	}
	if !n.RunUntil(10*time.Second, done) {
		t.Fatal("jobs are missing")
	}
	wg.Wait()
	for p := range posters {
		for i, v := range got[p] {
			if v != i {
				t.Fatalf("poster %d: job %d ran as number %d", p, v, i)
			}
		}
	}
}

// Posters that are no loops wait while a loop is too far behind; a loop never
// does.
func TestPostWaits(t *testing.T) {
	n := start(t, netpoll.Config{MaxPostedJobs: 10}, &app{}, 1)
	l := n.Group.Loop(0)
	nothing := func(_, _ any) {}
	const jobs = 100
	posted := make(chan int, jobs)
	go func() {
		for i := range jobs {
			l.Post(nothing, nil, nil, 0)
			posted <- i
		}
		close(posted)
	}()
	for range 10 {
		<-posted
	}
	select {
	case i := <-posted:
		t.Errorf("job %d did not wait", i)
	case <-time.After(20 * time.Millisecond):
	}
	var last int
	if !n.RunUntil(10*time.Second, func() bool {
		for {
			select {
			case i, ok := <-posted:
				if !ok {
					return true
				}
				last = i
			default:
				return false
			}
		}
	}) || last != jobs-1 {
		t.Errorf("stuck after job %d", last)
	}
	fromLoop := 0
	l.Post(func(_, _ any) {
		for range 50 {
			l.Post(func(_, _ any) { fromLoop++ }, nil, nil, 0)
		}
	}, nil, nil, 0)
	n.Run()
	if fromLoop != 50 {
		t.Errorf("%d of 50 jobs ran", fromLoop)
	}
}

// A connection that arrives on a loop after Close has passed it is not kept.
func TestNoConnectionOutlivesClose(t *testing.T) {
	a := &app{}
	n := start(t, netpoll.Config{}, a, 2)
	a.request = func(c *netpoll.Conn, r *http1.Request) {
		if c.Loop().Index() == 0 {
			c.MoveTo(c.Loop().Group().Loop(1), r)
			return
		}
		respond(c, "moved")
	}
	moving, witness := n.Dial(0), n.Dial(1)
	moving.Write(get("/"))
	ctx, cancel := context.WithCancel(context.Background())
	closed := make(chan error)
	go func() { closed <- n.Group.Close(ctx) }()
	for !witness.Ended() {
		n.Group.Loop(1).Turn()
	}
	n.Group.Loop(0).Deliver(false, 1) // moves it, and is told of Close only then
	late := n.Dial(1)
	n.Run()
	expect(t, bodies(t, moving.Read()), "moved")
	if !late.Closed() || !moving.Ended() {
		t.Errorf("late closed %v, moving ended %v", late.Closed(), moving.Ended())
	}
	moving.Close()
	witness.Close()
	n.Run()
	if err := <-closed; err != nil || n.Group.Stats().Open != 0 {
		t.Errorf("%v, %d open", err, n.Group.Stats().Open)
	}
	cancel()
}

// TestIdleOutlivesProxies: common proxies keep a connection for 60 s, and may use it
// until then.
func TestIdleOutlivesProxies(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	p := n.Dial(0)
	for range 2 {
		p.Write(get("/"))
		n.Run()
		if got := string(p.Read()); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Fatalf("%q", got)
		}
		n.Advance(65 * time.Second)
	}
	if n.Advance(20 * time.Second); !p.Closed() {
		t.Error("still open")
	}
}

// startOf is start for any handler.
func startOf(cfg netpoll.Config, h netpoll.Handler) *netpolltest.Net {
	return netpolltest.New(cfg, h, 1)
}
