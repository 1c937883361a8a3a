package netpoll

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// A connection that net/http has accepted comes to a loop by Adopt, with the request
// that it was hijacked for, which is processed as if it had been read there. For as long
// as it speaks HTTP its loop knows where it came from:
//
//	http.Server -> the user's handlers -> Place, Hijack, Place.Adopt -> the loop
//	the loop: an unclaimed request, or one that opens something (MountHandler)
//	  -> lent to a copy of that http.Server -> the user's handlers -> perhaps Adopt again

// ErrFull: Config.MaxConns are open.
var ErrFull = errors.New("netpoll: Config.MaxConns connections are open")

// MountHandler may be implemented by a Handler.
type MountHandler interface {
	// Opens tells whether a claimed request has to come through the handlers of the
	// http.Server in which the group is mounted, each time: who is behind a connection
	// may change with it. r is borrowed until return.
	Opens(r *http1.Request) bool
}

// mounted is where a connection came from, while it speaks HTTP. Loop-owned, or its
// lentConn's.
type mounted struct {
	by      *lender  // of its http.Server; nil: that of Config.Fallback, if there is one
	passed  bool     // the next request has come through the http.Server's handlers
	arrival *Arrival // of the request in hand; nil for others
}

// Arrival is what net/http knows of the request that a connection was adopted with.
type Arrival struct {
	// Context is the request's, for as long as the arrival is held. Keep tells that it
	// may be kept longer.
	Context context.Context
	Keep    bool

	over chan struct{} // closed when nobody needs Context any more

	// Loop-owned.
	held bool
}

// Hold has Adopt wait for Release, in HandleRequest. Loop-owned.
func (a *Arrival) Hold() { a.held = true }

// Release ends Hold. Any goroutine, once.
func (a *Arrival) Release() { close(a.over) }

// settle ends the arrival unless it is held.
func (a *Arrival) settle() {
	if !a.held {
		close(a.over)
	}
}

// Arrival is that of the request in hand, nil for one that was not adopted. It may be
// asked for in HandleRequest only.
func (c *Conn) Arrival() *Arrival {
	if m := c.mounted(); m != nil {
		return m.arrival
	}
	return nil
}

func (c *Conn) mounted() *mounted {
	if len(c.loop.mounted) == 0 {
		return nil
	}
	return c.loop.mounted[c]
}

// setMounted notes where a connection of the loop came from.
func (c *Conn) setMounted(m *mounted) {
	l := c.loop
	switch {
	case m == nil:
		if len(l.mounted) > 0 {
			delete(l.mounted, c)
		}
	case c.phase != phaseClosed:
		if l.mounted == nil {
			l.mounted = map[*Conn]*mounted{}
		}
		l.mounted[c] = m
	}
}

// passes tells whether a claimed request is the handler's here, and has not to go
// through an http.Server first.
func (m *mounted) passes(h Handler, r *http1.Request) bool {
	if m.passed {
		m.passed = false
		return true
	}
	m.arrival = nil
	return m.by == nil || !opens(h, r)
}

func opens(h Handler, r *http1.Request) bool {
	m, ok := h.(MountHandler)
	return ok && m.Opens(r)
}

// lenderOf is who serves the unclaimed requests of a connection.
func (c *Conn) lenderOf() *lender {
	if c.layers&layerLink != 0 {
		return nil // nobody passes such requests on
	}
	if m := c.mounted(); m != nil && m.by != nil {
		return m.by
	}
	return c.loop.group.lender
}

// Place is a connection's place among Config.MaxConns, or an own connection that is to
// come back from net/http.
type Place struct {
	g *Group
	h *lentConn
}

// Place reserves a place for a connection that is to be hijacked, for a request with
// that context. Adopt or GiveUp must follow. Its error is ErrFull or ErrClosed.
// Any goroutine.
func (g *Group) Place(ctx context.Context) (*Place, error) {
	if h := lentFor(ctx); h != nil && h.g == g && h.setReclaimed(true) {
		return &Place{g, h}, nil
	}
	if err := g.reserve(); err != nil {
		return nil, err
	}
	return &Place{g: g}, nil
}

func (g *Group) reserve() error {
	for {
		n := g.stats.open.Load()
		switch {
		case g.closed.Load():
			return ErrClosed
		case n >= int64(g.cfg.MaxConns):
			return ErrFull
		}
		if g.stats.open.CompareAndSwap(n, n+1) {
			break
		}
	}
	if g.closed.Load() { // Close may have counted before
		g.connEnded()
		return ErrClosed
	}
	return nil
}

// GiveUp gives the place back: nothing was hijacked.
func (p *Place) GiveUp() {
	if p.h != nil {
		p.h.setReclaimed(false)
		return
	}
	p.g.connEnded()
}

// Adoption is what a connection comes with.
type Adoption struct {
	In      []byte          // read from it and not handled: whole requests, the first with all of its content
	Server  *http.Server    // serves its unclaimed requests; nil: Config.Fallback
	Context context.Context // see Arrival
	Keep    bool
}

// Adopt makes conn, which nobody else may use any more, a connection of the group, and
// returns when its first request has been handled, or its Arrival released. A TCP or
// Unix socket of the kernel's moves to a loop; any other conn is bridged. On error conn
// is closed. Any goroutine.
func (p *Place) Adopt(conn net.Conn, a Adoption) error {
	g := p.g
	m := &mounted{passed: true, arrival: &Arrival{Context: a.Context, Keep: a.Keep, over: make(chan struct{})}}
	over := m.arrival.over
	in := adopted{m: m, in: a.In}
	if h := lentFor(a.Context); h != nil {
		in.told = h.told
	}
	wrapped := false
	if h := p.h; h != nil {
		if conn == net.Conn(h) {
			m.by = h.mountedBy()
			if !h.takeBack(m, a.In) {
				return ErrClosed
			}
			<-over
			return nil
		}
		h.leaveHijacked()
		wrapped = true
		g.stats.open.Add(1)
	} else if h, ok := conn.(*lentConn); ok {
		conn, in.in = h.unwrap(in.in)
	}
	if a.Server != nil {
		m.by = g.lenderFor(a.Server)
	}
	g.stats.accepted.Add(1)
	g.stats.mounted.Add(1)
	c := g.nextLoop().adoptable(conn, wrapped)
	if !c.loop.Post(adoptMountedOnLoop, c, &in, len(in.in)) {
		_ = c.loop.sys.Close(int(c.fd))
		g.connEnded()
		return ErrClosed
	}
	<-over
	return nil
}

type adopted struct {
	m    *mounted
	in   []byte
	told proxied // by the group that has had it before
}

// adoptable makes a connection of conn, for the loop. wrapped tells that it is one of the
// group's with something around it. Any goroutine.
func (l *Loop) adoptable(conn net.Conn, wrapped bool) *Conn {
	g := l.group
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn: // nothing that is made of one: it may change the bytes
		if fd, err := l.sys.TakeBack(conn); err == nil {
			_, tcp := conn.(*net.TCPConn)
			g.tune(fd, tcp)
			return l.newConn(fd, tcp, false)
		}
	}
	d := g.bridge.open(conn)
	d.wrapped = wrapped
	return l.newConn(d.fd, d.tcp, false)
}

func adoptMountedOnLoop(a, b any) {
	c, in := a.(*Conn), b.(*adopted)
	l := c.loop
	defer in.m.arrival.settle()
	l.setProxied(c, in.told)
	if !l.adopt(c) {
		return
	}
	c.enter(phaseHead)
	c.setMounted(in.m)
	c.process(in.in)
	if l.draining && c.phase < phaseClosing {
		c.drain()
	}
}

// nextLoop is the loop whose turn it is. Any goroutine.
func (g *Group) nextLoop() *Loop {
	return g.loops[(g.next.Add(1)-1)%uint32(len(g.loops))] // unsigned: an int of 32 bits would turn negative
}

func adoptOnLoop(a, _ any) {
	c := a.(*Conn)
	c.loop.adoptNew(c)
}
