package sockeye

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// handler is a compiled handler: what On was given, ready to be called.
type handler struct {
	raw func(s *Socket, e *Event) error // the undecoded form, or nil

	fn       reflect.Value
	context  bool           // the first parameter is a context.Context
	socket   bool           // ... and then, or else, a *Socket
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
	errorType   = reflect.TypeFor[error]()
	contextType = reflect.TypeFor[context.Context]()
	readerType  = reflect.TypeFor[io.Reader]()
)

const signatures = "a handler is func([ctx context.Context,] [s *Socket,] args...) (results..., error) or func(*Socket, *Event) error"

// compileHandler checks a handler's signature once, so that calls need not.
func compileHandler(event string, f any) (*handler, error) {
	if sio.IsReserved([]byte(event)) {
		return nil, fmt.Errorf("sockeye: On(%q): the name is the protocol's own; see OnConnect and OnDisconnect", event)
	}
	switch f := f.(type) {
	case func(*Socket, *Event) error:
		return &handler{raw: f}, nil
	case func(*Socket, *Event):
		return &handler{raw: func(s *Socket, e *Event) error { f(s, e); return nil }}, nil
	}
	v := reflect.ValueOf(f)
	refuse := func(why string) error {
		return fmt.Errorf("sockeye: On(%q): %s; %s, not %T", event, why, signatures, f)
	}
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, refuse("not a function")
	}
	t := v.Type()
	h := &handler{fn: v, variadic: t.IsVariadic(), results: t.NumOut()}
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
		switch p.Kind() {
		case reflect.Func, reflect.Chan, reflect.UnsafePointer:
			return nil, refuse(fmt.Sprintf("parameter %d cannot be decoded", i))
		}
		switch p {
		case eventType:
			return nil, refuse("*Event stands alone")
		case socketType, contextType:
			return nil, refuse(fmt.Sprintf("parameter %d, a %v, must come first", i, p))
		}
		h.params = append(h.params, p)
	}
	if h.results > 0 && t.Out(h.results-1) == errorType {
		h.results--
		h.fails = true
	}
	return h, nil
}

// call decodes the arguments, calls the function and acknowledges.
func (h *handler) call(s *Socket, e *Event) error {
	if h.raw != nil {
		err, panicked := s.guard(e.Name(), func() error { return h.raw(s, e) })
		if panicked {
			return nil // reported
		}
		return err
	}
	in, err := h.decode(s, e)
	if err != nil {
		s.ns.srv.stats.decodeErrors.Add(1)
		return err
	}
	var out []reflect.Value
	_, panicked := s.guard(e.Name(), func() error {
		out = h.fn.Call(in)
		return nil
	})
	if panicked {
		return nil // reported; the peer's acknowledgement times out
	}
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
	return e.Ack(results...)
}

func (h *handler) decode(s *Socket, e *Event) ([]reflect.Value, error) {
	in := make([]reflect.Value, 0, len(h.params)+2)
	if h.context {
		in = append(in, reflect.ValueOf(s.Context()))
	}
	if h.socket {
		in = append(in, reflect.ValueOf(s))
	}
	for i, p := range h.params {
		if h.variadic && i == len(h.params)-1 {
			for j := i; j < e.Len(); j++ {
				v, err := e.decodeValue(j, p.Elem())
				if err != nil {
					return nil, err
				}
				in = append(in, v)
			}
			break
		}
		if i >= e.Len() {
			in = append(in, reflect.Zero(p))
			continue
		}
		v, err := e.decodeValue(i, p)
		if err != nil {
			return nil, err
		}
		in = append(in, v)
	}
	return in, nil
}

// decodeValue decodes argument i into a new value of type t.
func (e *Event) decodeValue(i int, t reflect.Type) (reflect.Value, error) {
	if t == readerType {
		var b []byte
		err := e.decode(i, &b)
		return reflect.ValueOf(bytes.NewReader(b)), e.argumentError(i, err)
	}
	v := reflect.New(t)
	err := e.decode(i, v.Interface())
	return v.Elem(), e.argumentError(i, err)
}

func (e *Event) argumentError(i int, err error) error {
	if err != nil {
		return &ArgumentError{Event: e.Name(), Index: i, Err: err}
	}
	return nil
}
