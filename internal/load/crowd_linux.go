package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Config is what the connections of a Crowd have in common.
type Config struct {
	Servers   []netip.AddrPort // among which the connections are dealt out
	Host      string           // field Host of each request; empty: the server's address
	Path      string           // of Socket.IO: "/socket.io/"
	Query     string           // for each request: "a=b&c=d", or nothing
	Header    string           // more fields of each request, each with its \r\n
	TLS       *tls.Config      // nil: without TLS
	Polling   bool             // long-polling; otherwise WebSocket from the start
	Namespace string           // empty or "/": the default one

	Auth   func(id int) []byte     // JSON for the namespace's CONNECT; may be nil
	Source func(id int) netip.Addr // which address a connection comes from; may be nil, or return none

	Timeout    time.Duration // for a handshake as a whole, and for a POST; 0: 20 s
	MaxMessage int           // bytes of a message or a body from the server; 0: 16 MiB
	MaxHeld    int           // bytes that wait in all connections together; 0: 256 MiB
}

// Crowd is all connections. Its methods, but Wake, belong to the goroutine that calls Run.
type Crowd struct {
	// OnReady is called when a connection has joined its namespace, OnMessage with each
	// message that it gets from then on (Engine.IO's, its 4 included; borrowed until the
	// return), OnGone when it has ended by itself or has never come to be. Each may be nil,
	// and be set between two calls of Run.
	OnReady   func(c *Conn)
	OnMessage func(c *Conn, packet []byte)
	OnGone    func(c *Conn, f *Fault)

	// Counts of connections.
	Ready    int // joined
	UnderWay int // handshakes
	Leaving  int // over long-polling, until the server has answered
	Failed   int // how many have had a Fault

	// Counts of bytes on the wire, heads included.
	BytesIn, BytesOut int64

	// Immutable after NewCrowd.
	cfg       Config
	epoll     int
	wake      int // an eventfd
	namespace []byte
	prefix    string // of packets to the namespace: "" or "/name,"
	servers   []syscall.Sockaddr

	socks    []*socket // by descriptor
	events   []syscall.EpollEvent
	read     []byte // what a read fills; larger than a socket's buffer usually is
	scratch  []byte // a frame that is being written
	now      time.Time
	turn     uint32 // generation of descriptors
	waiting  queue  // handshakes and leavings, by their time
	swept    time.Time
	held     int
	noPwait2 bool

	// Guarded by mu.
	mu     sync.Mutex
	done   []handshake // that goroutines have ended
	closed bool
}

// handshake is one of TLS that has ended.
type handshake struct {
	s   *socket
	err error
}

// NewCrowd makes one without connections.
func NewCrowd(cfg Config) (*Crowd, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 20 * time.Second
	}
	if cfg.MaxMessage <= 0 {
		cfg.MaxMessage = 16 << 20
	}
	if cfg.MaxHeld <= 0 {
		cfg.MaxHeld = 256 << 20
	}
	if cfg.Namespace == "/" {
		cfg.Namespace = ""
	}
	l := &Crowd{
		cfg: cfg, namespace: []byte(cfg.Namespace), events: make([]syscall.EpollEvent, 1024), read: make([]byte, 1<<20),
		now: time.Now(),
	}
	if cfg.Namespace != "" {
		l.prefix = cfg.Namespace + ","
	}
	for _, a := range cfg.Servers {
		l.servers = append(l.servers, sockaddr(a))
	}
	var err error
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	fd, _, e := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if e != 0 {
		_ = syscall.Close(l.epoll)
		return nil, os.NewSyscallError("eventfd2", e)
	}
	l.wake = int(fd)
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(l.wake)}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, l.wake, &ev); err != nil {
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return l, nil
}

// Close closes all sockets. Handshakes of TLS that are under way end by their timeout.
func (l *Crowd) Close() {
	for _, s := range l.socks {
		if s != nil {
			l.closeSocket(s)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.done = true, nil
	_ = syscall.Close(l.epoll)
	_ = syscall.Close(l.wake)
}

// Wake makes Run return soon. Any goroutine may call it.
func (l *Crowd) Wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeLocked()
}

func (l *Crowd) wakeLocked() {
	if l.closed {
		return
	}
	one := [8]byte{1}
	_, _ = syscall.Write(l.wake, one[:])
}

// Now is the time of this turn: when events were last waited for.
func (l *Crowd) Now() time.Time { return l.now }

// Prefix is what stands in front of a packet's number and data: "" or "/name,".
func (l *Crowd) Prefix() string { return l.prefix }

// Open starts a connection with a number. What is wrong with it comes by OnGone, which may
// be called before Open returns.
func (l *Crowd) Open(c *Conn, id int) {
	*c = Conn{ID: id, crowd: l, since: l.now}
	c.main.fd = -1
	l.UnderWay++
	l.waiting.push(c)
	c.dial(&c.main)
}

// ready counts a connection that has joined.
func (l *Crowd) ready(c *Conn) {
	l.UnderWay--
	l.Ready++
	c.stage, c.seen = Ready, l.now
	if l.OnReady != nil {
		l.OnReady(c)
	}
}

// shut closes a connection and takes it out of the counts.
func (l *Crowd) shut(c *Conn) {
	switch c.stage {
	case Closed:
		return
	case Ready:
		l.Ready--
	case leaving:
		l.Leaving--
	default:
		l.UnderWay--
	}
	c.stage = Closed
	l.closeSocket(&c.main)
	if c.poster != nil {
		l.closeSocket(c.poster)
		c.poster = nil
	}
	c.pending = nil
	c.message = nil
	l.charge(&c.charged, 0)
}

// drop ends a connection that has a fault.
func (l *Crowd) drop(c *Conn, f *Fault) {
	if c.stage == Closed {
		return
	}
	left := c.stage == leaving
	l.shut(c)
	if left {
		return // it is what was wanted
	}
	l.Failed++
	if l.OnGone != nil {
		l.OnGone(c, f)
	}
}

// charge tells that a holder has now so many bytes instead of those before. It is false if
// that is too much.
func (l *Crowd) charge(holder *int, n int) bool {
	l.held += n - *holder
	*holder = n
	return n == 0 || l.held <= l.cfg.MaxHeld
}

// Run handles events for no longer than this, and returns after each batch.
func (l *Crowd) Run(d time.Duration) error {
	k, err := l.wait(max(d, 0))
	l.now = time.Now()
	if err != nil {
		return err
	}
	for _, ev := range l.events[:k] {
		if int(ev.Fd) == l.wake {
			l.onWake()
			continue
		}
		s := l.socks[ev.Fd]
		if s == nil || s.generation != ev.Pad {
			continue // closed by an earlier event
		}
		if ev.Events&syscall.EPOLLOUT != 0 {
			s.onWritable()
		}
		// A handshake that has just begun is its goroutine's to read.
		if ev.Events&^syscall.EPOLLOUT != 0 && s.fd >= 0 && s.generation == ev.Pad && !s.securing {
			s.onReadable(l.read)
		}
	}
	l.expire()
	if l.now.Sub(l.swept) >= sweepEvery {
		l.swept = l.now
		l.sweep()
	}
	return nil
}

// sweepEvery is how often all connections are looked at.
const sweepEvery = 500 * time.Millisecond

// onWake takes the handshakes of TLS that have ended.
func (l *Crowd) onWake() {
	var b [8]byte
	_, _ = syscall.Read(l.wake, b[:])
	l.mu.Lock()
	done := l.done
	l.done = nil
	l.mu.Unlock()
	for _, h := range done {
		h.s.onSecured(h.err)
	}
}

// secured is called by the goroutine of a handshake.
func (l *Crowd) secured(s *socket, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.done = append(l.done, handshake{s, err})
		l.wakeLocked()
	}
}

// expire ends handshakes and leavings that take too long.
func (l *Crowd) expire() {
	for {
		e, ok := l.waiting.first()
		if !ok {
			return
		}
		c := e.c
		if c.since != e.since || c.stage == Ready || c.stage == Closed {
			l.waiting.pop()
			continue
		}
		if l.now.Sub(e.since) < l.cfg.Timeout {
			return
		}
		l.waiting.pop()
		l.drop(c, faultf(KindTimeout, "%s took longer than %v", c.stageName(), l.cfg.Timeout))
	}
}

// sweep ends connections that the server has forgotten.
func (l *Crowd) sweep() {
	for _, s := range l.socks {
		if s == nil || s.c.stage != Ready {
			continue
		}
		c := s.c
		switch {
		case s == c.poster:
			if c.posting && l.now.Sub(c.posted) > l.cfg.Timeout {
				l.drop(c, faultf(KindTimeout, "a POST had no answer in %v", l.cfg.Timeout))
			}
		case c.heartbeat > 0 && l.now.Sub(c.seen) > c.heartbeat:
			l.drop(c, faultf(KindHeartbeat, "nothing came in %v (pingInterval and pingTimeout of the server)", c.heartbeat))
		}
	}
}

// queue is connections in the order of their time.
type queue struct {
	entries []queued
	head    int
}

type queued struct {
	c     *Conn
	since time.Time // tells a later use of the same Conn apart
}

func (q *queue) push(c *Conn) { q.entries = append(q.entries, queued{c, c.since}) }

func (q *queue) first() (queued, bool) {
	if q.head == len(q.entries) {
		return queued{}, false
	}
	return q.entries[q.head], true
}

func (q *queue) pop() {
	q.entries[q.head] = queued{}
	q.head++
	if q.head == len(q.entries) {
		q.entries, q.head = q.entries[:0], 0
	} else if q.head > 1024 && q.head > len(q.entries)/2 {
		q.entries, q.head = append(q.entries[:0], q.entries[q.head:]...), 0
	}
}

// wait waits for events.
func (l *Crowd) wait(d time.Duration) (int, error) {
	const pwait2 = 441 // epoll_pwait2, the same on every architecture
	if !l.noPwait2 {
		ts := [2]int64{int64(d / time.Second), int64(d % time.Second)} // a 64-bit timespec, everywhere
		n, _, e := syscall.Syscall6(pwait2, uintptr(l.epoll), uintptr(unsafe.Pointer(unsafe.SliceData(l.events))), uintptr(len(l.events)),
			uintptr(unsafe.Pointer(&ts)), 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			return 0, nil
		case syscall.ENOSYS, syscall.EPERM:
			l.noPwait2 = true
		default:
			return 0, os.NewSyscallError("epoll_pwait2", e)
		}
	}
	k, err := syscall.EpollWait(l.epoll, l.events, int(math.Ceil(d.Seconds()*1000)))
	if errors.Is(err, syscall.EINTR) {
		return 0, nil
	}
	return max(k, 0), os.NewSyscallError("epoll_wait", err)
}

// connect opens a socket for a connection's number.
func (l *Crowd) connect(s *socket, id int) *Fault {
	server := id % len(l.servers)
	family := syscall.AF_INET
	if l.cfg.Servers[server].Addr().Is6() {
		family = syscall.AF_INET6
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return connectFault(os.NewSyscallError("socket", err))
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if l.cfg.Source != nil {
		if from := l.cfg.Source(id); from.IsValid() {
			_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
			if err = syscall.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
				_ = syscall.Close(fd)
				return connectFault(fmt.Errorf("source address %v: %w", from, err))
			}
		}
	}
	if err = syscall.Connect(fd, l.servers[server]); err == nil || errors.Is(err, syscall.EINPROGRESS) {
		l.turn++
		s.generation = int32(l.turn)
		err = l.control(syscall.EPOLL_CTL_ADD, fd, s.generation, true)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return connectFault(err)
	}
	for fd >= len(l.socks) {
		l.socks = append(l.socks, nil)
	}
	s.fd, s.dialing, l.socks[fd] = fd, true, s
	return nil
}

// ipBindAddressNoPort lets connect choose the port, which then has to be unique
// for the pair of addresses only (IP_BIND_ADDRESS_NO_PORT).
const ipBindAddressNoPort = 24

// connectFault is the fault of a socket that could not be opened, or connected.
func connectFault(err error) *Fault {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return faultf(KindDescriptors, "this process has no descriptor left (ulimit -n)")
	case errors.Is(err, syscall.ENFILE):
		return faultf(KindDescriptors, "this machine has no descriptor left (sysctl fs.file-max)")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return faultf(KindPorts, "no port is left of this source address, or it is not this machine's: give others by -source (%v)", err)
	}
	return faultf(KindConnect, "%v", err)
}

func (l *Crowd) control(op, fd int, generation int32, writable bool) error {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd), Pad: generation}
	if writable {
		ev.Events |= syscall.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(l.epoll, op, fd, &ev))
}

func (l *Crowd) closeSocket(s *socket) {
	if s.fd < 0 {
		return
	}
	l.socks[s.fd] = nil
	_ = syscall.Close(s.fd)
	s.fd, s.in, s.out, s.tls, s.dialing = -1, nil, nil, nil, false
	l.charge(&s.charged, 0)
}

func sockaddr(a netip.AddrPort) syscall.Sockaddr {
	if a.Addr().Is4() {
		return &syscall.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &syscall.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())} // zones are refused before
}
