package sockeye

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// What cannot be hijacked is served through a pair of connections in memory: the group
// has the near end, and the handler's goroutine reads the answer from the far end, for
// as long as the request takes.

// nearEnd is the group's end.
type nearEnd struct {
	net.Conn
	q      *mountRequest
	remote net.Addr
	secure bool
	cut    atomic.Bool // what has been sent is not all

	// Guarded by mu.
	mu    sync.Mutex
	timed bool // hurry has set a deadline
	over  bool // the handler has returned
}

func (c *nearEnd) RemoteAddr() net.Addr { return c.remote }

// Secure and Reset are for the bridge.
func (c *nearEnd) Secure() bool { return c.secure }

// Reset cuts what the handler's goroutine still writes: the peer does not read it.
func (c *nearEnd) Reset() {
	c.cut.Store(true)
	c.hurry(time.Unix(1, 0))
}

// Close gives what the handler's goroutine still has its time: no loop looks after it any
// more.
func (c *nearEnd) Close() error {
	if d := c.q.srv.group.Config().WriteTimeout; d > 0 && !c.cut.Load() && (c.q.user == nil || c.q.user.WriteTimeout <= 0) {
		c.hurry(time.Now().Add(d))
	}
	return c.Conn.Close()
}

// hurry ends what is written to the peer at a time.
func (c *nearEnd) hurry(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.timed = true
		_ = c.q.rc.SetWriteDeadline(at)
	}
}

// returns is the handler's end, after which its ResponseWriter is not to be used.
func (c *nearEnd) returns() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.timed {
		_ = c.q.rc.SetWriteDeadline(time.Time{}) // net/http would leave it to a next request
	}
}

// textAddr is an address that is no IP address.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

func remoteAddr(r *http.Request) net.Addr {
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return textAddr(r.RemoteAddr)
}

// extendedConnect tells whether the request opens a WebSocket over HTTP/2 (RFC 8441).
func (q *mountRequest) extendedConnect() bool {
	return q.r.Method == http.MethodConnect && q.r.ProtoMajor >= 2 && q.r.Header.Get(":protocol") == "websocket"
}

// websocketKey is for a WebSocket over HTTP/2, which has none.
func websocketKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return base64.StdEncoding.EncodeToString(b[:])
}

// bridge serves the request through a pair.
func (q *mountRequest) bridge() {
	r := q.r
	if q.websocket() {
		q.srv.log.Warn("mount", "sockeye: a WebSocket is refused: the http.ResponseWriter has no Hijack", "type", fmt.Sprintf("%T", q.w))
		http.Error(q.w, fmt.Sprintf(mountHidden, q.w), http.StatusNotImplemented)
		return
	}
	place := q.place(context.Background())
	if place == nil {
		return
	}
	near, far := net.Pipe()
	end := &nearEnd{Conn: near, q: q, remote: remoteAddr(r), secure: r.TLS != nil}
	defer far.Close()
	defer end.returns()
	defer context.AfterFunc(r.Context(), func() { _ = far.Close() })()
	ctx := q.context()
	err := place.Adopt(end, netpoll.Adoption{In: q.append(nil, true), Context: ctx, Keep: len(ctx.keys) > 0})
	ctx.end()
	if err != nil {
		q.refuse(mountClosed, http.StatusServiceUnavailable)
		return
	}
	q.untimed()
	br := bufio.NewReader(far)
	resp, err := http.ReadResponse(br, r)
	q.timed()
	switch {
	case r.Context().Err() != nil:
		return // nobody waits for it
	case err != nil:
		q.refuse("the connection was closed", http.StatusServiceUnavailable)
		return
	}
	h := q.w.Header()
	for name, values := range resp.Header {
		if name != "Connection" && name != "Upgrade" && name != "Sec-Websocket-Accept" {
			h[name] = values
		}
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		q.tunnel(br, far)
		return
	}
	q.w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(q.w, resp.Body); err != nil || end.cut.Load() {
		panic(http.ErrAbortHandler) // no cut looks like a whole answer
	}
}

// untimed takes away the times of the http.Server, ReadTimeout and WriteTimeout, which
// count from the request on: a poll waits for longer, and a WebSocket lives for longer.
// The loops have times of their own for both. Hijack does the same.
func (q *mountRequest) untimed() {
	_ = q.rc.SetReadDeadline(time.Time{})
	_ = q.rc.SetWriteDeadline(time.Time{})
}

// timed gives what is written now the http.Server's WriteTimeout.
func (q *mountRequest) timed() {
	if q.user != nil && q.user.WriteTimeout > 0 {
		_ = q.rc.SetWriteDeadline(time.Now().Add(q.user.WriteTimeout))
	}
}

// tunnel carries a WebSocket over the request's own stream.
func (q *mountRequest) tunnel(from io.Reader, far net.Conn) {
	q.w.WriteHeader(http.StatusOK)
	if q.rc.Flush() != nil {
		return
	}
	q.untimed()
	go func() {
		_, _ = io.Copy(far, q.r.Body)
		_ = far.Close() // the peer has ended its side
	}()
	b := make([]byte, 4<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			q.timed()
			if _, werr := q.w.Write(b[:n]); werr != nil || q.rc.Flush() != nil {
				return
			}
			q.untimed()
		}
		if err != nil {
			return
		}
	}
}
