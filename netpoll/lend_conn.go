package netpoll

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/proto/http1"
)

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

// wanted is how much may be read at once without reading beyond the request, or n if
// that cannot be told.
func (f *frame) wanted(n int) int {
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
	lentReclaimed // hijacked, for Place.Adopt
	lentClosed
)

// lentConn is the net.Conn of a connection that is lent to net/http. One goroutine
// reads at a time, as net/http and hijackers do.
type lentConn struct {
	// Immutable after Accept.
	net.Conn // the kernel's
	c        *Conn
	g        *Group
	ln       *lender
	mounted  *mounted // nil for a connection of an own listener
	charged  int      // to the group's memory, until the slot is given back
	told     proxied  // what is known of the peer beyond the kernel's address
	remote   net.Addr // its address as a proxy has told it; nil: the kernel's holds

	// Guarded by mu.
	mu        sync.Mutex
	cond      sync.Cond // signalled when state or expired changes
	state     lentState
	expired   bool          // the read deadline has been set to a time that is over
	deadline  time.Time     // for reading, as net/http or its user has set it
	set       time.Time     // the one that Conn has at present
	writeBy   bool          // a deadline for writing has been set
	armed     time.Time     // when the last one of ours was set
	in        []byte        // read, and not given yet
	frame     frame         // the request that is given
	waited    time.Duration // for the peer, in this request's content
	reclaimed bool          // it is going to be hijacked for Place.Adopt

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
		reclaimed := h.reclaimed
		switch {
		case closed:
		case reclaimed:
			h.state = lentReclaimed
		default:
			h.state = lentHijacked
		}
		h.mu.Unlock()
		if !closed && !reclaimed {
			h.ln.give(h)
			h.post(hijackedLentOnLoop)
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
	n, err := h.readKernel(p[:h.frame.wanted(len(p))], deadline)
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
	var scratch [64]byte
	for !h.expired && h.state == lentServing && len(h.in) == 0 {
		n, err := h.readKernel(scratch[:], h.deadline)
		h.in = append(h.in, scratch[:n]...)
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
	if len(h.in) == 0 && !h.ln.crowded() && !h.g.closed.Load() {
		h.ln.waits(h)
		n, err := h.readKernel(p, h.deadline)
		if h.ln.waitsNoMore(h) {
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
		if err == nil && n > 0 && r.ContentLength >= 0 && int64(len(h.in)-n) >= r.ContentLength && h.serves(&r) {
			h.frame.begin(&r, n)
			h.state, h.waited = lentServing, 0
			return h.readRequest(p)
		}
	}
	h.state = lentReturning
	return 0, io.EOF
}

// RemoteAddr is for net/http and hijackers.
func (h *lentConn) RemoteAddr() net.Addr {
	if h.remote != nil {
		return h.remote
	}
	return h.Conn.RemoteAddr()
}

// Write is for net/http and hijackers. A peer that reads at Config.MinRate is
// waited for as long as it takes, unless a deadline has been set.
func (h *lentConn) Write(p []byte) (n int, err error) {
	h.wrote.Store(true)
	if _, ok := h.Conn.(*lentTLS); !ok {
		return h.writeTo(h.Conn, p)
	}
	if n, err = h.Conn.Write(p); err != nil { // it calls writeTo for its records
		h.failed.Store(true)
	}
	return n, err
}

// writeTo is Write for the kernel's connection.
func (h *lentConn) writeTo(conn net.Conn, p []byte) (n int, err error) {
	for owed := -1; ; {
		own := h.armWrite(owed >= 0)
		k, err := conn.Write(p[n:])
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
	if c, ok := h.Conn.(*bridgeConn); ok {
		return h.sys().Unsent(c.d.fd)
	}
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
	case lentReclaimed: // not adopted
		err := h.Conn.Close()
		h.ln.give(h)
		h.post(endLentOnLoop)
		return err
	case lentGone, lentIdle: // the kernel sends what is left
		err := h.Conn.Close()
		h.ln.give(h)
		h.post(endLentOnLoop)
		return err
	}
	if was == lentServing && h.ln.cutting.Load() {
		h.failed.Store(true)
	}
	fd, err := h.sys().TakeBack(kernelConn(h.Conn))
	if err == nil {
		rest := unlend(h.Conn)
		h.mu.Lock() // a reader may just have ended
		h.in = append(h.in, rest...)
		h.mu.Unlock()
	}
	h.ln.give(h)
	switch {
	case err != nil:
		h.post(endLentOnLoop)
	case was == lentReturning:
		h.c.fd = int32(fd)
		h.post(returnLentOnLoop)
	default:
		h.c.fd = int32(fd)
		h.post(closeLentOnLoop)
	}
	return nil
}

// post has the loop go on with the connection, which is the loop's again.
func (h *lentConn) post(run func(a, b any)) bool {
	if h.g.loops[h.c.home.Load()].PostNow(run, h, nil, 0) {
		return true
	}
	if h.c.fd >= 0 { // the group has ended
		_ = h.sys().Close(int(h.c.fd))
	}
	h.g.connEnded()
	return false
}
