package engine

import (
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"
)

// Expire is for the loop's timers only.
//
// Engine.IO v4, "Heartbeat": the server sends a ping every pingInterval, and
// closes the session if no pong arrives within pingTimeout.
func (s *Session) Expire(*netpoll.Timer) {
	switch {
	case s.state != sessionOpen:
		s.finish()
	case s.awaiting:
		s.engine.stats.pingTimeouts.Add(1)
		s.close(PingTimeout)
	default:
		s.awaiting, s.refreshed = true, false
		s.loop.ArmNext(&s.timer, s, s.engine.cfg.PingTimeout)
		s.send(pingPacket)
	}
}

// startHeartbeat waits for the time of the first ping: this side's, or, in
// version 3, the peer's.
func (s *Session) startHeartbeat() {
	s.awaiting = s.Version() == 3
	d := s.engine.cfg.PingInterval
	if s.awaiting {
		d += s.engine.cfg.PingTimeout
	}
	s.loop.Arm(&s.timer, s, d)
}

// handlePing answers a ping, which only peers of version 3 send; others get
// the reference's "invalid heartbeat direction".
func (s *Session) handlePing() {
	if s.Version() != 3 {
		s.close(TransportError)
		return
	}
	s.startHeartbeat()
	s.send(pongPacket)
}

func (s *Session) handlePong() {
	if s.Version() == 3 {
		s.close(TransportError)
		return
	}
	if !s.awaiting {
		s.countControl()
	}
	if s.state != sessionOpen {
		return
	}
	s.awaiting = false
	s.loop.Arm(&s.timer, s, s.engine.cfg.PingInterval)
}

// refreshHeartbeat puts the deadline of an unanswered ping off, once: a peer
// whose pong waits behind a large message is alive.
func (s *Session) refreshHeartbeat(t eio.PacketType) {
	if s.awaiting && !s.refreshed && s.Version() == 4 && t != eio.Pong {
		s.refreshed = true
		s.loop.Arm(&s.timer, s, s.engine.cfg.PingTimeout)
	}
}
