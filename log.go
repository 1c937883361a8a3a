package sockeye

import (
	"log/slog"

	"github.com/sockeye-io/sockeye/engine"
)

// What peers bring about is counted in Stats and told to the log, a few lines a
// second for each reason: what it is at Debug, the application's own faults at Error.

// violated ends the session of a peer that broke the protocol. Loop-owned.
func (l *link) violated(err error) {
	l.srv.tellViolation(l.session, err)
	l.session.CloseNowFor(ForcedClose, CauseViolation, err.Error())
}

// tellViolation counts, and tells the log, that a peer broke the protocol.
func (srv *Server) tellViolation(s *engine.Session, err error) {
	srv.stats.protocolErrors.Add(1)
	srv.tell(s, "protocol", "sockeye: a session is ended, its peer broke the protocol", slog.Any("why", err))
}

// tell tells the log at Debug what a peer has brought about.
func (srv *Server) tell(s *engine.Session, reason, message string, attrs ...slog.Attr) {
	if !srv.log.Debugs() {
		return
	}
	args := []any{"sid", s.ID(), "peer", s.Request().RemoteAddr()}
	for _, a := range attrs {
		args = append(args, a)
	}
	srv.log.Debug(reason, message, args...)
}

// tell tells the log at Debug what a socket's peer has brought about.
func (s *Socket) tell(reason, message string, attrs ...slog.Attr) {
	s.ns.srv.tell(s.engineSession(), reason, message, append(attrs, slog.String("namespace", s.ns.name), slog.String("socket", s.ID()))...)
}

// tellDisconnect tells the log how a socket was disconnected.
func (s *Socket) tellDisconnect(how *Disconnect) {
	if s.ns.srv.log.Debugs() {
		s.tell("disconnect, "+string(how.Cause), "sockeye: a socket is disconnected", slog.String("reason", string(how.Reason)), slog.String("cause", string(how.Cause)), slog.String("how", how.String()))
	}
}
