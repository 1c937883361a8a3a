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
	value := reflect.ValueOf(v)
	var names map[string]string
	if n, ok := v.(EventNames); ok {
		names = n.EventNames()
	}
	for i := range t.NumMethod() {
		name, m := t.Method(i).Name, value.Method(i)
		event, named := names[name]
		life := lifeHooks(h)[name]
		switch suffix, isOn := strings.CutPrefix(name, "On"); {
		case named:
			removes = append(removes, h.On(event, m.Interface()))
		case life != nil:
			removes = append(removes, registerLife(name, life, m))
		case isOn && suffix != "":
			removes = append(removes, h.On(lowerFirst(suffix), m.Interface()))
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

// lifeHooks are what registers the methods that are no event's handlers.
func lifeHooks(h *handlers) map[string]any {
	return map[string]any{
		"OnConnect": h.OnConnect, "OnConnection": h.OnConnection, "OnDisconnecting": h.OnDisconnecting, "OnDisconnect": h.OnDisconnect,
		"OnUpgrade": h.OnUpgrade, "OnUnhandled": h.OnUnhandled, "OnAny": h.OnAny, "Use": h.Use, "UseEvents": h.UseEvents,
	}
}

// registerLife gives m to one of them.
func registerLife(name string, life any, m reflect.Value) (remove func()) {
	register := reflect.ValueOf(life)
	if m.Type() != register.Type().In(0) {
		panic(fmt.Sprintf("sockeye: Register: %s is a %s; see Namespace.%s for what it must be", name, m.Type(), name))
	}
	return register.Call([]reflect.Value{m})[0].Interface().(func())
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
