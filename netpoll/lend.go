package netpoll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
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
	if g.lender == nil {
		c.refuseUnclaimed(&http1.Error{Status: http.StatusNotFound, Reason: "nothing is served here"}, r)
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
	if !g.lender.take() {
		g.stats.refusedFallback.Add(1)
		c.refuseUnclaimed(&http1.Error{Status: http.StatusServiceUnavailable, Reason: "too many requests are under way"}, r)
		return c.skipped(r, n, len(b))
	}
	c.lend(r, b, n)
	return len(b)
}

// awaitDrain has an unclaimed request wait until what is queued has gone out.
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
	var room [64]byte
	buf := NewBuffer(256)
	buf.B = http1.AppendResponseHead(buf.B, err.Status, "text/plain; charset=utf-8", len(body), true, c.loop.AppendDate(room[:0]))
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
func (c *Conn) lend(r *http1.Request, b []byte, n int) {
	l := c.loop
	h := &lentConn{c: c, g: l.group, in: append([]byte(nil), b...)}
	h.cond.L = &h.mu
	h.frame.begin(r, n)
	c.endRequest()
	c.enter(phaseLent)
	c.settle()
	c.leave()
	c.flags |= connMoving
	ln := l.group.lender
	ln.lent <- h // it has room: take has seen to that
	if ln.cutting.Load() {
		ln.cutUnaccepted() // end may have looked before
	}
}

// lender is the net.Listener of the group's http.Server.
type lender struct {
	// Immutable after newLender.
	g      *Group
	server *http.Server
	lent   chan *lentConn
	max    int32
	done   chan struct{} // closed when the group has ended

	// Any goroutine (atomic).
	slots   atomic.Int32 // connections lent at present
	cutting atomic.Bool  // what is served is not waited for any more

	waiting
}

func newLender(g *Group) *lender {
	ln := &lender{g: g, max: int32(g.cfg.MaxFallback), lent: make(chan *lentConn, g.cfg.MaxFallback), done: make(chan struct{})}
	ln.server = &http.Server{
		Handler:   http.HandlerFunc(ln.serveHTTP),
		ConnState: func(c net.Conn, s http.ConnState) { c.(*lentConn).changed(s) },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, lentKey{}, c)
		},
		ErrorLog: slog.NewLogLogger(g.cfg.Logger.Handler(), slog.LevelWarn),
	}
	go func() { _ = ln.server.Serve(ln) }()
	return ln
}

type lentKey struct{}

// take takes a slot, if there is one.
func (ln *lender) take() bool {
	if ln.slots.Add(1) > ln.max || ln.g.memory.Near() {
		ln.slots.Add(-1)
		return false
	}
	ln.g.memory.Add(lentBytes)
	return true
}

// give gives it back.
func (ln *lender) give() {
	ln.slots.Add(-1)
	ln.g.memory.Add(-lentBytes)
}

// crowded tells whether slots are too few for connections to wait in.
func (ln *lender) crowded() bool { return ln.slots.Load() > ln.max/2 }

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
				ln.give()
				h.post(endLent)
				continue
			}
			h.Conn = conn
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
			ln.give()
			h.post(closeLent)
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
		v := recover()
		if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			ln.g.stats.panics.Add(1)
			ln.g.cfg.Logger.Error("netpoll: panic in Config.Fallback", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		if v != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	ln.g.cfg.Fallback.ServeHTTP(w, r)
	completed = true
}

// frame is the request that a lentConn gives at present: how much of it is still
// to come.
type frame struct {
	head    int
	length  int64
	chunked *http1.ChunkedReader
	got     int64 // content so far
}

func (f *frame) begin(r *http1.Request, head int) {
	*f = frame{head: head, length: max(r.ContentLength, 0)}
	if r.Chunked {
		f.chunked = new(http1.ChunkedReader)
	}
}

func (f *frame) done() bool { return f.head == 0 && f.length == 0 && f.chunked == nil }

// room is how much may be read at once without reading beyond the request, or n if
// that cannot be told.
func (f *frame) room(n int) int {
	if f.head == 0 && f.chunked == nil {
		return int(min(int64(n), f.length))
	}
	return n
}

// take tells how much of b belongs to the request, and counts it.
func (f *frame) take(b []byte) (n int, err error) {
	n = min(f.head, len(b))
	f.head -= n
	if f.chunked == nil {
		k := int(min(f.length, int64(len(b)-n)))
		f.length -= int64(k)
		f.got += int64(k)
		return n + k, nil
	}
	for n < len(b) && f.chunked != nil && f.head == 0 {
		_, k, done, err := f.chunked.Consume(b[n:])
		if err != nil {
			return n, err
		}
		n += k
		f.got += int64(k)
		if done {
			f.chunked = nil
		}
	}
	return n, nil
}

type lentState uint8

const (
	lentServing lentState = iota
	lentIdle
	lentReturning // net/http has been told that nothing more comes
	lentEnding    // as well, but the connection is to be closed
	lentGone      // the peer has closed it, and has been answered
	lentHijacked
	lentClosed
)

// lentConn is the net.Conn of a connection that is lent to net/http. One goroutine
// reads at a time, as net/http and hijackers do.
type lentConn struct {
	// Immutable after Accept.
	net.Conn // the kernel's
	c        *Conn
	g        *Group

	// Guarded by mu.
	mu       sync.Mutex
	cond     sync.Cond // signalled when state or expired changes
	state    lentState
	expired  bool          // the read deadline has been set to a time that is over
	deadline time.Time     // for reading, as net/http or its user has set it
	set      time.Time     // the one that Conn has at present
	writeBy  bool          // a deadline for writing has been set
	armed    time.Time     // when the last one of ours was set
	in       []byte        // read, and not given yet
	frame    frame         // the request that is given
	waited   time.Duration // for the peer, in this request's content

	// Any goroutine (atomic).
	failed atomic.Bool // the answer is not whole
	wrote  atomic.Bool // something has been sent
}

// changed is told by http.Server.
func (h *lentConn) changed(s http.ConnState) {
	switch s {
	case http.StateIdle:
		h.mu.Lock()
		switch {
		case h.state != lentServing:
		case h.frame.done():
			h.state = lentIdle
		default: // net/http takes another end of the request for it
			h.state = lentEnding
		}
		h.mu.Unlock()
	case http.StateHijacked:
		h.mu.Lock()
		closed := h.state == lentClosed // by http.Server.Close: it has been given back
		if !closed {
			h.state = lentHijacked
		}
		h.mu.Unlock()
		if !closed {
			h.g.lender.give()
			h.post(hijackedLent)
		}
	}
}

// Read is for net/http and hijackers.
func (h *lentConn) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	switch h.state {
	case lentServing:
		if h.frame.done() {
			return h.await()
		}
		return h.readRequest(p)
	case lentIdle:
		return h.readNext(p)
	case lentHijacked:
		if n := copy(p, h.in); n > 0 {
			h.in = h.in[n:]
			return n, nil
		}
		return h.readKernel(p, h.deadline)
	}
	return 0, io.EOF
}

// readKernel reads from the connection. mu is held, and given back meanwhile.
func (h *lentConn) readKernel(p []byte, deadline time.Time) (int, error) {
	if h.expired {
		return 0, os.ErrDeadlineExceeded
	}
	if deadline != h.set {
		_ = h.Conn.SetReadDeadline(deadline)
		h.set = deadline
	}
	h.mu.Unlock()
	n, err := h.Conn.Read(p)
	h.mu.Lock()
	return n, err
}

// readRequest gives bytes of the request under way.
func (h *lentConn) readRequest(p []byte) (int, error) {
	if len(h.in) > 0 {
		n, err := h.frame.take(h.in[:min(len(p), len(h.in))])
		copy(p, h.in[:n])
		if h.in = h.in[n:]; len(h.in) == 0 {
			h.in = nil
		}
		return n, err
	}
	// Content that is not here yet: a time in all, and more for what comes.
	cfg := &h.g.cfg
	deadline := h.deadline
	begun := time.Now()
	if cfg.BodyTimeout > 0 {
		allowed := cfg.BodyTimeout + time.Duration(float64(h.frame.got)/float64(cfg.MinRate)*float64(time.Second))
		if by := begun.Add(allowed - h.waited); deadline.IsZero() || by.Before(deadline) {
			deadline = by
		}
	}
	n, err := h.readKernel(p[:h.frame.room(len(p))], deadline)
	h.waited += time.Since(begun)
	if errors.Is(err, os.ErrDeadlineExceeded) && !h.expired && deadline != h.deadline {
		h.g.stats.timeouts.Add(1)
	}
	k, malformed := h.frame.take(p[:n])
	if k < n {
		h.in = append(h.in, p[k:n]...)
	}
	if err == nil {
		err = malformed
	}
	return k, err
}

// await is a read behind the end of the request that is being served: nothing of
// the next is given. It ends with the peer's end, or when net/http interrupts it.
func (h *lentConn) await() (int, error) {
	var room [64]byte
	for !h.expired && h.state == lentServing && len(h.in) == 0 {
		n, err := h.readKernel(room[:], h.deadline)
		h.in = append(h.in, room[:n]...)
		if n == 0 && err != nil {
			return 0, err
		}
	}
	for !h.expired && h.state == lentServing {
		h.cond.Wait()
	}
	if h.state == lentClosed {
		return 0, net.ErrClosed
	}
	return 0, os.ErrDeadlineExceeded
}

// readNext waits, not long, for a request that net/http is to serve; otherwise the
// connection goes back to the loop.
func (h *lentConn) readNext(p []byte) (int, error) {
	if len(h.in) == 0 && !h.g.lender.crowded() && !h.g.closed.Load() {
		h.g.lender.waits(h)
		n, err := h.readKernel(p, h.deadline)
		if h.g.lender.waitsNoMore(h) {
			h.set = longAgo
		}
		if h.state != lentIdle {
			return 0, net.ErrClosed
		}
		h.in = append(h.in, p[:n]...)
		if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			h.state = lentGone // the peer has closed it
			return 0, err
		}
	}
	var r http1.Request
	if len(h.in) > 0 {
		lim := http1.HeadLimits{LineBytes: h.g.cfg.MaxRequestLineBytes, HeadBytes: h.g.cfg.MaxHeadBytes, Fields: h.g.cfg.MaxHeaderFields}
		n, err := r.ParseHead(h.in, lim)
		if err == nil && n > 0 && r.ContentLength >= 0 && int64(len(h.in)-n) >= r.ContentLength && !h.g.handler.Claims(r.Path) {
			h.frame.begin(&r, n)
			h.state, h.waited = lentServing, 0
			return h.readRequest(p)
		}
	}
	h.state = lentReturning
	return 0, io.EOF
}

// Write is for net/http and hijackers. A peer that reads at Config.MinRate is
// waited for as long as it takes, unless a deadline has been set.
func (h *lentConn) Write(p []byte) (n int, err error) {
	h.wrote.Store(true)
	for owed := -1; ; {
		own := h.armWrite(owed >= 0)
		k, err := h.Conn.Write(p[n:])
		n += k
		if err == nil || !h.mayGoOn(err, &owed, k, own) {
			return n, err
		}
	}
}

// sendfileBytes is how much of a file is sent under one deadline.
const sendfileBytes = 4 << 20

// ReadFrom is for net/http: the kernel sends files.
func (h *lentConn) ReadFrom(src io.Reader) (n int64, err error) {
	rf, ok := h.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{h}, src)
	}
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	h.wrote.Store(true)
	owed := -1
	for limited.N > 0 {
		piece := &io.LimitedReader{R: limited.R, N: min(limited.N, sendfileBytes)}
		asked := piece.N
		own := h.armWrite(true)
		k, err := rf.ReadFrom(piece)
		n += k
		limited.N -= k
		switch {
		case err == nil && k < asked:
			return n, nil // the end of src
		case err != nil && (piece.N != asked-k || !h.mayGoOn(err, &owed, int(k), own)):
			return n, err
		}
	}
	return n, nil
}

// armWrite gives a write its time, if nobody else has. What another write has set
// lately is enough, unless anew.
func (h *lentConn) armWrite(anew bool) (own bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.g.cfg.WriteTimeout
	if h.writeBy || h.state == lentHijacked || d <= 0 {
		return false
	}
	if now := time.Now(); anew || now.Sub(h.armed) > d/8 {
		h.armed = now
		_ = h.Conn.SetWriteDeadline(now.Add(d))
	}
	return true
}

// unsent is what the kernel has taken and the peer not acknowledged.
func (h *lentConn) unsent() (n int) {
	if sc, ok := h.Conn.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			_ = rc.Control(func(fd uintptr) { n = h.sys().Unsent(int(fd)) })
		}
	}
	return n
}

func (h *lentConn) sys() System { return h.g.loops[h.c.home.Load()].sys }

// mayGoOn tells whether a write that has not ended in time goes on, because the
// peer has read enough meanwhile.
//
// owed is what the peer had not acknowledged at the last look, -1 before the first.
func (h *lentConn) mayGoOn(err error, owed *int, written int, own bool) bool {
	if own && errors.Is(err, os.ErrDeadlineExceeded) {
		was := *owed
		*owed = h.unsent()
		if was < 0 || was+written-*owed >= atRate(h.g.cfg.MinRate, h.g.cfg.WriteTimeout) {
			return true
		}
		h.g.stats.timeouts.Add(1)
	}
	h.failed.Store(true)
	return false
}

// SetDeadline is for net/http and its users.
func (h *lentConn) SetDeadline(t time.Time) error {
	_ = h.SetWriteDeadline(t)
	return h.SetReadDeadline(t)
}

// SetReadDeadline is for net/http and its users.
func (h *lentConn) SetReadDeadline(t time.Time) error {
	h.mu.Lock()
	h.deadline = t
	h.expired = !t.IsZero() && !t.After(time.Now())
	h.cond.Broadcast()
	same := t == h.set
	h.set = t
	h.mu.Unlock()
	if same {
		return nil
	}
	return h.Conn.SetReadDeadline(t) // wakes a reader, who wants mu
}

// SetWriteDeadline is for net/http and its users.
func (h *lentConn) SetWriteDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writeBy = !t.IsZero()
	return h.Conn.SetWriteDeadline(t)
}

// CloseWrite is for net/http: it ends the sending side.
func (h *lentConn) CloseWrite() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Close is for net/http, which is done with the connection, and for hijackers.
func (h *lentConn) Close() error {
	h.mu.Lock()
	was := h.state
	h.state = lentClosed
	h.cond.Broadcast()
	h.mu.Unlock()
	switch was {
	case lentClosed:
		return net.ErrClosed
	case lentHijacked:
		return h.Conn.Close()
	case lentGone, lentIdle: // the kernel sends what is left
		err := h.Conn.Close()
		h.g.lender.give()
		h.post(endLent)
		return err
	}
	if was == lentServing && h.g.lender.cutting.Load() {
		h.failed.Store(true)
	}
	fd, err := h.sys().TakeBack(h.Conn)
	h.g.lender.give()
	switch {
	case err != nil:
		h.post(endLent)
	case was == lentReturning:
		h.c.fd = int32(fd)
		h.post(returnLent)
	default:
		h.c.fd = int32(fd)
		h.post(closeLent)
	}
	return nil
}

// post has the loop go on with the connection, which is the loop's again.
func (h *lentConn) post(run func(a, b any)) {
	if h.g.loops[h.c.home.Load()].PostNow(run, h, nil, 0) {
		return
	}
	if h.c.fd >= 0 { // the group has ended
		_ = h.sys().Close(int(h.c.fd))
	}
	h.g.connEnded()
}

func returnLent(a, _ any) {
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
	if len(h.in) > 0 {
		c.process(h.in)
	}
	if l.draining && c.phase < phaseClosing {
		c.drain()
	}
}

func closeLent(a, _ any) {
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

// endLent: the descriptor is gone.
func endLent(a, _ any) {
	c := a.(*lentConn).c
	c.phase = phaseClosed
	c.reportSoon(ErrClosed)
	c.loop.ended(c)
}

func hijackedLent(a, _ any) {
	c := a.(*lentConn).c
	c.phase = phaseClosed
	c.reportSoon(ErrHijacked)
	c.loop.ended(c)
}
