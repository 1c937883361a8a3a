package netpoll

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// Requests that the Handler does not claim belong to net/http: their connection is
// lent to one http.Server of the group, over Config.Fallback, and comes back when
// net/http has nothing more to do for it.
//
//	loop: an unclaimed request, whole up to 64 KiB
//	  -> lentConn, a net.Conn with the bytes read so far -> lender.Accept -> http.Server -> Config.Fallback
//	between two requests, or before a claimed one: Read ends net/http's reading,
//	  its Close -> Loop.Post -> the loop again, with the bytes not used
//
// A lentConn gives net/http one request at a time, and never a byte of the next:
// each head is parsed here, strictly and once, so that net/http holds nothing when
// the connection leaves it, and never sees a claimed request. Nothing of it is
// held for an idle connection.
//
//	state     event                                       next
//	--------  ------------------------------------------  --------
//	serving   Read                                        bytes of this request; at its end it waits, for
//	                                                      the peer's end or net/http's interruption
//	          http.StateIdle                              idle
//	          http.StateHijacked                          hijacked: the user's, and no longer counted
//	          Close (Connection: close, a panic)          closing on the loop; reset in the middle of an answer
//	idle      Read: the head of an unclaimed request      serving
//	          Read: anything else, lendIdle passed        io.EOF, and Close gives it back to the loop
//	          Read: the peer's end                        closed
//	          Close (http.Server.SetKeepAlivesEnabled)    closed

const (
	maxGathered = 64 << 10               // bytes of a request that are gathered before a slot is taken
	lentBytes   = 16 << 10               // that net/http takes for a connection, its goroutine included
	lendIdle    = 200 * time.Millisecond // that a connection waits at net/http for a next request
)

// gathering finds the end of an unclaimed request's chunked content.
type gathering struct {
	chunked *http1.ChunkedReader
	at      int // how far it has been looked at
}

// consumeUnclaimed lends the connection to net/http for a request whose head is
// b[:n], once the request is here as a whole, up to maxGathered: a peer that sends
// slowly takes no slot.
func (c *Conn) consumeUnclaimed(r *http1.Request, b []byte, n int) int {
	l := c.loop
	g := l.group
	ln := c.lenderOf()
	if ln == nil {
		c.refuseUnclaimed(errUnserved, r)
		return c.skipped(r, n, len(b))
	}
	whole, err := c.gather(r, b, n)
	switch {
	case err != nil:
		c.fail(err)
		return len(b)
	case !whole:
		return 0
	}
	if c.out != nil {
		// Answers to earlier requests go first, on the loop.
		if c.flush(); c.out != nil || c.phase >= phaseClosing {
			c.awaitDrain()
			return 0
		}
	}
	if !ln.take() {
		g.stats.refusedFallback.Add(1)
		c.refuseUnclaimed(&http1.Error{Status: http.StatusServiceUnavailable, Reason: "too many requests are under way"}, r)
		return c.skipped(r, n, len(b))
	}
	c.lend(ln, r, b, n)
	return len(b)
}

// awaitDrain keeps an unclaimed request back until what is queued has gone out.
func (c *Conn) awaitDrain() {
	if c.phase < phaseClosing {
		c.enter(phaseWriting)
	}
}

// skipped is how much of the input a refused request takes; content is not read.
func (c *Conn) skipped(r *http1.Request, n, all int) int {
	if r.ContentLength != 0 {
		return all
	}
	return n
}

// refuseUnclaimed answers a request whose content, if any, is not read.
func (c *Conn) refuseUnclaimed(err *http1.Error, r *http1.Request) {
	if r.ContentLength != 0 || r.Minor == 0 {
		c.flags &^= connKeepAlive
	}
	if !c.is(connKeepAlive) {
		c.enter(phaseDeciding)
		c.refuse(err, "")
		c.finishRequest()
		return
	}
	body := err.Reason + "\n"
	var scratch [64]byte
	buf := NewBuffer(256)
	buf.B = http1.AppendResponseHead(buf.B, err.Status, "text/plain; charset=utf-8", len(body), true, c.loop.AppendDate(scratch[:0]))
	if !c.is(connHead) {
		buf.B = append(buf.B, body...)
	}
	c.enter(phaseDeciding)
	c.Respond(buf)
	buf.Release()
}

// gather tells whether a request is here as a whole, or more of it than is waited
// for. Until then its bytes stay unread input.
func (c *Conn) gather(r *http1.Request, b []byte, n int) (whole bool, err *http1.Error) {
	if r.ContentLength == 0 || r.Expect100 {
		return true, nil
	}
	all := len(b) >= maxGathered
	b = b[:min(len(b), max(maxGathered, n))] // what is behind makes no difference
	g := gathering{}
	if c.phase == phaseBody {
		g = c.x.gathered
	}
	need := 0
	if r.Chunked {
		if g.chunked == nil {
			g = gathering{new(http1.ChunkedReader), n}
		}
		for g.at < len(b) {
			_, k, done, err := g.chunked.Consume(b[g.at:])
			if err != nil {
				return false, err
			}
			g.at += k
			if done {
				return true, nil
			}
		}
		if all {
			return true, nil
		}
	} else {
		if all || r.ContentLength <= int64(len(b)-n) {
			return true, nil
		}
		need = int(min(int64(n)+r.ContentLength, maxGathered))
	}
	if c.phase != phaseBody {
		c.enter(phaseBody)
	}
	c.x.need, c.x.gathered = need, g
	return false, nil
}

// lend takes the connection off the loop. b is the request, as far as it is here,
// and what follows it; its head is b[:n].
func (c *Conn) lend(ln *lender, r *http1.Request, b []byte, n int) {
	l := c.loop
	h := &lentConn{c: c, g: l.group, ln: ln, mounted: c.mounted(), in: append([]byte(nil), b...), charged: lentBytes + len(b)}
	h.told = l.proxied[c]
	h.told.there = c.Secure()
	h.remote = h.told.remoteAddr()
	h.cond.L = &h.mu
	h.g.memory.Add(len(b))
	h.frame.begin(r, n)
	c.endRequest()
	c.enter(phaseLent)
	c.settle()
	c.leave()
	c.setMounted(nil)
	c.flags |= connMoving
	ln.lent <- h // take has reserved its place
	if ln.cutting.Load() {
		ln.cutUnaccepted() // end may have looked before
	}
}

// lender is the net.Listener of the group's http.Server.
type lender struct {
	// Immutable after newLender.
	g      *Group
	server *http.Server
	user   *http.Server // whose handlers it has; nil for Config.Fallback
	lent   chan *lentConn
	done   chan struct{} // closed when the group has ended

	// Any goroutine (atomic).
	cutting atomic.Bool // what is served is not waited for any more

	waiting
}

func newLender(g *Group) *lender {
	ln := &lender{g: g, lent: make(chan *lentConn, g.cfg.MaxFallback), done: make(chan struct{})}
	ln.server = &http.Server{
		Handler:   http.HandlerFunc(ln.serveHTTP),
		ConnState: func(c net.Conn, s http.ConnState) { c.(*lentConn).changed(s) },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, lentKey{}, c)
		},
		ErrorLog: slog.NewLogLogger(g.cfg.Logger.Handler(), slog.LevelWarn),
	}
	return ln
}

func (ln *lender) start() *lender {
	go func() { _ = ln.server.Serve(ln) }()
	return ln
}

type lentKey struct{}

// take takes a slot, if there is one.
func (ln *lender) take() bool {
	if ln.g.lent.Add(1) > int32(ln.g.cfg.MaxFallback) || ln.g.memory.Near() {
		ln.g.lent.Add(-1)
		return false
	}
	ln.g.memory.Add(lentBytes)
	return true
}

// give gives it back, and what its connection has brought along.
func (ln *lender) give(h *lentConn) {
	ln.g.lent.Add(-1)
	ln.g.memory.Add(-h.charged)
}

// crowded tells whether slots are too few for connections to wait in.
func (ln *lender) crowded() bool { return ln.g.lent.Load() > int32(ln.g.cfg.MaxFallback)/2 }

// Accept is for http.Server.
func (ln *lender) Accept() (net.Conn, error) {
	for {
		select {
		case h := <-ln.lent:
			conn, err := h.sys().Lend(int(h.c.fd))
			h.c.fd = -1
			if err == nil && conn.RemoteAddr() == nil { // the peer has reset it
				_ = conn.Close()
				err = net.ErrClosed
			}
			if err != nil {
				ln.give(h)
				h.post(endLentOnLoop)
				continue
			}
			h.Conn = conn
			if h.c.layers&layerTLS != 0 {
				h.Conn = h.c.lendTLS(conn, h)
			}
			return h, nil
		case <-ln.done:
			return nil, net.ErrClosed
		}
	}
}

// waiting are the connections that wait at net/http for a next request, and since
// when. One timer looks after all: to set a deadline for each wait would wake the
// runtime's poller each time.
type waiting struct {
	// Guarded by mu.
	mu    sync.Mutex
	since map[*lentConn]time.Time // zero for who has been interrupted
	armed bool                    // sweep is to be called
}

// longAgo is a deadline that interrupts.
var longAgo = time.Unix(1, 0)

func (w *waiting) waits(h *lentConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since == nil {
		w.since = map[*lentConn]time.Time{}
	}
	w.since[h] = time.Now()
	if !w.armed {
		w.armed = true
		time.AfterFunc(lendIdle, w.sweep)
	}
}

// waitsNoMore tells whether the wait has been interrupted.
func (w *waiting) waitsNoMore(h *lentConn) (interrupted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	interrupted = w.since[h].IsZero()
	delete(w.since, h)
	return interrupted
}

// sweep interrupts who has waited for lendIdle.
func (w *waiting) sweep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for h, since := range w.since {
		if !since.IsZero() && now.Sub(since) >= lendIdle {
			w.since[h] = time.Time{}
			_ = h.Conn.SetReadDeadline(longAgo)
		}
	}
	if w.armed = len(w.since) > 0; w.armed {
		time.AfterFunc(lendIdle/2, w.sweep)
	}
}

// end cuts what net/http still serves.
func (ln *lender) end() {
	ln.cutting.Store(true)
	close(ln.done)
	_ = ln.server.Close()
	ln.cutUnaccepted()
}

// cutUnaccepted cuts what has been lent and Accept does not take any more.
func (ln *lender) cutUnaccepted() {
	for {
		select {
		case h := <-ln.lent:
			ln.give(h)
			h.post(closeLentOnLoop)
		default:
			return
		}
	}
}

// Close is for http.Server.
func (ln *lender) Close() error { return nil }

// Addr is for http.Server.
func (ln *lender) Addr() net.Addr { return &net.TCPAddr{} }

// serveHTTP calls the user's handler. What it panics with costs its own connection,
// as in net/http, and is counted.
func (ln *lender) serveHTTP(w http.ResponseWriter, r *http.Request) {
	h := r.Context().Value(lentKey{}).(*lentConn)
	completed := false
	defer func() {
		if completed {
			return
		}
		h.failed.Store(true)
		if ln.user != nil {
			return // its server's own way
		}
		v := recover()
		if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			ln.g.stats.panics.Add(1)
			ln.g.cfg.Logger.Error("netpoll: panic in Config.Fallback", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		if v != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	if r.TLS == nil {
		r.TLS = tlsOf(h.Conn)
	}
	ln.handler().ServeHTTP(w, r)
	completed = true
}

func returnLentOnLoop(a, _ any) {
	h := a.(*lentConn)
	c := h.c
	l := c.loop
	c.flags &^= connMoving
	c.flags |= connNoRead
	c.phase = phaseIdle
	if !l.adopt(c) {
		return
	}
	c.enter(phaseIdle)
	c.setMounted(h.mounted)
	if len(h.in) > 0 {
		c.process(h.in)
	}
	c.receiveOn()
	if l.draining && c.phase < phaseClosing {
		c.drain()
	}
}

func closeLentOnLoop(a, _ any) {
	h := a.(*lentConn)
	c := h.c
	c.flags &^= connMoving
	c.phase = phaseIdle
	if !c.loop.adopt(c) {
		return
	}
	if h.failed.Load() && h.wrote.Load() { // no cut looks like a whole answer
		c.end(ErrClosed, true)
		return
	}
	c.beginClosing(ErrClosed)
}

// endLentOnLoop: the descriptor is gone.
func endLentOnLoop(a, _ any) {
	c := a.(*lentConn).c
	c.phase = phaseClosed
	c.reportSoon(ErrClosed)
	c.loop.ended(c)
}

func hijackedLentOnLoop(a, _ any) {
	c := a.(*lentConn).c
	c.phase = phaseClosed
	c.reportSoon(ErrHijacked)
	c.loop.ended(c)
}
