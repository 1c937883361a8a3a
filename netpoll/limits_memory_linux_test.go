//go:build unix

package netpoll_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/heaptest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// These tests fill what docs/limits.md bounds, and measure the heap: it may be
// twice what the row says, and a connection's own kilobytes.
const (
	connBytes   = 8 << 10 // a connection and its peer in the test
	groupBytes  = 1 << 20 // a group, its loop's buffers, what the pools keep
	headRow     = 16 << 10
	unreadRow   = 64 << 10
	messageRow  = 1_000_000
	deflatedRow = messageRow + messageRow/16 + 64
	queueRow    = 1 << 20
)

// noise is what cannot be compressed.
func noise(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// part is a masked frame, of a message that goes on.
func part(op gobwas.OpCode, rsv byte, data []byte) []byte {
	f := gobwas.NewFrame(op, false, data)
	f.Header.Rsv = rsv
	return frame(f)
}

// upgradeDeflated makes a WebSocket with permessage-deflate of a connection.
func upgradeDeflated(t *testing.T, conn net.Conn) {
	t.Helper()
	send(t, conn, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", offer)
	var b [1024]byte
	n, err := conn.Read(b[:])
	if err != nil || !bytes.HasPrefix(b[:n], []byte("HTTP/1.1 101 ")) || !bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) {
		t.Fatalf("%q %v", b[:n], err)
	}
}

// TestUnfinishedInput: what has come of a request or message that does not end is
// held, as much as the row says and no more.
func TestUnfinishedInput(t *testing.T) {
	fragments := part(gobwas.OpBinary, 0, noise(100_000))
	for range 8 {
		fragments = append(fragments, part(gobwas.OpContinuation, 0, noise(100_000))...)
	}
	chunks := []byte("POST /mine HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 30 {
		chunks = fmt.Appendf(chunks, "%x\r\n%s\r\n", 30_000, noise(30_000))
	}
	for _, c := range []struct {
		name      string
		webSocket bool
		input     []byte
		row       int // of docs/limits.md, in bytes
		least     int // that are to be held for each
	}{
		{"head", false, append([]byte("GET /mine HTTP/1.1\r\nHost: h\r\nX: "), bytes.Repeat([]byte("x"), 16_000)...), headRow, 16_000},
		{"pipelined", false, bytes.Repeat(get("/mine/wait"), 20_000), unreadRow, 16 << 10},
		{"body", false, fmt.Appendf(nil, "POST /mine HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n%s", noise(999_999)), messageRow, 999_999},
		{"chunked body", false, chunks, messageRow, 900_000},
		{"gathered for net/http", false, fmt.Appendf(nil, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n%s", noise(59_999)), unreadRow, 59_999},
		{"frame", true, frame(gobwas.NewBinaryFrame(noise(1_000_000)))[:999_999], messageRow, 999_000},
		{"fragments", true, fragments, messageRow, 900_000},
		{"compressed", true, part(gobwas.OpBinary, gobwas.Rsv(true, false, false), noise(1_060_000)), deflatedRow, 1_060_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			conns := 100
			if c.row >= messageRow {
				conns = 10
			}
			var waiting []*netpoll.Conn // the loop's, as is over
			over := false
			h := &mine{request: func(c *netpoll.Conn, _ *http1.Request) {
				if over {
					c.Abort(nil)
				}
				waiting = append(waiting, c)
			}}
			cfg := netpoll.Config{Deflate: &ws.DeflateConfig{}, Fallback: http.NotFoundHandler()}
			g, addr := listen(t, cfg, h)
			var all []*net.TCPConn
			for range conns {
				conn := dial(t, addr)
				if c.webSocket {
					upgradeDeflated(t, conn)
				}
				all = append(all, conn)
			}
			eventually(t, "all are here", func() bool { return g.Stats().Open == conns })
			before := heaptest.InUse()
			var senders sync.WaitGroup
			for _, conn := range all {
				senders.Go(func() { _, _ = conn.Write(c.input) })
			}
			eventually(t, "it is full", func() bool { return g.Stats().MemoryBytes >= int64(conns*c.least) })
			held, charged := heaptest.InUse()-before, int(g.Stats().MemoryBytes)
			t.Logf("%d bytes of heap, %d charged for each of %d", held/conns, charged/conns, conns)
			if held > conns*(2*c.row+connBytes)+groupBytes {
				t.Errorf("%d bytes of heap for each, twice %d are right", held/conns, c.row)
			}
			if charged > conns*2*c.row {
				t.Errorf("%d bytes are charged for each, twice %d are right", charged/conns, c.row)
			}
			if s := g.Stats(); s.Open != conns {
				t.Errorf("%d of %d are open", s.Open, conns)
			}
			g.Loop(0).Post(func(_, _ any) {
				over = true
				for _, c := range waiting { // which are not read
					c.Abort(nil)
				}
			}, nil, nil, 0)
			for _, conn := range all {
				_ = conn.Close()
			}
			senders.Wait()
			eventually(t, "all is given back", func() bool { return g.Stats().MemoryBytes == 0 && g.Stats().Open == 0 })
		})
	}
}

// TestSmallChunksAreLinear: a body in chunks of a byte takes memory in proportion to
// its length, as a body in one piece does.
func TestSmallChunksAreLinear(t *testing.T) {
	const size = 200_000
	got := 0
	a := &app{request: func(c *netpoll.Conn, r *http1.Request) { got = len(r.Body); respond(c, "ok") }}
	n := start(t, netpoll.Config{}, a, 1)
	p := n.Dial(0)
	p.Write([]byte("POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"))
	p.Write(bytes.Repeat([]byte("1\r\nx\r\n"), size))
	p.Write([]byte("0\r\n\r\n"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n.Run()
	runtime.ReadMemStats(&after)
	if got != size {
		t.Fatalf("a body of %d bytes", got)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 20*size {
		t.Errorf("%d bytes were allocated for a body of %d", made, size)
	}
}

// TestInflatedMessages: of compressed messages that are small and become large, each
// connection has one in memory, even while the loop does not take them.
func TestInflatedMessages(t *testing.T) {
	const conns, each = 20, 10
	handled, goOn := make(chan struct{}, conns*each), make(chan struct{})
	h := &mine{message: func(_ *netpoll.Conn, data []byte, _ bool) {
		handled <- struct{}{}
		<-goOn
		if len(data) != messageRow {
			t.Errorf("a message of %d bytes", len(data))
		}
	}}
	g, addr := listen(t, netpoll.Config{Deflate: &ws.DeflateConfig{}}, h)
	bombs := bytes.Repeat(compressed(gobwas.OpBinary, make([]byte, messageRow)), each)
	var all []*net.TCPConn
	for range conns {
		conn := dial(t, addr)
		upgradeDeflated(t, conn)
		all = append(all, conn)
	}
	before := heaptest.InUse()
	// The loop stands still until all have come, and again in the first handler, for
	// as long as it takes to inflate what it has read.
	standing, read := make(chan struct{}), make(chan struct{})
	g.Loop(0).Post(func(_, _ any) { close(standing); <-read }, nil, nil, 0)
	within(t, "the loop stands", standing)
	for _, conn := range all {
		send(t, conn, "%s", bombs)
	}
	close(read)
	within(t, "a handler", handled)
	eventually(t, "what can be inflated is", func() bool { return !running("(*Group).inflateAll") })
	held := heaptest.InUse() - before
	close(goOn)
	t.Logf("%d bytes of heap for each of %d", held/conns, conns)
	// The one that is handled is there; how many of the others the loop has read by
	// then is the scheduler's.
	if held > conns*(2*messageRow+connBytes)+groupBytes || held < messageRow/2 {
		t.Errorf("%d bytes of heap for each", held/conns)
	}
	for range conns*each - 1 {
		within(t, "a message", handled)
	}
}

// running tells whether some goroutine is in a function of that name.
func running(name string) bool {
	b := make([]byte, 1<<20)
	return bytes.Contains(b[:runtime.Stack(b, true)], []byte(name))
}

// TestQueueOfPeerThatDoesNotRead: what waits for it takes what the row says, and
// the connection is reset if there is more and it does not read, whatever the size of
// the frames.
func TestQueueOfPeerThatDoesNotRead(t *testing.T) {
	const conns = 10
	for _, size := range []int{1, 100, 3000, 60_000, 900_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			a := &app{}
			n := start(t, netpoll.Config{}, a, 1)
			for range conns {
				upgrade(t, n, 0).SetWindow(0)
			}
			before := heaptest.InUse()
			m := n.Group.Memory()
			for _, c := range a.conns {
				// A queue is full when the next frame would not fit.
				c.Loop().Post(func(_, _ any) {
					sendFrame(c, make([]byte, size), true)
				}, nil, nil, 0)
				n.Run()
				was := m.Used()
				for m.Used()-was+int64(size) <= queueRow-2*int64(size)-32<<10 {
					sendMany(n, c, max(1, 1000/size), size)
				}
			}
			held, charged := heaptest.InUse()-before, int(m.Used())
			t.Logf("%d bytes of heap, %d charged for each", held/conns, charged/conns)
			if held > conns*(2*queueRow+connBytes) || charged > conns*2*queueRow || len(a.closed) > 0 {
				t.Errorf("%d bytes of heap, %d charged for each of %d, %d closed", held/conns, charged/conns, conns, len(a.closed))
			}
			for _, c := range a.conns {
				sendMany(n, c, 2*queueRow/(size+2)+2, size)
			}
			if len(a.closed) > 0 {
				t.Errorf("%d are closed for what this side has sent", len(a.closed))
			}
			n.Advance(10*time.Second + time.Millisecond)
			if s := n.Group.Stats(); s.SlowConsumers != conns || s.MemoryBytes != 0 {
				t.Errorf("%d closed as too slow, %d bytes are charged", s.SlowConsumers, s.MemoryBytes)
			}
			runtime.KeepAlive(n)
		})
	}
}

// TestRestOfLargeFrames: peers that leave one byte of every large frame that all of
// them get do not hold the frames.
func TestRestOfLargeFrames(t *testing.T) {
	const conns, size, frames = 2000, 20_000, 5
	a := &app{}
	n := start(t, netpoll.Config{}, a, 1)
	var peers []*netpolltest.Peer
	for range conns {
		peers = append(peers, upgrade(t, n, 0))
	}
	before := heaptest.InUse()
	for range frames {
		for _, p := range peers {
			p.SetWindow(size + 4 - 1) // all but a byte of what is sent now
		}
		a.conns[0].Loop().Post(func(_, _ any) {
			buf := netpoll.NewBuffer(ws.FrameHeadroom + size)
			buf.B = append(buf.B[:ws.FrameHeadroom], make([]byte, size)...)
			b := buf.B[ws.PutFrameHeader(buf.B, ws.FrameHeadroom, true):]
			for _, c := range a.conns {
				c.Send(buf, b)
			}
			buf.Release()
		}, nil, nil, 0)
		n.Run()
		for _, p := range peers {
			p.SetWindow(0)
			p.Read()
		}
	}
	waiting := 0
	for _, c := range a.conns {
		waiting += c.QueuedBytes()
	}
	held := heaptest.InUse() - before
	t.Logf("%d bytes of heap for each of %d, for which %d wait", held/conns, conns, waiting)
	if waiting < conns || n.Group.Stats().Open != conns {
		t.Fatalf("%d bytes wait for %d", waiting, n.Group.Stats().Open)
	}
	// The frames themselves are shared by all.
	if held > conns*2048+2*frames*size {
		t.Errorf("%d bytes of heap for each", held/conns)
	}
	runtime.KeepAlive(peers)
}

// TestPostedJobs: as many jobs wait as the row says, in half a megabyte.
func TestPostedJobs(t *testing.T) {
	n := start(t, netpoll.Config{}, &app{}, 1)
	before := heaptest.InUse()
	var posted int
	ends := make(chan struct{})
	go func() {
		defer close(ends)
		for range 2 * 8192 {
			n.Group.Loop(0).Post(func(_, _ any) { posted++ }, nil, nil, 0)
		}
	}()
	eventually(t, "Post waits", func() bool { return running("waitForSpace") })
	held := heaptest.InUse() - before
	t.Logf("%d bytes of heap for each job", held/8192)
	if held > 2*8192*64 {
		t.Errorf("%d bytes of heap for 8,192 jobs", held)
	}
	for posted < 2*8192 {
		n.Run()
	}
	within(t, "all are posted", ends)
}

// TestMemoryOfAll: with many peers that hold as much as they are let, the budget
// holds, the heap follows it, and who holds little is left alone.
func TestMemoryOfAll(t *testing.T) {
	const most, greedy, healthy = 8 << 20, 60, 20
	closed := map[*netpoll.Conn]error{}
	a := &app{}
	n := netpolltest.New(netpoll.Config{Logger: quiet, MaxMemory: most}, &closedBy{a, closed}, 2)
	var bad, good []*netpolltest.Peer
	for i := range greedy {
		p := upgrade(t, n, i%2)
		bad = append(bad, p)
		p.SetWindow(0)
	}
	for i := range healthy {
		good = append(good, upgrade(t, n, i%2))
	}
	small := frame(gobwas.NewTextFrame([]byte("hello")))
	before := heaptest.InUse()
	piece := part(gobwas.OpContinuation, 0, noise(10_000))
	for round := range 40 {
		for i, p := range bad {
			switch {
			case p.Closed():
			case i%2 == 0: // output that it does not read
				if c := a.conns[i]; closed[c] == nil {
					sendMany(n, c, 1, 10_000)
				}
			case round == 0:
				p.Write(part(gobwas.OpBinary, 0, noise(10_000)))
			default:
				p.Write(piece)
			}
		}
		n.Run()
		for _, p := range good {
			p.Write(small)
		}
		n.Run()
		if used := n.Group.Memory().Used(); used > most {
			t.Fatalf("round %d: %d bytes are charged, of %d", round, used, most)
		}
		for i, p := range good {
			if got := frames(t, p.Read()); len(got) != 1 || p.Ended() {
				t.Fatalf("round %d: healthy peer %d gets %q, ended %v", round, i, got, p.Ended())
			}
		}
	}
	held := heaptest.InUse() - before
	s := n.Group.Stats()
	t.Logf("%d bytes of heap, %d charged, %d shed", held, s.MemoryBytes, s.Shed)
	if held > 2*most || s.Shed == 0 || s.MemoryBytes < most/2 {
		t.Errorf("%d bytes of heap, %d charged, of %d; %d shed", held, s.MemoryBytes, most, s.Shed)
	}
	runtime.KeepAlive(bad)
}
