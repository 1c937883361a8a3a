package sockeye

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Event is a received event, undecoded. It is valid until the handler returns.
type Event struct {
	Args

	name   []byte
	socket *Socket
	ctx    context.Context //nolint:containedctx // of one call; nil for the socket's
	id     uint64
	hasID  bool
	acked  bool
}

// events are of those handlers that are never given one: typed ones. The others may
// keep theirs.
var events = sync.Pool{New: func() any { return new(Event) }}

// Name is the event's name.
func (e *Event) Name() string { return string(e.name) }

// Socket is the socket that the event has come from.
func (e *Event) Socket() *Socket { return e.socket }

// Context is the socket's, with what UseEvents' middlewares have made of it.
func (e *Event) Context() context.Context {
	if e.ctx != nil {
		return e.ctx
	}
	return e.socket.Context()
}

// HasHandler tells whether the event has a handler at present. The name of one that has
// none is whatever a peer has sent: it is not to be a label of metrics.
func (e *Event) HasHandler() bool { return e.socket.hasHandler(e.name) }

// HasAck tells whether the peer asks for an acknowledgement.
func (e *Event) HasAck() bool { return e.hasID }

// Ack answers the peer's acknowledgement; see Socket.Emit for the arguments and the
// error. It does nothing if none was asked for, or the second time.
func (e *Event) Ack(args ...any) error {
	if e.hasID && !e.acked && e.srv.checks() {
		e.socket.ns.checkAnswer(e.Name(), append([]any(nil), args...))
	}
	return e.answer(args)
}

func (e *Event) answer(args []any) error {
	if !e.hasID || e.acked {
		return nil
	}
	err := e.socket.ack(e.id, args)
	e.acked = err == nil || errors.Is(err, ErrDisconnected)
	return err
}

// AckLater returns a function that answers the acknowledgement, once, and may be kept
// after the handler has returned, or nil if none was asked for.
func (e *Event) AckLater() func(args ...any) error {
	if !e.hasID || e.acked {
		return nil
	}
	e.acked = true
	s, id, name := e.socket, e.id, ""
	if s.ns.srv.checks() {
		name = e.Name()
	}
	var answered atomic.Bool
	return func(args ...any) error {
		if answered.Swap(true) {
			return nil
		}
		if s.ns.srv.checks() {
			s.ns.checkAnswer(name, append([]any(nil), args...))
		}
		err := s.ack(id, args)
		if err != nil && !errors.Is(err, ErrDisconnected) {
			answered.Store(false) // it has not been sent
		}
		return err
	}
}
