package sockeye

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// Declarer is where events are declared: a *Server (its "/"), a *Namespace, a
// *ParentNamespace.
type Declarer interface{ declarer() *handlers }

func (h *handlers) declarer() *handlers { return h }

// Emits declares what is emitted to peers: by Emit of sockets, rooms and the namespace,
// by Call and EmitWithAck. T is a function whose parameters are the event's arguments.
// If it has results, or an error, the peer is asked, and they are its answer (which has
// no values for an error alone). Any other T is the event's one argument.
//
//	sockeye.Emits[message](srv, "say")
//	sockeye.Emits[func(from string, text string)](srv, "whisper")
//	sockeye.Emits[func(question string) (answer int)](srv, "ask")
//
// Package contract makes TypeScript and AsyncAPI of it, and of the handlers;
// Config.OnContractError compares what is emitted with it. Emits panics if a type cannot
// be encoded, or the event has been declared.
func Emits[T any](where Declarer, event string) (remove func()) {
	return where.declarer().declare("Emits", event, reflect.TypeFor[T]())
}

// Accepts declares what an event of peers has for arguments, and what answers it, as
// Emits does, where the type of its handler does not tell: one that takes an *Event, or
// that is registered for single sockets. A last result that is an error says that the
// answer may be an AckError's.
func Accepts[T any](where Declarer, event string) (remove func()) {
	return where.declarer().declare("Accepts", event, reflect.TypeFor[T]())
}

// Signature is what is known of one event, by its handler, Emits or Accepts.
type Signature struct {
	Event    string
	Sent     bool           // to peers; false: by them
	Args     []reflect.Type // without the socket and the context
	Variadic bool           // the last of Args is a slice that takes the rest
	Results  []reflect.Type // the answer's values
	Fails    bool           // the handler may return an error: the answer may be an AckError's
	Asks     bool           // the event is emitted by Call or EmitWithAck
	Untyped  bool           // the handler takes an *Event, and nothing is declared
	Twice    bool           // by a typed handler, and by Accepts, which this one is
}

// declarations are what Emits and Accepts have declared.
type declarations struct{ sent, taken map[string]*Signature }

func (h *handlers) declare(name, event string, t reflect.Type) (remove func()) {
	sent := name == "Emits"
	refuse := func(why string) { panic(fmt.Sprintf("sockeye: %s[%v](%q): %s", name, t, event, why)) }
	switch err := checkEventName(name, event); {
	case sent && event != "" && !sio.IsReserved([]byte(event)): // "connection" is one to peers
	case err != nil:
		panic(err.Error())
	}
	sig := &Signature{Event: event, Sent: sent, Args: []reflect.Type{t}}
	if t.Kind() == reflect.Func {
		*sig = signatureOf(event, t)
		if sig.Sent = sent; sent {
			sig.Asks, sig.Fails = t.NumOut() > 0, false
		}
	}
	for _, p := range sig.Args {
		if why := encodable(p, !sent); why != "" {
			refuse(why)
		}
	}
	for _, p := range sig.Results {
		if why := encodable(p, sent); why != "" {
			refuse(why)
		}
	}
	change := func(f func(m map[string]*Signature)) {
		d := h.declared.get()
		d = declarations{sent: maps.Clone(d.sent), taken: maps.Clone(d.taken)}
		m := &d.taken
		if sent {
			m = &d.sent
		}
		if *m == nil {
			*m = map[string]*Signature{}
		}
		f(*m)
		h.declared.set(d)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	change(func(m map[string]*Signature) {
		if m[event] != nil {
			refuse("the event has been declared already")
		}
		m[event] = sig
	})
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		change(func(m map[string]*Signature) {
			if m[event] == sig {
				delete(m, event)
			}
		})
	}
}

func encodable(t reflect.Type, decode bool) string {
	if decode {
		return undecodable(t)
	}
	return unencodable(t)
}

// signatureOf is that of a function, as On takes it.
func signatureOf(event string, t reflect.Type) Signature {
	sig := Signature{Event: event, Variadic: t.IsVariadic()}
	i := 0
	for _, first := range []reflect.Type{contextType, socketType} {
		if i < t.NumIn() && t.In(i) == first {
			i++
		}
	}
	for ; i < t.NumIn(); i++ {
		sig.Args = append(sig.Args, t.In(i))
	}
	n := t.NumOut()
	if n > 0 && t.Out(n-1) == errorType {
		n--
		sig.Fails = true
	}
	for i := range n {
		sig.Results = append(sig.Results, t.Out(i))
	}
	return sig
}

// Signatures are those of the events that have a handler at present, or have been
// declared: what is sent first, by name. Handlers of single sockets are not among them.
func (h *handlers) Signatures() []Signature {
	d := h.declared.get()
	var list []Signature
	for event, f := range h.events.get() {
		switch {
		case d.taken[event] != nil:
		case f.signature == nil:
			list = append(list, Signature{Event: event, Untyped: true})
		default:
			list = append(list, signatureOf(event, f.signature))
		}
	}
	for event, sig := range d.taken {
		own := *sig
		own.Twice = h.events.get()[event] != nil && h.events.get()[event].signature != nil
		list = append(list, own)
	}
	for _, sig := range d.sent {
		list = append(list, *sig)
	}
	slices.SortFunc(list, func(a, b Signature) int {
		if a.Sent != b.Sent {
			if a.Sent {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Event, b.Event)
	})
	return list
}

// Parents are the parent namespaces, in the order in which they are asked.
func (srv *Server) Parents() []*ParentNamespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return slices.Clone(srv.parents)
}

// Pattern is what OfPattern was given; "" for OfFunc.
func (p *ParentNamespace) Pattern() string { return p.pattern }
