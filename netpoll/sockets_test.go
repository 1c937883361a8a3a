package netpoll_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// limit is how long a test over real sockets waits for what must come.
const limit = 20 * time.Second

// mine claims /mine and what is below, and /ws; other paths are net/http's. Its
// functions run on loops.
type mine struct {
	request func(c *netpoll.Conn, r *http1.Request)
	message func(c *netpoll.Conn, data []byte, binary bool)
	closed  func(c *netpoll.Conn, err error)
}

func (*mine) Claims(path []byte) bool {
	return string(path) == "/ws" || string(path) == "/mine" || bytes.HasPrefix(path, []byte("/mine/"))
}

func (m *mine) HandleRequest(c *netpoll.Conn, r *http1.Request) {
	switch {
	case string(r.Path) == "/ws":
		_ = c.Upgrade(r, nil)
	case m.request != nil:
		m.request(c, r)
	default:
		respond(c, string(r.Path)+"|"+string(r.Body))
	}
}

func (m *mine) HandleMessage(c *netpoll.Conn, data []byte, binary bool) {
	if m.message != nil {
		m.message(c, data, binary)
		return
	}
	sendFrame(c, data, binary)
}

func (m *mine) HandleClose(c *netpoll.Conn, err error) {
	if m.closed != nil {
		m.closed(c, err)
	}
}

// listen serves h on a port of the kernel's choice until the test ends: then
// every connection must be counted out.
func listen(t *testing.T, cfg netpoll.Config, h netpoll.Handler) (*netpoll.Group, string) {
	t.Helper()
	if cfg.Loops == 0 {
		cfg.Loops = 1
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	g, err := netpoll.New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := g.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_ = g.Close(ctx) // what is still open is cut
		eventually(t, "every connection is counted out", func() bool { return g.Stats().Open <= 0 && g.Stats().Lent <= 0 })
		if s := g.Stats(); s.Open != 0 || s.Lent != 0 {
			t.Errorf("%d connections are open, %d lent, after the end", s.Open, s.Lent)
		}
	})
	return g, addr.String()
}

// beside serves h by net/http itself.
func beside(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = slog.NewLogLogger(quiet.Handler(), slog.LevelWarn)
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return strings.TrimPrefix(srv.URL, "http://")
}

// eachServer runs a test against net/http, to know that it asks for the usual, and
// against a group that has h as its Fallback.
func eachServer(t *testing.T, cfg netpoll.Config, h http.Handler, test func(t *testing.T, addr string)) {
	t.Helper()
	t.Run("net-http", func(t *testing.T) { test(t, beside(t, h)) })
	t.Run("sockeye", func(t *testing.T) {
		cfg.Fallback = h
		_, addr := listen(t, cfg, &mine{})
		test(t, addr)
	})
}

// dial connects; all that is done with the connection ends within the limit.
func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	return dialWith(t, addr, 0)
}

// dialSlow connects with little room for what has not been read.
func dialSlow(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	return dialWith(t, addr, 8<<10)
}

func dialWith(t *testing.T, addr string, room int) *net.TCPConn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, rc syscall.RawConn) error {
		if room == 0 {
			return nil
		}
		var err error
		err2 := rc.Control(func(fd uintptr) { err = setRoom(fd, room) })
		if err2 != nil {
			return err2
		}
		return err
	}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	return c.(*net.TCPConn)
}

func send(t *testing.T, w io.Writer, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		t.Fatal(err)
	}
}

// response reads a whole response, to a GET unless method says otherwise.
func response(t *testing.T, r *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("after %d bytes of the body: %v", len(b), err)
	}
	return resp, string(b)
}

// ask sends a request on a connection of its own and reads the response.
func ask(t *testing.T, addr, request string) (*http.Response, string) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	send(t, c, "%s", request)
	method, _, _ := strings.Cut(request, " ")
	return response(t, bufio.NewReader(c), method)
}

// eventually fails the test if cond does not become true in time.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come true in time: " + what)
		}
	}
}

// within fails the test if ch gives nothing in time.
func within[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(limit):
		t.Fatal("not in time: " + what)
	}
	return v
}

// turned waits until a loop has looked at its sockets and its jobs once more.
func turned(t *testing.T, l *netpoll.Loop) {
	t.Helper()
	for range 2 {
		done := make(chan struct{})
		if !l.PostNow(func(a, _ any) { close(a.(chan struct{})) }, done, nil, 0) {
			t.Fatal("the loop has ended")
		}
		within(t, "a turn of the loop", done)
	}
}

// pattern is content whose every byte tells its place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>16) ^ byte(i>>8) ^ byte(i)
	}
	return b
}
