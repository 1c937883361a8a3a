package netpoll

import (
	"context"
	"fmt"
	"github.com/sockeye-io/sockeye/proto/http1"
	"io"
	"net"
	"net/http"
	"sync"
)

const (
	fallbackAhead = 256 << 10 // bytes that a fallback handler may be ahead of its peer
	bodyAhead     = 64 << 10  // bytes of a body that may wait for a fallback handler
)

// fallbackLink joins a connection on its loop with the goroutine that serves
// its request through net/http. It implements fallbackConn for that goroutine.
type fallbackLink struct {
	// Immutable after startFallback.
	loop   *Loop
	c      *Conn // touched on the loop only
	ctx    context.Context
	cancel context.CancelFunc
	remote string

	// Guarded by mu.
	mu      sync.Mutex
	cond    sync.Cond
	posted  int // bytes on their way to the loop
	queued  int // bytes in the connection's queue
	gone    bool
	body    []byte
	bodyErr error // io.EOF at the end of the body
	stalled bool  // the connection does not read, because body is full
}

// startFallback serves a request that the handler does not claim.
func (c *Conn) startFallback(r *http1.Request) {
	l := c.loop
	g := l.group
	c.flags |= connBusy
	c.setDeadline(0)
	if l.cfg.Fallback == nil {
		c.refuse(&http1.Error{Status: http.StatusNotFound, Reason: "nothing is served here"}, r)
		return
	}
	select {
	case g.fallers <- struct{}{}:
	default:
		c.refuse(&http1.Error{Status: http.StatusServiceUnavailable, Reason: "too many requests are under way"}, r)
		return
	}
	h := c.http
	if h == nil {
		h = httpStates.Get().(*httpState)
		c.http = h
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fallbackLink{loop: l, c: c, ctx: ctx, cancel: cancel, remote: string(c.AppendRemoteAddr(nil))}
	f.cond.L = &f.mu
	h.req, h.fallback = r.Clone(), f
	switch {
	case r.Chunked:
		h.chunked = new(http1.ChunkedReader)
	case r.ContentLength > 0:
		h.remaining = r.ContentLength
	default:
		h.bodyDone, f.bodyErr = true, io.EOF
	}
	h.req.KeepAlive = c.is(connKeepAlive)
	c.setFallbackDeadline()
	req := h.req
	go func() {
		defer func() { <-g.fallers }()
		defer cancel()
		if panicked, stack := serveFallback(f, req, l.cfg.Fallback); panicked != nil {
			g.stats.panics.Add(1)
			l.cfg.Logger.Error("netpoll: panic in Config.Fallback", "panic", fmt.Sprint(panicked), "stack", string(stack))
		}
	}()
}

// setFallbackDeadline bounds how long the peer may neither send what is left of
// its body nor read what is queued for it.
func (c *Conn) setFallbackDeadline() {
	h := c.http
	h.fallback.mu.Lock()
	stalled := h.fallback.stalled
	h.fallback.mu.Unlock()
	switch {
	case c.out != nil:
		c.setDeadline(c.loop.cfg.IdleTimeout)
	case !h.bodyDone && !stalled:
		c.setDeadline(c.loop.cfg.BodyTimeout)
	default:
		c.setDeadline(0)
	}
}

// refuse answers a request whose body, if any, is not read.
func (c *Conn) refuse(err *http1.Error, r *http1.Request) {
	if r.ContentLength != 0 {
		c.flags &^= connKeepAlive
	}
	buf := NewBuffer(256)
	defer buf.Release()
	if c.is(connKeepAlive) {
		body := err.Reason + "\n"
		buf.B = http1.AppendResponseHead(buf.B, err.Status, "text/plain; charset=utf-8", len(body), true, nil)
		if !c.is(connHead) {
			buf.B = append(buf.B, body...)
		}
	} else {
		buf.B = http1.AppendError(buf.B, err, nil)
	}
	c.Respond(buf)
}

// --- on the loop ---

// addBody appends a piece of the body and tells whether reading must pause.
func (f *fallbackLink) addBody(b []byte, done bool) (full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.body = append(f.body, b...)
	if done {
		f.bodyErr = io.EOF
	}
	f.stalled = len(f.body) > bodyAhead && !done
	f.cond.Broadcast()
	return f.stalled
}

func (f *fallbackLink) endBody(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodyErr = err
	f.cond.Broadcast()
}

// peerClosed: the peer sends no more, but may still read. Like net/http, it
// cancels the request's context.
func (f *fallbackLink) peerClosed() {
	f.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bodyErr == nil {
		f.bodyErr = io.ErrUnexpectedEOF
	}
	f.cond.Broadcast()
}

func (f *fallbackLink) connClosed() {
	f.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	if f.bodyErr == nil {
		f.bodyErr = io.ErrUnexpectedEOF
	}
	f.cond.Broadcast()
}

// drained is told what is left in the connection's queue.
func (f *fallbackLink) drained(queued int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queued = queued
	f.cond.Broadcast()
}

func fallbackWrite(a, b any) {
	f, buf := a.(*fallbackLink), b.(*Buffer)
	f.c.send(buf, buf.B)
	f.mu.Lock()
	f.posted -= len(buf.B)
	f.queued = f.c.QueuedBytes()
	f.mu.Unlock()
	buf.Release()
}

func fallbackReadOn(a, _ any) {
	c := a.(*fallbackLink).c
	if c.Open() && c.http != nil {
		c.setReading(true)
		c.setFallbackDeadline()
		c.later()
	}
}

func fallbackDone(a, b any) {
	c := a.(*fallbackLink).c
	if keepAlive := b.(bool); !keepAlive || !c.http.bodyDone {
		c.flags &^= connKeepAlive
	}
	c.releaseHTTP()
	c.finishRequest()
}

// --- on the borrowed goroutine ---

func (f *fallbackLink) writeFromGoroutine(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), maxPooledBytes)
		f.mu.Lock()
		for f.posted+f.queued > fallbackAhead && !f.gone {
			f.cond.Wait()
		}
		if f.gone {
			f.mu.Unlock()
			return net.ErrClosed
		}
		f.posted += n
		f.mu.Unlock()
		buf := NewBuffer(n)
		buf.B = append(buf.B, b[:n]...)
		if !f.loop.Post(fallbackWrite, f, buf, n) {
			return net.ErrClosed
		}
		b = b[n:]
	}
	return nil
}

func (f *fallbackLink) finishFromGoroutine(keepAlive bool) {
	f.mu.Lock()
	gone := f.gone
	f.mu.Unlock()
	if !gone {
		f.loop.Post(fallbackFinish, f, keepAlive, 0)
	}
}

func fallbackFinish(a, b any) {
	if f := a.(*fallbackLink); !f.c.is(connClosed) {
		fallbackDone(f, b)
	}
}

func (f *fallbackLink) readBody(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.body) == 0 && f.bodyErr == nil {
		f.cond.Wait()
	}
	if len(f.body) == 0 {
		return 0, f.bodyErr
	}
	n := copy(p, f.body)
	f.body = f.body[n:]
	if len(f.body) == 0 {
		f.body = nil
	}
	if f.stalled && len(f.body) <= bodyAhead/2 {
		f.stalled = false
		f.loop.Post(fallbackReadOn, f, nil, 0)
	}
	return n, nil
}

func (f *fallbackLink) context() context.Context { return f.ctx }
func (f *fallbackLink) remoteAddr() net.Addr     { return textAddr(f.remote) }
func (f *fallbackLink) localAddr() net.Addr      { return nil }

// textAddr is a net.Addr for an address that is known as text.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }
