package netpoll

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/tls13"
)

// lentTLS is the net.Conn below a lentConn whose connection has TLS: what the loop does
// with records otherwise. One goroutine reads and one writes at a time.
type lentTLS struct {
	net.Conn // the kernel's
	h        *lentConn
	c        *Conn
	t        *tlsState
	std      *tlsHandshake // whose tls.Conn it is; nil for records of our own
	state    *tls.ConnectionState

	// Guarded by reading.
	reading sync.Mutex
	plain   []byte // opened, and not read yet; in buffer
	buffer  []byte
	opener  *tls13.Cipher
	end     error // what every further Read returns

	// Guarded by writing: sealer, and of t write, out, sealed, taken and flags.
	writing sync.Mutex
	sealer  *tls13.Cipher
	over    bool
	broken  error // what every further Write returns: a record has not gone out as a whole

	// Any goroutine (atomic).
	hurried atomic.Bool // what is written has its deadline
}

// belowStd is the net.Conn below the tls.Conn of a lentTLS. That ends with the first error
// that a write has: a peer who reads slowly is waited for below it.
type belowStd struct{ *lentTLS }

func (b belowStd) Read(p []byte) (int, error) { return b.Conn.Read(p) }

func (b belowStd) Write(p []byte) (int, error) {
	if b.hurried.Load() {
		return b.Conn.Write(p)
	}
	return b.h.writeTo(b.Conn, p)
}

// lendTLS puts TLS on the kernel's connection of one that is lent.
func (c *Conn) lendTLS(kernel net.Conn, h *lentConn) net.Conn {
	l := &lentTLS{Conn: kernel, h: h, c: c, t: c.tls(), state: c.TLS()}
	if l.std = l.t.std(); l.std != nil {
		l.std.below = belowStd{l}
	}
	return l
}

// kernelConn is the kernel's connection below a lentConn's.
func kernelConn(conn net.Conn) net.Conn {
	if l, ok := conn.(*lentTLS); ok {
		return l.Conn
	}
	return conn
}

// unlend ends the use of a lentConn's connection, whose kernel's has been taken back:
// who reads or writes is out. What has been opened and not read is returned.
func unlend(conn net.Conn) (plain []byte) {
	l, ok := conn.(*lentTLS)
	if !ok {
		return nil
	}
	l.reading.Lock()
	defer l.reading.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	switch l.end { //nolint:errorlint // it is one of our own
	case nil:
	case io.EOF:
		l.t.keepEnd(errCloseNotify)
	default:
		l.t.keepEnd(errAlert)
	}
	plain, l.plain, l.end, l.over = l.plain, nil, net.ErrClosed, true
	if l.std != nil {
		l.std.below = nil
	}
	return plain
}

// Read opens records until there is content.
func (l *lentTLS) Read(p []byte) (int, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	for len(l.plain) == 0 {
		if l.end != nil {
			return 0, l.end
		}
		if l.std != nil {
			return l.std.conn.Read(p)
		}
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.plain)
	if l.plain = l.plain[n:]; len(l.plain) == 0 {
		l.plain = nil
	}
	return n, nil
}

// fill opens the next record, and reads what is missing of it.
func (l *lentTLS) fill() error {
	t := l.t
	if k := t.kept; k != nil && k.end != nil {
		return l.ended(k.end)
	}
	if n, whole, fault := wholeRecord(t.in); fault != nil {
		return l.fail(fault)
	} else if whole {
		l.buffer = append(l.buffer[:0], t.in.B[:n]...)
		t.in = drop(t.in, n)
		return l.open(l.buffer)
	}
	var scratch [4 << 10]byte
	n, err := l.Conn.Read(scratch[:])
	t.in = bytepool.Append(t.in, scratch[:n])
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err // a deadline's may be followed by another Read
}

// wholeRecord tells how long the record at the front is, and whether it is here.
func wholeRecord(in *bytepool.Buffer) (n int, whole bool, fault *tls13.AlertError) {
	if in == nil {
		return 0, false, nil
	}
	n, fault = tls13.ConsumeHeader(in.B)
	return n, n > 0 && len(in.B) >= n, fault
}

func (l *lentTLS) open(rec []byte) error {
	t := l.t
	if l.opener == nil {
		l.opener = t.read.Cipher()
	}
	kind, content, fault := l.opener.Open(rec, &t.read)
	if fault != nil {
		return l.fail(fault)
	}
	if kind == tls13.ApplicationData && len(content) > 0 && !t.inMessage() {
		t.useless = 0
		l.plain = content
		return nil
	}
	requested, err := t.other(kind, content)
	if err != nil {
		return l.ended(err)
	}
	if kind == tls13.Handshake {
		l.opener = nil
	}
	if requested {
		l.writing.Lock()
		t.flags |= owesUpdate // with what is written next
		l.writing.Unlock()
	}
	return nil
}

// ended ends what is read, because of what the peer has sent.
func (l *lentTLS) ended(err error) error {
	var fault *tls13.AlertError
	switch {
	case err == errCloseNotify:
		l.end = io.EOF
	case errors.As(err, &fault):
		return l.fail(fault)
	default:
		l.end = err
	}
	return l.end
}

// fail tells the peer of its fault, if the kernel takes it at once.
func (l *lentTLS) fail(fault *tls13.AlertError) error {
	l.c.loop.group.stats.badTLS.Add(1)
	l.end = fault
	l.writing.Lock()
	defer l.writing.Unlock()
	if t := l.t; !l.over && t.out == nil && t.flags&toldClose == 0 {
		_, _ = l.Conn.Write(t.lastRecord(fault.Alert))
	}
	return fault
}

// Write seals p, in records. What it tells to have written, the kernel has. When it has
// not taken a record whole, nothing else can follow: the error stays.
func (l *lentTLS) Write(p []byte) (n int, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	switch {
	case l.over:
		return 0, net.ErrClosed
	case l.broken != nil:
		return 0, l.broken
	case l.std != nil:
		return l.std.conn.Write(p)
	}
	t := l.t
	for len(p) > 0 || t.out != nil {
		if t.out == nil {
			k := min(len(p), tls13.MaxContent)
			t.out = bytepool.Get(k + 2*tls13.Overhead + 8)
			var renewed bool
			if t.out.B, renewed = t.renew(t.out.B); renewed || l.sealer == nil {
				l.sealer = t.write.Cipher()
			}
			t.out.B = l.sealer.Append(t.out.B, &t.write, tls13.ApplicationData, p[:k])
			t.sealed = int32(k)
		}
		k, err := l.h.writeTo(l.Conn, t.out.B)
		if k > 0 {
			t.out = drop(t.out, k)
		}
		if err != nil {
			l.broken = err
			return n, err
		}
		done := int(t.sealed)
		t.sealed = 0
		n += done
		p = p[done:]
	}
	return n, nil
}

// CloseWrite sends close_notify and ends the sending side.
func (l *lentTLS) CloseWrite() error {
	l.notifyClose()
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// notifyClose sends close_notify, if nobody writes, and the kernel takes it soon.
func (l *lentTLS) notifyClose() {
	if !l.writing.TryLock() {
		return
	}
	defer l.writing.Unlock()
	_ = l.Conn.SetWriteDeadline(time.Now().Add(notifyTime))
	l.hurried.Store(true)
	defer func() {
		l.hurried.Store(false)
		_ = l.Conn.SetWriteDeadline(time.Time{})
	}()
	switch t := l.t; {
	case l.over:
	case l.std != nil:
		_ = l.std.conn.CloseWrite()
	case t.out == nil && t.flags&toldClose == 0:
		_, _ = l.Conn.Write(t.lastRecord(tls13.AlertCloseNotify))
	}
}

// notifyTime is how long the kernel may take for close_notify.
const notifyTime = 100 * time.Millisecond

// Close sends close_notify, closes, and forgets the secrets.
func (l *lentTLS) Close() error {
	l.notifyClose()
	err := l.Conn.Close() // ends who reads or writes
	l.reading.Lock()
	defer l.reading.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	l.t.wipe()
	l.end, l.over = net.ErrClosed, true
	return err
}

// SyscallConn is the kernel's.
func (l *lentTLS) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := l.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
