package netpoll

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/sockeye-io/sockeye/internal/bridging"
)

const (
	minAcceptBackoff = 10 * time.Millisecond
	maxAcceptBackoff = time.Second

	// warnEvery is how often a listener tells that it does not accept.
	warnEvery = int64(10 * time.Second)
)

// Serve serves a listener in the background; it is the group's from then on, closed with
// it. secure tells that its peers speak TLS, by Config.TLS. A *net.TCPListener or
// *net.UnixListener is served by the loops, and of peers that are already in its backlog
// none is lost; of any other a goroutine accepts, every connection is bridged, and ended
// tells why it accepts no more: ErrClosed for the group. For the first ended is nil: they
// end with the group. On error ln is left as it was.
func (g *Group) Serve(ln net.Listener, secure bool) (ended <-chan error, err error) {
	if secure {
		return g.serve(ln, listensTLS)
	}
	return g.serve(ln, listensPlain)
}

// listens is what the peers of a listener speak.
type listens uint8

const (
	listensPlain listens = iota
	listensTLS
	listensLink // other servers: see ListenLink
)

// accepted makes a connection of one that has been accepted.
func (l *Loop) accepted(fd int, tcp bool, kind listens) *Conn {
	c := l.newConn(fd, tcp, kind == listensTLS)
	if kind == listensLink {
		c.layers |= layerLink | layerHello
	}
	return c
}

func (g *Group) serve(ln net.Listener, kind listens) (ended <-chan error, err error) {
	if kind == listensTLS && g.secure == nil {
		return nil, errNoTLS
	}
	if !g.kernels(ln) {
		if err := g.enterForeign(ln, kind); err != nil {
			return nil, err
		}
		accepts := make(chan error, 1)
		go func() {
			err := g.acceptForeign(ln, kind)
			if err != ErrClosed { //nolint:errorlint // it is not wrapped
				g.cfg.Logger.Error("netpoll: listener", "addr", ln.Addr().String(), "err", err)
			}
			accepts <- err
		}()
		return accepts, nil
	}
	lis, err := newListener(g, ln, kind)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed.Load() || !g.loops[0].PostNow(startListenerOnLoop, lis, nil, 0) {
		lis.forget()
		return nil, errGroupClosed
	}
	g.listeners[lis] = struct{}{}
	return nil, nil
}

var (
	errGroupClosed = errors.New("the group is closed")
	errNoTLS       = errors.New("TLS needs Config.TLS")
	errTLSTwice    = errors.New("the listener's connections speak TLS already: serve the listener below it, or leave Config.TLS nil")
)

// kernels tells whether the loops can serve a listener.
func (g *Group) kernels(ln net.Listener) bool {
	if _, ok := g.loops[0].sys.(*bridgeSystem).System.(*plain); ok || g.manual() {
		return false
	}
	return isKernels(ln) && !bridging.All.Load()
}

func (g *Group) enterForeign(ln net.Listener, kind listens) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed.Load() {
		return errGroupClosed
	}
	if g.foreign == nil {
		g.foreign = map[net.Listener]listens{}
	}
	g.foreign[ln] = kind
	return nil
}

// leaveForeign tells whether the group has still served ln.
func (g *Group) leaveForeign(ln net.Listener) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.foreign[ln]
	delete(g.foreign, ln)
	return ok
}

func (g *Group) acceptForeign(ln net.Listener, kind listens) error {
	defer ln.Close()
	backoff, warned := time.Duration(0), time.Time{}
	pause := func(why string) {
		if now := time.Now(); now.Sub(warned) > time.Duration(warnEvery) {
			warned = now
			g.cfg.Logger.Warn("netpoll: not accepting for now; connections wait", "addr", ln.Addr().String(), "why", why, "open", g.stats.open.Load())
		}
		backoff = min(max(backoff*2, minAcceptBackoff), maxAcceptBackoff)
		select {
		case <-time.After(backoff):
		case <-g.ended:
		}
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			switch temporary, ok := err.(interface{ Temporary() bool }); {
			case ok && temporary.Temporary(): // as net/http asks
				g.stats.acceptErrors.Add(1)
				pause(err.Error())
				continue
			case !g.leaveForeign(ln) || g.closed.Load():
				return ErrClosed
			}
			return err
		}
		if _, ok := conn.(*tls.Conn); ok && kind == listensTLS {
			_ = conn.Close()
			g.leaveForeign(ln)
			return errTLSTwice
		}
		for err = g.reserve(); err == ErrFull; err = g.reserve() {
			pause("at Config.MaxConns") // and conn waits
		}
		if err != nil {
			_ = conn.Close()
			g.leaveForeign(ln)
			return ErrClosed
		}
		backoff = 0
		g.stats.accepted.Add(1)
		l := g.nextLoop()
		d := g.bridge.open(conn)
		c := l.accepted(d.fd, d.tcp, kind)
		if !l.Post(adoptOnLoop, c, nil, 0) {
			_ = l.sys.Close(d.fd)
			g.connEnded()
		}
	}
}
