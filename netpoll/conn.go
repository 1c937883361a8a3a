package netpoll

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/bytebufferpool"
)

// Reasons for which a connection ended, as Handler.HandleClose gets them.
// Others are *CloseError and the kernel's errno values.
var (
	// ErrSlowConsumer: the peer did not read, and Config.MaxQueuedBytes waited for it.
	ErrSlowConsumer = errors.New("netpoll: peer reads too slowly")
	// ErrTimeout: the peer did not send what was due in time.
	ErrTimeout = errors.New("netpoll: peer was too slow to send")
	// ErrClosed: this side closed the connection.
	ErrClosed = errors.New("netpoll: connection closed")

	errPeerGone = io.EOF
)

// Conn is one connection: bytes, first as HTTP/1.1, then perhaps as WebSocket.
// An idle connection holds no buffer. All methods are for the goroutine of its
// loop only, unless they say otherwise.
type Conn struct {
	// Loop-owned.

	// Context is the handler's own.
	Context any

	loop     *Loop
	fd       int32
	flags    connFlags
	watch    Interest
	controls uint16                     // WebSocket control frames since the last message
	in       *bytebufferpool.ByteBuffer // unread input; nil when there is none
	out      *outQueue                  // unwritten output; nil when there is none
	http     *httpState                 // the request under way; nil between requests and for a WebSocket
	ws       wsReader
	timer    *connTimer // the one deadline that is set; nil when none is
}

type connFlags uint16

const (
	connWS        connFlags = 1 << iota // speaks WebSocket
	connClosed                          // its descriptor is closed
	connReported                        // the handler knows that it is over
	connLinger                          // over: what is queued goes out, input is thrown away
	connBusy                            // a request waits for its answer
	connKeepAlive                       // ... and another may follow it
	connDirty                           // on the loop's dirty list
	connReady                           // on the loop's ready list
	connNoRead                          // input stays in the kernel
	connPaused                          // ... because the handler wants it so
	connMoving                          // on its way to another loop
	connHead                            // the request under way is a HEAD
	connTCP                             // a TCP socket
	connDeflate                         // a WebSocket with permessage-deflate
)

func (c *Conn) is(f connFlags) bool { return c.flags&f != 0 }

// Loop is the loop that owns the connection at present.
func (c *Conn) Loop() *Loop { return c.loop }

// AppendRemoteAddr appends the peer's address as text; it asks the kernel.
func (c *Conn) AppendRemoteAddr(dst []byte) []byte {
	dst, _ = c.loop.sys.AppendRemoteAddr(dst, int(c.fd))
	return dst
}

// Open tells whether anything sent can still arrive.
func (c *Conn) Open() bool { return !c.is(connClosed | connLinger) }

// Pause stops delivery to the handler: input stays in the kernel, and the
// peer's sending comes to a stop. It takes effect after the message being
// handled.
func (c *Conn) Pause() {
	c.loop.Check()
	c.flags |= connPaused
	c.setReading(false)
}

// Resume ends Pause.
func (c *Conn) Resume() {
	c.loop.Check()
	if !c.is(connPaused) {
		return
	}
	c.flags &^= connPaused
	c.setReading(true)
	c.later()
}

// Paused tells whether Pause is in effect.
func (c *Conn) Paused() bool { return c.is(connPaused) }

func (c *Conn) setReading(on bool) {
	if c.is(connClosed) {
		return
	}
	if on {
		c.flags &^= connNoRead
		c.setWatch(c.watch | WatchRead)
	} else {
		c.flags |= connNoRead
		c.setWatch(c.watch &^ WatchRead)
	}
}

func (c *Conn) setWatch(to Interest) {
	if to == c.watch || c.is(connClosed) {
		return
	}
	if err := c.loop.sys.Watch(int(c.fd), c.watch, to); err != nil {
		c.abort(err)
		return
	}
	c.watch = to
}

// later has the input that was left unread processed in this batch.
func (c *Conn) later() {
	if c.in != nil && !c.is(connReady|connClosed) {
		c.flags |= connReady
		c.loop.ready = append(c.loop.ready, c)
	}
}

// readable reads once and processes what came. The poller is level-triggered:
// what is left in the kernel is told again, after the other sockets' turn.
func (c *Conn) readable() {
	l := c.loop
	n, err := l.sys.Read(int(c.fd), l.read)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
	case err != nil:
		c.abort(err)
	case n == 0:
		c.peerClosed()
	default:
		c.process(l.read[:n])
	}
}

// peerClosed handles the end of the peer's stream. Like net/http, it takes a
// half-closed connection for a closed one, except that a fallback handler that
// is still writing may finish.
func (c *Conn) peerClosed() {
	if c.http != nil && c.http.fallback != nil && c.is(connBusy) {
		c.http.fallback.peerClosed()
		c.flags &^= connKeepAlive
		c.setReading(false)
		return
	}
	c.abort(errPeerGone)
}

// process consumes what it can of the connection's unread input, with data at
// its end, and keeps the rest. data is borrowed until return.
func (c *Conn) process(data []byte) {
	defer c.loop.recoverPanic(c)
	if c.is(connLinger | connClosed) {
		return
	}
	b := data
	kept := c.in
	if kept != nil {
		kept.B = append(kept.B, data...)
		b = kept.B
		c.in = nil
	}
	l := c.loop
	for len(b) > 0 && !c.is(connPaused|connClosed|connLinger|connMoving) {
		var n int
		if c.is(connWS) {
			n = c.consumeFrames(b)
		} else {
			n = c.consumeRequest(b)
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	if len(b) == 0 || c.is(connClosed|connLinger) {
		releaseInput(kept)
		return
	}
	if kept == nil {
		kept = bytebufferpool.Get()
		kept.B = append(kept.B[:0], b...)
	} else {
		kept.B = kept.B[:copy(kept.B, b)]
	}
	c.in = kept
	// What can wait in front of an unanswered request is bounded by not
	// reading on.
	if len(kept.B) > readBytes && c.loop == l && !c.is(connMoving|connNoRead) {
		c.setReading(false)
	}
}

func releaseInput(b *bytebufferpool.ByteBuffer) {
	if b != nil && cap(b.B) <= maxPooledBytes {
		bytebufferpool.Put(b)
	}
}

// Close ends the connection: what is queued still goes out, for at most
// Config.CloseTimeout. The handler's HandleClose is called with err.
func (c *Conn) Close(err error) {
	c.loop.Check()
	if c.is(connClosed | connLinger) {
		return
	}
	if c.http != nil && c.http.fallback != nil && c.is(connBusy) {
		c.flags &^= connKeepAlive // when its handler is done
		return
	}
	c.reportSoon(err)
	c.flags |= connLinger
	releaseInput(c.in)
	c.in = nil
	c.ws.release()
	c.releaseHTTP()
	c.setDeadline(c.loop.cfg.CloseTimeout)
	c.flags &^= connPaused
	c.setReading(true)
	if c.out == nil {
		c.endOutput()
	}
}

// endOutput tells the peer that nothing more will come, and waits for it to
// close: closing at once, with input unread, would reset the connection and
// could destroy what is still on its way.
func (c *Conn) endOutput() {
	if err := c.loop.sys.Shutdown(int(c.fd)); err != nil {
		c.abort(err)
	}
}

// abort closes the descriptor now.
func (c *Conn) abort(err error) {
	if c.is(connClosed) {
		return
	}
	l := c.loop
	c.reportSoon(err)
	c.flags |= connClosed
	c.setDeadline(0)
	if c.watch != 0 {
		_ = l.sys.Watch(int(c.fd), c.watch, 0)
		c.watch = 0
	}
	l.conns[c.fd] = nil
	_ = l.sys.Close(int(c.fd))
	l.open--
	l.group.connClosed()
	releaseInput(c.in)
	c.in = nil
	c.ws.release()
	c.releaseOut()
	if c.http != nil && c.http.fallback != nil {
		c.http.fallback.connClosed()
	}
	c.releaseHTTP()
}

// Abort closes the connection at once; what is queued is lost.
func (c *Conn) Abort(err error) {
	c.loop.Check()
	c.abort(err)
}

type goneConn struct {
	c   *Conn
	err error
}

func (c *Conn) reportSoon(err error) {
	if c.is(connReported) {
		return
	}
	c.flags |= connReported
	if err == nil {
		err = ErrClosed
	}
	c.loop.gone = append(c.loop.gone, goneConn{c, err})
}

func (g goneConn) report(l *Loop) {
	defer l.recoverPanic(nil)
	l.h.HandleClose(g.c, g.err)
}

// MoveTo hands the connection over to another loop and has the request that is
// being handled handled there once more. It must be the last thing that
// HandleRequest does with c.
func (c *Conn) MoveTo(to *Loop, r *Request) {
	l := c.loop
	l.Check()
	c.flags |= connMoving
	_ = l.sys.Watch(int(c.fd), c.watch, 0)
	c.watch = 0
	l.conns[c.fd] = nil
	l.open--
	c.setDeadline(0)
	// process still holds the unread input; the handover follows at the end of
	// the batch, when every list of this loop has been emptied.
	l.moves = append(l.moves, move{c, to, r.Clone()})
}

type move struct {
	c  *Conn
	to *Loop
	r  *Request
}

// handOver completes MoveTo at the end of the batch.
func (m *move) handOver() {
	c := m.c
	c.loop = m.to
	if !m.to.Post(adoptMoved, c, m.r, 0) { // the group has ended
		_ = m.to.sys.Close(int(c.fd))
		m.to.group.connClosed()
	}
}

func adoptMoved(a, b any) {
	c, r := a.(*Conn), b.(*Request)
	l := c.loop
	c.flags &^= connMoving
	if !l.adopt(c) {
		return
	}
	if c.out != nil {
		c.markDirty()
	}
	defer l.recoverPanic(c)
	if l.draining {
		c.flags &^= connKeepAlive
	}
	c.deliver(r)
	c.later()
}

// adopt enters a connection into the loop's table and poller.
func (l *Loop) adopt(c *Conn) bool {
	for int(c.fd) >= len(l.conns) {
		l.conns = append(l.conns, make([]*Conn, max(64, len(l.conns)))...)
	}
	l.conns[c.fd] = c
	l.open++
	if l.stopping {
		c.abort(ErrClosed)
		return false
	}
	c.setReading(!c.is(connPaused))
	return !c.is(connClosed)
}

// connTimer is the one deadline of a connection, from a pool: a WebSocket and
// a waiting poll have none.
type connTimer struct {
	Timer
	c *Conn
}

var connTimers = sync.Pool{New: func() any { return new(connTimer) }}

// setDeadline sets the connection's deadline; d <= 0 takes it away.
func (c *Conn) setDeadline(d time.Duration) {
	t := c.timer
	if d <= 0 {
		if t != nil {
			c.loop.Stop(&t.Timer)
			t.c, c.timer = nil, nil
			connTimers.Put(t)
		}
		return
	}
	if t == nil {
		t = connTimers.Get().(*connTimer)
		t.c, c.timer = c, t
	}
	c.loop.Arm(&t.Timer, t, d)
}

// Expire is for the loop's timers only.
func (t *connTimer) Expire(*Timer) {
	c := t.c
	switch {
	case c.is(connLinger):
		c.abort(ErrClosed)
	case c.http != nil || c.in != nil: // part of a request is here
		c.loop.group.stats.timeouts.Add(1)
		c.fail(&HTTPError{Status: 408, Reason: "the request did not arrive in time"})
	default:
		c.abort(ErrTimeout)
	}
}

func (l *Loop) newConn(fd int, tcp bool) *Conn {
	c := &Conn{loop: l, fd: int32(fd), flags: connNoRead}
	if tcp {
		c.flags |= connTCP
	}
	return c
}

// adoptNew enters a new connection; its first request is due.
func (l *Loop) adoptNew(c *Conn) {
	switch {
	case !l.adopt(c):
	case l.draining: // dealt out by the acceptor before it stopped
		c.abort(ErrClosed)
	default:
		c.setDeadline(l.cfg.HeadTimeout)
	}
}
