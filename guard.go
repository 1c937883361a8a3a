package sockeye

import (
	"errors"
	"log/slog"
	"runtime/debug"
)

// guard calls a function of the application's. If it panics, or ends its goroutine,
// that is reported, and costs what it was called for only.
func (s *Socket) guard(event string, f func() error) (err error) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(event, v)
		} else if !returned {
			s.report(event, errEnded)
		}
	}()
	err = f()
	returned = true
	return err
}

// panicked reports the panic of a handler.
func (s *Socket) panicked(event string, v any) error {
	s.ns.srv.stats.panics.Add(1)
	err := &PanicError{Event: event, Value: v, Stack: debug.Stack()}
	s.report(event, err)
	return err
}

// report tells OnError's functions, or else the log, of a fault in the
// application's part. What a handler returns because a peer has gone, or does not
// read or answer, is none.
func (s *Socket) report(event string, err error) {
	srv := s.ns.srv
	hooks := srv.onError.get()
	p, isPanic := err.(*PanicError) //nolint:errorlint // as it is made
	switch {
	case len(hooks) > 0 && !isPanic:
	case !isPanic && ofPeer(err):
		s.tell("peer in "+event, "sockeye: a handler could not go on, for a peer's sake", slog.String("event", event), slog.Any("why", err))
	default:
		attrs := []any{"event", event, "socket", s.ID(), "namespace", s.ns.name, "error", err}
		reason := "error in " + event
		if isPanic {
			attrs, reason = append(attrs, "stack", string(p.Stack)), "panic in "+event
		}
		srv.log.Error(reason, "sockeye: a handler failed", attrs...)
	}
	for _, f := range hooks {
		srv.protect("OnError", func() { (*f)(s, event, err) })
	}
}

// ofPeer tells whether an error is what a peer has brought about.
func ofPeer(err error) bool {
	return errors.Is(err, ErrDisconnected) || errors.Is(err, ErrQueueFull) || errors.Is(err, ErrAckTimeout)
}

// protect calls a function of the application's that belongs to no event; a panic
// is logged.
func (srv *Server) protect(name string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			srv.stats.panics.Add(1)
			srv.log.Error(name, "sockeye: a function of the application's panicked", "function", name, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}
