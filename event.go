package sockeye

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// Argument is one argument of a received event or answer, undecoded. Given to
// Emit, it is passed on as it is, binary included. It is valid until the
// handler returns; see Args.Clone.
type Argument struct {
	// JSON is the argument's JSON text, in which a placeholder object stands
	// for each binary attachment. With a Parser it is in that one's form.
	JSON []byte

	attachments [][]byte
}

// Args are the arguments of a received event or answer, undecoded. They are
// valid until the handler returns.
type Args struct {
	srv         *Server
	list        [][]byte
	attachments [][]byte
}

func newArgs(srv *Server, list, attachments [][]byte) Args {
	return Args{srv, list, attachments}
}

// Len is the number of arguments.
func (a *Args) Len() int { return len(a.list) }

// Argument is argument i, from 0.
func (a *Args) Argument(i int) Argument { return Argument{a.list[i], a.attachments} }

// Arguments are all arguments, ready to be given to Emit or Ack.
func (a *Args) Arguments() []any {
	all := make([]any, len(a.list))
	for i := range a.list {
		all[i] = a.Argument(i)
	}
	return all
}

// Decode decodes the first arguments into what dst point to. A *[]byte takes
// binary, at the top and in structs; in a *any, *[]any or *map[string]any binary
// is []byte at any depth. The error is ErrMissingArgument or the Codec's.
func (a *Args) Decode(dst ...any) error {
	for i, p := range dst {
		if i >= len(a.list) {
			return ErrMissingArgument
		}
		if err := a.decode(i, p); err != nil {
			return fmt.Errorf("sockeye: argument %d: %w", i, err)
		}
	}
	return nil
}

func (a *Args) decode(i int, dst any) error {
	arg := a.list[i]
	if a.srv.cfg.Parser != nil {
		if p, ok := dst.(*Argument); ok {
			*p = Argument{JSON: bytes.Clone(arg)}
			return nil
		}
		return a.srv.cfg.Parser.Unmarshal(arg, dst)
	}
	switch p := dst.(type) {
	case *[]byte:
		if num, ok := sio.IsPlaceholder(arg); ok {
			if num < 0 || num >= len(a.attachments) {
				return sio.ErrPlaceholder
			}
			*p = a.attachments[num] // the attachment is the event's own memory: no copy is needed
			return nil
		}
	case *string:
		if text, ok := a.plain(i); ok {
			*p = text
			return nil
		}
	case *Argument:
		*p = Argument{bytes.Clone(arg), a.attachments}
		return nil
	}
	if len(a.attachments) > 0 && untyped(dst) {
		err := a.srv.cfg.Codec.Unmarshal(arg, dst)
		restoreBinary(dst, a.attachments)
		return err
	}
	if len(a.attachments) > 0 {
		resolved, err := sio.AppendResolved(nil, arg, a.attachments)
		if err != nil {
			return err
		}
		arg = resolved
	}
	return a.srv.cfg.Codec.Unmarshal(arg, dst)
}

// plain is argument i if it is a string that stands in the JSON as it is.
func (a *Args) plain(i int) (text string, ok bool) {
	arg := a.list[i]
	if n := len(arg); n >= 2 && arg[0] == '"' && a.srv.cfg.Parser == nil && bytes.IndexByte(arg, '\\') < 0 {
		return string(arg[1 : n-1]), true
	}
	return "", false
}

// untyped tells whether dst takes values of any kind: []byte for binary, then.
func untyped(dst any) bool {
	switch dst.(type) {
	case *any, *[]any, *map[string]any:
		return true
	}
	return false
}

// restoreBinary puts attachments in the place of placeholders, which have been
// checked.
func restoreBinary(dst any, attachments [][]byte) {
	binary := func(v any) (b []byte, ok bool) {
		m, isMap := v.(map[string]any)
		if !isMap || m["_placeholder"] != true {
			return nil, false
		}
		num, isNumber := m["num"].(float64)
		if i := int(num); isNumber && i >= 0 && i < len(attachments) {
			return attachments[i], true
		}
		return nil, false
	}
	var open []any // containers to be looked into; no recursion over what a peer has nested
	look := func(v any) {
		switch v.(type) {
		case []any, map[string]any:
			open = append(open, v)
		}
	}
	switch dst := dst.(type) {
	case *any:
		if b, ok := binary(*dst); ok {
			*dst = b
		}
		look(*dst)
	case *[]any:
		look(*dst)
	case *map[string]any:
		look(*dst)
	}
	for len(open) > 0 {
		v := open[len(open)-1]
		open = open[:len(open)-1]
		switch v := v.(type) {
		case []any:
			for i, x := range v {
				if b, ok := binary(x); ok {
					v[i] = b
				} else {
					look(x)
				}
			}
		case map[string]any:
			for k, x := range v {
				if b, ok := binary(x); ok {
					v[k] = b
				} else {
					look(x)
				}
			}
		}
	}
}

// Clone copies the arguments, so that they may be kept.
func (a *Args) Clone() Args { return a.clone() }

func (a Args) clone() Args {
	list := make([][]byte, len(a.list))
	for i, b := range a.list {
		list[i] = bytes.Clone(b)
	}
	a.list = list // attachments are never reused
	return a
}

// Event is a received event, undecoded. It is valid until the handler returns.
type Event struct {
	Args

	name   []byte
	socket *Socket
	id     uint64
	hasID  bool
	acked  bool
}

// events are those that no handler has seen: typed ones do not.
var events = sync.Pool{New: func() any { return new(Event) }}

// argumentRoom is for Args.list.
type argumentRoom [8][]byte

var argumentRooms = sync.Pool{New: func() any { return new(argumentRoom) }}

// Name is the event's name.
func (e *Event) Name() string { return string(e.name) }

// HasAck tells whether the peer asks for an acknowledgement.
func (e *Event) HasAck() bool { return e.hasID }

// Ack answers the peer's acknowledgement; see Socket.Emit for the arguments and the
// error. It does nothing if none was asked for, or the second time.
func (e *Event) Ack(args ...any) error {
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
	s, id := e.socket, e.id
	var answered atomic.Bool
	return func(args ...any) error {
		if answered.Swap(true) {
			return nil
		}
		err := s.ack(id, args)
		if err != nil && !errors.Is(err, ErrDisconnected) {
			answered.Store(false) // it has not been sent
		}
		return err
	}
}

// handleEvent gives an event to its handler. data is borrowed until return.
func (s *Socket) handleEvent(p sio.Packet, data []byte, attachments [][]byte) {
	srv := s.ns.srv
	room := argumentRooms.Get().(*argumentRoom)
	defer func() {
		clear(room[:])
		argumentRooms.Put(room)
	}()
	list, err := srv.split(data, room[:0])
	var name []byte
	if err == nil {
		name, err = srv.eventName(list, len(attachments), data)
	}
	if err != nil {
		srv.tellViolation(s.session(), err)
		s.session().Close(ForcedClose)
		return
	}
	srv.stats.events.Add(1)
	e := events.Get().(*Event)
	e.Args, e.name, e.socket, e.id, e.hasID = newArgs(srv, list[1:], attachments), name, s, p.ID, p.HasID
	seen, err := s.dispatch(e)
	if err != nil {
		s.failed(e, err)
	}
	if !seen {
		*e = Event{}
		events.Put(e)
	}
}

// failed answers and reports an error of a handler, or of an event middleware.
func (s *Socket) failed(e *Event, err error) {
	e.ackError(err)
	reported := (*PanicError)(nil)
	if errors.As(err, &reported) {
		return
	}
	s.ns.srv.stats.handlerErrors.Add(1)
	if public := (*AckError)(nil); errors.As(err, &public) && len(s.ns.srv.onError.get()) == 0 {
		return // it is for the peer
	}
	s.report(e.Name(), err)
}

// dispatch asks middlewares and calls an event's handler. seen tells whether any
// of them was given e itself.
func (s *Socket) dispatch(e *Event) (seen bool, err error) {
	watchers, filters := s.ns.onAny.get(), s.ns.filters.get()
	seen = len(watchers)+len(filters) > 0
	for _, f := range watchers {
		_ = s.guard(e.Name(), func() error { (*f)(s, e); return nil })
	}
	for _, f := range filters {
		if err := (&handler{raw: *f}).call(s, e); err != nil {
			return seen, err
		}
	}
	if h := s.findHandler(e.name); h != nil {
		return seen || h.raw != nil, h.call(s, e)
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
	return seen || len(unhandled) > 0, nil
}

// ackError answers the acknowledgement, if it is still open, with an error. Strangers
// see the text of those alone that are meant for them.
func (e *Event) ackError(err error) {
	answer := map[string]any{"error": internalMessage}
	var public *AckError
	var argument *ArgumentError
	switch {
	case errors.As(err, &public):
		answer["error"] = public.Message
		if public.Data != nil {
			answer["data"] = public.Data
		}
	case errors.As(err, &argument) && errors.Is(err, ErrMissingArgument):
		answer["error"] = fmt.Sprintf("argument %d is missing", argument.Index)
	case errors.As(err, &argument):
		answer["error"] = fmt.Sprintf("argument %d does not fit", argument.Index)
	}
	if e.Ack(answer) != nil && public != nil { // data that cannot be encoded
		_ = e.Ack(map[string]any{"error": public.Message})
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
		name, err = srv.cfg.Parser.EventName(list[0])
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
