package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reservedTypes are names that the file has, or uses.
var reservedTypes = []string{"AckError", "Binary", "Socket", "ArrayBuffer", "ArrayBufferView", "Blob", "Record"}

// reservedWords cannot name a parameter.
var reservedWords = strings.Fields(`arguments await break case catch class const continue debugger default delete do else enum eval export
	extends false finally for function if implements import in instanceof interface let new null package private protected
	public return static super switch this throw true try typeof var void while with yield ack rest`)

// TypeScript is a declaration file for socket.io-client. Each namespace has its
// interfaces ServerToClientEvents and ClientToServerEvents, and the type of its socket,
// behind the namespace's name: GameSocket is for "/game".
func (c *Contract) TypeScript() []byte {
	w := &tsWriter{types: c.types}
	w.line("// Written by Sockeye's contract from the server's handlers. Do not edit.")
	w.line("// See https://socket.io/docs/v4/typescript/ for how a page uses it.")
	w.line("")
	w.line("/** What a handler answers that returns an error. */")
	w.line("export interface AckError {\n  error: string;\n  data?: unknown;\n}")
	w.line("")
	w.line("/** What may be sent as binary. What is received is an ArrayBuffer, or in Node.js a Buffer. */")
	w.line("export type Binary = ArrayBuffer | ArrayBufferView | Blob;")
	for _, name := range sortedKeys(c.types) {
		w.line("")
		if s := c.types[name]; s.kind == object && !s.null {
			w.line("export interface %s %s", name, w.fields(s, ""))
		} else {
			w.line("export type %s = %s;", name, w.text(s, ""))
		}
	}
	for _, e := range c.entries {
		what := "namespace " + e.name
		if e.dynamic {
			what = "namespaces like " + e.name
		}
		w.line("")
		w.line("/** What the server sends in the %s. */", comment(what))
		w.events(e.label+"ServerToClientEvents", e.sent, func(ev *event) string { return w.function(ev, out) })
		w.line("")
		w.line("/** What the server takes in the %s. */", comment(what))
		w.events(e.label+"ClientToServerEvents", e.taken, func(ev *event) string { return w.function(ev, in) })
		w.line("")
		w.line("/** A socket of the %s. */", comment(what))
		w.line(`export type %[1]sSocket = import("socket.io-client").Socket<%[1]sServerToClientEvents, %[1]sClientToServerEvents>;`, e.label)
	}
	return w.b.Bytes()
}

func comment(s string) string { return strings.ReplaceAll(s, "*/", "* /") }

type tsWriter struct {
	b     bytes.Buffer
	types map[string]*shape
	sends bool // what is written is the page's to send
}

func (w *tsWriter) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

func (w *tsWriter) events(name string, events []*event, function func(*event) string) {
	if len(events) == 0 {
		w.line("export interface %s {}", name)
		return
	}
	w.line("export interface %s {", name)
	for _, ev := range events {
		w.line("  %s: %s;", property(ev.name), function(ev))
	}
	w.line("}")
}

// property is a name as the key of an interface.
func property(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return quote(name)
}

func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSpace(b.String())
}

// function is the type of an event's listener.
func (w *tsWriter) function(ev *event, dir direction) string {
	w.sends = dir == out
	ack := w.ack(ev, dir)
	w.sends = dir == in
	asked := strings.HasPrefix(ack, "ack:")
	if asked && ev.rest != nil {
		var tuple []string
		for i, a := range ev.args {
			tuple = append(tuple, w.name(ev, i)+": "+w.text(a.shape, "  "))
		}
		tuple = append(tuple, "...rest: "+w.element(ev.rest, "  ")+"[]", ack)
		return "(...args: [" + strings.Join(tuple, ", ") + "]) => void"
	}
	var params []string
	for i, a := range ev.args {
		mark := ": "
		if a.missing && !asked {
			mark = "?: "
		}
		params = append(params, w.name(ev, i)+mark+w.text(a.shape, "  "))
	}
	switch {
	case ev.rest != nil:
		params = append(params, "...rest: "+w.element(ev.rest, "  ")+"[]")
	case ack != "":
		params = append(params, ack)
	}
	return "(" + strings.Join(params, ", ") + ") => void"
}

// name is a parameter's: its own, with its number if another has it.
func (w *tsWriter) name(ev *event, i int) string {
	name := ev.args[i].name
	if slices.Contains(reservedWords, name) || !identifier.MatchString(name) {
		name += "_"
	}
	if !identifier.MatchString(name) {
		name = "arg" + strconv.Itoa(i+1)
	}
	for j := range ev.args {
		if j != i && ev.args[j].name == ev.args[i].name {
			return name + strconv.Itoa(i+1)
		}
	}
	return name
}

// ack is the parameter that takes the answer. An event whose answer has values has to be
// asked for it: socket.io-client's emitWithAck knows the type of no other.
func (w *tsWriter) ack(ev *event, dir direction) string {
	var values []string
	for i, s := range ev.answer {
		name := "answer"
		if len(ev.answer) > 1 {
			name += strconv.Itoa(i + 1)
		}
		values = append(values, name+": "+w.text(s, "  "))
	}
	switch {
	case !ev.answers:
		return ""
	case len(values) == 0 && ev.fails:
		return "ack?: (error?: AckError) => void"
	case len(values) == 0 && dir == in:
		return "ack?: () => void"
	case len(values) == 1 && ev.fails:
		return "ack: (" + values[0] + " | AckError) => void"
	case ev.fails:
		return "ack: (...answer: [" + strings.Join(values, ", ") + "] | [error: AckError]) => void"
	}
	return "ack: (" + strings.Join(values, ", ") + ") => void"
}

// element is text in front of [] or within a union.
func (w *tsWriter) element(s *shape, indent string) string {
	t := w.text(s, indent)
	if s.null || s.kind == enum || s.kind == octets {
		return "(" + t + ")"
	}
	return t
}

func (w *tsWriter) text(s *shape, indent string) string {
	if s.null {
		c := *s
		c.null = false
		return w.text(&c, indent) + " | null"
	}
	switch s.kind {
	case text:
		return "string"
	case number, integer:
		return "number"
	case boolean:
		return "boolean"
	case binary:
		if w.sends {
			return "Binary"
		}
		return "ArrayBuffer"
	case octets:
		return "string | Binary"
	case enum:
		var all []string
		for _, v := range s.values {
			all = append(all, quote(v))
		}
		return strings.Join(all, " | ")
	case list:
		if s.length > 0 && s.length <= 8 {
			return "[" + strings.TrimSuffix(strings.Repeat(w.text(s.elem, indent)+", ", s.length), ", ") + "]"
		}
		return w.element(s.elem, indent) + "[]"
	case table:
		return "{ [key: string]: " + w.text(s.elem, indent) + " }" // of itself, too: Record could not
	case object:
		return w.fields(s, indent)
	case named:
		return *s.name
	}
	return "unknown"
}

// fields is an object's type.
func (w *tsWriter) fields(s *shape, indent string) string {
	if len(s.fields) == 0 {
		return "Record<string, never>"
	}
	var b strings.Builder
	b.WriteString("{\n")
	for _, f := range s.fields {
		mark := ": "
		if f.optional {
			mark = "?: "
		}
		b.WriteString(indent + "  " + property(f.name) + mark + w.text(f.shape, indent+"  ") + ";\n")
	}
	b.WriteString(indent + "}")
	return b.String()
}
