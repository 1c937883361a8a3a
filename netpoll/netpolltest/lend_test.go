package netpolltest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// nothing is a handler that claims nothing.
type nothing struct{}

func (nothing) Claims([]byte) bool                          { return false }
func (nothing) HandleRequest(*netpoll.Conn, *http1.Request) {}
func (nothing) HandleMessage(*netpoll.Conn, []byte, bool)   {}
func (nothing) HandleClose(*netpoll.Conn, error)            {}

// lend takes a new connection out of its loop's poller.
func lend(t *testing.T) (*Net, *Peer, net.Conn) {
	t.Helper()
	n := New(netpoll.Config{}, nothing{}, 1)
	p := n.Dial(0)
	s := n.Systems()[0]
	if err := s.Watch(p.fd, p.watch, 0); err != nil {
		t.Fatal(err)
	}
	c, err := s.Lend(p.fd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(p.fd, make([]byte, 1)); err != syscall.EBADF || !p.Lent() {
		t.Errorf("the loop has the descriptor still: %v", err)
	}
	return n, p, c
}

// one is a listener with one connection.
type one struct {
	net.Conn
	once chan net.Conn
}

func (l one) Accept() (net.Conn, error) {
	if c, ok := <-l.once; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l one) Addr() net.Addr { return l.LocalAddr() }
func (l one) Close() error   { return nil }

// TestLendHTTP lends a connection to net/http, which serves a request and gives
// it up at the next.
func TestLendHTTP(t *testing.T) {
	n, p, c := lend(t)
	hijacked := make(chan net.Conn, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/back" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
			}
			hijacked <- conn
			return
		}
		_, _ = io.WriteString(w, r.RemoteAddr)
	})}
	once := make(chan net.Conn, 1)
	once <- c
	var done sync.WaitGroup
	done.Go(func() { _ = srv.Serve(one{c, once}) })
	p.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	var got []byte
	if !n.RunUntil(10*time.Second, func() bool { got = append(got, p.Read()...); return bytes.HasSuffix(got, []byte("192.0.2.1:1234")) }) {
		t.Fatalf("answer: %q", got)
	}
	p.Write([]byte("GET /back HTTP/1.1\r\nHost: h\r\n\r\n"))
	conn := <-hijacked
	s := n.Systems()[0]
	fd, err := s.TakeBack(conn)
	if fd != p.fd || err != nil || p.Lent() {
		t.Errorf("TakeBack: %d, %v", fd, err)
	}
	if _, err := s.TakeBack(conn); err == nil {
		t.Error("taken back twice")
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the net.Conn is open: %v", err)
	}
	p.Write([]byte("more"))
	b := make([]byte, 10)
	if k, err := s.Read(fd, b); string(b[:max(k, 0)]) != "more" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	close(once)
	done.Wait()
}

// TestLendBlocks: reads and writes at the same time wait for the peer, for their
// deadlines, and for Close.
func TestLendBlocks(t *testing.T) {
	n, p, c := lend(t)
	p.SetWindow(3)
	text := strings.Repeat("0123456789", 10)
	var done sync.WaitGroup
	var read []byte
	done.Go(func() {
		if k, err := io.WriteString(c, text); k != len(text) || err != nil {
			t.Error(k, err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write after CloseWrite: %v", err)
		}
	})
	done.Go(func() { read, _ = io.ReadAll(c) })
	var out []byte
	if !n.RunUntil(10*time.Second, func() bool {
		if len(out) < 50 {
			p.Write([]byte("ab"))
		}
		b := p.Read()
		if len(b) > 3 {
			t.Errorf("%d bytes were written beyond the window", len(b))
		}
		out = append(out, b...)
		return p.Ended()
	}) {
		t.Fatalf("%q", out)
	}
	p.Close()
	done.Wait()
	if out = append(out, p.Read()...); string(out) != text {
		t.Errorf("%q has come", out)
	}
	if len(read) == 0 || strings.Trim(string(read), "ab") != "" {
		t.Errorf("%q was read", read)
	}
	if p.Closed() {
		t.Error("closed before Close")
	}
	if err := c.Close(); err != nil || !p.Closed() || p.WasReset() {
		t.Error("Close:", err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error("a second Close:", err)
	}
}

func TestLendDeadlines(t *testing.T) {
	_, p, c := lend(t)
	p.SetWindow(0)
	timeout := func(what string, err error) {
		t.Helper()
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A deadline that comes while it is waited for, and one that has passed.
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	timeout("read", err)
	_ = c.SetDeadline(time.Unix(1, 0))
	p.Write([]byte("x"))
	_, err = c.Read(make([]byte, 1))
	timeout("read of what is there", err)
	_, err = c.Write([]byte("x"))
	timeout("write", err)
	// One that is set while another goroutine waits, as Hijack does.
	_ = c.SetDeadline(time.Time{})
	waits := make(chan error)
	go func() {
		_, err := c.Write([]byte("x"))
		waits <- err
	}()
	_ = c.SetWriteDeadline(time.Unix(1, 0))
	timeout("write under way", <-waits)
	_ = c.SetDeadline(time.Time{})
	if k, err := c.Read(make([]byte, 9)); k != 1 || err != nil {
		t.Error(k, err)
	}
	// Close while another goroutine waits.
	go func() {
		_, err := c.Read(make([]byte, 1))
		waits <- err
	}()
	_ = c.Close()
	if err := <-waits; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestReset holds what the net says of resets on either side.
func TestReset(t *testing.T) {
	n, p, c := lend(t)
	p.Reset()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	s := n.Systems()[0]
	p = n.Dial(0)
	p.Reset()
	if addr, ok := s.AppendRemoteAddr(nil, p.fd); len(addr) > 0 || ok {
		t.Errorf("%q, %v", addr, ok)
	}
	_ = s.Watch(p.fd, p.watch, 0)
	if _, err := s.Lend(p.fd); err == nil || !p.Closed() {
		t.Error("lent although the peer has reset it:", err)
	}
	p = n.Dial(0)
	p.SetWindow(100)
	p.Write([]byte("abc"))
	_, _ = s.Write(p.fd, []byte("12345"))
	if s.Unread(p.fd) != 3 || s.Unsent(p.fd) != 5 {
		t.Error(s.Unread(p.fd), s.Unsent(p.fd))
	}
	p.Read()
	if s.Unsent(p.fd) != 0 {
		t.Error(s.Unsent(p.fd))
	}
	if err := s.Reset(p.fd); err != nil || !p.WasReset() || !p.Closed() {
		t.Error(err)
	}
}
