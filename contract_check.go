package sockeye

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// What goes out is compared with what is declared, if Config.OnContractError is set. It
// is sent in any case.

// ContractError tells that what was sent, or what a peer has answered, is not what is
// declared.
type ContractError struct {
	Namespace string
	Event     string
	Index     int // of the argument, or of the answer's value, from 0; -1 for the event as a whole
	Err       error
}

func (e *ContractError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("sockeye: %q of namespace %s: %v", e.Event, e.Namespace, e.Err)
	}
	return fmt.Sprintf("sockeye: %q of namespace %s: value %d: %v", e.Event, e.Namespace, e.Index, e.Err)
}

// Unwrap returns what is wrong.
func (e *ContractError) Unwrap() error { return e.Err }

var (
	errUndeclared = errors.New("it is emitted and not declared, as others of this namespace are; see Emits")
	errAsks       = errors.New("an answer is asked for, and none is declared: give Emits a function with results")
	errAsksNot    = errors.New("an answer is declared, and none is asked for; use Call or EmitWithAck")
)

// checks tells whether anybody wants to know.
func (srv *Server) checks() bool { return srv.cfg.OnContractError != nil }

func (ns *Namespace) contractFault(event string, i int, err error) {
	if err != nil {
		ns.srv.protect("OnContractError", func() {
			ns.srv.cfg.OnContractError(&ContractError{Namespace: ns.name, Event: event, Index: i, Err: err})
		})
	}
}

// checkSent looks at an event that is emitted.
func (ns *Namespace) checkSent(event string, args []any, asks bool) {
	sent := ns.declared.get().sent
	sig := sent[event]
	switch {
	case len(sent) == 0:
	case sig == nil:
		ns.contractFault(event, -1, errUndeclared)
	default:
		if asks != sig.Asks {
			err := errAsksNot
			if asks {
				err = errAsks
			}
			ns.contractFault(event, -1, err)
		}
		ns.checkValues(event, args, sig.Args, sig.Variadic)
	}
}

// checkAnswer looks at what a handler that takes an *Event answers.
func (ns *Namespace) checkAnswer(event string, values []any) {
	if sig := ns.declared.get().taken[event]; sig != nil {
		ns.checkValues(event, values, sig.Results, false)
	}
}

// checkAnswered looks at what a peer has answered.
func (ns *Namespace) checkAnswered(event string, args *Args) {
	sig := ns.declared.get().sent[event]
	if sig == nil {
		return
	}
	for i, t := range sig.Results {
		if i >= args.Len() {
			ns.contractFault(event, i, fmt.Errorf("the peer's answer: %w", ErrMissingArgument))
			return
		}
		if t == readerType {
			t = bytesType
		}
		if err := args.decode(i, reflect.New(t).Interface()); err != nil {
			ns.contractFault(event, i, fmt.Errorf("the peer's answer: %w", err))
		}
	}
}

// watchAnswer has the answer that p waits for looked at.
func (ns *Namespace) watchAnswer(p *pendingAck, event string) {
	if !ns.srv.checks() {
		return
	}
	answer := p.answer
	p.answer = func(args Args, err error) {
		if err == nil {
			ns.checkAnswered(event, &args)
		}
		answer(args, err)
	}
}

// checkValues compares values with their types.
func (ns *Namespace) checkValues(event string, values []any, types []reflect.Type, variadic bool) {
	if len(values) != len(types) && !(variadic && len(values) >= len(types)-1) {
		ns.contractFault(event, -1, fmt.Errorf("it has %d values, and %d are declared", len(values), len(types)))
		return
	}
	for i, v := range values {
		t := types[min(i, len(types)-1)]
		if variadic && i >= len(types)-1 {
			t = types[len(types)-1].Elem()
		}
		ns.contractFault(event, i, valueFault(ns.srv.cfg.Codec, v, t))
	}
}

var bytesType = reflect.TypeFor[[]byte]()

// valueFault says why a value is not one of a type that has been declared.
func valueFault(codec Codec, v any, t reflect.Type) error {
	got := reflect.TypeOf(v)
	switch {
	case t.Kind() == reflect.Interface && (got == nil || got.Implements(t)), t == argumentType:
		return nil
	case got == nil:
		if t.Kind() == reflect.Pointer {
			return nil
		}
		return fmt.Errorf("it is nil, and a %v is declared", t)
	case got == t && t == bytesType: // a nil one is binary without bytes
		return nil
	case got == t, t.Kind() == reflect.Pointer && got == t.Elem():
		return nilFault(reflect.ValueOf(v), "it", 0)
	case got.Kind() == reflect.Pointer && got.Elem() == t:
		if reflect.ValueOf(v).IsNil() {
			return fmt.Errorf("it is a nil %v, and a %v is declared", got, t)
		}
		return nilFault(reflect.ValueOf(v), "it", 0)
	case got == argumentType: // of another peer: what it is decides who has sent it
		return nil
	case t == bytesType || got == bytesType:
		return fmt.Errorf("it is a %v, and a %v is declared: []byte alone is binary", got, t)
	}
	return jsonFault(codec, v, t)
}

// jsonFault: a value of another type is right if its JSON is the same after it has been
// one of the declared type.
func jsonFault(codec Codec, v any, t reflect.Type) error {
	is, err := codec.Marshal(v)
	if err != nil {
		return nil //nolint:nilerr // Emit returns it
	}
	as := reflect.New(t)
	d := json.NewDecoder(bytes.NewReader(is))
	d.DisallowUnknownFields()
	if err := d.Decode(as.Interface()); err != nil {
		return fmt.Errorf("it is a %T, and a %v is declared: %w", v, t, err)
	}
	if err := nilFault(as.Elem(), "it", 0); err != nil {
		return err
	}
	would, err := codec.Marshal(as.Interface())
	if err != nil || !sameJSON(is, would) {
		return fmt.Errorf("it is a %T, and a %v is declared: %s would be %s", v, t, is, would)
	}
	return nil
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// nilFault finds a nil slice or map: null, where a contract has none.
func nilFault(v reflect.Value, path string, depth int) error {
	if depth > 100 || !v.IsValid() || ownForm(v.Type(), false) {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return nilFault(v.Elem(), path, depth+1)
		}
	case reflect.Slice, reflect.Map:
		if v.IsNil() {
			return fmt.Errorf("%s is a nil %v, which is sent as null: make it empty, or declare a pointer", path, v.Type())
		}
		if v.Kind() == reflect.Map {
			for it := v.MapRange(); it.Next(); {
				if err := nilFault(it.Value(), fmt.Sprintf("%s[%v]", path, it.Key()), depth+1); err != nil {
					return err
				}
			}
			return nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		return elementsFault(v, path, depth)
	case reflect.Array:
		return elementsFault(v, path, depth)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case !f.IsExported() && !f.Anonymous, name == "-" && options == "":
				continue
			case strings.Contains(options, "omitzero") && v.Field(i).IsZero():
				continue
			case strings.Contains(options, "omitempty") && empty(v.Field(i)):
				continue
			}
			if err := nilFault(v.Field(i), path+"."+f.Name, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func empty(v reflect.Value) bool {
	return (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

func elementsFault(v reflect.Value, path string, depth int) error {
	for i := range v.Len() {
		if err := nilFault(v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// checkResults looks at the answer of a typed handler: Go has seen to all but nil.
func (ns *Namespace) checkResults(event string, results []any) {
	for i, v := range results {
		if _, ok := v.([]byte); !ok {
			if _, ok := v.(io.Reader); !ok {
				ns.contractFault(event, i, nilFault(reflect.ValueOf(v), "the answer", 0))
			}
		}
	}
}
