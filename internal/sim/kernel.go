package sim

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// kernel is the system under the loops, and the network before it. Its methods are
// the world's, but for Wake.
type kernel struct {
	// Immutable after newKernel.
	began time.Time
	rng   *rand.Rand
	tls   *rand.Rand // nil without TLS; see Secure
	loops []*poller
	limit int // descriptors

	group    *netpoll.Group
	sessions tls.ClientSessionCache // of TLS, to be resumed
	fds      []*conn                // by descriptor, which is used again as soon as it is free
	backlog  []*conn                // wait for a descriptor
	conns    []*conn                // that somebody may still do something with
	made     int
}

// poller is what a loop sees of the kernel.
type poller struct {
	*kernel
	index   int
	alarmAt time.Duration // 0: none

	// Any goroutine (atomic).
	woken atomic.Bool
}

// conn is a connection, with both of its ends.
type conn struct {
	k    *kernel
	name int

	fd    int // 0: not accepted yet, or closed by the server
	loop  int
	watch netpoll.Interest

	up, in    []byte // from the client: under way; arrived
	out, down []byte // from the server: under way, or not acknowledged; arrived
	window    int    // how much of out the server's kernel takes
	buffer    int    // how much of down the client's does

	fin, finIn bool // the client has ended its side; that has arrived
	rst, rstIn bool // the client has reset it
	dead       bool // nothing passes any more, and nobody is told
	shut       bool // the server has ended its side
	closed     bool // the server has closed the descriptor
	broken     bool // the client sees a reset
	left       bool // the client has closed it, and does not look at it again

	tls *secured // nil without TLS
}

func newKernel(rng *rand.Rand, loops, limit int) *kernel {
	k := &kernel{began: time.Now(), rng: rng, limit: limit, fds: make([]*conn, 3)}
	for i := range loops {
		k.loops = append(k.loops, &poller{kernel: k, index: i})
	}
	return k
}

func (k *kernel) systems() (all []netpoll.System) {
	for _, p := range k.loops {
		all = append(all, p)
	}
	return all
}

// Attach is for netpoll.New.
func (k *kernel) Attach(g *netpoll.Group) { k.group = g }

// dial makes a connection, which is accepted when there is a descriptor.
func (k *kernel) dial() *conn {
	k.made++
	c := &conn{k: k, name: k.made, loop: k.rng.IntN(len(k.loops)), window: 1 << 20, buffer: 1 << 20}
	if k.rng.IntN(4) == 0 {
		c.window, c.buffer = 1+k.rng.IntN(5000), 1+k.rng.IntN(5000)
	}
	if k.tls != nil {
		c.begin()
	}
	k.backlog = append(k.backlog, c)
	k.conns = append(k.conns, c)
	return c
}

func (k *kernel) held() (n int) {
	for _, c := range k.fds {
		if c != nil {
			n++
		}
	}
	return n
}

// accept gives the first of the backlog a descriptor: the lowest that is free.
func (k *kernel) accept() {
	c := k.backlog[0]
	k.backlog = k.backlog[1:]
	fd := 3
	for fd < len(k.fds) && k.fds[fd] != nil {
		fd++
	}
	if fd == len(k.fds) {
		k.fds = append(k.fds, nil)
	}
	k.fds[fd], c.fd = c, fd
	if k.tls != nil {
		k.group.Loop(c.loop).AdoptTLS(fd)
	} else {
		k.group.Loop(c.loop).Adopt(fd)
	}
}

// forget drops connections that nobody can do anything with.
func (k *kernel) forget() {
	k.conns = slices.DeleteFunc(k.conns, func(c *conn) bool { return c.left && c.closed })
}

// sends tells whether something is under way to the server.
func (c *conn) sends() bool {
	return c.fd > 0 && !c.dead && !c.rstIn && (len(c.up) > 0 || c.fin && !c.finIn || c.rst)
}

// carryUp brings some of it there.
func (c *conn) carryUp() {
	switch {
	case len(c.up) > 0:
		n := c.some(len(c.up))
		c.in, c.up = append(c.in, c.up[:n]...), c.up[n:]
	case c.rst:
		c.rstIn = true
	default:
		c.finIn = true
	}
}

// receives tells whether something is under way to the client.
func (c *conn) receives() bool {
	return !c.dead && !c.left && len(c.out) > 0 && len(c.down) < c.buffer
}

func (c *conn) carryDown() {
	n := min(c.some(len(c.out)), c.buffer-len(c.down))
	c.down, c.out = append(c.down, c.out[:n]...), c.out[n:]
}

// ended tells whether the client sees the end of the stream.
func (c *conn) ended() bool {
	return !c.dead && (c.broken || (c.shut || c.closed) && len(c.out) == 0 && len(c.down) == 0)
}

// some is how much of n passes at once.
func (c *conn) some(n int) int {
	if c.k.rng.IntN(3) > 0 {
		return n
	}
	return 1 + c.k.rng.IntN(n)
}

// ready tells whether the loop wants to hear of the connection.
func (c *conn) ready() (writable, ok bool) {
	if c.fd == 0 {
		return false, false
	}
	readable := c.watch&netpoll.WatchRead != 0 && (len(c.in) > 0 || c.finIn || c.rstIn)
	writable = c.watch&netpoll.WatchWrite != 0 && (len(c.out) < c.window || c.rstIn)
	return writable, readable || writable
}

// The client's end.

func (c *conn) writeRaw(b []byte) {
	if !c.fin && !c.rst && !c.left {
		c.up = append(c.up, b...)
	}
}

// hangUp ends the client's side as a process does that closes its socket.
func (c *conn) hangUp() {
	c.leave(true)
	c.left, c.fin = true, true
	c.down = nil
}

func (c *conn) abort() {
	c.leave(false)
	c.left, c.rst = true, true
	c.up, c.down = nil, nil
}

// cut loses some of what is under way, and breaks the connection for both; if
// silently the server is told nothing.
func (c *conn) cut(silently bool) {
	if n := len(c.up); n > 0 {
		c.up = c.up[:c.k.rng.IntN(n+1)]
	}
	c.broken = true
	if silently {
		c.leave(false)
		c.dead, c.left, c.down = true, true, nil
	} else {
		c.rst = true
	}
}

// The server's end: netpoll.System.

func (k *kernel) at(fd int) *conn {
	if fd <= 0 || fd >= len(k.fds) {
		return nil
	}
	return k.fds[fd]
}

// Read is System's.
func (k *kernel) Read(fd int, b []byte) (int, error) {
	c := k.at(fd)
	switch {
	case c == nil:
		return 0, syscall.EBADF
	case c.rstIn:
		return 0, syscall.ECONNRESET
	case len(c.in) > 0:
		n := copy(b[:c.some(len(b))], c.in)
		c.in = c.in[n:]
		return n, nil
	case c.finIn:
		return 0, nil
	}
	return 0, syscall.EAGAIN
}

// Write is System's.
func (k *kernel) Write(fd int, b []byte) (int, error) {
	c := k.at(fd)
	switch {
	case c == nil:
		return 0, syscall.EBADF
	case c.rstIn || c.shut:
		return 0, syscall.EPIPE
	case len(b) == 0:
		return 0, nil
	}
	n := min(len(b), c.window-len(c.out))
	if n <= 0 || k.rng.IntN(40) == 0 {
		return 0, syscall.EAGAIN
	}
	n = c.some(n)
	if !c.left || c.dead {
		c.out = append(c.out, b[:n]...)
	} else if !c.rst { // a socket that its process has closed answers by a reset
		c.rst, c.up = true, nil
	}
	return n, nil
}

// Writev is System's.
func (k *kernel) Writev(fd int, bs [][]byte) (n int, err error) {
	for _, b := range bs {
		m, err := k.Write(fd, b)
		n += max(m, 0)
		if err != nil && n == 0 {
			return n, err
		}
		if err != nil || m < len(b) {
			break
		}
	}
	return n, nil
}

// Watch is System's.
func (p *poller) Watch(fd int, _, to netpoll.Interest) error {
	c := p.at(fd)
	if c == nil {
		return syscall.EBADF
	}
	c.watch, c.loop = to, p.index
	return nil
}

// Unsent is System's.
func (k *kernel) Unsent(fd int) int {
	c := k.at(fd)
	if c == nil {
		return 0
	}
	n := len(c.out)
	if c.shut && (n > 0 || c.dead) {
		n++
	}
	return n
}

// Unread is System's.
func (k *kernel) Unread(fd int) int {
	if c := k.at(fd); c != nil {
		return len(c.in)
	}
	return 0
}

// Shutdown is System's.
func (k *kernel) Shutdown(fd int) error {
	c := k.at(fd)
	if c == nil {
		return syscall.EBADF
	}
	c.shut = true
	return nil
}

// Close is System's. What has not been read makes a reset of it.
func (k *kernel) Close(fd int) error { return k.close(fd, false) }

// Reset is System's.
func (k *kernel) Reset(fd int) error { return k.close(fd, true) }

func (k *kernel) close(fd int, reset bool) error {
	c := k.at(fd)
	if c == nil {
		return syscall.EBADF
	}
	k.fds[fd] = nil
	c.fd, c.closed, c.watch = 0, true, 0
	if reset || len(c.in) > 0 {
		c.broken, c.out = true, nil
	}
	return nil
}

// Lend is System's: there is no net/http here.
func (k *kernel) Lend(fd int) (net.Conn, error) { _ = k.Close(fd); return nil, syscall.EMFILE }

// TakeBack is System's.
func (k *kernel) TakeBack(net.Conn) (int, error) { return -1, syscall.EMFILE }

// Wake is System's. Any goroutine.
func (p *poller) Wake() { p.woken.Store(true) }

// WakeAfter is System's.
func (p *poller) WakeAfter(d time.Duration) { p.alarmAt = max(p.Now()+d, 1) }

// Now is System's.
func (k *kernel) Now() time.Duration { return time.Since(k.began) }

// AppendRemoteAddr is System's.
func (k *kernel) AppendRemoteAddr(dst []byte, fd int) ([]byte, bool) {
	c := k.at(fd)
	if c == nil || c.rstIn {
		return dst, false
	}
	return strconv.AppendInt(append(dst, "192.0.2.1:"...), int64(c.name), 10), true
}

// due tells whether the loop has a reason to turn.
func (p *poller) due() bool {
	return p.woken.Load() || p.alarmAt > 0 && p.alarmAt <= p.Now()
}

func (p *poller) turn() {
	p.woken.Store(false)
	if p.alarmAt > 0 && p.alarmAt <= p.Now() {
		p.alarmAt = 0
	}
	p.group.Loop(p.index).Turn()
}

// nextAlarm is how long it is until some loop's; false: there is none.
func (k *kernel) nextAlarm() (d time.Duration, ok bool) {
	for _, p := range k.loops {
		if at := p.alarmAt; at > 0 && (!ok || at-k.Now() < d) {
			d, ok = at-k.Now(), true
		}
	}
	return d, ok
}
