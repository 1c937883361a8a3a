package engine

import (
	"errors"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// lateRequestTime is how late a poll may arrive: it is sent on a connection of its own,
// so that a request which was sent after it may arrive before it.
const lateRequestTime = 100 * time.Millisecond

// Close ends the session; what was sent before still goes out. Any goroutine.
func (s *Session) Close(reason CloseReason) {
	s.loop.PostNow(closeSessionOnLoop, s, reason, 0)
}

func closeSessionOnLoop(a, b any) { a.(*Session).closeWith(endingFor(b.(CloseReason))) }

// CloseFor is Close with what is to be told of it.
func (s *Session) CloseFor(reason CloseReason, cause Cause, why string) {
	s.loop.PostNow(closeSessionForOnLoop, s, &ending{reason, cause, why, nil}, 0)
}

func closeSessionForOnLoop(a, b any) { a.(*Session).closeWith(*b.(*ending)) }

// CloseNow is Close for the loop itself: the session is over on return.
// Loop-owned.
func (s *Session) CloseNow(reason CloseReason) {
	s.loop.Check()
	s.closeWith(endingFor(reason))
}

// CloseNowFor is CloseNow with what is to be told of it. Loop-owned.
func (s *Session) CloseNowFor(reason CloseReason, cause Cause, why string) {
	s.loop.Check()
	s.closeWith(ending{reason, cause, why, nil})
}

// closeFor ends a session whose peer has done what it must not, or not what it must.
func (s *Session) closeFor(reason CloseReason, cause Cause, why string) {
	s.tellClosed(reason, why)
	s.closeWith(ending{reason, cause, why, nil})
}

// tellClosed counts, and tells the log of, a session that ends against its peer's will.
func (s *Session) tellClosed(reason CloseReason, why string) {
	e := s.engine
	if s.state >= sessionClosing {
		return
	}
	if reason == TransportError {
		e.stats.transportErrors.Add(1)
	}
	if e.log.Debugs() {
		key := why
		if reason == ParseError {
			key = string(reason) // why has where in what was sent
		}
		e.log.Debug(key, "engine: a session is closed", "reason", string(reason), "why", why,
			"sid", s.ID(), "transport", s.Transport(), "peer", s.request.RemoteAddr())
	}
}

// closeWith ends the session for the layer above and tells the peer as its
// transport can be told.
func (s *Session) closeWith(e ending) {
	if s.state >= sessionClosing {
		return
	}
	opened, told, reason := s.state == sessionOpen, s.telling(e), e.reason
	s.state = sessionClosing
	s.loop.Stop(&s.timer)
	s.abandonUpgrade("the session is closed")
	s.abandonPost()
	c := s.conn
	switch {
	case s.transport == transportWebSocket:
		s.finish()
		c.CloseWebSocket(0, "")
	case s.poll.answerLate:
		s.enqueue(noopPacket)
		s.loop.Arm(&s.timer, s, lateRequestTime)
	case reason.byPeer() || c != nil && s.poll.queue.empty():
		if c != nil {
			s.enqueue(closePacket)
			s.answerPoll()
		}
		s.finish()
	default:
		// What was sent before goes first, and the close packet with a poll of
		// its own: socket.io-client handles it before the messages of the same
		// payload. Until then the sid stays known.
		if c != nil {
			s.answerPoll()
		}
		s.loop.Arm(&s.timer, s, s.engine.cfg.CloseTimeout)
	}
	s.endPost() // what is left of it is for nobody
	if opened {
		s.tellOver(e, told)
	}
}

// telling describes the end for a handler that wants to know it; before anything is
// undone.
func (s *Session) telling(e ending) *Closing {
	if _, ok := s.engine.handler.(CloseHandler); ok {
		return s.describe(e)
	}
	return nil
}

// tellOver tells the layer above that the session is over.
func (s *Session) tellOver(e ending, told *Closing) {
	if h, ok := s.engine.handler.(CloseHandler); ok {
		h.OnClosed(s, told)
		return
	}
	s.engine.handler.OnClose(s, e.reason)
}

// closedByPeer answers a close packet. A poll that waits, or one that was sent
// before the packet and arrives after it, gets a noop.
func (s *Session) closedByPeer() {
	if s.transport == transportPolling {
		s.poll.answerLate = s.conn == nil
		s.answerPollWithNoop()
	}
	s.closeWith(ending{TransportClose, CausePeerClosed, "the peer has sent a close packet", nil})
}

// handleClosingPoll answers a poll of a session that is over: with what is still
// queued, then with the close packet, in front of which the reference server has a
// noop.
func (s *Session) handleClosingPoll() {
	last := s.poll.answerLate || s.poll.queue.empty()
	if s.poll.queue.empty() {
		s.enqueue(noopPacket)
		s.enqueue(closePacket)
	}
	s.answerPoll()
	if last {
		s.finish()
	}
}

// finish forgets the session.
func (s *Session) finish() {
	if s.state == sessionClosed {
		return
	}
	s.state = sessionClosed
	s.count(s.transport.column(), -1)
	s.loop.Stop(&s.timer)
	s.engine.sessions.remove(s)
	s.dropQueue()
	s.setQueued(0, false)
	s.endPending()
	if s.conn != nil {
		vacate(s.conn)
		s.conn = nil
	}
	s.abandonPost()
	s.endPost()
}

// connClosed is told of the end of one of the session's connections.
func (s *Session) connClosed(c *netpoll.Conn, err error) {
	switch {
	case s.probing() != nil && s.poll.upgrade.conn == c:
		s.poll.upgrade.conn = nil
		s.abandonUpgrade("its WebSocket is closed")
	case s.conn == c && s.transport == transportWebSocket:
		s.conn = nil
		e := endingOf(err)
		if e.reason == TransportError {
			s.tellClosed(e.reason, "its WebSocket failed") // netpoll tells why
		}
		if !isCloseFrame(err) {
			s.engine.cutSockets.blameProxy(&e, "a WebSocket on which nothing passes", s.loop.Now(), min(s.since(s.lastIn), s.since(s.lastOut)))
		}
		s.lost(e)
	case s.conn == c:
		s.conn = nil
		s.tellClosed(TransportError, pollCut)
		e := endingOf(err)
		e.reason, e.why = TransportError, pollCut+": "+e.why
		s.engine.cutPolls.blameProxy(&e, "a poll that waits", s.loop.Now(), s.since(s.poll.polled))
		s.lost(e)
	case s.poll != nil && (s.poll.posting == c || s.poll.post != nil && s.poll.post.conn == c):
		if s.poll.posting == c {
			s.poll.posting = nil
		}
		e := endingOf(err)
		e.reason, e.why = TransportError, postCut+": "+e.why
		s.tellClosed(TransportError, postCut)
		s.closeWith(e) // a poll may wait
	}
}

// The reference's words.
const (
	pollCut = "poll connection closed prematurely"
	postCut = "data request connection closed prematurely"
)

func isCloseFrame(err error) bool {
	var closed *netpoll.CloseError
	return errors.As(err, &closed)
}

// lost ends a session whose transport is gone.
func (s *Session) lost(e ending) {
	if s.state >= sessionClosing {
		s.finish()
		return
	}
	told := s.telling(e)
	s.state = sessionClosing
	s.abandonUpgrade("the session is closed")
	s.finish()
	s.tellOver(e, told)
}
