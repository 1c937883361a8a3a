package netpoll

import (
	"fmt"
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

// Serve serves a listener until it is closed or the group is, and returns why: ErrClosed
// for the group. It closes ln. A *net.TCPListener or *net.UnixListener is served as one of
// Listen's is, by the loops; of any other, a goroutine accepts and every connection is
// bridged.
func (g *Group) Serve(ln net.Listener) error {
	if g.kernels(ln) {
		lis, err := newListener(g, ln)
		if err != nil {
			_ = ln.Close()
			return fmt.Errorf("netpoll: listen on %v: %w", ln.Addr(), err)
		}
		if !g.startListener(lis) {
			return ErrClosed
		}
		<-g.ended
		return ErrClosed
	}
	if err := g.enterForeign(ln); err != nil {
		return err
	}
	return g.acceptForeign(ln)
}

// kernels tells whether the loops can serve a listener.
func (g *Group) kernels(ln net.Listener) bool {
	if _, ok := g.loops[0].sys.(*bridgeSystem).System.(*plain); ok || g.manual() {
		return false
	}
	return isKernels(ln) && !bridging.All.Load()
}

func (g *Group) enterForeign(ln net.Listener) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed.Load() {
		_ = ln.Close()
		return ErrClosed
	}
	if g.foreign == nil {
		g.foreign = map[net.Listener]struct{}{}
	}
	g.foreign[ln] = struct{}{}
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

func (g *Group) acceptForeign(ln net.Listener) error {
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
		c := l.newConn(d.fd, d.tcp)
		if !l.Post(adoptOnLoop, c, nil, 0) {
			_ = l.sys.Close(d.fd)
			g.connEnded()
		}
	}
}
