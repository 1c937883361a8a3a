package engine

import (
	"github.com/sockeye-io/sockeye/proto/eio"
)

func (s *Session) parseError(err error) {
	s.engine.stats.parseErrors.Add(1)
	s.closeFor(ParseError, CauseViolation, err.Error())
}

func (e *Engine) tellTooLarge(what string) {
	e.stats.tooLarge.Add(1)
	if e.log.Debugs() {
		e.log.Debug(what, what, "limit", e.cfg.MaxPayload)
	}
}

// handlePacket is the one switch over what a peer sends, on any transport.
//
// Engine.IO v4, "Packet encoding".
func (s *Session) handlePacket(p eio.Packet) {
	s.count(tallyPacketsIn, 1)
	s.lastIn = s.stamp()
	s.refreshHeartbeat(p.Type)
	switch p.Type {
	case eio.Message:
		s.engine.handler.OnMessage(s, p.Data, p.Binary)
	case eio.Pong:
		s.handlePong()
	case eio.Close:
		s.closedByPeer()
	case eio.Ping:
		s.handlePing()
	case eio.Open, eio.Upgrade, eio.Noop:
		s.countControl() // the reference server ignores these outside of an upgrade
	}
}

// countControl counts a packet that is no message and answers nothing: a connection
// sends few in a row.
func (s *Session) countControl() {
	if s.transport == transportWebSocket && s.conn != nil {
		s.conn.CountControl()
	}
}
