package netpoll

import "net/netip"

// This file is for loops that are turned by hand: package netpolltest.

// NewManual makes a group whose loops turn only when Loop.Turn and
// Loop.Deliver are called, each over the System given for it, by the calling
// goroutine or one that has called Loop.Claim.
func NewManual(cfg Config, h Handler, systems ...System) *Group {
	cfg.Loops = len(systems)
	cfg.Systems = systems
	g := newGroup(cfg, h)
	for i, s := range systems {
		l := newLoop(g, i, s)
		l.Claim()
		g.loops = append(g.loops, l)
	}
	g.begin()
	return g
}

// Turn runs what is due: timers and posted jobs. Only for loops of NewManual.
func (l *Loop) Turn() {
	if l.closed {
		return
	}
	if l.turn(); l.stopping {
		l.stop()
	}
}

// Deliver handles an event of each of fds. Only for loops of NewManual.
func (l *Loop) Deliver(writable bool, fds ...int) {
	for _, fd := range fds {
		l.handle(fd, writable, false)
	}
}

// Adopt enters a connection with descriptor fd. Only for loops of NewManual.
func (l *Loop) Adopt(fd int) *Conn { return l.adoptManual(fd, false) }

// AdoptTLS is Adopt for a peer that speaks TLS. Only for loops of NewManual.
func (l *Loop) AdoptTLS(fd int) *Conn { return l.adoptManual(fd, true) }

func (l *Loop) adoptManual(fd int, secure bool) *Conn {
	l.group.stats.accepted.Add(1)
	l.group.stats.open.Add(1)
	var scratch [64]byte
	text, _ := l.sys.AppendRemoteAddr(scratch[:0], fd)
	_, err := netip.ParseAddrPort(string(text))
	c := l.newConn(fd, err == nil, secure)
	own := l.begin()
	l.adoptNew(c)
	l.end(own)
	return c
}
