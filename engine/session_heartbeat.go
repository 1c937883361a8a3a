package engine

import (
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"
)

// The heartbeat (Engine.IO v4, "Heartbeat"): the server sends a ping every
// pingInterval, and closes the session if no pong arrives within pingTimeout. In
// version 3 the peer sends the pings.
//
//	the time is over                  action
//	--------------------------------  ---------------------------------------------------
//	of the interval                   a ping; pingTimeout begins
//	of pingTimeout, while the peer    another pingTimeout: a pong cannot overtake the
//	  is in the midst of a message    message, see netpoll.Conn.Receives
//	of pingTimeout                    closed with PingTimeout
//	any, while the session is paused  nothing ends: its pongs are not read. Peers look for
//	                                  pings, too, which go on: see nudge
//
// The first packet after a ping that is not its pong puts the deadline off once, as
// the reference server does it. Resume gives the peer all of pingTimeout again.

// Expire is for the loop's timers only.
func (s *Session) Expire(*netpoll.Timer) {
	switch {
	case s.state != sessionOpen:
		s.finish()
	case s.paused:
		s.nudge()
	case s.awaiting && s.receives():
		s.loop.ArmNext(&s.timer, s, s.engine.cfg.PingTimeout)
	case s.awaiting:
		s.engine.stats.pingTimeouts.Add(1)
		s.closeFor(PingTimeout, CauseSilent, s.silence())
	default:
		s.loop.ArmNext(&s.timer, s, s.engine.cfg.PingTimeout)
		s.ping()
	}
}

// silence tells what the peer has not done.
func (s *Session) silence() string {
	switch {
	case s.version == 3:
		return "no ping of its peer came in time"
	case s.transport == transportPolling && s.conn == nil:
		return "its ping was not answered in time, nor asked for: there is no poll"
	}
	return "its ping was not answered in time"
}

func (s *Session) ping() {
	s.awaiting, s.refreshed = true, false
	s.receives() // what comes from now on is life
	if s.pings < maxPings {
		s.pings++
	}
	s.send(pingPacket)
}

// maxPings bounds the pongs that are not counted as unasked for: those of a session that
// was paused come together.
const maxPings = 1 << 15

// receives tells whether the peer is in the midst of sending something.
func (s *Session) receives() bool {
	if s.transport == transportWebSocket {
		return s.conn.Receives()
	}
	return s.poll.posting != nil && s.poll.posting.Receives()
}

// nudge keeps the peer of a paused session from taking this side for dead: by a ping,
// whose pong is for later, or, in version 3, where the peer's own ping is not read, by
// a noop, which counts as life.
func (s *Session) nudge() {
	if s.Version() == 3 {
		s.pauseHeartbeat()
		s.send(noopPacket)
		return
	}
	s.loop.ArmNext(&s.timer, s, s.engine.cfg.PingInterval)
	s.ping()
}

// pauseHeartbeat begins the time without pongs, or pings, of the peer.
func (s *Session) pauseHeartbeat() {
	if s.state == sessionOpen && s.Version() == 3 {
		s.loop.Arm(&s.timer, s, s.engine.cfg.PingTimeout/2)
	}
}

// resumeHeartbeat gives the peer all the time again that it has for its next pong, or
// ping.
func (s *Session) resumeHeartbeat() {
	switch {
	case s.state != sessionOpen:
	case s.Version() == 3:
		s.startHeartbeat()
	case s.awaiting:
		s.loop.Arm(&s.timer, s, s.engine.cfg.PingTimeout)
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
		s.closeFor(TransportError, CauseViolation, "a peer of version 4 has sent a ping")
		return
	}
	s.startHeartbeat()
	s.send(pongPacket)
}

func (s *Session) handlePong() {
	if s.Version() == 3 {
		s.closeFor(TransportError, CauseViolation, "a peer of version 3 has sent a pong")
		return
	}
	if s.pings == 0 {
		s.countControl()
	} else {
		s.pings--
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
