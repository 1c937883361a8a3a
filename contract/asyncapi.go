package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rootKey is the key of "/", whose label is empty. No other namespace has it for a label.
const rootKey = "Default"

// AsyncAPI is the contract as a document of AsyncAPI 3.0: a channel for each namespace, a
// message for each event, whose payload is the array of its arguments, and an operation
// for who sends it, with the answer as its reply. Read makes a Contract of it again.
func (c *Contract) AsyncAPI() []byte {
	channels, operations, schemas := members{}, members{}, members{}
	fails := false
	for _, e := range c.entries {
		key := or(e.label, rootKey)
		channel := members{}
		messages := keys{}
		all := members{}
		for _, ev := range slices.Concat(e.sent, e.taken) {
			action := "receive"
			if slices.Contains(e.sent, ev) {
				action = "send"
			}
			name := messages.unique(action + "-" + keyOf(ev.name))
			ref := func(message string) members {
				return members{{"$ref", "#/channels/" + key + "/messages/" + message}}
			}
			all = append(all, member{name, members{{"name", ev.name}, {"payload", payload(ev.args, ev.rest)}}})
			operation := members{{"action", action}, {"channel", members{{"$ref", "#/channels/" + key}}}, {"messages", []any{ref(name)}}}
			if ev.answers {
				answer := name + "-answer"
				var args []argument
				for _, s := range ev.answer {
					args = append(args, argument{shape: s})
				}
				all = append(all, member{answer, members{{"name", ev.name + " answer"}, {"payload", payload(args, nil)}}})
				answers := []any{ref(answer)}
				if ev.fails {
					fails = true
					all = append(all, member{name + "-error", members{{"$ref", "#/components/messages/AckError"}}})
					answers = append(answers, ref(name+"-error"))
				}
				operation = append(operation, member{"reply", members{{"channel", members{{"$ref", "#/channels/" + key}}}, {"messages", answers}}})
			}
			operations = append(operations, member{key + "-" + name, operation})
		}
		if e.dynamic || strings.ContainsAny(e.name, "{}") {
			channel = append(channel, member{"address", nil})
		} else {
			channel = append(channel, member{"address", e.name})
		}
		if e.dynamic {
			channel = append(channel, member{"description", "Namespaces that peers make, like " + e.name}, member{"x-sockeye-pattern", e.name})
		} else {
			channel = append(channel, member{"description", "Namespace " + e.name}, member{"x-sockeye-namespace", e.name})
		}
		channels = append(channels, member{key, append(channel, member{"messages", all})})
	}
	for _, name := range sortedKeys(c.types) {
		schemas = append(schemas, member{name, schemaOf(c.types[name])})
	}
	components := members{{"schemas", schemas}}
	if fails {
		ackError := members{
			{"type", "object"},
			{"properties", members{{"error", members{{"type", "string"}}}, {"data", members{}}}},
			{"required", []any{"error"}},
		}
		components = append(components, member{"messages", members{{"AckError", members{{"name", "error"}, {"payload", members{
			{"type", "array"}, {"items", []any{ackError}}, {"minItems", 1}, {"additionalItems", false},
		}}}}}})
	}
	document := members{
		{"asyncapi", "3.0.0"},
		{"info", members{{"title", c.title}, {"version", c.version}}},
		{"defaultContentType", "application/json"},
		{"channels", channels},
		{"operations", operations},
		{"components", components},
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(document); err != nil {
		panic(err) // it is made of strings
	}
	return b.Bytes()
}

// members are an object's, in their order.
type members []member

type member struct {
	key   string
	value any
}

// MarshalJSON is for encoding/json.
func (m members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i, x := range m {
		b.WriteByte("{,"[min(i, 1)])
		_ = enc.Encode(x.key)
		b.WriteByte(':')
		if err := enc.Encode(x.value); err != nil {
			return nil, err
		}
	}
	if len(m) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// keys are those of one object, which differ.
type keys map[string]bool

func (k keys) unique(key string) string {
	name := key
	for n := 2; k[name] || k[name+"-answer"] || k[name+"-error"]; n++ {
		name = fmt.Sprintf("%s-%d", key, n)
	}
	k[name], k[name+"-answer"], k[name+"-error"] = true, true, true
	return name
}

// keyOf is an event's name with what may stand in a key, and in a reference to it.
func keyOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (isLetterOrDigit(r) || r == '_' || r == '.') {
			return r
		}
		return '-'
	}, name)
}

// payload is the schema of an array of arguments.
func payload(args []argument, rest *shape) members {
	m := members{{"type", "array"}}
	if len(args) == 0 {
		if rest == nil {
			return append(m, member{"maxItems", 0})
		}
		return append(m, member{"items", schemaOf(rest)})
	}
	var items []any
	least := 0
	for _, a := range args {
		s := schemaOf(a.shape)
		if a.name != "" {
			s = append(s, member{"title", a.name})
			if len(s) > 1 && s[0].key == "$ref" { // which stands alone
				s = members{{"allOf", []any{members{s[0]}}}, s[1]}
			}
		}
		items = append(items, s)
		if !a.missing {
			least++
		}
	}
	m = append(m, member{"items", items}, member{"minItems", least})
	if rest == nil {
		return append(m, member{"additionalItems", false})
	}
	return append(m, member{"additionalItems", schemaOf(rest)})
}

// schemaOf is a shape as JSON Schema.
func schemaOf(s *shape) members {
	if s.null {
		c := *s
		c.null = false
		return members{{"anyOf", []any{schemaOf(&c), members{{"type", "null"}}}}}
	}
	switch s.kind {
	case text:
		m := members{{"type", "string"}}
		if s.format != "" {
			m = append(m, member{"format", s.format})
		}
		return m
	case number, integer, boolean:
		return members{{"type", string(s.kind)}}
	case binary:
		return members{{"type", "string"}, {"format", "binary"}}
	case octets:
		return members{{"type", "string"}, {"format", "binary-or-base64"}}
	case enum:
		return members{{"type", "string"}, {"enum", s.values}}
	case list:
		m := members{{"type", "array"}, {"items", schemaOf(s.elem)}}
		if s.length > 0 {
			m = append(m, member{"minItems", s.length}, member{"maxItems", s.length})
		}
		return m
	case table:
		return members{{"type", "object"}, {"additionalProperties", schemaOf(s.elem)}}
	case object:
		properties := members{}
		required := []any{}
		for _, f := range s.fields {
			properties = append(properties, member{f.name, schemaOf(f.shape)})
			if !f.optional {
				required = append(required, f.name)
			}
		}
		m := members{{"type", "object"}, {"properties", properties}}
		if len(required) > 0 {
			m = append(m, member{"required", required})
		}
		return m
	case named:
		return members{{"$ref", "#/components/schemas/" + *s.name}}
	}
	return members{}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// json tells cmd/sockeye what Test was given.
func (f Files) json() []byte {
	b, _ := json.Marshal(f) // two strings
	return b
}
