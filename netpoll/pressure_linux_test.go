package netpoll_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"github.com/valyala/bytebufferpool"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// TestSlowRequestsTakeNoSlot: peers that send their requests a byte at a time hold no
// slot of net/http's, and are answered 408 in the end.
func TestSlowRequestsTakeNoSlot(t *testing.T) {
	t.Parallel()
	const slow = 60
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "ok ", err)
	})
	cfg := netpoll.Config{Fallback: h, MaxFallback: 2, BodyTimeout: 700 * time.Millisecond, MinRate: 10_000}
	g, addr := listen(t, cfg, &mine{})
	var conns []*net.TCPConn
	for i := range slow {
		c := dial(t, addr)
		send(t, c, "POST /x HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", []string{"Content-Length: 60000", "Transfer-Encoding: chunked"}[i%2])
		conns = append(conns, c)
	}
	stop := make(chan struct{})
	var trickles sync.WaitGroup
	trickles.Go(func() {
		for {
			for i, c := range conns {
				_, _ = io.WriteString(c, []string{"x", "1\r\nx\r\n"}[i%2])
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	honest := dial(t, addr)
	r := bufio.NewReader(honest)
	for g.Stats().Timeouts < slow {
		send(t, honest, "%s", get("/x"))
		if resp, body := response(t, r, "GET"); resp.StatusCode != 200 || body != "ok <nil>" {
			t.Fatalf("an honest request gets %d %q; %+v", resp.StatusCode, body, g.Stats())
		}
	}
	close(stop)
	trickles.Wait()
	for i, c := range conns {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if resp.StatusCode != 408 || !resp.Close {
			t.Errorf("connection %d: %d, close %v", i, resp.StatusCode, resp.Close)
		}
	}
	if s := g.Stats(); s.Timeouts != slow || s.RefusedFallback != 0 {
		t.Errorf("%d timeouts, want %d; %d refused", s.Timeouts, slow, s.RefusedFallback)
	}
}

// TestTrickleIntoHandler: a large content that does not keep MinRate ends in its
// handler, and gives the slot back.
func TestTrickleIntoHandler(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
		_, _ = io.WriteString(w, "ok")
	})
	cfg := netpoll.Config{Fallback: h, BodyTimeout: 200 * time.Millisecond, MinRate: 1_000_000}
	g, addr := listen(t, cfg, &mine{})
	for i, fields := range []string{"Content-Length: 900000", "Transfer-Encoding: chunked"} {
		c := dial(t, addr)
		content := [][2]string{{string(pattern(70_000)), "x"}, {fmt.Sprintf("%x\r\n%s\r\n", 70_000, pattern(70_000)), "1\r\nx\r\n"}}[i]
		send(t, c, "POST /x HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n%s", fields, content[0])
		stop := make(chan struct{})
		go func() {
			for {
				_, _ = io.WriteString(c, content[1])
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
		if err := within(t, "the handler", read); err == nil {
			t.Errorf("%s: read to its end", fields)
		}
		close(stop)
		eventually(t, "the slot is back", func() bool { return g.Stats().Lent == 0 })
		if got := g.Stats().Timeouts; got != uint64(i+1) {
			t.Errorf("%s: %d timeouts counted", fields, got)
		}
	}
}

// TestMinRate: a claimed request's content has BodyTimeout, and a second more for
// each MinRate bytes.
func TestMinRate(t *testing.T) {
	cfg := netpoll.Config{BodyTimeout: 2 * time.Second, MinRate: 100}
	for _, c := range []struct {
		rate, length int
		after        int // seconds to the end
		want         string
	}{
		{50, 10_000, 4, "HTTP/1.1 408"},
		{95, 10_000, 40, "HTTP/1.1 408"},
		{200, 10_000, 50, "HTTP/1.1 200"},
		{101, 10_000, 100, "HTTP/1.1 200"},
	} {
		n := start(t, cfg, &app{}, 1)
		p := n.Dial(0)
		p.Write(fmt.Appendf(nil, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", c.length))
		n.Run()
		took, sent := 0, 0
		for {
			out := string(p.Read())
			if strings.HasPrefix(out, "HTTP/1.1 ") {
				if !strings.HasPrefix(out, c.want) || took < c.after-2 || took > c.after+1 {
					t.Errorf("%d bytes a second: %.20q after %d s, want %q after %d", c.rate, out, took, c.want, c.after)
				}
				break
			}
			if took > 200 {
				t.Errorf("%d bytes a second: no answer", c.rate)
				break
			}
			p.Write(bytes.Repeat([]byte("x"), min(c.rate, c.length-sent)))
			sent = min(sent+c.rate, c.length)
			n.Advance(time.Second)
			took++
		}
	}
}

// TestPoolsKeepTheirSizes: what others put into bytebufferpool, or peers into ours,
// does not make small things large.
func TestPoolsKeepTheirSizes(t *testing.T) {
	content := make([]byte, 600)
	for range 42_100 { // its calibration comes at 42,000
		b := bytebufferpool.Get()
		if cap(b.B) < 40_000 {
			b.B = make([]byte, 40_000)
		}
		b.B = b.B[:40_000]
		bytebufferpool.Put(b)
		bytepool.Put(bytepool.Append(bytepool.Get(100), content))
	}
	for _, size := range []int{1, 64, 65, 1000, 4096} {
		b := bytepool.Get(size)
		if got := cap(b.B); got > max(2*size, 64) {
			t.Errorf("a buffer for %d bytes has %d", size, got)
		}
		bytepool.Put(b)
		buf := netpoll.NewBuffer(size)
		if got := cap(buf.B); got > max(2*size, 64) {
			t.Errorf("an outgoing buffer for %d bytes has %d", size, got)
		}
		buf.Release()
	}
	const conns = 100
	n := start(t, netpoll.Config{}, &app{}, 1)
	var peers []*netpolltest.Peer
	for range conns {
		peers = append(peers, upgrade(t, n, 0))
	}
	before := n.Group.Stats().MemoryBytes
	for _, p := range peers {
		p.Write([]byte{0x81}) // of a frame
	}
	n.Run()
	if got := (n.Group.Stats().MemoryBytes - before) / conns; got < 1 || got > 64 {
		t.Errorf("a byte of a frame holds %d bytes", got)
	}
}

// pipelinedBytes is what docs/limits.md says of requests in front of an answer.
const pipelinedBytes = 64 << 10

// TestJunkBehindPoll: what is pipelined behind a poll that waits holds at most twice
// what docs/limits.md says, and the rest stays with its peer.
func TestJunkBehindPoll(t *testing.T) {
	const conns = 20
	a := &app{request: func(*netpoll.Conn, *http1.Request) {}}
	n := start(t, netpoll.Config{}, a, 1)
	var peers []*netpolltest.Peer
	for i := range conns {
		p := n.Dial(0)
		peers = append(peers, p)
		p.Write(get("/poll"))
		if i%2 == 0 {
			n.Run() // the junk comes later
		}
		p.Write(bytes.Repeat(get("/junk"), 20_000))
		n.Run()
	}
	if open := n.Group.Stats().Open; open != conns {
		t.Errorf("%d of %d connections are open", open, conns)
	}
	if got := n.Group.Stats().MemoryBytes / conns; got > 2*pipelinedBytes {
		t.Errorf("%d bytes are held for a connection", got)
	}
	for i, p := range peers {
		if p.Unread() < 20_000*len(get("/junk"))-2*pipelinedBytes {
			t.Errorf("peer %d: only %d bytes have been left to it", i, p.Unread())
		}
	}
}

// sendMany queues so many frames of size bytes on a connection.
func sendMany(n *netpolltest.Net, c *netpoll.Conn, frames, size int) {
	c.Loop().Post(func(_, _ any) {
		for range frames {
			if c.Open() {
				sendFrame(c, make([]byte, size), true)
			}
		}
	}, nil, nil, 0)
	n.Run()
}

// TestSmallFramesHoldLittle: what waits for a peer that does not read takes about
// as much memory as it has bytes, at most twice that, however small the frames.
func TestSmallFramesHoldLittle(t *testing.T) {
	for _, size := range []int{0, 7, 100, 2000, 2100, 10_000} {
		a := &app{}
		const most, total = 128 << 10, 40_000
		n := start(t, netpoll.Config{MaxQueuedBytes: most}, a, 1)
		p := upgrade(t, n, 0)
		p.SetWindow(100)
		sendMany(n, a.conns[0], 1, 200) // blocks
		count := total / (size + 2)
		sendMany(n, a.conns[0], count, size)
		if len(a.closed) > 0 {
			t.Fatalf("%d bytes: %v", size, a.closed)
		}
		queued, held := a.conns[0].QueuedBytes(), n.Group.Stats().MemoryBytes
		if queued < count*(size+2) || held < int64(queued) || held > 2*int64(queued)+16<<10 {
			t.Errorf("frames of %d bytes: %d bytes are queued, and hold %d", size, queued, held)
		}
		sendMany(n, a.conns[0], 2*most/(size+2), size)
		n.Advance(10*time.Second + time.Millisecond)
		if len(a.closed) != 1 || !errors.Is(a.closed[0], netpoll.ErrSlowConsumer) {
			t.Errorf("frames of %d bytes: %v", size, a.closed)
		}
		if held := n.Group.Stats().MemoryBytes; held != 0 {
			t.Errorf("frames of %d bytes: %d bytes are charged afterwards", size, held)
		}
	}
}

// TestMaxMemory: near the budget Near tells; beyond it the largest holder goes, on
// whichever loop it is, and nobody else.
func TestMaxMemory(t *testing.T) {
	const peers, most = 10, 1 << 20
	closed := map[*netpoll.Conn]error{}
	a := &app{}
	n := netpolltest.New(netpoll.Config{Logger: quiet, MaxMemory: most}, &closedBy{a, closed}, 2)
	for i := range peers {
		upgrade(t, n, i%2).SetWindow(10)
	}
	for i, c := range a.conns {
		sendMany(n, c, 1, 100) // blocks
		sendMany(n, c, 5+3*i, 1000)
	}
	g := n.Group
	if s := g.Stats(); g.Memory().Near() || s.MemoryBytes < 150_000 || s.MemoryBytes > most/2 || s.MemoryBytes != g.Memory().Used() {
		t.Fatalf("near %v, %d bytes", g.Memory().Near(), s.MemoryBytes)
	}
	// Connection 9 is the largest, and gets no more; 0 is the smallest, and grows.
	// The layer above charges what it holds, too.
	sendMany(n, a.conns[9], 200, 1000)
	g.Memory().Add(most*15/16 - int(g.Memory().Used()))
	if !g.Memory().Near() || len(closed) > 0 {
		t.Fatalf("near %v, closed %v", g.Memory().Near(), closed)
	}
	sendMany(n, a.conns[0], 100, 1000)
	if s := g.Stats(); len(closed) != 1 || !errors.Is(closed[a.conns[9]], netpoll.ErrMemory) || s.Shed != 1 || s.MemoryBytes > most || s.SlowConsumers != 0 {
		t.Fatalf("closed %v, %+v", closed, s)
	}
	// What the layer above does not give back costs everybody who is large.
	g.Memory().Add(most)
	n.Run()
	if s := g.Stats(); s.Open > 4 || s.Shed != uint64(peers-s.Open) {
		t.Errorf("%d open, shed %d", s.Open, s.Shed)
	}
}

// closedBy keeps why each connection has ended.
type closedBy struct {
	*app
	why map[*netpoll.Conn]error
}

func (c *closedBy) HandleClose(conn *netpoll.Conn, err error) { c.why[conn] = err }

// TestMaxMemoryOfInput: unfinished messages and bodies count, and are given back.
func TestMaxMemoryOfInput(t *testing.T) {
	const most = 1 << 20
	a := &app{}
	n := start(t, netpoll.Config{MaxMemory: most}, a, 2)
	var peers []*netpolltest.Peer
	f := frame(gobwas.NewBinaryFrame(make([]byte, 500_000)))
	body := post("/x", string(make([]byte, 500_000)))
	for i := range 30 {
		var p *netpolltest.Peer
		if i%2 == 0 {
			p = upgrade(t, n, i/2%2)
			p.Write(f[:100_000+1000*i])
		} else {
			p = n.Dial(i / 2 % 2)
			p.Write(body[:100_000+1000*i])
		}
		peers = append(peers, p)
		n.Run()
		if held := n.Group.Stats().MemoryBytes; held > most {
			t.Fatalf("%d peers: %d bytes are held", i+1, held)
		}
	}
	s := n.Group.Stats()
	if s.Shed < 15 || s.Open < 4 || s.Shed+uint64(s.Open) != 30 || len(a.closed) != int(s.Shed) {
		t.Errorf("open %d, shed %d, told %d", s.Open, s.Shed, len(a.closed))
	}
	for _, err := range a.closed {
		if !errors.Is(err, netpoll.ErrMemory) {
			t.Error(err)
		}
	}
	for _, p := range peers {
		p.Close()
	}
	n.Run()
	if s := n.Group.Stats(); s.MemoryBytes != 0 || s.Open != 0 {
		t.Errorf("%d bytes and %d connections are left", s.MemoryBytes, s.Open)
	}
}

// TestFairness: a peer's message waits for a bounded number of others', however many
// lie in the sockets of those who flood.
func TestFairness(t *testing.T) {
	const flooders, each = 32, 12_000
	var others, since, worst, rounds int
	var honest *netpolltest.Peer
	hello := frame(gobwas.NewTextFrame([]byte("honest")))
	flood := frame(gobwas.NewTextFrame([]byte("x")))
	waiting := false
	a := &app{}
	a.message = func(_ *netpoll.Conn, data []byte, _ bool) {
		if string(data) == "honest" {
			waiting = false
			rounds++
			worst = max(worst, others-since)
			return
		}
		others++
		if !waiting && others%9973 == 0 { // somewhere within somebody's turn
			honest.Write(hello)
			waiting, since = true, others
		}
	}
	n := start(t, netpoll.Config{}, a, 1)
	var peers []*netpolltest.Peer
	for range flooders {
		if len(peers) == flooders/2 {
			honest = upgrade(t, n, 0)
		}
		peers = append(peers, upgrade(t, n, 0))
	}
	for _, p := range peers {
		p.Write(bytes.Repeat(flood, each))
	}
	n.Run()
	if others != flooders*each || rounds < 30 {
		t.Fatalf("%d messages of others, %d honest ones", others, rounds)
	}
	// Each other has its 128 before the sockets are looked at, and 16 of those who
	// have been put off have as much again.
	if most := (flooders + 16) * 128; worst > most {
		t.Errorf("an honest message waited for %d others, at most %d are right", worst, most)
	}
	if n.Group.Stats().Yields == 0 {
		t.Error("nobody has been put off")
	}
}

// TestMaxMessagesPerSecond holds exactly at the limit.
func TestMaxMessagesPerSecond(t *testing.T) {
	const most = 50
	var got int
	a := &app{message: func(*netpoll.Conn, []byte, bool) { got++ }}
	n := start(t, netpoll.Config{MaxMessagesPerSecond: most}, a, 1)
	p := upgrade(t, n, 0)
	one := frame(gobwas.NewTextFrame([]byte("x")))
	n.Advance(1500 * time.Millisecond)
	for second := range 5 {
		p.Write(bytes.Repeat(one, most))
		n.Run()
		if want := most * (second + 1); got != want || p.Ended() {
			t.Fatalf("second %d: %d messages of %d, ended %v", second, got, want, p.Ended())
		}
		n.Advance(time.Second)
	}
	p.Write(bytes.Repeat(one, most+1))
	n.Run()
	expect(t, frames(t, p.Read()), "close:1008")
	if s := n.Group.Stats(); got != 6*most || s.Floods != 1 {
		t.Errorf("%d messages, floods %d", got, s.Floods)
	}
}
