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
// A Net belongs to one goroutine, except that other goroutines may post to the
// loops; RunUntil waits for them.
package netpolltest

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// Net is a number of loops and the connections to them.
type Net struct {
	// Group has the loops.
	Group *netpoll.Group

	loops []*system
	peers []*Peer // by descriptor
	now   time.Duration
	woken chan struct{} // a loop has been woken
}

// New makes a net of so many loops, which turn only in Run and Advance.
func New(cfg netpoll.Config, h netpoll.Handler, loops int) *Net {
	n := NewNet(loops)
	n.Group = netpoll.NewManual(cfg, h, n.Systems()...)
	return n
}

// NewNet makes a net without a group: netpoll.New makes it, with Systems in its
// Config. Connections are Dialed after that.
func NewNet(loops int) *Net {
	n := &Net{woken: make(chan struct{}, 1), peers: make([]*Peer, 1)}
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
	net    *Net
	fd     int
	loop   int // the loop that polls it
	watch  netpoll.Interest
	in     []byte // to the server
	out    []byte // from the server
	window int    // what out may hold before writes block; < 0: no limit
	ended  bool   // the peer has closed its side
	reset  bool
	shut   bool // the server has ended its side
	closed bool // the server has closed the descriptor
	cut    bool // ... with a reset
	writes int
}

// Dial connects to a loop.
func (n *Net) Dial(loop int) *Peer {
	p := &Peer{net: n, fd: len(n.peers), loop: loop, window: -1}
	n.peers = append(n.peers, p)
	l := n.Group.Loop(loop)
	l.Claim()
	l.Adopt(p.fd)
	return p
}

// Write sends bytes to the server; Run has them handled.
func (p *Peer) Write(b []byte) { p.in = append(p.in, b...) }

// Read takes what the server has sent.
func (p *Peer) Read() []byte {
	b := p.out
	p.out = nil
	return b
}

// Unread is how many bytes of the peer the server has not read.
func (p *Peer) Unread() int { return len(p.in) }

// SetWindow limits what the server may have sent and Read has not taken;
// beyond, its writes block. Negative: no limit.
func (p *Peer) SetWindow(bytes int) { p.window = bytes }

// Close ends the peer's side, as a FIN does.
func (p *Peer) Close() { p.ended = true }

// Reset breaks the connection.
func (p *Peer) Reset() { p.reset = true }

// Ended tells whether the server has ended its side, or closed.
func (p *Peer) Ended() bool { return p.shut || p.closed }

// Closed tells whether the server has closed the descriptor.
func (p *Peer) Closed() bool { return p.closed }

// WasReset tells whether the server has closed the connection by a reset.
func (p *Peer) WasReset() bool { return p.cut }

// Writes is how many writes of the server have reached the peer.
func (p *Peer) Writes() int { return p.writes }

// Now is the time on the net's clock.
func (n *Net) Now() time.Duration { return n.now }

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
		if s.takeWake(n.now) {
			n.Group.Loop(i).Turn()
			worked = true
		}
	}
	for fd := 1; fd < len(n.peers); fd++ {
		p := n.peers[fd]
		readable := p.watch&netpoll.WatchRead != 0 && (len(p.in) > 0 || p.ended || p.reset)
		writable := p.watch&netpoll.WatchWrite != 0 && (p.window < 0 || len(p.out) < p.window)
		if !p.closed && (readable || writable) {
			n.Group.Loop(p.loop).Deliver(writable, fd)
			worked = true
		}
	}
	return worked
}

// Advance moves the clock on by d, firing each timer at its time.
func (n *Net) Advance(d time.Duration) {
	end := n.now + d
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
		n.now = max(next, n.now)
	}
	n.now = end
	n.Run()
}

// Skip moves the clock on by d without a turn of the loops: as if they had been
// busy meanwhile.
func (n *Net) Skip(d time.Duration) { n.now += d }

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
	select {
	case s.net.woken <- struct{}{}:
	default:
	}
}

func (s *system) WakeAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarmAt, s.alarmSet = s.net.now+d, true
}

func (s *system) Now() time.Duration { return s.net.now }

func (s *system) Read(fd int, b []byte) (int, error) {
	p := s.net.peers[fd]
	switch {
	case p.closed:
		return 0, syscall.EBADF
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

func (s *system) Write(fd int, b []byte) (int, error) {
	p := s.net.peers[fd]
	switch {
	case p.closed:
		return 0, syscall.EBADF
	case p.reset:
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
	writes := s.net.peers[fd].writes
	defer func() { s.net.peers[fd].writes = min(s.net.peers[fd].writes, writes+1) }()
	for _, b := range bs {
		k, err := s.Write(fd, b)
		n += max(k, 0)
		if err != nil || k < len(b) {
			if n > 0 {
				return n, nil
			}
			return n, err
		}
	}
	return n, nil
}

func (s *system) Watch(fd int, _, to netpoll.Interest) error {
	p := s.net.peers[fd]
	p.watch = to
	for i, l := range s.net.loops {
		if l == s {
			p.loop = i
		}
	}
	return nil
}

func (s *system) Shutdown(fd int) error {
	s.net.peers[fd].shut = true
	return nil
}

func (s *system) Close(fd int) error {
	s.net.peers[fd].closed = true
	return nil
}

func (s *system) Reset(fd int) error {
	s.net.peers[fd].cut = true
	return s.Close(fd)
}

func (s *system) Unsent(fd int) int {
	if p := s.net.peers[fd]; p.window >= 0 {
		return len(p.out)
	}
	return 0 // the peer's kernel takes everything
}

func (s *system) Unread(fd int) int { return len(s.net.peers[fd].in) }

func (s *system) Lend(fd int) (net.Conn, error) {
	_ = s.Close(fd)
	return nil, errors.New("netpolltest: not yet")
}

func (s *system) TakeBack(net.Conn) (int, error) { return -1, errors.New("netpolltest: not yet") }

func (s *system) AppendRemoteAddr(dst []byte, _ int) ([]byte, bool) {
	return append(dst, "192.0.2.1:1234"...), true
}
