package netpoll

import "github.com/sockeye-io/sockeye/proto/http1"

// MoveTo hands the connection over to another loop and has the request that is
// being handled handled there once more. It must be the last thing that
// HandleRequest, or BodyHandler's HandleHead, does with c.
func (c *Conn) MoveTo(to *Loop, r *http1.Request) {
	l := c.loop
	l.Check()
	c.leave()
	c.flags |= connMoving
	// process still holds the unread input; the handover follows at the end of
	// the batch, when every list of this loop has been emptied.
	l.moves = append(l.moves, move{c, to, &moved{r.Clone(), l.addresses[c], l.takeProxied(c), c.mounted(), c.is(connAtHead)}})
	delete(l.addresses, c)
	c.setMounted(nil)
}

// leave takes the connection out of its loop.
func (c *Conn) leave() {
	if c.is(connMoving) {
		return // it has
	}
	l := c.loop
	if c.watch != 0 {
		_ = l.sys.Watch(int(c.fd), c.watch, 0)
		c.watch = 0
	}
	l.group.table.set(int(c.fd), nil)
	l.meter.conns.Add(-1)
	if c.layers&layerTLS != 0 {
		c.leaveTLS()
	}
	if len(l.holders) > 0 {
		l.Rank(c, 0)
	}
}

type move struct {
	c  *Conn
	to *Loop
	m  *moved
}

// moved is what comes along with a connection.
type moved struct {
	r    *http1.Request
	from *address // with Config.PerAddress
	p    proxied  // with Config.ProxyProtocol
	by   *mounted // nil for a connection of an own listener
	head bool     // its body is not here
}

// handOver completes MoveTo at the end of the batch.
func (m *move) handOver(from *Loop) {
	defer from.recoverPanic(nil)
	c := m.c
	if c.phase == phaseClosed {
		return // by a panic
	}
	c.loop = m.to
	c.home.Store(int32(m.to.index))
	if !m.to.PostNow(adoptMovedOnLoop, c, m.m, 0) { // the group has ended
		_ = from.sys.Close(int(c.fd))
		from.group.connEnded()
	}
}

func adoptMovedOnLoop(a, b any) {
	c, m := a.(*Conn), b.(*moved)
	l := c.loop
	c.flags &^= connMoving
	if m.from != nil {
		l.countAt(c, m.from)
	}
	l.setProxied(c, m.p)
	if !l.adopt(c) {
		return
	}
	if m.by != nil {
		c.setMounted(m.by)
	}
	if c.out != nil {
		c.markDirty()
	}
	defer l.recoverPanic(c)
	if l.draining {
		c.flags &^= connKeepAlive
	}
	l.current = c
	if m.head {
		c.expectBody(m.r)
	} else {
		c.deliver(m.r)
	}
	l.current = nil
	c.later()
	c.receiveOn()
}

// adopt enters a connection into the table and the poller.
func (l *Loop) adopt(c *Conn) bool {
	l.group.table.set(int(c.fd), c)
	l.meter.conns.Add(1)
	if l.stopping {
		c.abort(ErrClosed)
		return false
	}
	c.settle()
	if l.group.addresses != nil && !l.enterAddress(c) {
		return false
	}
	c.setReading(!c.is(connPaused))
	return c.phase != phaseClosed
}

func (l *Loop) newConn(fd int, tcp, secure bool) *Conn {
	var c *Conn
	if secure {
		c = newSecureConn()
	} else {
		c = new(Conn)
	}
	c.loop, c.fd, c.flags = l, int32(fd), connNoRead
	c.home.Store(int32(l.index))
	if tcp {
		c.flags |= connTCP
	}
	return c
}

// adoptNew enters a new connection; its first request is due.
func (l *Loop) adoptNew(c *Conn) {
	here := c.expectProxy()
	if !l.adopt(c) {
		return
	}
	if !here {
		c.abort(ErrClosed)
		return
	}
	if c.enter(phaseHead); c.layers == layerTLS { // without a header in front of it
		c.enter(phaseSecure)
	}
	if l.draining {
		c.drain()
	}
}

// drain ends a connection of a group that is being closed, at once if nothing is
// under way: a request that is here is still answered.
func (c *Conn) drain() {
	c.flags &^= connKeepAlive
	switch c.phase {
	case phaseSecure:
		c.close(ErrClosed)
	case phaseHead, phaseIdle:
		if !c.unread() {
			c.close(ErrClosed)
		}
	case phaseOpen:
		c.close(ErrClosed)
	case phaseSpliced:
		if x, ok := c.Context.(*relay); ok {
			x.endStream()
		}
	case phaseLinked:
		switch x := c.Context.(type) {
		case *linkPool:
			c.abort(nil)
		case *relay:
			x.hurry()
		}
	}
}
