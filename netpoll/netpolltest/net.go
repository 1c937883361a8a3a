// Package netpolltest is an in-memory network under loops of package netpoll,
// with a clock that is driven by hand: code above netpoll runs in tests as it
// does in production, without sockets and without sleeps.
//
//	n := netpolltest.New(netpoll.Config{}, handler, 1)
//	p := n.Dial(0)
//	p.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
//	n.Run()          // until nothing is left to do
//	p.Read()         // what the server has sent
//	n.Advance(25 * time.Second)
//
// A Net belongs to one goroutine, except that others may post to the loops and
// work with a net.Conn that a loop has lent (System.Lend), whose deadlines are
// in real time; RunUntil waits for them.
package netpolltest

import (
	"crypto/tls"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Net is a number of loops and the connections to them.
type Net struct {
	// Group has the loops.
	Group *netpoll.Group

	loops []*system
	now   atomic.Int64  // Any goroutine (atomic).
	tls   bool          // SOCKEYE_TLS is set: every connection speaks TLS
	woken chan struct{} // a loop has been woken, or a lent connection used

	mu      sync.Mutex
	changed sync.Cond // a lent connection may have something to do
	peers   []*Peer   // by descriptor; guarded by mu, as is what they hold
}

// New makes a net of so many loops, which turn only in Run and Advance.
func New(cfg netpoll.Config, h netpoll.Handler, loops int) *Net {
	n := NewNet(loops)
	cfg.TLS = n.TLS()
	n.Group = netpoll.NewManual(cfg, h, n.Systems()...)
	return n
}

// TLS is the configuration that the group needs so that the connections can speak TLS,
// as they do when SOCKEYE_TLS is set in the environment; nil otherwise. What is written
// and read is the same.
func (n *Net) TLS() *tls.Config {
	if n.tls {
		return tlspeer.ServerConfig()
	}
	return nil
}

// Plain has a test's connections speak no TLS in any case: it counts bytes, or is about
// connections without it.
func Plain(t testing.TB) {
	t.Helper()
	t.Setenv("SOCKEYE_TLS", "")
}

// NewNet makes a net without a group: netpoll.New makes it, with Systems in its
// Config. Connections are Dialed after that.
func NewNet(loops int) *Net {
	n := &Net{woken: make(chan struct{}, 1), peers: make([]*Peer, 1), tls: os.Getenv("SOCKEYE_TLS") != ""}
	n.changed.L = &n.mu
	for range loops {
		n.loops = append(n.loops, &system{net: n})
	}
	return n
}

// Systems are the kernels of the net's loops, for netpoll.Config.Systems.
func (n *Net) Systems() []netpoll.System {
	systems := make([]netpoll.System, len(n.loops))
	for i, s := range n.loops {
		systems[i] = s
	}
	return systems
}

// Peer is the other end of a connection.
type Peer struct {
	// Immutable after Dial.
	net  *Net
	fd   int
	addr net.Addr
	tls  *tlspeer.Peer // nil without TLS

	// Guarded by net.mu.
	loop     int // the loop that polls it
	watch    netpoll.Interest
	in       []byte // to the server
	out      []byte // from the server
	window   int    // what out may hold before writes block; < 0: no limit
	ended    bool   // the peer has closed its side
	reset    bool   // the peer has reset the connection
	shut     bool   // the server has ended its side
	closed   bool   // the server has closed the descriptor
	wasReset bool   // it has ended by a reset
	lent     bool   // the server has a net.Conn of it instead of the descriptor
	writes   int
}

// Dial connects to a loop.
func (n *Net) Dial(loop int) *Peer { return n.DialFrom(loop, remoteAddr) }

// DialFrom connects from an address, of a *net.TCPAddr or a *net.UnixAddr.
func (n *Net) DialFrom(loop int, addr net.Addr) *Peer {
	p := n.newPeer(loop, addr)
	l := n.Group.Loop(loop)
	l.Claim()
	if n.Group.Config().TLS == nil || !n.tls {
		l.Adopt(p.fd)
		return p
	}
	l.AdoptTLS(p.fd)
	p.tls = tlspeer.New(nil)
	p.in = p.tls.Take()
	for i := 0; i < 4 && !p.tls.Open(); i++ {
		l.Deliver(false, p.fd)
		_ = p.tls.Receive(p.take())
		p.in = append(p.in, p.tls.Take()...)
	}
	for len(p.in) > 0 && !p.closed {
		l.Deliver(false, p.fd)
	}
	return p
}

// DialTLS connects to a loop of a group with Config.TLS. What is written and read are
// the records themselves.
func (n *Net) DialTLS(loop int) *Peer {
	p := n.newPeer(loop, remoteAddr)
	n.Group.Loop(loop).Claim()
	n.Group.Loop(loop).AdoptTLS(p.fd)
	return p
}

func (n *Net) newPeer(loop int, addr net.Addr) *Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &Peer{net: n, fd: len(n.peers), addr: addr, loop: loop, window: -1}
	n.peers = append(n.peers, p)
	return p
}

// take takes what the server has sent, as it came.
func (p *Peer) take() (b []byte) {
	p.change(func() { b, p.out = p.out, nil })
	return b
}

// change changes the peer, for which a lent connection may wait.
func (p *Peer) change(f func()) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	f()
	if p.lent {
		p.net.changed.Broadcast()
	}
}

func look[T any](p *Peer, f func() T) T {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return f()
}

// Write sends bytes to the server; Run handles them.
func (p *Peer) Write(b []byte) {
	if p.tls != nil {
		_ = p.tls.Write(b)
		b = p.tls.Take()
	}
	p.change(func() { p.in = append(p.in, b...) })
}

// Read takes what the server has sent.
func (p *Peer) Read() (b []byte) {
	if b = p.take(); p.tls != nil {
		b = p.tls.Receive(b)
	}
	return b
}

// Unread is how many bytes of the peer the server has not read.
func (p *Peer) Unread() int { return look(p, func() int { return len(p.in) }) }

// SetWindow limits what the server may have sent and Read has not taken;
// beyond, its writes block. Negative: no limit.
func (p *Peer) SetWindow(bytes int) { p.change(func() { p.window = bytes }) }

// Close ends the peer's side, as a FIN does.
func (p *Peer) Close() { p.change(func() { p.ended = true }) }

// Reset breaks the connection.
func (p *Peer) Reset() { p.change(func() { p.reset = true }) }

// Ended tells whether the server has ended its side, or closed.
func (p *Peer) Ended() bool { return look(p, func() bool { return p.shut || p.closed }) }

// Closed tells whether the server has closed the descriptor.
func (p *Peer) Closed() bool { return look(p, func() bool { return p.closed }) }

// WasReset tells whether the server has closed the descriptor by a reset, so
// that what it has sent is not taken for all.
func (p *Peer) WasReset() bool { return look(p, func() bool { return p.wasReset }) }

// Lent tells whether the server has made a net.Conn of the connection and not
// taken it back.
func (p *Peer) Lent() bool { return look(p, func() bool { return p.lent }) }

// Watched tells whether a loop waits for something of the connection: it is neither
// lent nor on its way back.
func (p *Peer) Watched() bool { return look(p, func() bool { return p.watch != 0 }) }

// Writes is how many writes of the server have reached the peer.
func (p *Peer) Writes() int { return look(p, func() int { return p.writes }) }

// Now is the time on the net's clock.
func (n *Net) Now() time.Duration { return time.Duration(n.now.Load()) }

// Run turns the loops until nothing is left to do at this moment.
func (n *Net) Run() {
	for n.step() {
	}
}

// RunUntil runs until cond is true, waiting for other goroutines to post; it
// returns false if that takes longer than the (real) time limit.
func (n *Net) RunUntil(limit time.Duration, cond func() bool) bool {
	deadline := time.After(limit)
	for {
		n.Run()
		if cond() {
			return true
		}
		select {
		case <-n.woken:
		case <-time.After(time.Millisecond): // cond may depend on more than the loops
		case <-deadline:
			return false
		}
	}
}

// Idle tells whether no loop has been woken and no connection is ready.
func (n *Net) Idle() bool {
	for _, s := range n.loops {
		s.mu.Lock()
		woken := s.wake
		s.mu.Unlock()
		if woken {
			return false
		}
	}
	return true
}

func (n *Net) step() (worked bool) {
	for i, s := range n.loops {
		n.Group.Loop(i).Claim()
		if s.takeWake(n.Now()) {
			n.Group.Loop(i).Turn()
			worked = true
		}
	}
	for fd := 1; ; fd++ {
		var loop int
		var writable bool
		if fd, loop, writable = n.nextReady(fd); fd == 0 {
			return worked
		}
		n.Group.Loop(loop).Deliver(writable, fd)
		worked = true
	}
}

// nextReady finds the next connection, from descriptor fd on, that its loop
// wants to hear of; 0: none.
func (n *Net) nextReady(fd int) (_, loop int, writable bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for ; fd < len(n.peers); fd++ {
		p := n.peers[fd]
		readable := p.watch&netpoll.WatchRead != 0 && (len(p.in) > 0 || p.ended || p.reset)
		writable := p.watch&netpoll.WatchWrite != 0 && (p.window < 0 || len(p.out) < p.window)
		if !p.closed && (readable || writable) {
			return fd, p.loop, writable
		}
	}
	return 0, 0, false
}

// Advance moves the clock on by d, firing each timer at its time.
func (n *Net) Advance(d time.Duration) {
	end := n.Now() + d
	for {
		n.Run()
		next := end
		for _, s := range n.loops {
			if at, ok := s.alarm(); ok && at < next {
				next = at
			}
		}
		if next >= end {
			break
		}
		n.now.Store(int64(max(next, n.Now())))
	}
	n.now.Store(int64(end))
	n.Run()
}

// Skip moves the clock on by d without a turn of the loops: as if they had been
// busy meanwhile.
func (n *Net) Skip(d time.Duration) { n.now.Add(int64(d)) }

// system is a loop's kernel.
type system struct {
	net *Net

	// Guarded by mu.
	mu       sync.Mutex
	wake     bool
	alarmAt  time.Duration
	alarmSet bool
}

// Attach is for netpoll.New.
func (s *system) Attach(g *netpoll.Group) { s.net.Group = g }

func (s *system) takeWake(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	woken := s.wake || s.alarmSet && s.alarmAt <= now
	s.wake = false
	if s.alarmSet && s.alarmAt <= now {
		s.alarmSet = false
	}
	return woken
}

func (s *system) alarm() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alarmAt, s.alarmSet
}

func (s *system) Wake() {
	s.mu.Lock()
	s.wake = true
	s.mu.Unlock()
	s.net.active()
}

// active has RunUntil look again.
func (n *Net) active() {
	select {
	case n.woken <- struct{}{}:
	default:
	}
}

func (s *system) WakeAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarmAt, s.alarmSet = s.net.Now()+d, true
}

func (s *system) Now() time.Duration { return s.net.Now() }

// peer is the peer with that descriptor, nil if the server has it no more.
func (s *system) peer(fd int) *Peer {
	if fd <= 0 || fd >= len(s.net.peers) || s.net.peers[fd].closed || s.net.peers[fd].lent {
		return nil
	}
	return s.net.peers[fd]
}

// with calls f for the peer with that descriptor, if the server has it.
func (s *system) with(fd int, f func(p *Peer) error) error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if p := s.peer(fd); p != nil {
		return f(p)
	}
	return syscall.EBADF
}

func (s *system) Read(fd int, b []byte) (n int, err error) {
	err = s.with(fd, func(p *Peer) (err error) { n, err = p.serverRead(b); return err })
	return n, err
}

func (p *Peer) serverRead(b []byte) (int, error) {
	switch {
	case p.reset:
		return 0, syscall.ECONNRESET
	case len(p.in) > 0:
		n := copy(b, p.in)
		p.in = p.in[n:]
		return n, nil
	case p.ended:
		return 0, nil
	}
	return 0, syscall.EAGAIN
}

func (s *system) Write(fd int, b []byte) (n int, err error) {
	err = s.with(fd, func(p *Peer) (err error) { n, err = p.serverWrite(b); return err })
	return n, err
}

func (p *Peer) serverWrite(b []byte) (int, error) {
	if p.reset || p.shut {
		return 0, syscall.EPIPE
	}
	n := len(b)
	if p.window >= 0 {
		n = min(n, p.window-len(p.out))
	}
	if n <= 0 && len(b) > 0 {
		return 0, syscall.EAGAIN
	}
	p.out = append(p.out, b[:n]...)
	p.writes++
	return n, nil
}

func (s *system) Writev(fd int, bs [][]byte) (n int, err error) {
	err = s.with(fd, func(p *Peer) error {
		writes := p.writes
		defer func() { p.writes = min(p.writes, writes+1) }()
		for _, b := range bs {
			k, err := p.serverWrite(b)
			if n += k; err != nil && n == 0 {
				return err
			}
			if k < len(b) {
				break
			}
		}
		return nil
	})
	return n, err
}

func (s *system) Watch(fd int, _, to netpoll.Interest) error {
	return s.with(fd, func(p *Peer) error { p.watch, p.loop = to, slices.Index(s.net.loops, s); return nil })
}

func (s *system) Unsent(fd int) (n int) {
	_ = s.with(fd, func(p *Peer) error {
		if p.window >= 0 { // without one, the peer's kernel takes everything
			n = len(p.out)
		}
		return nil
	})
	return n
}

func (s *system) Unread(fd int) (n int) {
	_ = s.with(fd, func(p *Peer) error { n = len(p.in); return nil })
	return n
}

func (s *system) Shutdown(fd int) error {
	return s.with(fd, func(p *Peer) error { p.shut = true; return nil })
}

func (s *system) Close(fd int) error { return s.close(fd, false) }
func (s *system) Reset(fd int) error { return s.close(fd, true) }

func (s *system) close(fd int, reset bool) error {
	return s.with(fd, func(p *Peer) error { p.closed, p.wasReset = true, reset; return nil })
}

func (s *system) AppendRemoteAddr(dst []byte, fd int) ([]byte, bool) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	p := s.peer(fd)
	if p == nil || p.reset {
		return dst, false
	}
	return append(dst, p.addr.String()...), true
}
