//go:build unix

package netpoll_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// bridge serves h over what is given, and afterwards no goroutine is left.
func bridge(t *testing.T, cfg netpoll.Config, h netpoll.Handler) (*netpoll.Group, func(near net.Conn)) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() { // after listen's own
		eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	})
	g, _ := listen(t, cfg, h)
	ln := wiretest.NewPipes()
	if _, err := g.Serve(ln, false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return g, func(near net.Conn) { ln.Conns <- near }
}

// pipe is a bridged connection's other end.
func pipe(t *testing.T, give func(net.Conn), wrap func(net.Conn) net.Conn) net.Conn {
	near, far := net.Pipe()
	if wrap != nil {
		near = wrap(near)
	}
	give(near)
	_ = far.SetDeadline(time.Now().Add(limit))
	t.Cleanup(func() { _ = far.Close() })
	return far
}

// faulty is a net.Conn that a test has spoiled.
type faulty struct {
	net.Conn
	read  func(p []byte) (int, error)
	write func(p []byte) (int, error)
	close func() error
}

func (f *faulty) Read(p []byte) (int, error) {
	if f.read != nil {
		return f.read(p)
	}
	return f.Conn.Read(p)
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.write != nil {
		return f.write(p)
	}
	return f.Conn.Write(p)
}

func (f *faulty) Close() error {
	if f.close != nil {
		return errors.Join(f.close(), f.Conn.Close())
	}
	return f.Conn.Close()
}

func (*faulty) SetDeadline(time.Time) error { return errors.ErrUnsupported }

const mineRequest = "GET /mine HTTP/1.1\r\nHost: h\r\n\r\n"

// TestBridgeFaults: whatever a net.Conn does costs itself, and is counted.
func TestBridgeFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(f *faulty)
		panics uint64
		serves bool // the first request is answered
	}{
		{"read panics", func(f *faulty) { f.read = func([]byte) (int, error) { panic("on purpose") } }, 1, false},
		{"read fails", func(f *faulty) { f.read = func([]byte) (int, error) { return 0, errors.New("on purpose") } }, 0, false},
		{"write panics", func(f *faulty) { f.write = func([]byte) (int, error) { panic("on purpose") } }, 1, false},
		{"write fails", func(f *faulty) { f.write = func([]byte) (int, error) { return 0, errors.New("on purpose") } }, 0, false},
		{"reads nothing at first", func(f *faulty) {
			n := 0
			f.read = func(p []byte) (int, error) {
				if n++; n < 10 {
					return 0, nil
				}
				return f.Conn.Read(p)
			}
		}, 0, true},
		{"reads byte by byte", func(f *faulty) { f.read = func(p []byte) (int, error) { return f.Conn.Read(p[:1]) } }, 0, true},
		{"close panics", func(f *faulty) {
			f.close = func() error { _ = f.Conn.Close(); panic("on purpose") }
		}, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, give := bridge(t, netpoll.Config{}, &mine{})
			far := pipe(t, give, func(near net.Conn) net.Conn {
				f := &faulty{Conn: near}
				c.spoil(f)
				return f
			})
			go func() { _, _ = io.WriteString(far, mineRequest) }()
			resp, err := http.ReadResponse(bufio.NewReader(far), nil)
			if (err == nil && resp.StatusCode == 200) != c.serves || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v, %v", resp, err)
			}
			_ = far.Close()
			eventually(t, "it is forgotten", func() bool { s := g.Stats(); return s.Open == 0 && s.Bridged == 0 })
			eventually(t, "panics are counted", func() bool { return g.Stats().CallbackPanics == c.panics })
		})
	}
}

// TestBridgeBackpressure: of a peer that does not read, no more waits at the bridge than
// it is to hold; of one that sends and is not read, no more is taken.
func TestBridgeBackpressure(t *testing.T) {
	answer := pattern(1_000_000)
	var writes, most atomic.Int64
	g, give := bridge(t, netpoll.Config{}, &mine{request: func(c *netpoll.Conn, r *http1.Request) {
		if string(r.Path) == "/mine/pause" {
			c.Pause()
		}
		respond(c, string(answer))
	}})
	far := pipe(t, give, func(near net.Conn) net.Conn {
		f := &faulty{Conn: near}
		f.write = func(p []byte) (int, error) {
			writes.Add(1)
			most.Store(max(most.Load(), int64(len(p))))
			return f.Conn.Write(p)
		}
		return f
	})
	go func() { _, _ = io.WriteString(far, mineRequest) }()
	eventually(t, "it is written to", func() bool { return writes.Load() == 1 })
	eventually(t, "the rest is charged", func() bool { return g.Stats().MemoryBytes >= int64(len(answer)) })
	if n := g.Stats().MemoryBytes; n > int64(len(answer))+256<<10 {
		t.Errorf("%d bytes are held for an answer of %d", n, len(answer))
	}
	resp, err := http.ReadResponse(bufio.NewReader(far), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != string(answer) {
		t.Errorf("%d bytes of %d, %v", len(b), len(answer), err)
	}
	if most.Load() > 2400 { // MinRate 240, and SlowTimeout 10 s
		t.Errorf("%d bytes were written at once", most.Load())
	}
	eventually(t, "nothing is charged", func() bool { return g.Stats().MemoryBytes == 0 })

	// Paused: a small and a large buffer, and then no more.
	go func() { _, _ = io.WriteString(far, strings.Replace(mineRequest, "/mine", "/mine/pause", 1)) }()
	if resp, err = http.ReadResponse(bufio.NewReader(far), nil); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = far.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := far.Write(make([]byte, 100_000)); err == nil || n > 20_000 {
		t.Errorf("%d bytes were taken, %v", n, err)
	}
}

// TestBridgeIdle: a connection that waits has no large buffer, however long its last
// request was.
func TestBridgeIdle(t *testing.T) {
	var waits atomic.Int64 // with a buffer of that size
	_, give := bridge(t, netpoll.Config{}, &mine{})
	far := pipe(t, give, func(near net.Conn) net.Conn {
		return &faulty{Conn: near, read: func(p []byte) (int, error) {
			waits.Store(int64(len(p)))
			return near.Read(p)
		}}
	})
	r := bufio.NewReader(far)
	for _, size := range []int{10, 1_000, 2_000, 6_000} {
		go func() {
			_, _ = io.WriteString(far, "GET /mine HTTP/1.1\r\nHost: h\r\nX-Long: "+strings.Repeat("x", size)+"\r\n\r\n")
		}()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		eventually(t, "the large buffer is given back", func() bool { return waits.Load() == 512 })
	}
}

// TestBridgeSlowPeer: one that reads at MinRate is not cut, one that does not is, and does
// not take what has come for all.
func TestBridgeSlowPeer(t *testing.T) {
	answer := pattern(40_000)
	cfg := netpoll.Config{WriteTimeout: 200 * time.Millisecond, CloseTimeout: 200 * time.Millisecond, SlowTimeout: 200 * time.Millisecond, MinRate: 5_000}
	g, give := bridge(t, cfg, &mine{request: func(c *netpoll.Conn, _ *http1.Request) {
		c.CloseAfterResponse()
		respond(c, string(answer))
	}})
	far := pipe(t, give, nil)
	go func() { _, _ = io.WriteString(far, mineRequest) }()
	got, b := 0, make([]byte, 1_000)
	for { // 20 kB a second
		n, err := far.Read(b)
		if got += n; err != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got < len(answer) {
		t.Errorf("a slow peer was cut after %d of %d bytes", got, len(answer))
	}
	stuck := pipe(t, give, nil)
	go func() { _, _ = io.WriteString(stuck, mineRequest) }()
	eventually(t, "it is served", func() bool { return g.Stats().Accepted == 2 })
	eventually(t, "it is forgotten", func() bool { s := g.Stats(); return s.Open == 0 && s.Bridged == 0 })
	if all, _ := io.ReadAll(stuck); len(all) >= len(answer) {
		t.Errorf("%d bytes have come to a peer that did not read", len(all))
	}
}

// TestBridgeMixed: plain and bridged connections are on the same loops, move between
// them, and go to net/http and back.
func TestBridgeMixed(t *testing.T) {
	const conns, requests = 24, 30
	h := &mine{request: func(c *netpoll.Conn, r *http1.Request) {
		group := c.Loop().Group()
		if to := group.Loop(len(r.RawQuery) % group.Len()); c.Loop() != to {
			c.MoveTo(to, r)
			return
		}
		respond(c, string(r.Path)+string(r.Body))
	}}
	before := runtime.NumGoroutine()
	g, addr := listen(t, netpoll.Config{Loops: 3, Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.URL.Path, string(b))
	})}, h)
	ln := wiretest.NewPipes()
	ended, err := g.Serve(ln, false)
	if err != nil {
		t.Fatal(err)
	}
	var crowd sync.WaitGroup
	for i := range conns {
		crowd.Go(func() {
			var c net.Conn
			if i%2 == 0 {
				near, far := net.Pipe()
				ln.Conns <- near
				c = far
			} else {
				c = dial(t, addr)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(limit))
			br := bufio.NewReader(c)
			for j := range requests {
				path, body := "/mine/", strings.Repeat("x", j*97)
				if j%3 == 2 {
					path = "/other"
				}
				go func() {
					fmt.Fprintf(c, "POST %s?%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, strings.Repeat("q", i+j), len(body), body)
				}()
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Errorf("connection %d, request %d: %v", i, j, err)
					return
				}
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != path+body {
					t.Errorf("connection %d, request %d: %d bytes, %v", i, j, len(b), err)
					return
				}
			}
		})
	}
	crowd.Wait()
	eventually(t, "all are forgotten", func() bool { s := g.Stats(); return s.Open == 0 && s.Bridged == 0 && s.Lent == 0 })
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != netpoll.ErrClosed {
		t.Errorf("Serve: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// TestBridgeEnd: the group waits for what has been written on closed connections, and cuts
// it when its time is over.
func TestBridgeEnd(t *testing.T) {
	answer := pattern(30_000)
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprint("reads ", reads), func(t *testing.T) {
			served := make(chan struct{}, 1)
			g, give := bridge(t, netpoll.Config{}, &mine{request: func(c *netpoll.Conn, _ *http1.Request) {
				if !reads {
					c.CloseAfterResponse()
				}
				respond(c, string(answer))
				served <- struct{}{}
			}})
			far := pipe(t, give, nil)
			go func() { _, _ = io.WriteString(far, mineRequest) }()
			<-served
			wait := limit
			if !reads {
				wait = 50 * time.Millisecond
			}
			got := make(chan int, 1)
			if reads {
				go func() {
					eventually(t, "its loop has closed it", func() bool { return g.Stats().Open == 0 })
					b, _ := io.ReadAll(far)
					got <- len(b)
				}()
			}
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			if err := g.Close(ctx); (err == nil) != reads {
				t.Errorf("Close: %v", err)
			}
			if reads {
				if n := <-got; n < len(answer) {
					t.Errorf("%d bytes of %d", n, len(answer))
				}
			}
		})
	}
}

// TestBridgeLent: a bridged connection at net/http: deadlines, Hijack.
func TestBridgeLent(t *testing.T) {
	_, give := bridge(t, netpoll.Config{Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		switch r.URL.Path {
		case "/deadline":
			_ = rc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := io.ReadAll(r.Body)
			fmt.Fprint(w, errors.Is(err, context.DeadlineExceeded) || strings.Contains(fmt.Sprint(err), "timeout"))
		case "/hijack":
			conn, brw, err := rc.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			line, _ := brw.ReadString('\n')
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
		}
	})}, &mine{})
	for request, want := range map[string]string{
		"POST /deadline HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n": "true",
		"GET /hijack HTTP/1.1\r\nHost: h\r\n\r\nhello\n":                                          "hello\n",
	} {
		far := pipe(t, give, nil)
		go func() { _, _ = io.WriteString(far, request) }()
		br := bufio.NewReader(far)
		resp, err := http.ReadResponse(br, nil)
		if err == nil && resp.StatusCode == 100 {
			resp, err = http.ReadResponse(br, nil)
		}
		if err != nil {
			t.Errorf("%q: %v", request, err)
			continue
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != want {
			t.Errorf("%q: %q, want %q", request, b, want)
		}
		_ = far.Close()
	}
}
