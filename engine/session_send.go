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
	if p := s.poll; p != nil && len(p.queue) > 0 && !p.flushing {
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
	for p := m; p != nil; p = p.next {
		s.poll.queue = append(s.poll.queue, p.Retain())
		s.poll.queued += len(p.B) - messageRoom
	}
	if s.poll.queued > s.engine.cfg.MaxQueuedBytes && len(s.poll.queue) > 1 && s.conn == nil {
		s.engine.stats.slow.Add(1)
		s.close(TransportError)
		return
	}
	s.flushSoon()
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
	if s.transport == transportPolling && s.conn != nil && len(s.poll.queue) > 0 {
		s.answerPoll()
	}
}

func (s *Session) dropQueue() {
	if s.poll == nil {
		return
	}
	for _, m := range s.poll.queue {
		m.Release()
	}
	s.poll.queue, s.poll.queued = nil, 0
}
