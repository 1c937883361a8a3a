package fuzz

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// FuzzConn drives whole connections by a script, one byte a request: claimed,
// unclaimed, answered later, by another loop, with a body, in chunks, a HEAD, an
// upgrade, what is no request at all, pipelined. What a peer receives does not depend
// on how its bytes are cut, and nothing is held for it afterwards.
func FuzzConn(f *testing.F) {
	f.Add([]byte("gpGPlmcCHhbBu"), uint64(1), uint16(3))
	f.Add([]byte("pgpgpgPGpg"), uint64(2), uint16(1))
	f.Add([]byte("GgxG"), uint64(3), uint16(40))
	f.Add([]byte("BBCCmmllu"), uint64(4), uint16(700))
	f.Add([]byte("HhKkGu!"), uint64(5), uint16(5))
	f.Fuzz(func(t *testing.T, script []byte, seed uint64, cut uint16) {
		if len(script) > 24 {
			return
		}
		var stream []byte
		for i, step := range script {
			stream = appendStep(stream, step, i)
		}
		whole := converse(t, [][]byte{stream})
		var pieces [][]byte
		for rest, n := stream, seed; len(rest) > 0; {
			n = n*6364136223846793005 + 1442695040888963407
			k := 1 + int(n>>33)%(1+int(cut))
			if len(rest) > 4096 { // a long body: not in too many pieces
				k = max(k, len(stream)/100)
			}
			k = min(k, len(rest))
			pieces, rest = append(pieces, rest[:k]), rest[k:]
		}
		if got := converse(t, pieces); !bytes.Equal(got, whole) {
			t.Errorf("script %q, in %d pieces:\n%.2000q\nin one:\n%.2000q", script, len(pieces), got, whole)
		}
	})
}

const shortBody = "0123456789"

// appendStep appends what a step sends.
func appendStep(b []byte, step byte, i int) []byte {
	n := strconv.Itoa(i)
	upper := func(paths string) string { // a capital is for the unclaimed path
		if step < 'a' {
			return "/other/" + n
		}
		return paths + n
	}
	switch step | 0x20 {
	case 'g':
		return append(b, "GET "+upper("/mine/")+" HTTP/1.1\r\nHost: h\r\n\r\n"...)
	case 'p':
		return append(b, "POST "+upper("/mine/")+" HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"+shortBody...)
	case 'b': // more than is gathered
		b = append(b, "POST "+upper("/mine/")+" HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n"...)
		return append(b, bytes.Repeat([]byte(shortBody), 9000)...)
	case 'c':
		return append(b, "POST "+upper("/mine/")+" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5;x=y\r\n56789\r\n0\r\n\r\n"...)
	case 'h':
		return append(b, "HEAD "+upper("/mine/")+" HTTP/1.1\r\nHost: h\r\n\r\n"...)
	case 'k':
		return append(b, "GET "+upper("/mine/")+" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"...)
	case 'l':
		return append(b, "GET /mine/later"+n+" HTTP/1.1\r\nHost: h\r\n\r\n"...)
	case 'm':
		return append(b, "GET /mine/move"+n+" HTTP/1.1\r\nHost: h\r\n\r\n"...)
	case 'e':
		return append(b, "GET "+upper("/mine/")+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"...)
	case 'x':
		return append(b, "POST "+upper("/mine/")+" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n"...)
	case 'u':
		b = append(b, "GET /mine/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"...)
		return append(b, 0x81, 0x85, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o', 0x89, 0x80, 0, 0, 0, 0)
	}
	return append(b, step)
}

// conversation is a server of two loops.
type conversation struct {
	net *netpolltest.Net
	t   *testing.T
}

func (*conversation) Claims(path []byte) bool { return bytes.HasPrefix(path, []byte("/mine/")) }

func (a *conversation) HandleRequest(c *netpoll.Conn, r *http1.Request) {
	switch {
	case bytes.HasPrefix(r.Path, []byte("/mine/ws")):
		_ = c.Upgrade(r, nil)
	case bytes.HasPrefix(r.Path, []byte("/mine/move")) && c.Loop().Index() == 0:
		c.MoveTo(a.net.Group.Loop(1), r)
	case bytes.HasPrefix(r.Path, []byte("/mine/later")):
		answer := append([]byte(nil), r.Path...)
		c.Loop().Post(func(x, y any) { respond(x.(*netpoll.Conn), y.([]byte), false) }, c, answer, 0)
	default:
		respond(c, append(append([]byte(nil), r.Path...), r.Body...), string(r.Method) == "HEAD")
	}
}

func respond(c *netpoll.Conn, body []byte, head bool) {
	buf := netpoll.NewBuffer(256)
	buf.B = http1.AppendResponseHead(buf.B, 200, "text/plain", len(body), c.KeepAlive(), nil)
	if !head {
		buf.B = append(buf.B, body...)
	}
	c.Respond(buf)
	buf.Release()
}

func (*conversation) HandleMessage(c *netpoll.Conn, data []byte, binary bool) {
	buf := netpoll.NewBuffer(ws.FrameHeadroom + len(data))
	buf.B = append(buf.B[:ws.FrameHeadroom], data...)
	c.Send(buf, buf.B[ws.PutFrameHeader(buf.B, ws.FrameHeadroom, binary):])
	buf.Release()
}

func (*conversation) HandleClose(*netpoll.Conn, error) {}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// dates differ from one conversation to the next.
var dates = regexp.MustCompile(`Date: [^\r]*\r\n`)

// converse sends a stream in pieces, ends it, and returns all that comes back.
func converse(t *testing.T, pieces [][]byte) []byte {
	a := &conversation{t: t}
	a.net = netpolltest.NewNet(2)
	other := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, "other "+r.Method+r.URL.Path+strconv.Itoa(len(body)))
	})
	// With one slot, a connection does not wait at net/http for its next request.
	g, err := netpoll.New(netpoll.Config{Systems: a.net.Systems(), Fallback: other, MaxFallback: 1, Logger: quiet}, a)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = g.Close(over)
		a.net.Run()
	}()
	p := a.net.Dial(0)
	for _, piece := range pieces {
		p.Write(piece)
		a.net.Run()
	}
	// The end of its stream takes a peer for gone whose request waits for an answer.
	if !a.net.RunUntil(30*time.Second, func() bool { return (p.Watched() || p.Closed()) && a.net.Idle() }) {
		t.Fatalf("a request is not answered; sent %.2000q, received %.2000q", pieces, p.Read())
	}
	p.Close()
	if !a.net.RunUntil(30*time.Second, func() bool { return g.Stats().Open == 0 }) {
		t.Fatalf("the connection has not ended; sent %.2000q, received %.2000q", pieces, p.Read())
	}
	if used := g.Memory().Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
	return dates.ReplaceAll(p.Read(), nil)
}
