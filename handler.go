package sockeye

import (
	"fmt"
	"reflect"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// handler is a compiled handler: what On was given, ready to be called.
type handler struct {
	raw func(s *Socket, e *Event) error // the undecoded form, or nil

	fn       reflect.Value
	params   []reflect.Type // without the socket
	variadic bool
	results  int // without the error
	fails    bool
}

var (
	socketType = reflect.TypeFor[*Socket]()
	eventType  = reflect.TypeFor[*Event]()
	errorType  = reflect.TypeFor[error]()
)

// compileHandler checks a handler's signature once, so that calls need not.
func compileHandler(_ *Server, event string, f any) (*handler, error) {
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
		return fmt.Errorf("sockeye: On(%q): %s; a handler is func(*Socket, args...) (results..., error) or func(*Socket, *Event) error, not %T", event, why, f)
	}
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, refuse("not a function")
	}
	t := v.Type()
	if t.NumIn() == 0 || t.In(0) != socketType {
		return nil, refuse("the first parameter must be *Socket")
	}
	h := &handler{fn: v, variadic: t.IsVariadic(), results: t.NumOut()}
	for i := 1; i < t.NumIn(); i++ {
		p := t.In(i)
		switch p.Kind() {
		case reflect.Func, reflect.Chan, reflect.UnsafePointer:
			return nil, refuse(fmt.Sprintf("parameter %d cannot be decoded from JSON", i))
		}
		if p == eventType {
			return nil, refuse("*Event stands alone")
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
		return s.guard(e.Name(), func() error { return h.raw(s, e) })
	}
	in, err := h.decode(s, e)
	if err != nil {
		s.ns.srv.stats.decodeErrors.Add(1)
		return err
	}
	var out []reflect.Value
	failed := s.guard(e.Name(), func() error {
		out = h.fn.Call(in)
		return nil
	})
	if failed != nil {
		return nil // guard has reported it; the peer's acknowledgement times out
	}
	if h.fails {
		if err, _ := out[h.results].Interface().(error); err != nil {
			_ = e.Ack(map[string]string{"error": err.Error()})
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
	in := make([]reflect.Value, 1, len(h.params)+1)
	in[0] = reflect.ValueOf(s)
	for i, p := range h.params {
		if h.variadic && i == len(h.params)-1 {
			for j := i; j < e.Len(); j++ {
				v := reflect.New(p.Elem())
				if err := e.decode(j, v.Interface()); err != nil {
					return nil, fmt.Errorf("sockeye: argument %d of %q: %w", j, e.Name(), err)
				}
				in = append(in, v.Elem())
			}
			break
		}
		v := reflect.New(p)
		if i < e.Len() {
			if err := e.decode(i, v.Interface()); err != nil {
				return nil, fmt.Errorf("sockeye: argument %d of %q: %w", i, e.Name(), err)
			}
		}
		in = append(in, v.Elem())
	}
	return in, nil
}
