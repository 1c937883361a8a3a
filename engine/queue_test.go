package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/eio"
)

// pollWorld is an engine with a polling session, in memory.
type pollWorld struct {
	t      *testing.T
	net    *netpolltest.Net
	engine *Engine
	s      *Session
	closed CloseReason
	drains int    // calls of OnDrain
	query  string // of each request, without the sid
	poll   *netpolltest.Peer
}

func (w *pollWorld) OnOpen(s *Session)                { w.s = s }
func (w *pollWorld) OnDrain(*Session)                 { w.drains++ }
func (w *pollWorld) OnMessage(*Session, []byte, bool) {}
func (w *pollWorld) OnClose(_ *Session, r CloseReason) {
	w.closed = r
}

func newPollWorld(t *testing.T, cfg Config, query string) *pollWorld {
	w := &pollWorld{t: t, query: query}
	w.engine = mustNew(cfg, w)
	w.net = netpolltest.New(netpoll.Config{}, Mux{w.engine}, 2)
	w.poll = w.net.Dial(0)
	w.get()
	if w.answer() == nil {
		t.Fatal("no handshake")
	}
	return w
}

// get sends a poll, or the handshake.
func (w *pollWorld) get() {
	sid := ""
	if w.s != nil {
		sid = "&sid=" + w.s.ID()
	}
	w.poll.Write(fmt.Appendf(nil, "GET /engine.io/?%s%s HTTP/1.1\r\nHost: h\r\n\r\n", w.query, sid))
	w.net.Run()
}

// answer is the response to the poll; nil if there is none yet.
func (w *pollWorld) answer() *http.Response {
	b := w.poll.Read()
	if len(b) == 0 {
		return nil
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// onLoop runs f on the session's loop.
func (w *pollWorld) onLoop(f func()) {
	w.s.Loop().Post(func(any, any) { f() }, nil, nil, 0)
	w.net.Run()
}

func message(binary bool, data []byte) *Message {
	m := NewMessage(binary)
	m.B = append(m.B, data...)
	return m.Seal()
}

func (w *pollWorld) send(data string) {
	m := message(false, []byte(data))
	w.onLoop(func() { w.s.Send(m) })
	m.Release()
}

func (w *pollWorld) charged() int64 {
	used := w.net.Group.Memory().Used()
	w.engine.sessions.each(func(s *Session) { used -= int64(s.memory()) }) // not what they take themselves
	return used
}

// TestQueueIsMemory: what waits for a poll takes about as much memory as
// MaxQueuedBytes allows, however small the messages are.
func TestQueueIsMemory(t *testing.T) {
	const limit = 1 << 20
	w := newPollWorld(t, Config{MaxQueuedBytes: limit}, "EIO=4&transport=polling")
	heap := func() int {
		runtime.GC()
		runtime.GC() // pools are emptied by the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before, sent, most := heap(), 0, 0
	w.onLoop(func() {
		for !w.s.Full() && sent < 1_000_000 {
			m := message(false, []byte("1234567"))
			w.s.Send(m)
			m.Release()
			if sent++; sent%50_000 == 0 {
				most = max(most, heap()-before)
			}
		}
	})
	most = max(most, heap()-before)
	w.net.Advance(10*time.Second - time.Millisecond)
	if !w.s.Open() {
		t.Error("closed before SlowTimeout")
	}
	w.net.Advance(2 * time.Millisecond)
	if w.closed != TransportError || w.engine.Stats().SlowConsumers != 1 {
		t.Errorf("closed: %q, slow consumers %d", w.closed, w.engine.Stats().SlowConsumers)
	}
	if sent < limit/16 {
		t.Errorf("only %d messages of 7 bytes in %d", sent, limit)
	}
	if most > 2*limit {
		t.Errorf("%d bytes of heap for a limit of %d", most, limit)
	}
	if n := w.charged(); n != 0 {
		t.Errorf("%d bytes stay charged", n)
	}
}

// TestQueueLimit: a queue is full when more waits than MaxQueuedBytes, and nothing is
// lost.
func TestQueueLimit(t *testing.T) {
	netpolltest.Plain(t)
	large := strings.Repeat("x", 5000)
	cost := func() int {
		m := message(false, []byte(large))
		defer m.Release()
		return cap(m.buf.B) + itemBytes
	}()
	for _, c := range []struct {
		limit int
		send  []string
		room  bool
	}{
		{1 << 20, []string{large, large}, true},
		{2 * cost, []string{large, large}, true},
		{2*cost - 1, []string{large, large}, false},
		{cost, []string{large}, true},
		{cost - 1, []string{large}, false},
		{cost - 1, []string{"a", large}, false},
		{cost - 1, []string{large, "a"}, false},
		{128, []string{"a", "b", "c"}, true},
		{127, []string{"a"}, false},
		{127, []string{"a", "b"}, false},
	} {
		w := newPollWorld(t, Config{MaxQueuedBytes: c.limit}, "EIO=4&transport=polling")
		w.drains = 0 // of the handshake
		for _, data := range c.send {
			w.send(data)
		}
		if w.s.Full() == c.room || !w.s.Open() {
			t.Errorf("limit %d, %d messages: full %v, open %v", c.limit, len(c.send), w.s.Full(), w.s.Open())
		}
		if held := w.s.poll.queue.held; int64(held) < w.charged() || w.s.QueuedBytes() < held {
			t.Errorf("limit %d, %d messages: held %d, charged %d, published %d", c.limit, len(c.send), held, w.charged(), w.s.QueuedBytes())
		}
		w.get()
		body, _ := io.ReadAll(w.answer().Body)
		if want := "4" + strings.Join(c.send, "\x1e4"); string(body) != want {
			t.Errorf("limit %d: %d bytes, want %d", c.limit, len(body), len(want))
		}
		if held := w.s.poll.queue.held; held != 0 || w.charged() != 0 || w.s.QueuedBytes() != 0 {
			t.Errorf("limit %d: held %d, charged %d, published %d after the poll", c.limit, held, w.charged(), w.s.QueuedBytes())
		}
		if c.room && w.drains != 0 || !c.room && w.drains != 1 {
			t.Errorf("limit %d, %d messages: OnDrain %d times", c.limit, len(c.send), w.drains)
		}
	}
	w := newPollWorld(t, Config{MaxQueuedBytes: 100}, "EIO=4&transport=polling")
	m := NewMessage(false)
	m.B = append(m.B, "451-"...)
	m.Attach(message(true, []byte(large)))
	m.Seal()
	w.onLoop(func() { w.s.Send(m) })
	m.Release()
	if !w.s.Open() {
		t.Error("a message and its attachment alone end the session")
	}
}

// TestQueueFloodWithPoll: a poll that waits takes what is sent in one batch up to
// the limit; the rest waits for the next one, within the limit.
func TestQueueFloodWithPoll(t *testing.T) {
	netpolltest.Plain(t)
	w := newPollWorld(t, Config{MaxQueuedBytes: 10_000}, "EIO=4&transport=polling")
	w.get()
	w.onLoop(func() {
		for range 1200 {
			m := message(false, []byte("1234567"))
			w.s.Send(m)
			m.Release()
			if w.s.poll.queue.held > 10_000+runBytes {
				t.Fatalf("%d bytes held", w.s.poll.queue.held)
			}
		}
	})
	body, _ := io.ReadAll(w.answer().Body)
	got := strings.Count(string(body), "41234567")
	w.get()
	body, _ = io.ReadAll(w.answer().Body)
	got += strings.Count(string(body), "41234567")
	if got != 1200 || !w.s.Open() || w.charged() != 0 {
		t.Errorf("%d messages, open %v, charged %d", got, w.s.Open(), w.charged())
	}
	w.get()
	w.onLoop(func() {
		for range 10_000 {
			m := message(false, []byte("1234567"))
			w.s.Send(m)
			m.Release()
		}
	})
	got = 0
	for tries := 0; got < 10_000 && tries < 5; tries++ {
		body, _ = io.ReadAll(w.answer().Body)
		got += strings.Count(string(body), "41234567")
		w.get()
	}
	if got != 10_000 || !w.s.Open() || w.charged() != 0 {
		t.Errorf("%d messages, open %v, charged %d", got, w.s.Open(), w.charged())
	}
}

// TestAnswersAreBounded: what is too much for an answer comes by the next ones, in
// order, whatever its form.
func TestAnswersAreBounded(t *testing.T) {
	netpolltest.Plain(t)
	for _, query := range []string{"EIO=4&transport=polling", "EIO=3&transport=polling&b64=1"} {
		w := newPollWorld(t, Config{AllowEIO3: true, SlowTimeout: -1}, query)
		want, got, answers := "", "", 0
		for i := range 100 {
			data := fmt.Sprintf("<%d>", i) + strings.Repeat("x", 64<<10)
			if i%3 == 0 {
				data = fmt.Sprintf("<%d>", i)
			}
			want += fmt.Sprintf("<%d>", i)
			w.send(data)
		}
		for !w.s.poll.queue.empty() {
			w.get()
			body, _ := io.ReadAll(w.answer().Body)
			if answers++; len(body) > answerBytes+70<<10 {
				t.Errorf("%s: an answer of %d bytes", query, len(body))
			}
			for _, part := range strings.Split(string(body), "<")[1:] {
				got += "<" + part[:strings.Index(part, ">")+1]
			}
		}
		if got != want || answers < 4 || w.charged() != 0 || w.s.QueuedBytes() != 0 {
			t.Errorf("%s: %d answers, %d bytes charged, %d published, whole %v", query, answers, w.charged(), w.s.QueuedBytes(), got == want)
		}
	}
}

// TestQueueNoCompress: a copied message keeps that it does not want to be
// compressed; one that does not mind has the answer compressed.
func TestQueueNoCompress(t *testing.T) {
	for _, c := range []struct {
		plain []bool // NoCompress
		want  string
	}{{[]bool{true, true}, ""}, {[]bool{false, true}, "gzip"}, {[]bool{true, false}, "gzip"}} {
		w := newPollWorld(t, Config{HTTPCompressionThreshold: 100}, "EIO=4&transport=polling")
		for _, plain := range c.plain {
			m := NewMessage(false)
			m.B = append(m.B, strings.Repeat("x", 80)...)
			m.NoCompress = plain
			m.Seal()
			w.onLoop(func() { w.s.Send(m) })
			m.Release()
		}
		w.poll.Write(fmt.Appendf(nil, "GET /engine.io/?%s&sid=%s HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n", w.query, w.s.ID()))
		w.net.Run()
		if got := w.answer().Header.Get("Content-Encoding"); got != c.want {
			t.Errorf("NoCompress %v: coding %q, want %q", c.plain, got, c.want)
		}
	}
}

// TestQueueShed: when the group's memory is spent, the session whose queue has
// most of it goes, and no other.
func TestQueueShed(t *testing.T) {
	netpolltest.Plain(t)
	w := &pollWorld{t: t, query: "EIO=4&transport=polling"}
	w.engine = mustNew(Config{}, w)
	w.net = netpolltest.New(netpoll.Config{MaxMemory: 1 << 20}, Mux{w.engine}, 1)
	w.poll = w.net.Dial(0)
	w.get()
	small := w.s
	w.s = nil
	w.get()
	m := message(false, bytes.Repeat([]byte("x"), 1500))
	w.s.Loop().Post(func(any, any) { small.Send(m) }, nil, nil, 0)
	w.onLoop(func() {
		for range 600 {
			w.s.Send(m)
		}
	})
	if !w.s.Open() || w.charged() < 900_000 {
		t.Fatalf("open %v, charged %d", w.s.Open(), w.charged())
	}
	w.net.Group.Memory().Add(300_000)
	w.net.Run()
	w.net.Group.Memory().Add(-300_000)
	if w.s.Open() || !small.Open() || w.charged() > 4096 {
		t.Errorf("the large one is open: %v, the small one: %v, charged %d", w.s.Open(), small.Open(), w.charged())
	}
}

// received is a message as a peer has got it.
type received struct {
	binary bool
	data   string
}

// TestQueueModel: whatever is sent while the peer polls, or does not, and while it
// upgrades, it receives in order and exactly once, in every version and form; and
// no memory stays charged.
func TestQueueModel(t *testing.T) {
	netpolltest.Plain(t)
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for _, query := range []string{"EIO=4&transport=polling", "EIO=3&transport=polling", "EIO=3&transport=polling&b64=1", "EIO=4&transport=polling&j=0", "EIO=3&transport=polling&j=3"} {
		t.Run(query, func(t *testing.T) {
			for seed := range uint64(rounds) {
				modelRound(t, query, seed)
			}
		})
	}
}

func modelRound(t *testing.T, query string, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	w := newPollWorld(t, Config{AllowEIO3: true, HTTPCompressionThreshold: -1, MaxQueuedBytes: 16 << 20}, query)
	var sent, got []received
	polling := false
	readPoll := func() {
		resp := w.answer()
		if resp == nil {
			return
		}
		polling = false
		got = append(got, w.packets(resp)...)
	}
	send := func() {
		n := []int{random.IntN(60), 2040 + random.IntN(16), random.IntN(6000), 70_000}[random.IntN(4)]
		if n == 70_000 && random.IntN(20) > 0 {
			n = 3
		}
		var text strings.Builder
		for text.Len() < n {
			text.WriteString([]string{"abc", "é", "😀", "\n\"\\", fmt.Sprint(len(sent))}[random.IntN(5)])
		}
		x := received{random.IntN(3) == 0, text.String()}
		m := NewMessage(x.binary)
		m.B = append(m.B, x.data...)
		m.NoCompress = random.IntN(2) == 0
		chain := []received{x}
		if random.IntN(5) == 0 {
			m.Attach(message(true, []byte("attached")))
			chain = append(chain, received{true, "attached"})
		}
		m.Seal()
		if random.IntN(4) > 0 {
			w.s.Send(m)
			sent = append(sent, chain...)
		} else if w.s.SendVolatile(m) {
			sent = append(sent, chain...)
		}
		m.Release()
	}
	sends := func() {
		w.onLoop(func() {
			for range random.IntN(24) {
				send()
			}
		})
		readPoll()
	}
	for range random.IntN(10) {
		if random.IntN(2) == 0 && !polling {
			polling = true
			w.get()
			readPoll()
		}
		sends()
	}
	var webSocket *netpolltest.Peer
	var frames bytes.Buffer
	if !strings.Contains(query, "j=") && random.IntN(4) > 0 {
		webSocket = w.net.Dial(1)
		webSocket.Write(fmt.Appendf(nil, "GET /engine.io/?%s&sid=%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
			strings.Replace(query, "=polling", "=websocket", 1), w.s.ID()))
		w.net.Run()
		sends()
		webSocket.Write(maskedText(t, "2probe"))
		w.net.Run()
		if !polling && random.IntN(2) == 0 {
			polling = true
			w.get()
			readPoll()
		}
		sends()
		w.net.Advance(noopDelay)
		readPoll()
		if polling {
			t.Fatal("the poll was not sent home")
		}
		sends()
		webSocket.Write(maskedText(t, "5"))
		w.net.Run()
		sends()
		frames.Write(webSocket.Read())
		got = append(got, w.frames(&frames)...)
	} else {
		readPoll()
		if !polling {
			w.get()
			readPoll()
		}
	}
	if len(got) != len(sent) {
		t.Fatalf("seed %d: %d messages received, %d sent", seed, len(got), len(sent))
	}
	for i := range sent {
		if got[i] != sent[i] {
			t.Fatalf("seed %d: message %d is %.40q, sent %.40q", seed, i, got[i].data, sent[i].data)
		}
	}
	if p := w.s.poll; p != nil && (p.queue.held != 0 || p.queue.count != 0) {
		t.Fatalf("seed %d: %d bytes held", seed, p.queue.held)
	}
	if n := w.charged(); n != 0 {
		t.Fatalf("seed %d: %d bytes charged", seed, n)
	}
	sends() // some of it waits, or is on its way, at the end
	w.s.Close(ForcedClose)
	w.net.Advance(time.Minute)
	if n := w.charged(); n != 0 || w.engine.Stats().Sessions != 0 {
		t.Fatalf("seed %d: %d bytes charged, %d sessions at the end", seed, n, w.engine.Stats().Sessions)
	}
}

func maskedText(t *testing.T, text string) []byte {
	b, err := ws.CompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text))))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// packets are the messages in an answer to a poll.
func (w *pollWorld) packets(resp *http.Response) (list []received) {
	body, _ := io.ReadAll(resp.Body)
	if strings.Contains(w.query, "j=") {
		text := string(body)
		if err := json.Unmarshal([]byte(text[strings.Index(text, "(")+1:len(text)-2]), &text); err != nil {
			w.t.Fatal(err)
		}
		body = []byte(text)
	}
	binary := resp.Header.Get("Content-Type") == "application/octet-stream"
	for len(body) > 0 {
		p, n, err := w.s.consumePayload(body, binary)
		if err != nil || resp.StatusCode != 200 {
			w.t.Fatal(resp.StatusCode, err)
		}
		list = appendPacket(list, p)
		body = body[n:]
	}
	return list
}

func appendPacket(list []received, p eio.Packet) []received {
	if p.Type != eio.Message {
		return list
	}
	return append(list, received{p.Binary, string(p.Data)})
}

// frames are the messages on a WebSocket.
func (w *pollWorld) frames(b *bytes.Buffer) (list []received) {
	_, rest, _ := bytes.Cut(b.Bytes(), []byte("\r\n\r\n"))
	b = bytes.NewBuffer(rest)
	for b.Len() > 0 {
		f, err := wiretest.ReadFrame(b)
		if err != nil {
			w.t.Fatal(err)
		}
		p, err := w.s.consumeFrame(f.Payload, f.Header.OpCode == ws.OpBinary)
		if err != nil {
			w.t.Fatal(err)
		}
		list = appendPacket(list, p)
	}
	return list
}
