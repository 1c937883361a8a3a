package sockeye

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// handler is a compiled handler: what On was given, ready to be called.
type handler struct {
	raw    func(s *Socket, e *Event) error // the undecoded form, or nil
	direct func(s *Socket, e *Event) error // a common typed form, called without reflection; or nil

	signature reflect.Type // of what On was given; nil for the undecoded form

	fn       reflect.Value
	frames   sync.Pool
	context  bool           // the first parameter is a context.Context
	socket   bool           // it takes a *Socket, after the context if it takes one
	params   []reflect.Type // the others
	variadic bool
	results  int // without the error
	fails    bool

	once bool
	used atomic.Bool
}

var (
	socketType  = reflect.TypeFor[*Socket]()
	eventType   = reflect.TypeFor[*Event]()
	argsType    = reflect.TypeFor[Args]()
	errorType   = reflect.TypeFor[error]()
	contextType = reflect.TypeFor[context.Context]()
)

const signatures = "a handler is func([ctx context.Context,] [s *Socket,] args...) (results..., error) or func(*Socket, *Event) error"

// compileHandler checks a handler's signature once, so that calls need not.
func compileHandler(event string, f any) (*handler, error) {
	if err := checkEventName("On", event); err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case func(*Socket, *Event) error:
		return &handler{raw: f}, nil
	case func(*Socket, *Event):
		return &handler{raw: func(s *Socket, e *Event) error { f(s, e); return nil }}, nil
	}
	if direct := directly(f); direct != nil {
		return &handler{direct: direct, signature: reflect.TypeOf(f)}, nil
	}
	v := reflect.ValueOf(f)
	refuse := func(why string) error {
		return fmt.Errorf("sockeye: On(%q): %s; %s, not %T", event, why, signatures, f)
	}
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, refuse("not a function")
	}
	t := v.Type()
	h := &handler{fn: v, signature: t, variadic: t.IsVariadic(), results: t.NumOut()}
	i := 0
	if i < t.NumIn() && t.In(i) == contextType {
		h.context = true
		i++
	}
	if i < t.NumIn() && t.In(i) == socketType {
		h.socket = true
		i++
	}
	for ; i < t.NumIn(); i++ {
		p := t.In(i)
		switch p {
		case eventType:
			return nil, refuse("*Event stands alone")
		case socketType, contextType:
			return nil, refuse(fmt.Sprintf("parameter %d, a %v, must come first", i, p))
		case socketType.Elem(), eventType.Elem(), argsType:
			return nil, refuse(fmt.Sprintf("parameter %d is a %v; take *Socket or *Event", i, p))
		}
		if why := undecodable(p); why != "" {
			return nil, refuse(fmt.Sprintf("parameter %d cannot be decoded: %s", i, why))
		}
		h.params = append(h.params, p)
	}
	if h.results > 0 && t.Out(h.results-1) == errorType {
		h.results--
		h.fails = true
	}
	for i := range h.results {
		if why := unencodable(t.Out(i)); why != "" {
			return nil, refuse(fmt.Sprintf("result %d cannot be encoded: %s", i, why))
		}
	}
	return h, nil
}

// checkEventName says why there can be no such event.
func checkEventName(by, event string) error {
	why := ""
	switch {
	case sio.IsReserved([]byte(event)):
		why = "the name is the protocol's own; see OnConnect and OnDisconnect"
	case event == "connection":
		why = "it is no event of a peer; see OnConnect, which may refuse, and OnConnection"
	case event == "*":
		why = "there is no event for all; see OnAny and OnUnhandled"
	case event == "":
		why = "the event has no name"
	default:
		return nil
	}
	return fmt.Errorf("sockeye: %s(%q): %s", by, event, why)
}

// call decodes the arguments, calls the function and acknowledges.
func (h *handler) call(s *Socket, e *Event) (err error) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(e.Name(), v)
		} else if !returned {
			s.report(e.Name(), errEnded)
			e.ackError(errEnded)
		}
	}()
	err = h.run(s, e)
	returned = true
	return err
}

func (h *handler) run(s *Socket, e *Event) error {
	switch {
	case h.raw != nil:
		return h.raw(s, e)
	case h.direct != nil:
		return h.direct(s, e)
	}
	fr := h.frame()
	defer h.release(fr)
	if err := h.decode(s, e, fr); err != nil {
		s.ns.srv.stats.decodeErrors.Add(1)
		return err
	}
	out := h.fn.Call(fr.in)
	if h.fails {
		if err, _ := out[h.results].Interface().(error); err != nil {
			return err
		}
	}
	if !e.hasID {
		return nil
	}
	results := make([]any, h.results)
	for i := range results {
		results[i] = out[i].Interface()
	}
	if s.ns.srv.checks() {
		s.ns.checkResults(e.Name(), results)
	}
	return e.answer(results)
}

// frame is the memory of one call, from a pool: the function gets copies of what
// is in it.
type frame struct {
	in     []reflect.Value
	params []reflect.Value // one for each of handler.params, but for a variadic one
	into   []any           // pointers to them
}

func (h *handler) frame() *frame {
	if fr, ok := h.frames.Get().(*frame); ok {
		return fr
	}
	fr := new(frame)
	for i, p := range h.params {
		if h.variadic && i == len(h.params)-1 {
			break
		}
		v := reflect.New(p)
		fr.params = append(fr.params, v.Elem())
		fr.into = append(fr.into, v.Interface())
	}
	return fr
}

func (h *handler) release(fr *frame) {
	for i := range fr.params {
		fr.params[i].SetZero()
	}
	clear(fr.in)
	fr.in = fr.in[:0]
	h.frames.Put(fr)
}

func (h *handler) decode(s *Socket, e *Event, fr *frame) error {
	if h.context {
		fr.in = append(fr.in, reflect.ValueOf(e.Context()))
	}
	if h.socket {
		fr.in = append(fr.in, reflect.ValueOf(s))
	}
	for i, v := range fr.params {
		if i >= e.Len() {
			if h.params[i].Kind() != reflect.Pointer {
				return e.argumentError(i, ErrMissingArgument)
			}
		} else {
			if r, ok := fr.into[i].(*io.Reader); ok {
				var b []byte
				if err := e.decode(i, &b); err != nil {
					return e.argumentError(i, err)
				}
				*r = bytes.NewReader(b)
			} else if err := e.decode(i, fr.into[i]); err != nil {
				return e.argumentError(i, err)
			}
		}
		fr.in = append(fr.in, v)
	}
	if h.variadic {
		last := len(h.params) - 1
		for j := last; j < e.Len(); j++ {
			v := reflect.New(h.params[last].Elem())
			if err := e.decode(j, v.Interface()); err != nil {
				return e.argumentError(j, err)
			}
			fr.in = append(fr.in, v.Elem())
		}
	}
	return nil
}

// directly wraps the commonest forms, for which reflection would cost more than
// the call.
func directly(f any) func(s *Socket, e *Event) error {
	switch f := f.(type) {
	case func(*Socket, string):
		return func(s *Socket, e *Event) error {
			v, err := e.text()
			if err == nil {
				f(s, v)
				err = e.ackNothing()
			}
			return err
		}
	case func(*Socket, string) error:
		return func(s *Socket, e *Event) error {
			v, err := e.text()
			if err == nil {
				if err = f(s, v); err == nil {
					err = e.ackNothing()
				}
			}
			return err
		}
	case func(string) string:
		return func(s *Socket, e *Event) error {
			v, err := e.text()
			if err == nil {
				err = e.ackText(f(v))
			}
			return err
		}
	case func(*Socket, string) string:
		return func(s *Socket, e *Event) error {
			v, err := e.text()
			if err == nil {
				err = e.ackText(f(s, v))
			}
			return err
		}
	}
	return nil
}

// text is the first argument, "" without one.
func (e *Event) text() (string, error) {
	if e.Len() == 0 {
		e.srv.stats.decodeErrors.Add(1)
		return "", e.argumentError(0, ErrMissingArgument)
	}
	if text, ok := e.plain(0); ok {
		return text, nil
	}
	var text string
	err := e.decode(0, &text)
	if err != nil {
		e.srv.stats.decodeErrors.Add(1)
	}
	return text, e.argumentError(0, err)
}

func (e *Event) ackNothing() error {
	if !e.hasID {
		return nil
	}
	return e.answer(nil)
}

func (e *Event) ackText(text string) error {
	if !e.hasID {
		return nil
	}
	return e.answer([]any{text})
}

func (e *Event) argumentError(i int, err error) error {
	if err != nil {
		return &ArgumentError{Event: e.Name(), Index: i, Err: err}
	}
	return nil
}
