package engine

import "github.com/sockeye-io/sockeye/netpoll"

// Send sends m, and what is attached to it, in the order of the calls. It
// takes a reference of its own; m must be sealed. Loop-owned.
func (s *Session) Send(m *Message) {
	s.loop.Check()
	if s.state == sessionOpen {
		s.send(m)
	}
}

// SendVolatile sends m unless the transport cannot take it at once: no poll is
// waiting, or the peer has not read what was sent before. It tells whether m
// was sent. Loop-owned.
func (s *Session) SendVolatile(m *Message) bool {
	s.loop.Check()
	if s.state != sessionOpen || !s.writable() {
		return false
	}
	s.send(m)
	return true
}

func (s *Session) writable() bool {
	if p := s.poll; p != nil && !p.queue.empty() && !p.flushing {
		return false
	}
	return s.conn != nil && s.conn.Writable()
}

// send queues m on the WebSocket, or for a poll.
func (s *Session) send(m *Message) {
	if s.transport == transportWebSocket {
		n := 0
		for p := m; p != nil; p = p.next {
			s.sendFrame(s.conn, p)
			n++
		}
		s.count(tallyPacketsOut, n)
		s.lastOut = s.stamp()
		return
	}
	q := &s.poll.queue
	for p := m; p != nil; p = p.next {
		s.enqueue(p)
	}
	if q.held <= s.engine.cfg.MaxQueuedBytes || s.conn == nil {
		s.flushSoon()
	} else {
		s.answerPoll() // it takes what there is; the rest of the batch is for the next one
	}
}

// What waits for the peer is published for those who send: Session.queued is the
// memory in units of queuedUnit, whether the queue is full, and the transport.
const (
	queuedUnit      = 64
	queuedFull      = 1 << 31
	queuedWebSocket = 1 << 30
	queuedUnits     = queuedWebSocket - 1
)

// QueuedBytes is the memory, in bytes, that waits for the peer in the session's queue:
// for a poll, or, once the kernel takes no more, on the WebSocket. It is as the loop
// has last seen it. Any goroutine.
func (s *Session) QueuedBytes() int { return int(s.queued.Load()&queuedUnits) * queuedUnit }

// Full tells whether more than Config.MaxQueuedBytes wait for a poll, or more than
// netpoll.Config.MaxQueuedBytes on the WebSocket; it ends when half of that is left.
// What is sent all the same is queued; a peer that takes none of it for SlowTimeout
// is closed. See DrainHandler. Any goroutine.
func (s *Session) Full() bool { return s.queued.Load()&queuedFull != 0 }

// DrainHandler may be implemented by a Handler.
type DrainHandler interface {
	// OnDrain is called when the queue of a session that is open is no longer full.
	OnDrain(s *Session)
}

// publish publishes what waits for a poll.
func (s *Session) publish(bytes int) {
	limit := s.engine.cfg.MaxQueuedBytes
	if s.Full() {
		limit /= 2
	}
	s.setQueued(bytes, bytes > limit)
}

func (s *Session) setQueued(bytes int, full bool) {
	now := uint32(min((bytes+queuedUnit-1)/queuedUnit, queuedUnits))
	if full {
		now |= queuedFull
	}
	was := s.queued.Load()
	now |= was & queuedWebSocket
	if was == now {
		return
	}
	s.queued.Store(now)
	s.countQueued(was, now)
	if was&queuedFull != 0 && !full {
		s.loop.PostNow(drainedOnLoop, s, nil, 0) // not now: the connection is in the midst of it
	}
}

func drainedOnLoop(a, _ any) {
	s := a.(*Session)
	if h, ok := s.engine.handler.(DrainHandler); ok && s.state == sessionOpen && !s.Full() {
		h.OnDrain(s)
	}
}

// slowPoll is the deadline by which a peer has to ask for what has filled the queue.
type slowPoll struct {
	netpoll.Timer
	s *Session
}

// Expire is for the loop's timers only.
func (t *slowPoll) Expire(*netpoll.Timer) {
	s := t.s
	s.endSlow()
	if s.state == sessionOpen {
		s.engine.stats.slow.Add(1)
		s.closeFor(TransportError, CauseSlowReader, "its peer does not ask for what is sent to it")
	}
}

// endSlow stops the deadline: the peer has asked, or the session does not poll any
// more.
func (s *Session) endSlow() {
	if p := s.poll; p != nil && p.slow != nil {
		s.loop.Stop(&p.slow.Timer)
		p.slow = nil
	}
}

// enqueue queues m alone for a poll.
func (s *Session) enqueue(m *Message) {
	s.count(tallyPacketsOut, 1)
	s.lastOut = s.stamp()
	q := &s.poll.queue
	held := q.held
	q.push(m, s.conn != nil, s.loop.Group().Memory())
	if s.conn != nil || q.held == held {
		return
	}
	s.loop.Rank(s, q.held)
	s.publish(q.held)
	if d := s.engine.cfg.SlowTimeout; s.Full() && s.poll.slow == nil && d > 0 && s.state == sessionOpen {
		s.poll.slow = &slowPoll{s: s}
		s.loop.Arm(&s.poll.slow.Timer, s.poll.slow, d)
	}
}

// clearQueue empties the queue.
func (s *Session) clearQueue() {
	s.poll.queue.clear()
	s.loop.Rank(s, 0)
	s.endSlow()
	s.publish(0)
}

// Shed is for the group's memory only: the session's queue has most of what is
// spent.
func (s *Session) Shed() {
	if s.state == sessionClosing {
		s.finish()
	} else {
		s.closeWith(ending{TransportError, CauseMemory, "MaxMemory is spent, and what waits for this peer's polls is most", nil})
	}
}

// flushSoon has a waiting poll answered at the end of the batch, with all that
// has gathered by then.
func (s *Session) flushSoon() {
	if s.conn != nil && s.transport == transportPolling && !s.poll.flushing {
		s.poll.flushing = true
		s.loop.AtFlush(s)
	}
}

// Flush is for the loop only: it answers the poll that waits.
func (s *Session) Flush() {
	if s.poll != nil {
		s.poll.flushing = false
	}
	if s.transport == transportPolling && s.conn != nil && !s.poll.queue.empty() {
		s.answerPoll()
	}
}

func (s *Session) dropQueue() {
	if s.poll != nil {
		s.clearQueue()
	}
}
