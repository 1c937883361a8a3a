package sockeye

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// EventNames may be implemented by what is given to Register, to name
// the events of methods otherwise than by their names.
type EventNames interface {
	// EventNames returns the event of each method that it has one for.
	EventNames() map[string]string
}

// Register registers the methods of a value, as a class-based namespace of
// Flask-SocketIO does: OnConnect, OnConnection, OnDisconnecting, OnDisconnect, OnUpgrade,
// OnUnhandled, OnAny, Use and UseEvents as what the methods of the
// same names take, and every other On<Event> as the handler of an event: the
// name behind On with its first letter in lower case, unless EventNames says
// otherwise. Methods with other names are left alone.
//
// Register panics if a method's signature is wrong, if there is none, or if an event
// has a handler already. What it returns takes all of them away again.
func (h *handlers) Register(v any) (remove func()) {
	t := reflect.TypeOf(v)
	if t == nil {
		panic("sockeye: Register: the value is nil")
	}
	var removes []func()
	keep := func(remove func()) { removes = append(removes, remove) }
	value := reflect.ValueOf(v)
	var names map[string]string
	if n, ok := v.(EventNames); ok {
		names = n.EventNames()
	}
	for i := range t.NumMethod() {
		name := t.Method(i).Name
		m := value.Method(i).Interface()
		event, named := names[name]
		switch suffix, isOn := strings.CutPrefix(name, "On"); {
		case named:
			keep(h.On(event, m))
		case h.registerLife(name, m, keep):
		case isOn && suffix != "":
			keep(h.On(lowerFirst(suffix), m))
		default:
			continue
		}
	}
	if len(removes) == 0 {
		panic(fmt.Sprintf("sockeye: Register: %T has no method On<Event>; if its methods have pointer receivers, give a pointer", v))
	}
	return func() {
		for _, remove := range removes {
			remove()
		}
	}
}

// registerLife registers a method that is no event's handler.
func (h *handlers) registerLife(name string, m any, keep func(remove func())) bool {
	ok := true
	switch name {
	case "OnConnect":
		ok = give(m, h.OnConnect, keep)
	case "OnConnection":
		ok = give(m, h.OnConnection, keep)
	case "OnDisconnecting":
		ok = give(m, h.OnDisconnecting, keep)
	case "OnDisconnect":
		ok = give(m, h.OnDisconnect, keep)
	case "OnUpgrade":
		ok = give(m, h.OnUpgrade, keep)
	case "OnUnhandled":
		ok = give(m, h.OnUnhandled, keep)
	case "OnAny":
		ok = give(m, h.OnAny, keep)
	case "Use":
		ok = give(m, h.Use, keep)
	case "UseEvents":
		ok = give(m, h.UseEvents, keep)
	default:
		return false
	}
	if !ok {
		panic(fmt.Sprintf("sockeye: Register: %s is a %T; see Namespace.%s for what it must be", name, m, name))
	}
	return true
}

func give[T any](m any, to func(T) (remove func()), keep func(remove func())) bool {
	f, ok := m.(T)
	if ok {
		keep(to(f))
	}
	return ok
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
