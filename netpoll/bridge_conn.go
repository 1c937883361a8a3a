package netpoll

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/internal/bytepool"
)

const (
	maxBridgedOut = 64 << 10 // bytes that wait at the bridge; what is beyond waits in the connection's queue
	smallRead     = 512      // bytes that an idle connection reads into
	largeRead     = 16 << 10 // and one of which more has come
)

var never time.Time

// bridged is a net.Conn as a descriptor. One goroutine reads until its end; another one
// writes while output waits.
type bridged struct {
	// Immutable after open.
	b      *bridge
	conn   net.Conn
	raw    syscall.RawConn // of the kernel's socket below; nil if there is none
	remote string
	fd     int
	tcp    bool
	secure bool

	// Immutable after adoptable.
	wrapped bool // the group has had it before, and it has come back with something around it

	// Any goroutine (atomic).
	owner atomic.Pointer[Conn] // nil while it is no loop's

	// Guarded by mu.
	mu      sync.Mutex
	turn    sync.Cond // signalled when in, out, an error or the state changes
	loop    *Loop     // is told
	watch   Interest
	queued  bool // it is on the loop's list
	in      []byte
	inErr   error
	out     *bytepool.Buffer
	flying  int // bytes that are being written
	outErr  error
	writing bool // the writing goroutine lives
	shut    bool // nothing more will be written
	sent    bool // and the peer has been told
	closed  bool // by its owner
	timer   *time.Timer
	small   [smallRead]byte
}

// remoteText is the peer's address as text, "@" if it has no name.
func remoteText(conn net.Conn) string {
	switch a := conn.RemoteAddr().(type) {
	case nil:
		return "@"
	case *net.TCPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()).String()
	default:
		if s := a.String(); s != "" {
			return s
		}
		return "@"
	}
}

// isSecure tells whether conn is TLS, or says that it came by it.
func isSecure(conn net.Conn) bool {
	switch c := conn.(type) {
	case interface{ Secure() bool }:
		return c.Secure()
	case interface{ ConnectionState() tls.ConnectionState }:
		return true
	}
	return false
}

// innermost is what a connection is made of.
func innermost(conn net.Conn) net.Conn {
	for {
		c, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = c.NetConn()
	}
}

func rawOf(conn net.Conn) syscall.RawConn {
	if sc, ok := innermost(conn).(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// read is the reading goroutine. It reads on when what it has read has been taken.
func (d *bridged) read() {
	var large *bytepool.Buffer
	buf := d.small[:]
	defer func() { bytepool.Put(large) }()
	for {
		n, err := d.try(func() (int, error) { return d.conn.Read(buf) })
		d.mu.Lock()
		d.in = buf[:n]
		d.inErr = err
		d.tellIfReady()
		d.turn.Broadcast()
		for len(d.in) > 0 && !d.closed {
			d.turn.Wait()
		}
		d.in = nil
		over := d.closed || err != nil
		d.mu.Unlock()
		switch {
		case over:
			return
		case n == 0:
			runtime.Gosched() // a strange Conn
		case n == len(buf) && large == nil:
			large = bytepool.Get(largeRead)
			buf = large.B[:largeRead]
		case n < len(buf) && large != nil: // nothing more at present
			bytepool.Put(large)
			large, buf = nil, d.small[:]
		}
	}
}

// try calls a function of the net.Conn, which is whoever's.
func (d *bridged) try(f func() (int, error)) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			g := d.b.g
			g.stats.panics.Add(1)
			g.cfg.Logger.Error("netpoll: panic in a net.Conn", "type", fmt.Sprintf("%T", d.conn), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			n, err = 0, syscall.ECONNRESET
		}
	}()
	return f()
}

// ready tells what the loop is to hear. mu is held.
func (d *bridged) ready() (readable, writable, hangup bool) {
	if d.watch == 0 || d.closed {
		return false, false, false
	}
	readable = d.watch&WatchRead != 0 && (len(d.in) > 0 || d.inErr != nil)
	writable = d.watch&WatchWrite != 0 && (d.outErr != nil || d.pending() <= maxBridgedOut/2)
	hangup = d.outErr != nil || d.inErr != nil && !isEnd(d.inErr)
	return readable, writable, hangup
}

// pending is what waits to be written. mu is held.
func (d *bridged) pending() int {
	if d.out == nil {
		return d.flying
	}
	return d.flying + len(d.out.B)
}

// tellIfReady enters it into the loop's list. mu is held.
func (d *bridged) tellIfReady() {
	if r, w, h := d.ready(); (r || w || h) && !d.queued {
		d.queued = true
		d.loop.tell(d)
	}
}

// told takes it off the loop's list; ok is false if it is not the loop's to handle.
func (d *bridged) told(l *Loop) (writable, hangup, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queued = false
	if d.loop != l {
		d.tellIfReady() // it has moved
		return false, false, false
	}
	r, writable, hangup := d.ready()
	return writable, hangup, r || writable || hangup
}

func (d *bridged) tellAgain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tellIfReady()
}

func (d *bridged) watchedBy(l *Loop, to Interest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loop, d.watch = l, to
	d.tellIfReady()
}

// Read is the loop's.
func (d *bridged) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.take(p); n > 0 {
		return n, nil
	}
	switch {
	case d.outErr != nil: // as of a socket that cannot be written to any more
		return -1, errnoOf(d.outErr)
	case d.inErr == nil:
		return -1, syscall.EAGAIN
	case isEnd(d.inErr):
		return 0, nil
	}
	return -1, errnoOf(d.inErr)
}

// take takes of what has been read. mu is held.
func (d *bridged) take(p []byte) int {
	n := copy(p, d.in)
	if d.in = d.in[n:]; n > 0 && len(d.in) == 0 {
		d.turn.Broadcast()
	}
	return n
}

// isEnd tells whether a read has ended with the stream. TLS without its own end is that
// of many a peer.
func isEnd(err error) bool {
	return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

func errnoOf(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != syscall.EAGAIN && errno != syscall.EINTR {
		return errno
	}
	return syscall.ECONNRESET
}

// Write is the loop's.
func (d *bridged) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.put(p)
}

// put has p, or what fits of it, written. mu is held.
func (d *bridged) put(p []byte) (int, error) {
	switch {
	case d.outErr != nil:
		return -1, errnoOf(d.outErr)
	case d.shut || d.closed:
		return -1, syscall.EPIPE
	}
	n := min(len(p), maxBridgedOut-d.pending())
	if n <= 0 && len(p) > 0 {
		return -1, syscall.EAGAIN
	}
	was := 0
	if d.out != nil {
		was = cap(d.out.B)
	}
	d.out = bytepool.Append(d.out, p[:n])
	d.b.g.memory.Add(cap(d.out.B) - was)
	d.startWriting()
	return n, nil
}

func (d *bridged) startWriting() {
	if !d.writing {
		d.writing = true
		go d.write()
	}
}

// piece is how much is written at once: a peer that takes it at MinRate is seen to move
// before a timeout is over.
func (b *bridge) piece() int {
	cfg := &b.g.cfg
	t := time.Minute
	for _, d := range []time.Duration{cfg.WriteTimeout, cfg.SlowTimeout, cfg.CloseTimeout} {
		if d > 0 {
			t = min(t, d)
		}
	}
	return min(max(atRate(cfg.MinRate, t), smallRead), largeRead)
}

// write is the writing goroutine.
func (d *bridged) write() {
	piece := d.b.piece()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.outErr == nil {
		if d.out == nil {
			if !d.shut || d.sent || d.closed {
				break
			}
			d.sent = true
			d.mu.Unlock()
			_, err := d.try(func() (int, error) { return 0, d.closeWrite() })
			d.mu.Lock()
			d.outErr = err
			continue
		}
		b := d.out
		d.out, d.flying = nil, len(b.B)
		for p := b.B; len(p) > 0 && d.outErr == nil; {
			d.extend()
			d.mu.Unlock()
			n, err := d.try(func() (int, error) { return d.conn.Write(p[:min(piece, len(p))]) })
			d.mu.Lock()
			p = p[n:]
			d.flying -= n
			d.outErr = err
			d.tellIfReady()
			d.turn.Broadcast()
		}
		d.flying = 0
		d.b.g.memory.Add(-cap(b.B))
		bytepool.Put(b)
	}
	if d.out != nil {
		d.b.g.memory.Add(-cap(d.out.B))
		bytepool.Put(d.out)
		d.out = nil
	}
	d.writing = false
	if d.closed {
		go d.kill()
	}
}

// extend gives a closed connection more time for a piece. mu is held.
func (d *bridged) extend() {
	if d.timer != nil {
		d.timer.Reset(d.b.lingers())
	}
}

// lingers is the time that a peer has for a piece of what is left on a closed
// connection.
func (b *bridge) lingers() time.Duration {
	if t := b.g.cfg.WriteTimeout; t > 0 {
		return t
	}
	return time.Minute
}

// closeWrite tells the peer that nothing more comes: by the connection's end where it
// has no other way.
func (d *bridged) closeWrite() error {
	if c, ok := d.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return d.conn.Close()
}

// unsent is what has been written and the peer has not acknowledged, as far as it is
// known.
func (d *bridged) unsent(kernel System) int {
	d.mu.Lock()
	n := d.pending()
	if d.shut && !d.sent {
		n++
	}
	d.mu.Unlock()
	if d.raw != nil {
		_ = d.raw.Control(func(fd uintptr) { n += kernel.Unsent(int(fd)) })
	}
	return n
}

func (d *bridged) unread() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.in)
}

func (d *bridged) shutdown() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.shut {
		d.shut = true
		d.startWriting()
	}
}

// end is the owner's last: what has been written still goes out, unless reset.
func (d *bridged) end(reset bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.closed = true
	d.owner.Store(nil)
	d.turn.Broadcast()
	left := d.writing && !reset
	d.b.leave(d, left)
	switch {
	case reset:
		go d.reset()
	case left:
		d.timer = time.AfterFunc(d.b.lingers(), d.kill)
	default:
		go d.kill()
	}
}

// kill ends the net.Conn, which ends the goroutines. It may wait: TLS sends its end.
func (d *bridged) kill() {
	d.mu.Lock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	_, _ = d.try(func() (int, error) { return 0, d.conn.Close() })
	d.b.gone(d)
}

// reset ends it so that the peer takes it for no clean end.
func (d *bridged) reset() {
	_, _ = d.try(func() (int, error) {
		c := innermost(d.conn)
		switch c := c.(type) {
		case *net.TCPConn:
			_ = c.SetLinger(0)
		case interface{ Reset() }:
			c.Reset()
		}
		return 0, c.Close()
	})
	d.kill()
}
