package engine

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
		for p := m; p != nil; p = p.next {
			s.sendFrame(s.conn, p)
		}
		return
	}
	q := &s.poll.queue
	alone := q.empty()
	for p := m; p != nil; p = p.next {
		s.enqueue(p)
	}
	switch {
	case q.held <= s.engine.cfg.MaxQueuedBytes:
		s.flushSoon()
	case s.conn != nil:
		s.answerPoll() // it takes what there is; the rest of the batch is for the next one
	case !alone:
		s.engine.stats.slow.Add(1)
		s.closeFor(TransportError, "its peer does not ask for what is sent to it")
	}
}

// enqueue queues m alone for a poll.
func (s *Session) enqueue(m *Message) {
	q := &s.poll.queue
	held := q.held
	q.push(m, s.conn != nil, s.loop.Group().Memory())
	if s.conn == nil && q.held != held {
		s.loop.Rank(s, q.held)
	}
}

// clearQueue empties the queue.
func (s *Session) clearQueue() {
	s.poll.queue.clear()
	s.loop.Rank(s, 0)
}

// Shed is for the group's memory only: the session's queue has most of what is
// spent.
func (s *Session) Shed() {
	if s.state == sessionClosing {
		s.finish()
	} else {
		s.close(TransportError)
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
