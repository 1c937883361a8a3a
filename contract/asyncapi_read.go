package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Read makes a Contract of a document that AsyncAPI has written. It reads no other.
func Read(document []byte) (*Contract, error) {
	var d struct {
		AsyncAPI string
		Info     struct{ Title, Version string }
		Channels map[string]struct {
			Namespace *string `json:"x-sockeye-namespace"`
			Pattern   *string `json:"x-sockeye-pattern"`
			Messages  map[string]struct {
				Name    string
				Payload *schema
			}
		}
		Operations map[string]struct {
			Action   string
			Channel  reference
			Messages []reference
			Reply    *struct{ Messages []reference }
		}
		Components struct{ Schemas map[string]*schema }
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	if !strings.HasPrefix(d.AsyncAPI, "3.") {
		return nil, fmt.Errorf("contract: it is no document of AsyncAPI 3, but of %q", d.AsyncAPI)
	}
	c := &Contract{title: d.Info.Title, version: d.Info.Version, types: map[string]*shape{}}
	entries := map[string]*entry{}
	for key, ch := range d.Channels {
		e := &entry{label: key}
		switch {
		case ch.Namespace != nil:
			e.name = *ch.Namespace
		case ch.Pattern != nil:
			e.name, e.dynamic = *ch.Pattern, true
		default:
			return nil, fmt.Errorf("contract: channel %s has no x-sockeye-namespace: Sockeye has not written it", key)
		}
		if e.name == "/" && !e.dynamic {
			e.label = ""
		}
		entries[key] = e
		c.entries = append(c.entries, e)
	}
	slices.SortFunc(c.entries, func(a, b *entry) int { return strings.Compare(a.id(), b.id()) })
	var faults []error
	shapeOf := func(s *schema) *shape {
		made, err := s.shape()
		if err != nil {
			faults = append(faults, err)
			return &shape{kind: anything}
		}
		return made
	}
	for _, name := range sortedKeys(d.Components.Schemas) {
		c.types[name] = shapeOf(d.Components.Schemas[name])
	}
	for _, name := range sortedKeys(d.Operations) {
		op := d.Operations[name]
		channel := op.Channel.last()
		e := entries[channel]
		if e == nil || len(op.Messages) != 1 {
			return nil, fmt.Errorf("contract: operation %s has no channel, or not one message", name)
		}
		message := d.Channels[channel].Messages[op.Messages[0].last()]
		if message.Payload == nil {
			return nil, fmt.Errorf("contract: operation %s: its message is not there", name)
		}
		ev := &event{name: message.Name, answers: op.Reply != nil}
		items, least, rest := message.Payload.arguments()
		for i, s := range items {
			ev.args = append(ev.args, argument{name: s.Title, shape: shapeOf(s), missing: i >= least})
		}
		if rest != nil {
			ev.rest = shapeOf(rest)
		}
		if op.Reply != nil && len(op.Reply.Messages) > 0 {
			ev.fails = len(op.Reply.Messages) > 1
			if answer := d.Channels[channel].Messages[op.Reply.Messages[0].last()]; answer.Payload != nil {
				items, _, _ := answer.Payload.arguments()
				for _, s := range items {
					ev.answer = append(ev.answer, shapeOf(s))
				}
			}
		}
		if op.Action == "send" {
			e.sent = append(e.sent, ev)
		} else {
			e.taken = append(e.taken, ev)
		}
	}
	for _, e := range c.entries {
		for _, list := range [][]*event{e.sent, e.taken} {
			slices.SortFunc(list, func(a, b *event) int { return strings.Compare(a.name, b.name) })
		}
	}
	for _, s := range c.types {
		faults = append(faults, c.dangling(s, 0)...)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("contract: %w", errors.Join(faults...))
	}
	return c, nil
}

// dangling are faults of names that no type has.
func (c *Contract) dangling(s *shape, depth int) (faults []error) {
	switch {
	case s == nil || depth > 1000:
	case s.kind == named && c.types[*s.name] == nil:
		return []error{fmt.Errorf("the schema %s is not there", *s.name)}
	case s.kind != named:
		faults = c.dangling(s.elem, depth+1)
		for _, f := range s.fields {
			faults = append(faults, c.dangling(f.shape, depth+1)...)
		}
	}
	return faults
}

// reference is a $ref within the document.
type reference struct {
	Ref string `json:"$ref"`
}

func (r reference) last() string { return r.Ref[strings.LastIndexByte(r.Ref, '/')+1:] }

// schema is JSON Schema as schemaOf writes it.
type schema struct {
	Ref                  string `json:"$ref"`
	Type, Format, Title  string
	Enum                 []string
	Items                items
	MinItems             int
	MaxItems             *int
	AdditionalItems      *schema
	Properties           map[string]*schema
	Required             []string
	AdditionalProperties *schema
	AnyOf, AllOf         []*schema
	never                bool // the schema false
}

// UnmarshalJSON takes a schema, or a boolean.
func (s *schema) UnmarshalJSON(b []byte) error {
	if string(b) == "false" {
		s.never = true
		return nil
	}
	type plain schema
	return json.Unmarshal(b, (*plain)(s))
}

// items are one schema for all, or one for each.
type items struct {
	one  *schema
	each []*schema
}

// UnmarshalJSON takes either.
func (i *items) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, &i.each)
	}
	return json.Unmarshal(b, &i.one)
}

// arguments are those of a payload.
func (s *schema) arguments() (each []*schema, least int, rest *schema) {
	if s.Items.one != nil {
		return nil, 0, s.Items.one
	}
	if a := s.AdditionalItems; a != nil && !a.never {
		rest = a
	}
	return s.Items.each, s.MinItems, rest
}

func (s *schema) shape() (*shape, error) {
	switch {
	case s == nil || s.never:
		return nil, errors.New("a schema is missing")
	case s.Ref != "":
		name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/")
		if !ok {
			return nil, fmt.Errorf("%s is no schema of the document", s.Ref)
		}
		return &shape{kind: named, name: &name}, nil
	case len(s.AllOf) == 1:
		return s.AllOf[0].shape()
	case len(s.AnyOf) == 2 && s.AnyOf[1].Type == "null":
		of, err := s.AnyOf[0].shape()
		if err != nil {
			return nil, err
		}
		return of.orNull(), nil
	case s.Enum != nil:
		slices.Sort(s.Enum)
		return &shape{kind: enum, values: s.Enum}, nil
	}
	switch s.Type {
	case "":
		return &shape{kind: anything}, nil
	case "string":
		switch s.Format {
		case "binary":
			return &shape{kind: binary}, nil
		case "binary-or-base64":
			return &shape{kind: octets}, nil
		}
		return &shape{kind: text, format: s.Format}, nil
	case "number", "integer", "boolean":
		return &shape{kind: kind(s.Type)}, nil
	case "array":
		elem, err := s.Items.one.shape()
		return &shape{kind: list, elem: elem, length: s.MinItems}, err
	case "object":
		if s.AdditionalProperties != nil {
			elem, err := s.AdditionalProperties.shape()
			return &shape{kind: table, elem: elem}, err
		}
		o := &shape{kind: object}
		for _, name := range sortedKeys(s.Properties) {
			f, err := s.Properties[name].shape()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			o.fields = append(o.fields, field{name, !slices.Contains(s.Required, name), f})
		}
		return o, nil
	}
	return nil, fmt.Errorf("the type %q is none that is written here", s.Type)
}
