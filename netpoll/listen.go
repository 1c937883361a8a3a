//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listener is a listening socket. All listeners are served by loop 0, which
// deals the connections out to the loops in turn.
type listener struct {
	// Immutable after newListener.
	g    *Group
	ln   net.Listener // kept for its address, and to remove a Unix socket's file
	file *os.File
	fd   int
	tcp  bool

	kind      listens
	multipath bool // MPTCP, of which connections do not inherit the options

	// Owned by loop 0.
	on      bool
	closed  bool
	backoff time.Duration
	warned  int64 // when it last told that it does not accept; 0 for never
	timer   Timer
}

const acceptBatch = 64 // connections taken before the other sockets' turn

// listen is net.Listen without multipath TCP, Go's default, whose connections
// do not inherit the options of the listener.
func listen(network, address string, reusePort bool) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	if reusePort && network != "unix" {
		lc.Control = setReusePort
	}
	ln, err := lc.Listen(context.Background(), network, address)
	if u, ok := ln.(*net.UnixListener); ok && err == nil {
		return ownSocketFile(u), nil
	}
	return ln, err
}

// setReusePort is for net.ListenConfig.
func setReusePort(_, _ string, rc syscall.RawConn) error {
	var err error
	err2 := rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(err, err2)
}

// unixListener removes the file of its socket when it is closed, but no other's:
// at a restart without a gap a successor has its own there by then. net's
// removes what has the name.
type unixListener struct {
	*net.UnixListener
	made os.FileInfo // nil: none, an abstract name
}

func ownSocketFile(u *net.UnixListener) net.Listener {
	u.SetUnlinkOnClose(false)
	made, _ := os.Lstat(u.Addr().String())
	return &unixListener{u, made}
}

func (u *unixListener) Close() error {
	// The socket is still open, so nobody has got its file's number yet.
	if path := u.Addr().String(); u.made != nil {
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, u.made) {
			_ = os.Remove(path)
		}
	}
	return u.UnixListener.Close()
}

var (
	errNoStream = errors.New("not a stream socket")
	errNoSocket = errors.New("not a socket of the kernel's")
)

func newListener(g *Group, ln net.Listener, kind listens) (*listener, error) {
	// What only has such a listener in it may do more with its connections than that.
	var file *os.File
	var err error
	tcp := false
	switch ln := ln.(type) {
	case *net.TCPListener:
		tcp = true
		file, err = ln.File()
	case *net.UnixListener:
		if ln.Addr().Network() != "unix" {
			return nil, errNoStream
		}
		file, err = ln.File()
	case *unixListener:
		file, err = ln.File()
	default:
		return nil, errNoSocket
	}
	if err != nil {
		return nil, err
	}
	fd := int(file.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = file.Close()
		return nil, err
	}
	lis := &listener{g: g, ln: ln, file: file, fd: fd, tcp: tcp, kind: kind}
	if tcp { // what is accepted inherits these
		lis.setOptions(fd)
		lis.multipath = isMultipath(fd)
	}
	return lis, nil
}

// setOptions sets those of TCP.
func (lis *listener) setOptions(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	setMaxUnsent(fd, lis.g.cfg.MaxUnsentBytes)
	if lis.kind == listensLink {
		setKeepAlive(fd)
	}
}

func (lis *listener) close() {
	lis.forget()
	_ = lis.ln.Close()
}

// forget undoes newListener.
func (lis *listener) forget() { _ = lis.file.Close() }

func startListenerOnLoop(a, _ any) {
	lis := a.(*listener)
	l := lis.g.loops[0]
	if l.listeners == nil {
		l.listeners = map[int]*listener{}
	}
	l.listeners[lis.fd] = lis
	lis.watch(true)
}

// stopListenerOnLoop takes what the kernel has accepted already: closing the socket would
// reset it.
func stopListenerOnLoop(a, _ any) {
	lis := a.(*listener)
	l := lis.g.loops[0]
	lis.closed = true
	for lis.accept() {
	}
	lis.watch(false)
	l.Stop(&lis.timer)
	delete(l.listeners, lis.fd)
	lis.close()
}

func (lis *listener) watch(on bool) {
	if on == lis.on || on && lis.closed {
		return
	}
	lis.on = on
	from, to := Interest(0), WatchRead
	if !on {
		from, to = to, from
	}
	if err := lis.g.loops[0].sys.Watch(lis.fd, from, to); err != nil {
		lis.g.cfg.Logger.Error("netpoll: listener", "addr", lis.ln.Addr().String(), "err", err)
	}
}

// acceptReady answers an event of a descriptor that is no connection's.
func (g *Group) acceptReady(l *Loop, fd int) {
	lis := l.listeners[fd]
	if lis == nil {
		return // a stale event
	}
	own := l.begin()
	lis.accept()
	l.end(own)
}

// accept takes some of what waits in the backlog, and tells whether there may be
// more. When descriptors or memory run out it leaves connections there and tries
// again later: those that live go on.
func (lis *listener) accept() (more bool) {
	g := lis.g
	l := g.loops[0]
	defer l.recoverPanic(nil)
	for range acceptBatch {
		full := int(g.stats.open.Load()) >= g.cfg.MaxConns
		if full && !lis.closed {
			g.full.Store(true)
			if int(g.stats.open.Load()) >= g.cfg.MaxConns { // still: connEnded has not missed it
				lis.pause("at Config.MaxConns")
				return false
			}
		}
		fd, err := accept(lis.fd)
		switch err {
		case nil:
			if full && lis.closed {
				_ = unix.Close(fd) // there is no place, and none will come
				continue
			}
			if lis.multipath {
				lis.setOptions(fd)
			}
			g.dealOut(fd, lis.tcp, lis.kind)
		case syscall.EAGAIN:
			lis.backoff = 0
			return false
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			g.stats.acceptErrors.Add(1)
			if !lis.closed {
				lis.pause(err.Error())
			}
			return false
		}
	}
	return true
}

// pause stops accepting for a while.
func (lis *listener) pause(why string) {
	l := lis.g.loops[0]
	if lis.warned == 0 || l.now-lis.warned > warnEvery {
		lis.warned = l.now
		lis.g.cfg.Logger.Warn("netpoll: not accepting for now; connections wait in the backlog",
			"addr", lis.ln.Addr().String(), "why", why, "open", lis.g.stats.open.Load())
	}
	lis.backoff = min(max(lis.backoff*2, minAcceptBackoff), maxAcceptBackoff)
	lis.watch(false)
	l.Arm(&lis.timer, lis, lis.backoff)
}

// acceptOnLoop accepts again: a connection has ended.
func acceptOnLoop(a, _ any) {
	g := a.(*Group)
	for _, lis := range g.loops[0].listeners {
		lis.backoff = 0
		lis.watch(true)
	}
}

// Expire is for the loop's timers only.
func (lis *listener) Expire(*Timer) { lis.watch(true) }

// dealOut gives a new connection to a loop.
func (g *Group) dealOut(fd int, tcp bool, kind listens) {
	g.stats.accepted.Add(1)
	g.stats.open.Add(1)
	l := g.nextLoop()
	c := l.accepted(fd, tcp, kind)
	if l == g.loops[0] {
		l.adoptNew(c)
	} else if !l.Post(adoptOnLoop, c, nil, 0) {
		_ = unix.Close(fd)
		g.connEnded()
	}
}
