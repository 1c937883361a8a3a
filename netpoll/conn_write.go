package netpoll

import (
	"syscall"

	"github.com/sockeye-io/sockeye/internal/fifo"
)

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
	segs  fifo.Queue[segment]
	bytes int     // that wait
	held  int     // memory that waits, once the kernel takes no more
	tail  *Buffer // of the last segment, if it is this queue's own with space left
	pong  *Buffer // the answer to the latest ping, once the kernel takes more
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

const (
	// joinBytes is the largest segment that is worth copying into one write with
	// its neighbours; larger ones go out by writev.
	joinBytes = 16 << 10

	// keepSegs is how many segments an empty queue keeps space for.
	keepSegs = 16

	// copyBytes is the largest segment that a blocked queue copies: it would hold
	// a reference and a buffer of its own for as long as the peer likes.
	copyBytes = 2 << 10

	segmentBytes = 32 // of a segment itself
)

// send queues b, a view into buf, of which it takes a reference of its own.
func (c *Conn) send(buf *Buffer, b []byte) {
	if c.phase >= phaseClosing {
		return
	}
	if q := c.out; q != nil {
		if c.watch&WatchWrite != 0 {
			c.sendBlocked(buf, b)
			return
		}
		if q.segs.Len() == keepSegs {
			// Rather than let the queue grow: a burst allocates nothing, and says
			// nothing about the peer.
			c.flush()
			if c.phase >= phaseClosing {
				return
			}
			if c.out != nil {
				c.sendBlocked(buf, b)
				return
			}
		}
	}
	q := c.out
	if q == nil {
		q = c.loop.newOutQueue()
		c.out = q
	}
	q.segs.Push(segment{buf.Retain(), b})
	q.bytes += len(b)
	c.markDirty()
}

// sendBlocked queues for a peer that does not read at present.
func (c *Conn) sendBlocked(buf *Buffer, b []byte) {
	c.out.add(&c.loop.group.memory, buf, b)
	if c.x != nil && (c.is(connFull) || c.phase == phaseRelaying) {
		c.x.added += len(b)
	}
	c.rank()
	c.tellQueue()
}

// QueueHandler may be implemented by a Handler.
type QueueHandler interface {
	// HandleQueue is told of the memory, in bytes, that waits for the peer of a
	// WebSocket, each time that it changes while the kernel takes no more, and of the
	// end of that with 0. full is from when on more than Config.MaxQueuedBytes wait
	// until half of that does. It must not send, nor close c.
	HandleQueue(c *Conn, bytes int, full bool)
}

// tellQueue follows a change of a queue that waits for its peer: a WebSocket's may be
// full now, or no longer. Nothing is cut for what this side has sent: a peer is slow
// only if it does not read on, see conn_phase.go.
func (c *Conn) tellQueue() {
	if c.phase != phaseOpen {
		if c.phase >= phaseLinked && c.phase < phaseClosing {
			c.relayQueue()
		}
		return
	}
	held, limit := 0, c.loop.cfg.MaxQueuedBytes
	if c.out != nil {
		held = c.out.held
	}
	switch full := c.is(connFull); {
	case !full && held > limit:
		c.flags |= connFull
		if c.arm(c.patience(c.loop.cfg.SlowTimeout)); c.x != nil {
			c.x.owed, c.x.added = c.owed(), 0
		}
	case full && held <= limit/2:
		c.flags &^= connFull
		c.endExchange()
	}
	if h, ok := c.loop.h.(QueueHandler); ok {
		h.HandleQueue(c, held, c.is(connFull))
	}
}

// add appends b to a queue that waits for its peer: copied to the end of the tail
// if it is small, by reference to buf if it is not.
func (q *outQueue) add(m *Memory, buf *Buffer, b []byte) {
	q.bytes += len(b)
	if len(b) > copyBytes {
		q.segs.Push(segment{buf.Retain(), b})
		q.tail = nil
		q.hold(m, buf)
		return
	}
	if q.tail == nil || len(q.tail.B)+len(b) > cap(q.tail.B) {
		size := len(b)
		if q.tail != nil { // the one before is full: twice as much
			size = max(size, min(2*cap(q.tail.B), 8*copyBytes))
		}
		q.tail = NewBuffer(size)
		q.segs.Push(segment{q.tail, q.tail.B})
		q.hold(m, q.tail)
	}
	from := len(q.tail.B)
	q.tail.B = append(q.tail.B, b...)
	all := q.segs.All()
	s := &all[len(all)-1]
	if len(s.b) == 0 {
		s.b = q.tail.B[from:]
	} else {
		s.b = s.b[:len(s.b)+len(b)]
	}
}

func (q *outQueue) hold(m *Memory, buf *Buffer) {
	q.held += cap(buf.B) + segmentBytes
	buf.Charge(m)
}

// settle takes account of what a queue holds when the kernel has stopped taking
// it: small rests of shared buffers are copied.
func (q *outQueue) settle(m *Memory) {
	segs := q.segs.All()
	q.segs, q.bytes, q.held, q.tail = fifo.Make[segment](min(len(segs), keepSegs)), 0, 0, nil
	for _, s := range segs {
		if len(s.b) > 0 {
			q.add(m, s.buf, s.b)
		}
		s.buf.Release()
	}
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
	if c.out == nil || c.phase == phaseClosed || c.is(connMoving) {
		return
	}
	q := c.out
	for q.segs.Len() > 0 || c.recordsWait() {
		n, err := c.writeSegments(q.segs.All())
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			c.blocked()
			return
		}
		if err != nil {
			c.abort(err)
			return
		}
		q.advance(n)
		if q.segs.Len() == 0 && q.pong != nil {
			q.segs.Push(segment{q.pong, q.pong.B})
			q.bytes, q.pong = len(q.pong.B), nil
		}
	}
	c.releaseOut()
	if c.watch&WatchWrite != 0 {
		c.setWatch(c.watch &^ WatchWrite)
		c.rank()
		c.tellQueue()
	}
	switch c.phase {
	case phaseWriting:
		c.enter(phaseIdle)
		c.readOn()
	case phaseSpliced:
		c.endSplice()
	case phaseClosing:
		c.endOutput()
	}
}

// blocked waits for the peer to read.
func (c *Conn) blocked() {
	q := c.out
	if c.watch&WatchWrite != 0 { // still
		c.rank()
		c.tellQueue()
		return
	}
	c.setWatch(c.watch | WatchWrite)
	if c.phase == phaseClosed {
		return
	}
	q.settle(&c.loop.group.memory)
	c.rank()
	c.tellQueue()
	if c.phase == phaseIdle {
		c.enter(phaseWriting)
	}
}

// writeSegments writes as much of segs as goes into one call.
func (c *Conn) writeSegments(segs []segment) (int, error) {
	if c.layers&layerTLS != 0 {
		return c.writeSealed(segs)
	}
	l, fd := c.loop, int(c.fd)
	if len(segs) == 1 {
		return l.writeTo(fd, segs[0].b)
	}
	if len(segs[0].b) <= joinBytes {
		w := l.write[:0]
		for i := range segs {
			if len(w)+len(segs[i].b) > cap(w) {
				break
			}
			w = append(w, segs[i].b...)
		}
		return l.writeTo(fd, w)
	}
	v := l.iovecs[:0]
	for i := range segs {
		if i == 64 {
			break
		}
		v = append(v, segs[i].b)
	}
	n, err := l.sys.Writev(fd, v)
	l.meter.wrote(n)
	clear(v)
	l.iovecs = v[:0]
	return n, err
}

// advance takes n written bytes off the queue.
func (q *outQueue) advance(n int) {
	q.bytes -= n
	for n > 0 {
		s := q.segs.Front()
		if n < len(s.b) {
			s.b = s.b[n:]
			return
		}
		n -= len(s.b)
		q.drop()
	}
	// Empty segments would otherwise stay at the head.
	for q.segs.Len() > 0 && len(q.segs.Front().b) == 0 {
		q.drop()
	}
}

// drop takes the segment at the head off.
func (q *outQueue) drop() {
	s := q.segs.Front()
	if q.held > 0 {
		q.held -= cap(s.buf.B) + segmentBytes
	}
	if s.buf == q.tail {
		q.tail = nil
	}
	s.buf.Release()
	q.segs.Drop()
}

func (c *Conn) releaseOut() {
	q := c.out
	if q == nil {
		return
	}
	c.out = nil
	for _, s := range q.segs.All() {
		s.buf.Release()
	}
	q.segs.Clear(keepSegs)
	if q.pong != nil {
		q.pong.Release()
	}
	*q = outQueue{segs: q.segs}
	c.loop.freeOutQueue(q)
}
