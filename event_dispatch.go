package sockeye

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// argumentScratch is for Args.list.
type argumentScratch [8][]byte

var argumentScratches = sync.Pool{New: func() any { return new(argumentScratch) }}

// handleEvent gives an event to its handler. data is borrowed until return.
func (s *Socket) handleEvent(p sio.Packet, data []byte, attachments [][]byte) {
	srv := s.ns.srv
	scratch := argumentScratches.Get().(*argumentScratch)
	defer func() {
		clear(scratch[:])
		argumentScratches.Put(scratch)
	}()
	list, err := srv.split(data, scratch[:0])
	var name []byte
	if err == nil {
		name, err = srv.eventName(list, len(attachments), data)
	}
	if err != nil {
		srv.tellViolation(s.engineSession(), err)
		s.engineSession().CloseFor(ForcedClose, CauseViolation, err.Error())
		return
	}
	s.count(tallyEventsIn)
	e := events.Get().(*Event)
	e.Args, e.name, e.socket, e.id, e.hasID = newArgs(srv, list[1:], attachments), name, s, p.ID, p.HasID
	seen, err := s.dispatch(e)
	if err != nil && s.guard(e.Name(), func() error { s.failed(e, err); return nil }) != nil {
		e.ackError(nil) // a method of the error's has panicked
	}
	if !seen {
		*e = Event{}
		events.Put(e)
	}
}

// dispatch asks middlewares and calls an event's handler. seen tells whether any
// of them was given e itself.
func (s *Socket) dispatch(e *Event) (seen bool, err error) {
	watchers, middlewares := s.ns.onAny.get(), s.ns.eventMiddlewares.get()
	for _, f := range watchers {
		_ = s.guard(e.Name(), func() error { (*f)(s, e); return nil })
	}
	if len(middlewares) > 0 {
		return true, s.throughMiddlewares(e, middlewares)
	}
	seen, err = s.reach(e)
	return seen || len(watchers) > 0, err
}

// reach calls an event's handler, or what is called for events that have none. seen
// tells whether any of them was given e itself.
func (s *Socket) reach(e *Event) (seen bool, err error) {
	if h := s.findHandler(e.name); h != nil {
		return h.raw != nil, h.call(s, e)
	}
	s.ns.srv.stats.unhandled.Add(1)
	if s.ns.srv.log.Debugs() {
		s.tell("unhandled", "sockeye: an event has no handler", slog.String("event", e.Name()))
	}
	unhandled := s.ns.onUnhandled.get()
	for _, f := range unhandled {
		if err := (&handler{raw: *f}).call(s, e); err != nil {
			return true, err
		}
	}
	return len(unhandled) > 0, nil
}

// failed answers and reports an error of a handler, or of an event middleware.
func (s *Socket) failed(e *Event, err error) {
	e.ackError(err)
	reported := (*PanicError)(nil)
	if errors.As(err, &reported) {
		return
	}
	s.ns.srv.stats.handlerErrors.Add(1)
	if public := (*AckError)(nil); errors.As(err, &public) && public != nil && len(s.ns.srv.onError.get()) == 0 {
		return // it is for the peer
	}
	s.report(e.Name(), err)
}

// ackError answers the acknowledgement, if it is still open, with an error. Strangers
// see the text of those alone that are meant for them.
func (e *Event) ackError(err error) {
	answer := map[string]any{"error": internalMessage}
	var public *AckError
	var argument *ArgumentError
	switch {
	case errors.As(err, &public) && public != nil:
		answer["error"] = public.Message
		if public.Data != nil {
			answer["data"] = public.Data
		}
	case errors.As(err, &argument) && errors.Is(err, ErrMissingArgument):
		answer["error"] = fmt.Sprintf("argument %d is missing", argument.Index)
	case errors.As(err, &argument):
		answer["error"] = fmt.Sprintf("argument %d does not fit", argument.Index)
	}
	if e.socket.guard(e.Name(), func() error { return e.answer([]any{answer}) }) != nil && public != nil { // data that cannot be encoded
		_ = e.answer([]any{map[string]any{"error": public.Message}})
	}
}

// checkBinary checks a packet whose attachments have not come yet.
func (srv *Server) checkBinary(p sio.Packet) error {
	list, err := srv.split(p.Data, nil)
	if err == nil && p.Type == sio.BinaryEvent {
		_, err = srv.eventName(list, p.Attachments, p.Data)
	}
	return err
}

// eventName checks an event as a whole and returns its name.
//
// Socket.IO v5, "Sending and receiving data": the payload is a non-empty array
// that begins with the name, and the reserved names are the protocol's own.
func (srv *Server) eventName(list [][]byte, attachments int, payload []byte) (name []byte, err error) {
	switch {
	case len(list) == 0:
		return nil, errUnexpected
	case srv.cfg.Parser != nil:
		name, err = srv.nameByParser(list[0])
	default:
		name, err = sio.EventName(list[0])
	}
	switch {
	case err != nil:
		return nil, err
	case sio.IsReserved(name):
		return nil, ErrReservedEvent
	case attachments > 0:
		return name, sio.CheckPlaceholders(payload, attachments)
	}
	return name, nil
}
