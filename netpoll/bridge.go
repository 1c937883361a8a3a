package netpoll

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// A bridge gives the loops connections that have no descriptor which their pollers
// could watch: TLS that net/http or a foreign listener has ended, an end of a pair in
// memory, anything at all on a system without a queue. Such a net.Conn gets a number as
// its descriptor, from farFD on, and a goroutine that reads (bridge_conn.go); to all above
// System it is like any other, MoveTo and net/http included.
//
//	net.Conn -> bridged.read, one buffer -> readyList -> a job of the loop -> Conn.readable -> System.Read
//	Conn.flush -> System.Write, up to 64 KiB -> bridged.write, while something waits -> net.Conn
type bridge struct {
	g *Group // Immutable after New.

	conns pages[bridged] // by number, less farFD

	// Any goroutine (atomic).
	n      atomic.Int64 // open
	ending atomic.Int64 // closed by their loop, and not gone: output is left

	// Guarded by mu.
	mu     sync.Mutex
	free   []int // numbers to be used again
	next   int   // the first that has not been used
	closed map[*bridged]struct{}
	over   bool // what is closed is cut
}

// farFD is the first number of a bridged connection: the kernel's are below.
const farFD = 1 << 24

// open bridges a connection. Its number is reserved until it is closed.
func (b *bridge) open(conn net.Conn) *bridged {
	d := &bridged{b: b, conn: conn, remote: remoteText(conn)}
	_, err := netip.ParseAddrPort(d.remote)
	d.tcp = err == nil
	d.secure = isSecure(conn)
	d.raw = rawOf(conn)
	d.turn.L = &d.mu
	_ = conn.SetDeadline(never)
	b.g.tuneRaw(d.raw, d.tcp)
	b.mu.Lock()
	if k := len(b.free); k > 0 {
		d.fd = b.free[k-1]
		b.free = b.free[:k-1]
	} else {
		d.fd = farFD + b.next
		b.next++
	}
	b.mu.Unlock()
	b.n.Add(1)
	b.conns.set(d.fd-farFD, d)
	go d.read()
	return d
}

func (b *bridge) get(fd int) *bridged { return b.conns.get(fd - farFD) }

func (b *bridge) conn(fd int) *Conn {
	if d := b.get(fd); d != nil {
		return d.owner.Load()
	}
	return nil
}

func (b *bridge) setConn(fd int, c *Conn) {
	if d := b.get(fd); d != nil {
		d.owner.Store(c)
	}
}

func (b *bridge) each(f func(d *bridged)) { b.conns.each(f) }

// leave gives a number back. Output may be left; then cut waits, or ends it.
func (b *bridge) leave(d *bridged, ending bool) {
	b.conns.set(d.fd-farFD, nil)
	b.n.Add(-1)
	b.mu.Lock()
	b.free = append(b.free, d.fd)
	over := b.over
	if ending && !over {
		if b.closed == nil {
			b.closed = map[*bridged]struct{}{}
		}
		b.closed[d] = struct{}{}
		b.ending.Add(1)
	}
	b.mu.Unlock()
	if ending && over {
		go d.kill()
	}
}

// gone: d has nothing left.
func (b *bridge) gone(d *bridged) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.closed[d]; ok {
		delete(b.closed, d)
		b.ending.Add(-1)
	}
}

// cut ends what is closed and has output left: the group ends.
func (b *bridge) cut() {
	b.mu.Lock()
	b.over = true
	all := b.closed
	b.closed = nil
	b.ending.Store(0)
	b.mu.Unlock()
	for d := range all {
		go d.kill()
	}
}

// readyList are a loop's bridged connections that have something to tell it.
type readyList struct {
	// Guarded by mu.
	mu     sync.Mutex
	list   []*bridged
	posted bool // a job of the loop is to look at it
}

// tell enters d.
func (l *Loop) tell(d *bridged) {
	r := &l.bridged
	r.mu.Lock()
	r.list = append(r.list, d)
	post := !r.posted
	r.posted = true
	r.mu.Unlock()
	if post {
		l.PostNow(bridgedOnLoop, l, nil, 0)
	}
}

// bridgedShare is how many bridged connections have their turn before the loop's other
// ones.
const bridgedShare = 64

func bridgedOnLoop(a, _ any) {
	l := a.(*Loop)
	r := &l.bridged
	defer func() { // whatever a callback does
		r.mu.Lock()
		r.posted = len(r.list) > 0
		again := r.posted
		r.mu.Unlock()
		if again {
			l.PostNow(bridgedOnLoop, l, nil, 0)
		}
	}()
	for range bridgedShare {
		r.mu.Lock()
		if len(r.list) == 0 {
			r.mu.Unlock()
			return
		}
		d := r.list[0]
		r.list[0] = nil
		if r.list = r.list[1:]; len(r.list) == 0 {
			r.list = nil
		}
		r.mu.Unlock()
		writable, hangup, ok := d.told(l)
		if c := d.owner.Load(); ok && c != nil && c.home.Load() == int32(l.index) {
			l.handleConn(c, writable, hangup)
			d.tellAgain()
		}
	}
}

// bridgeSystem is the System of a loop: its own for the kernel's descriptors, the bridge
// for the others.
type bridgeSystem struct {
	System
	l *Loop
	b *bridge
}

func (s *bridgeSystem) Read(fd int, p []byte) (int, error) {
	if fd < farFD {
		return s.System.Read(fd, p)
	}
	if d := s.b.get(fd); d != nil {
		return d.Read(p)
	}
	return -1, syscall.EBADF
}

func (s *bridgeSystem) Write(fd int, p []byte) (int, error) {
	if fd < farFD {
		return s.System.Write(fd, p)
	}
	if d := s.b.get(fd); d != nil {
		return d.Write(p)
	}
	return -1, syscall.EBADF
}

func (s *bridgeSystem) Writev(fd int, bs [][]byte) (n int, err error) {
	if fd < farFD {
		return s.System.Writev(fd, bs)
	}
	d := s.b.get(fd)
	if d == nil {
		return -1, syscall.EBADF
	}
	for _, p := range bs {
		k, err := d.Write(p)
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return k, err
		}
		if n += k; k < len(p) {
			break
		}
	}
	return n, nil
}

func (s *bridgeSystem) Watch(fd int, from, to Interest) error {
	if fd < farFD {
		return s.System.Watch(fd, from, to)
	}
	if d := s.b.get(fd); d != nil {
		d.watchedBy(s.l, to)
		return nil
	}
	return syscall.EBADF
}

func (s *bridgeSystem) Unsent(fd int) int {
	if fd < farFD {
		return s.System.Unsent(fd)
	}
	if d := s.b.get(fd); d != nil {
		return d.unsent(s.System)
	}
	return 0
}

func (s *bridgeSystem) Unread(fd int) int {
	if fd < farFD {
		return s.System.Unread(fd)
	}
	if d := s.b.get(fd); d != nil {
		return d.unread()
	}
	return 0
}

func (s *bridgeSystem) Shutdown(fd int) error {
	if fd < farFD {
		return s.System.Shutdown(fd)
	}
	if d := s.b.get(fd); d != nil {
		d.shutdown()
		return nil
	}
	return syscall.EBADF
}

func (s *bridgeSystem) Close(fd int) error { return s.end(fd, false) }
func (s *bridgeSystem) Reset(fd int) error { return s.end(fd, true) }

func (s *bridgeSystem) end(fd int, reset bool) error {
	switch {
	case fd < farFD && reset:
		return s.System.Reset(fd)
	case fd < farFD:
		return s.System.Close(fd)
	}
	if d := s.b.get(fd); d != nil {
		d.end(reset)
		return nil
	}
	return syscall.EBADF
}

func (s *bridgeSystem) Lend(fd int) (net.Conn, error) {
	if fd < farFD {
		return s.System.Lend(fd)
	}
	if d := s.b.get(fd); d != nil {
		return d.lend(), nil
	}
	return nil, syscall.EBADF
}

func (s *bridgeSystem) TakeBack(conn net.Conn) (fd int, err error) {
	c, ok := conn.(*bridgeConn)
	if !ok {
		return s.System.TakeBack(conn)
	}
	return c.takeBack()
}

func (s *bridgeSystem) AppendRemoteAddr(dst []byte, fd int) ([]byte, bool) {
	if fd < farFD {
		return s.System.AppendRemoteAddr(dst, fd)
	}
	d := s.b.get(fd)
	if d == nil {
		return dst, false
	}
	return append(dst, d.remote...), true
}

// cameByTLS tells whether a bridged connection has TLS of its own below. Loop-owned.
func (c *Conn) cameByTLS() bool {
	if c.fd < farFD {
		return false
	}
	d := c.loop.group.bridge.get(int(c.fd))
	return d != nil && d.secure
}
