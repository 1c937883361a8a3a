package netpoll_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// both runs a test against an answer of the loop's and one of net/http's.
func both(t *testing.T, cfg netpoll.Config, answer []byte, test func(t *testing.T, g *netpoll.Group, addr, path string)) {
	t.Helper()
	m := &mine{request: func(c *netpoll.Conn, r *http1.Request) {
		buf := netpoll.NewBuffer(len(answer) + 256)
		if r.Minor == 0 { // its end alone tells its length
			buf.B = append(append(buf.B, "HTTP/1.0 200 OK\r\n\r\n"...), answer...)
		} else {
			buf.B = append(http1.AppendResponseHead(buf.B, 200, "text/plain", len(answer), c.KeepAlive(), nil), answer...)
		}
		c.Respond(buf)
		buf.Release()
	}}
	cfg.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMinor > 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		}
		_, _ = w.Write(answer)
	})
	for path, name := range map[string]string{"/mine/x": "claimed", "/x": "lent"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, addr := listen(t, cfg, m)
			test(t, g, addr, path)
		})
	}
}

// slowly reads in pieces with a rest behind each, and returns what has come until
// the end, nil, or an error.
func slowly(r io.Reader, piece int, rest time.Duration) (b []byte, err error) {
	for {
		n := len(b)
		b = append(b, make([]byte, piece)...)
		k, err := r.Read(b[n:])
		b = b[:n+k]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		time.Sleep(rest) // reading slowly is what is asked
	}
}

// TestHalfClose: a peer that has ended its sending side gets the whole answer, as
// from net/http.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	answer := pattern(3_000_000)
	both(t, netpoll.Config{CloseTimeout: 50 * time.Millisecond}, answer, func(t *testing.T, g *netpoll.Group, addr, path string) {
		for _, head := range []string{" HTTP/1.1\r\nHost: h\r\n\r\n", " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", " HTTP/1.0\r\n\r\n"} {
			c := dialSlow(t, addr)
			send(t, c, "GET %s%s", path, head)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			turned(t, g.Loop(0))
			if _, body := response(t, bufio.NewReader(c), "GET"); body != string(answer) {
				t.Errorf("%q: %d bytes, want %d", head, len(body), len(answer))
			}
			_ = c.Close()
		}
	})
}

// TestSlowReader: who reads at more than Config.MinRate gets the whole answer,
// whether the connection closes behind it or not, and however long it takes.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	answer := pattern(600_000)
	cfg := netpoll.Config{
		CloseTimeout: 50 * time.Millisecond, IdleTimeout: 100 * time.Millisecond, WriteTimeout: 500 * time.Millisecond, MinRate: 1000,
	}
	both(t, cfg, answer, func(t *testing.T, g *netpoll.Group, addr, path string) {
		var all sync.WaitGroup
		for _, head := range []string{" HTTP/1.1\r\nHost: h\r\n\r\n", " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", " HTTP/1.0\r\n\r\n"} {
			c := dialSlow(t, addr)
			all.Go(func() {
				_, _ = fmt.Fprintf(c, "GET %s%s", path, head)
				begun := time.Now()
				resp, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := slowly(resp.Body, 4<<10, 10*time.Millisecond)
				if err != nil || !bytes.Equal(b, answer) {
					t.Errorf("%q: %d bytes of %d in %v, %v", head, len(b), len(answer), time.Since(begun), err)
				}
				if took := time.Since(begun); took < time.Second {
					t.Errorf("%q: read in %v: it does not ask anything", head, took)
				}
			})
		}
		all.Wait()
		if n := g.Stats().Timeouts; n != 0 {
			t.Errorf("%d timeouts counted", n)
		}
	})
}

// TestStall: a peer may stop reading for less than Config.WriteTimeout.
func TestStall(t *testing.T) {
	t.Parallel()
	answer := pattern(600_000)
	both(t, netpoll.Config{CloseTimeout: 20 * time.Millisecond, IdleTimeout: 20 * time.Millisecond}, answer, func(t *testing.T, _ *netpoll.Group, addr, path string) {
		c := dialSlow(t, addr)
		send(t, c, "GET %s HTTP/1.0\r\n\r\n", path)
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100_000)
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond) // many times CloseTimeout
		rest, err := io.ReadAll(resp.Body)
		if b = append(b, rest...); err != nil || !bytes.Equal(b, answer) {
			t.Errorf("%d bytes of %d, %v", len(b), len(answer), err)
		}
	})
}

// TestCutNeverLooksWhole: a peer that does not read for WriteTimeout sees a reset,
// and not the end of an answer.
func TestCutNeverLooksWhole(t *testing.T) {
	t.Parallel()
	answer := pattern(8_000_000)
	cfg := netpoll.Config{CloseTimeout: 50 * time.Millisecond, WriteTimeout: 200 * time.Millisecond}
	both(t, cfg, answer, func(t *testing.T, g *netpoll.Group, addr, path string) {
		for _, head := range []string{" HTTP/1.1\r\nHost: h\r\n\r\n", " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", " HTTP/1.0\r\n\r\n"} {
			before := g.Stats().Timeouts
			c := dialSlow(t, addr)
			send(t, c, "GET %s%s", path, head)
			eventually(t, "it is cut", func() bool { s := g.Stats(); return s.Open == 0 && s.Accepted > 0 && s.Timeouts > before })
			if b, err := io.ReadAll(c); err == nil || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%q: %d bytes, and then %v; want a reset", head, len(b), err)
			}
			if got := g.Stats().Timeouts - before; got != 1 {
				t.Errorf("%q: %d timeouts counted", head, got)
			}
		}
	})
}

// TestSmallAnswerNotRead: what the kernel alone holds counts as well: a peer's
// window is shut before the answer is out.
func TestSmallAnswerNotRead(t *testing.T) {
	t.Parallel()
	// More than the peer's kernel takes, less than ours does.
	answer := pattern(100_000)
	cfg := netpoll.Config{CloseTimeout: 50 * time.Millisecond, WriteTimeout: 200 * time.Millisecond, IdleTimeout: 100 * time.Millisecond}
	both(t, cfg, answer, func(t *testing.T, g *netpoll.Group, addr, path string) {
		for _, head := range []string{" HTTP/1.1\r\nHost: h\r\n\r\n", " HTTP/1.0\r\n\r\n"} {
			c := dialWith(t, addr, 2<<10)
			send(t, c, "GET %s%s", path, head)
			eventually(t, "it is accepted", func() bool { return g.Stats().Open == 1 })
			eventually(t, "it is cut", func() bool { return g.Stats().Open == 0 })
			if b, err := io.ReadAll(c); err == nil {
				t.Errorf("%q: %d bytes of %d, and a clean end", head, len(b), len(answer))
			}
		}
	})
}

// TestAbortWithOutputIsReset: whoever ends a connection with output unsent.
func TestAbortWithOutputIsReset(t *testing.T) {
	t.Parallel()
	answer := pattern(8_000_000)
	for name, end := range map[string]func(g *netpoll.Group, c *netpoll.Conn){
		"Abort":      func(_ *netpoll.Group, c *netpoll.Conn) { c.Abort(nil) },
		"Group.Stop": func(g *netpoll.Group, _ *netpoll.Conn) { go g.Close(canceled()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan *netpoll.Conn, 1)
			m := &mine{request: func(c *netpoll.Conn, _ *http1.Request) {
				buf := netpoll.NewBuffer(len(answer) + 64)
				buf.B = append(append(buf.B, "HTTP/1.0 200 OK\r\n\r\n"...), answer...)
				c.Respond(buf)
				buf.Release()
				asked <- c
			}}
			g, addr := listen(t, netpoll.Config{}, m)
			c := dialSlow(t, addr)
			send(t, c, "GET /mine/x HTTP/1.0\r\n\r\n")
			conn := within(t, "the request", asked)
			turned(t, g.Loop(0)) // the kernel has what it takes
			g.Loop(0).Post(func(_, _ any) { end(g, conn) }, nil, nil, 0)
			eventually(t, "it is closed", func() bool { return g.Stats().Open == 0 })
			if b, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%d bytes, and then %v; want a reset", len(b), err)
			}
		})
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestDiscardIsBounded: a peer that goes on sending to a connection that is closing
// is cut.
func TestDiscardIsBounded(t *testing.T) {
	t.Parallel()
	g, addr := listen(t, netpoll.Config{CloseTimeout: limit}, &mine{})
	c := dial(t, addr)
	send(t, c, "nonsense\r\n\r\n")
	if resp, _ := response(t, bufio.NewReader(c), "GET"); resp.StatusCode != 400 {
		t.Errorf("%d", resp.StatusCode)
	}
	sent := 0
	for b := make([]byte, 64<<10); ; {
		n, err := c.Write(b)
		if sent += n; err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatalf("%d bytes have been taken", sent)
		}
	}
	eventually(t, "it is closed", func() bool { return g.Stats().Open == 0 })
}

// TestCloseWithIdlePeers takes no time, whatever the peers do.
func TestCloseWithIdlePeers(t *testing.T) {
	t.Parallel()
	for name, paths := range map[string][]string{
		"unused": {""}, "claimed": {"/mine/a"}, "back from net-http": {"/page", "/mine/a"}, "at net-http": {"/page"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
			g, addr := listen(t, netpoll.Config{Loops: 2, Fallback: h, CloseTimeout: limit}, &mine{})
			var conns []*bufio.Reader
			for range 10 {
				c := dial(t, addr)
				r := bufio.NewReader(c)
				for _, path := range paths {
					if path != "" {
						send(t, c, "%s", get(path))
						response(t, r, "GET")
					}
				}
				conns = append(conns, r)
			}
			eventually(t, "all are here", func() bool { return g.Stats().Open == len(conns) })
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // a fraction of CloseTimeout
			defer cancel()
			begun := time.Now()
			if err := g.Close(ctx); err != nil {
				t.Errorf("Close after %v: %v", time.Since(begun), err)
			}
			for i, r := range conns {
				if _, err := r.ReadByte(); err != io.EOF {
					t.Errorf("connection %d: %v", i, err)
				}
			}
		})
	}
}

// blockLoop0 keeps loop 0, which accepts, from turning until it is let go.
func blockLoop0(t *testing.T, g *netpoll.Group) (letGo func()) {
	t.Helper()
	blocked, release := make(chan struct{}), make(chan struct{})
	g.Loop(0).PostNow(func(_, _ any) {
		close(blocked)
		<-release
	}, nil, nil, 0)
	within(t, "the loop", blocked)
	return sync.OnceFunc(func() { close(release) })
}

// TestConnectedBeforeTheEnd: who has connected, and asked, before listening stops is
// answered, though the loop had not accepted the connection yet.
func TestConnectedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(g *netpoll.Group) error{
		"StopListening": func(g *netpoll.Group) error { g.StopListening(); return nil },
		"Close":         func(g *netpoll.Group) error { return g.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, addr := listen(t, netpoll.Config{Loops: 2}, &mine{})
			other, witness := dial(t, addr), dial(t, addr) // on loop 0, on loop 1
			eventually(t, "both are here", func() bool { return g.Stats().Open == 2 })
			_ = other.Close()
			eventually(t, "one is here", func() bool { return g.Stats().Open == 1 })
			letGo := blockLoop0(t, g)
			defer letGo()
			var conns []*net.TCPConn
			for range 8 {
				c := dial(t, addr)
				send(t, c, "%s", get("/mine/a"))
				conns = append(conns, c)
			}
			ended := make(chan error, 1)
			go func() { ended <- end(g) }()
			if name == "Close" {
				if _, err := witness.Read(make([]byte, 1)); err != io.EOF { // it has begun
					t.Error(err)
				}
			} else {
				err := within(t, name, ended)
				ended <- err
			}
			letGo()
			for i, c := range conns {
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					continue
				}
				if resp.StatusCode != 200 {
					t.Errorf("connection %d: %d", i, resp.StatusCode)
				}
				_ = c.Close()
			}
			if err := within(t, name, ended); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBacklogAtClose: those for whom there was no room see a clean end, and no
// reset.
func TestBacklogAtClose(t *testing.T) {
	t.Parallel()
	g, addr := listen(t, netpoll.Config{MaxConns: 2}, &mine{})
	var conns []*net.TCPConn
	for range 8 {
		conns = append(conns, dial(t, addr))
	}
	eventually(t, "it is full", func() bool { return g.Stats().Open == 2 })
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for i, c := range conns {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

// TestNoAddress: a request of a peer that has reset is not handled without its
// address.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	var handled, nameless atomic.Int64
	m := &mine{request: func(c *netpoll.Conn, _ *http1.Request) {
		handled.Add(1)
		if b, ok := c.AppendRemoteAddr(nil); ok != (len(b) > 0) {
			t.Errorf("%q, %v", b, ok)
		} else if ok && !strings.HasPrefix(string(b), "127.0.0.1:") {
			t.Errorf("%q", b)
		}
		respond(c, "")
	}}
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		handled.Add(1)
		if _, _, err := net.SplitHostPort(r.RemoteAddr); err != nil {
			nameless.Add(1)
		}
	})
	g, addr := listen(t, netpoll.Config{Fallback: h}, m)
	for i := range 200 {
		c := dial(t, addr)
		_ = c.SetLinger(0)
		send(t, c, "%s", get([]string{"/mine/x", "/x"}[i%2]))
		_ = c.Close()
	}
	eventually(t, "all have ended", func() bool { s := g.Stats(); return s.Accepted == 200 && s.Open == 0 })
	if n := nameless.Load(); n > 0 {
		t.Errorf("%d of %d requests without an address", n, handled.Load())
	}
}

// TestKeepAliveWhileLent: a handler that waits learns of a peer that has vanished.
func TestKeepAliveWhileLent(t *testing.T) {
	t.Parallel()
	option := func(conn net.Conn, level, option int) (v int) {
		rc, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = rc.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, option) })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	begun, release := make(chan struct{}, 1), make(chan struct{})
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-release
	})
	_, addr := listen(t, netpoll.Config{Fallback: h}, &mine{})
	c := dial(t, addr)
	send(t, c, "%s", get("/x"))
	within(t, "the handler", begun)
	ours := socketOf(t, c)
	defer close(release)
	for name, o := range map[string][2]int{"SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, "TCP_NODELAY": {unix.IPPROTO_TCP, unix.TCP_NODELAY}} {
		if v, err := unix.GetsockoptInt(ours, o[0], o[1]); v != 1 || err != nil {
			t.Errorf("%s: %d, %v; the peer's own: %d", name, v, err, option(c, o[0], o[1]))
		}
	}
}

// socketOf finds the server's descriptor of a connection in this process.
func socketOf(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	port := c.LocalAddr().(*net.TCPAddr).Port
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var fd int
		_, _ = fmt.Sscan(e.Name(), &fd)
		if sa, err := unix.Getpeername(fd); err == nil {
			if in, ok := sa.(*unix.SockaddrInet4); ok && in.Port == port {
				return fd
			}
		}
	}
	t.Fatal("no such socket")
	return -1
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestStopLosesNoJob: a connection on its way to a loop that stops is closed.
func TestStopLosesNoJob(t *testing.T) {
	before := openFiles(t)
	for range 30 {
		m := &mine{}
		m.request = func(c *netpoll.Conn, r *http1.Request) { // it wanders until it is answered
			if i := int(r.Path[len(r.Path)-1] - '0'); c.Loop().Index() != i {
				c.MoveTo(c.Loop().Group().Loop(i), r)
				return
			}
			respond(c, "here")
		}
		g, err := netpoll.New(netpoll.Config{Loops: 4, Logger: quiet}, m)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := g.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var dialers sync.WaitGroup
		many := make(chan struct{}, 1024)
		for i := range 4 {
			dialers.Go(func() {
				var conns []net.Conn
				for len(conns) < 100 {
					c, err := net.Dial("tcp", addr.String())
					if err != nil {
						break
					}
					conns = append(conns, c)
					_, _ = c.Write(get(fmt.Sprint("/mine/", i)))
					many <- struct{}{}
				}
				for _, c := range conns {
					_ = c.Close()
				}
			})
		}
		for range 20 {
			within(t, "connections", many)
		}
		_ = g.Close(canceled())
		dialers.Wait()
		if open := g.Stats().Open; open != 0 {
			t.Errorf("%d connections are open after Close", open)
		}
		for len(many) > 0 {
			<-many
		}
	}
	eventually(t, "descriptors", func() bool { return openFiles(t) <= before+4 }) // and the runtime's own
}

// TestWakeAfterClose: a loop that has ended writes to no descriptor that was its own.
func TestWakeAfterClose(t *testing.T) {
	for range 20 {
		g, err := netpoll.New(netpoll.Config{Loops: 2, MaxPostedJobs: 16, Logger: quiet}, &mine{})
		if err != nil {
			t.Fatal(err)
		}
		var posters sync.WaitGroup
		begun := make(chan struct{}, 64)
		for i := range 4 {
			posters.Go(func() {
				begun <- struct{}{}
				for g.Loop(i%2).Post(func(_, _ any) {}, nil, nil, 0) {
				}
			})
		}
		for range 4 {
			<-begun
		}
		_ = g.Close(canceled())
		var fds []int // of somebody else
		for range 4 {
			p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, p[0], p[1])
		}
		g.Loop(0).Wake()
		posters.Wait()
		var b [16]byte
		for _, fd := range fds {
			if n, _ := unix.Read(fd, b[:]); n > 0 {
				t.Errorf("a stranger's descriptor got % x", b[:n])
			}
		}
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
}

// TestFullIsToldOnce: a group that stays at Config.MaxConns says so once, however
// many come and go.
func TestFullIsToldOnce(t *testing.T) {
	t.Parallel()
	var lines atomic.Int64
	logger := slog.New(slog.NewTextHandler(countLines{&lines}, nil))
	const most = 4
	g, addr := listen(t, netpoll.Config{MaxConns: most, Logger: logger}, &mine{})
	conns := make([]*net.TCPConn, 2*most)
	for i := range conns {
		conns[i] = dial(t, addr)
	}
	for i := range 8 {
		accepted := g.Stats().Accepted
		eventually(t, "it is full", func() bool { return g.Stats().Open == most })
		_ = conns[i%len(conns)].Close() // the first of those that are accepted
		conns[i%len(conns)] = dial(t, addr)
		eventually(t, "another is let in", func() bool { return g.Stats().Accepted > accepted })
	}
	// One, or another where the machine is very slow.
	if n := lines.Load(); n < 1 || n > 2 {
		t.Errorf("%d lines of log, want one", n)
	}
}

type countLines struct{ n *atomic.Int64 }

func (c countLines) Write(b []byte) (int, error) {
	c.n.Add(int64(bytes.Count(b, []byte("\n"))))
	return len(b), nil
}

// TestEndedConnIsNoHolder: a connection that ends with input and output held is not
// looked at when memory is spent later.
func TestEndedConnIsNoHolder(t *testing.T) {
	a := &app{}
	a.message = func(c *netpoll.Conn, _ []byte, _ bool) { sendFrame(c, pattern(50_000), true) }
	n := start(t, netpoll.Config{MaxMemory: 1 << 20}, a, 1)
	p := upgrade(t, n, 0)
	p.SetWindow(10)
	f := frame(gobwas.NewTextFrame([]byte("m")))
	for range 3 {
		p.Write(f)
		n.Run()
	}
	p.Write(frame(gobwas.NewBinaryFrame(pattern(9_000)))[:5_000])
	n.Run()
	p.Reset()
	n.Run()
	n.Advance(time.Second)
	if s := n.Group.Stats(); s.Open != 0 || s.MemoryBytes != 0 {
		t.Fatalf("%+v", s)
	}
	n.Group.Memory().Add(2 << 20) // a layer above
	n.Run()
	if s := n.Group.Stats(); s.Shed != 0 {
		t.Errorf("%d holders were ended, and there is none", s.Shed)
	}
}
