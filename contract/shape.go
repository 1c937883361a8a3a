package contract

import (
	"strconv"
	"strings"
)

// kind is what a JSON value is, or, of those that are no JSON, binary.
type kind string

const (
	anything kind = "anything"
	text     kind = "text"
	number   kind = "number"
	integer  kind = "integer"
	boolean  kind = "boolean"
	list     kind = "list"
	table    kind = "table"  // an object with any keys
	object   kind = "object" // one with fields
	enum     kind = "enum"
	binary   kind = "binary"
	octets   kind = "octets" // base64, or binary
	named    kind = "named"  // one of the contract's types
)

// shape is what a value is like.
type shape struct {
	kind   kind
	null   bool     // it may be null
	format string   // of text; "" for any
	elem   *shape   // of a list or a table
	length int      // of a list; 0 for any
	fields []field  // of an object, by name
	values []string // of an enum, sorted
	name   *string  // of a named one: it is known at the end
}

// field is one of an object's.
type field struct {
	name     string
	optional bool
	shape    *shape
}

func (s *shape) orNull() *shape {
	if s.null || s.kind == anything {
		return s
	}
	c := *s
	c.null = true
	return &c
}

// String tells a shape in a message.
func (s *shape) String() string {
	what := string(s.kind)
	switch s.kind {
	case text:
		if s.format != "" {
			what += " (" + s.format + ")"
		}
	case list:
		what = "list of " + s.elem.String()
		if s.length > 0 {
			what = strconv.Itoa(s.length) + " of " + s.elem.String()
		}
	case table:
		what = "table of " + s.elem.String()
	case enum:
		what = "one of " + strings.Join(s.values, ", ")
	case named:
		what = *s.name
	}
	if s.null {
		what += " or null"
	}
	return what
}
