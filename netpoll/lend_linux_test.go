//go:build linux

package netpoll_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
)

// TestLentGivesItsChargeBack: what was charged for a request that had come in pieces
// is given back however the connection ends at net/http.
func TestLentGivesItsChargeBack(t *testing.T) {
	var group atomic.Pointer[netpoll.Group]
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if used := group.Load().Memory().Used(); used < 30_000 {
			t.Errorf("%s: %d bytes are charged for a request of 30,000", r.URL.Path, used)
		}
		if r.URL.Path == "/hijack" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.Close()
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{})
	group.Store(g)
	for _, path := range []string{"/hijack", "/echo"} {
		c := dial(t, addr)
		send(t, c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n%s", path, pattern(15_000))
		eventually(t, "the first piece is charged", func() bool { return g.Memory().Used() > 15_000 })
		send(t, c, "%s", pattern(15_000))
		if path == "/echo" {
			response(t, bufio.NewReader(c), "POST")
		}
		_ = c.Close()
		eventually(t, "the connection is counted out", func() bool { return g.Stats().Open == 0 })
		if used := g.Memory().Used(); used != 0 {
			t.Errorf("%s: %d bytes are charged", path, used)
		}
	}
}

// TestHijackAfterTheEnd: a handler that hijacks after Group.Close has cut its
// connection does not have it counted out, or its descriptor closed, twice.
func TestHijackAfterTheEnd(t *testing.T) {
	served, ended, hijacked := make(chan struct{}), make(chan struct{}), make(chan error)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(served)
		<-ended
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, err = c.Write([]byte("x"))
			_ = c.Close()
		}
		hijacked <- err
	})
	var closes atomic.Int32
	g, addr := listen(t, netpoll.Config{Fallback: h}, &mine{closed: func(*netpoll.Conn, error) { closes.Add(1) }})
	c := dial(t, addr)
	send(t, c, "%s", get("/"))
	within(t, "the handler is called", served)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_ = g.Close(done)
	close(ended)
	if err := within(t, "Hijack returns", hijacked); err == nil {
		t.Error("the connection can be written to")
	}
	if s := g.Stats(); s.Open != 0 || s.Lent != 0 || s.MemoryBytes != 0 || closes.Load() != 1 {
		t.Errorf("%+v, %d calls of HandleClose", s, closes.Load())
	}
}

// TestLentAtTheEnd: a request that comes to net/http after Group.Close has cut what is
// there is cut, too.
func TestLentAtTheEnd(t *testing.T) {
	claims := make(chan struct{})
	goOn := make(chan struct{})
	m := &blockingClaims{reached: claims, goOn: goOn}
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	g, addr := listen(t, netpoll.Config{Fallback: h}, m)
	c := dial(t, addr)
	send(t, c, "%s", get("/"))
	within(t, "the loop looks at the request", claims)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error, 1)
	go func() { closed <- g.Close(done) }()
	eventually(t, "net/http has ended", func() bool { return m.ended(g) })
	close(goOn)
	within(t, "Close returns", closed)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Error("the connection is open:", err)
	}
	if s := g.Stats(); s.Open != 0 || s.Lent != 0 {
		t.Errorf("%+v", s)
	}
}

type blockingClaims struct {
	mine
	reached, goOn chan struct{}
}

func (b *blockingClaims) Claims([]byte) bool {
	close(b.reached)
	<-b.goOn
	return false
}

// ended waits until lender.end is over.
func (b *blockingClaims) ended(*netpoll.Group) bool {
	buf := make([]byte, 1<<16)
	s := string(buf[:runtime.Stack(buf, true)])
	return !strings.Contains(s, "waitForConns") && !strings.Contains(s, "lender).Accept") && !strings.Contains(s, "lender).end")
}
