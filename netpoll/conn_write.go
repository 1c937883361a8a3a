package netpoll

import "syscall"

// This file is the only path to a socket. Whatever is sent is queued as a
// reference to a shared buffer; the loop writes each dirty connection once per
// batch, everything queued in one call, and in bursts once for keepSegs.

// segment is a view into a buffer that the queue holds one reference to.
type segment struct {
	buf *Buffer
	b   []byte
}

// outQueue is what a connection has not written yet. Idle connections have
// none.
type outQueue struct {
	segs  []segment
	head  int // segs[:head] are written
	bytes int
}

// maxFreeQueues bounds the empty queues that a loop keeps for the next turn.
const maxFreeQueues = 1024

func (l *Loop) newOutQueue() *outQueue {
	n := len(l.queues)
	if n == 0 {
		return new(outQueue)
	}
	q := l.queues[n-1]
	l.queues[n-1] = nil
	l.queues = l.queues[:n-1]
	return q
}

func (l *Loop) freeOutQueue(q *outQueue) {
	if len(l.queues) < maxFreeQueues {
		l.queues = append(l.queues, q)
	}
}

// joinBytes is the largest segment that is worth copying into one write with
// its neighbours; larger ones go out by writev.
const joinBytes = 16 << 10

// keepSegs is how many segments an empty queue keeps room for.
const keepSegs = 16

// send queues b, a view into buf, of which it takes a reference of its own.
func (c *Conn) send(buf *Buffer, b []byte) {
	if c.is(connClosed | connLinger) {
		return
	}
	l := c.loop
	if c.out != nil && c.out.bytes >= l.cfg.MaxQueuedBytes {
		// A burst within one batch says nothing about the peer: see first
		// what the kernel takes.
		c.flush()
		if c.is(connClosed) {
			return
		}
		if c.out != nil && c.out.bytes >= l.cfg.MaxQueuedBytes {
			l.group.stats.slow.Add(1)
			c.abort(ErrSlowConsumer)
			return
		}
	}
	if c.out != nil && len(c.out.segs) == keepSegs && c.watch&WatchWrite == 0 {
		c.flush() // rather than let the queue grow: a burst allocates nothing
		if c.is(connClosed) {
			return
		}
	}
	q := c.out
	if q == nil {
		q = l.newOutQueue()
		c.out = q
	}
	q.segs = append(q.segs, segment{buf.Retain(), b})
	q.bytes += len(b)
	c.markDirty()
}

func (c *Conn) markDirty() {
	// A connection that waits for its socket is written when that drains.
	if !c.is(connDirty) && c.watch&WatchWrite == 0 {
		c.flags |= connDirty
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// Writable tells whether what is sent now leaves with this batch: the kernel
// has taken everything so far.
func (c *Conn) Writable() bool { return c.watch&WatchWrite == 0 && c.Open() }

// QueuedBytes is what waits for the peer to read.
func (c *Conn) QueuedBytes() int {
	if c.out == nil {
		return 0
	}
	return c.out.bytes
}

// flush writes what is queued until all is written or the kernel takes no
// more.
func (c *Conn) flush() {
	if c.is(connClosed|connMoving) || c.out == nil {
		return
	}
	l, q := c.loop, c.out
	for q.head < len(q.segs) {
		n, err := l.writeSegments(int(c.fd), q.segs[q.head:])
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			c.setWatch(c.watch | WatchWrite)
			c.wroteSome()
			return
		}
		if err != nil {
			c.abort(err)
			return
		}
		q.advance(n)
	}
	c.releaseOut()
	if c.watch&WatchWrite != 0 {
		c.setWatch(c.watch &^ WatchWrite)
	}
	c.wroteSome()
	if c.is(connLinger) && !c.is(connClosed) {
		c.endOutput()
	}
}

// writeSegments writes as much of segs as goes into one call.
func (l *Loop) writeSegments(fd int, segs []segment) (int, error) {
	if len(segs) == 1 {
		return l.sys.Write(fd, segs[0].b)
	}
	if len(segs[0].b) <= joinBytes {
		w := l.write[:0]
		for i := range segs {
			if len(w)+len(segs[i].b) > cap(w) {
				break
			}
			w = append(w, segs[i].b...)
		}
		return l.sys.Write(fd, w)
	}
	v := l.iovecs[:0]
	for i := range segs {
		if i == 64 {
			break
		}
		v = append(v, segs[i].b)
	}
	n, err := l.sys.Writev(fd, v)
	clear(v)
	l.iovecs = v[:0]
	return n, err
}

// advance takes n written bytes off the queue.
func (q *outQueue) advance(n int) {
	q.bytes -= n
	for n > 0 {
		s := &q.segs[q.head]
		if n < len(s.b) {
			s.b = s.b[n:]
			return
		}
		n -= len(s.b)
		s.buf.Release()
		*s = segment{}
		q.head++
	}
	// Empty segments would otherwise stay at the head.
	for q.head < len(q.segs) && len(q.segs[q.head].b) == 0 {
		q.segs[q.head].buf.Release()
		q.segs[q.head] = segment{}
		q.head++
	}
	if q.head > 1024 && q.head > len(q.segs)/2 {
		k := copy(q.segs, q.segs[q.head:])
		clear(q.segs[k:])
		q.segs, q.head = q.segs[:k], 0
	}
}

func (c *Conn) releaseOut() {
	q := c.out
	if q == nil {
		return
	}
	c.out = nil
	for i := q.head; i < len(q.segs); i++ {
		q.segs[i].buf.Release()
	}
	clear(q.segs)
	if cap(q.segs) > keepSegs {
		q.segs = nil
	}
	q.segs, q.head, q.bytes = q.segs[:0], 0, 0
	c.loop.freeOutQueue(q)
}

// wroteSome lets a fallback handler write on.
func (c *Conn) wroteSome() {
	if c.http != nil && c.http.fallback != nil {
		c.http.fallback.drained(c.QueuedBytes())
		c.setFallbackDeadline()
	}
}
