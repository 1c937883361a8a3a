package contract

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye"
)

// direction is which way a value goes: encoding and decoding have other rules.
type direction bool

const (
	out direction = true  // this server encodes it
	in  direction = false // it decodes it
)

// reader makes shapes of Go's types, as encoding/json has them.
type reader struct {
	o       Options
	open    map[reflect.Type]bool
	labels  map[*entry]string
	types   []*definition // in the order in which they were found
	known   map[definitionKey]*definition
	apart   map[reflect.Type]bool // whether both directions differ
	sources sources
	faults  []error
	where   string // of what is read
}

type definitionKey struct {
	t   reflect.Type
	dir direction
}

// definition is a type that gets a name.
type definition struct {
	t     reflect.Type
	input bool // it differs from what is sent of the same type
	name  string
	shape *shape
}

var (
	bytesType   = reflect.TypeFor[[]byte]()
	marshaler   = reflect.TypeFor[json.Marshaler]()
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textOut     = reflect.TypeFor[encoding.TextMarshaler]()
	textIn      = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// ownShapes are types of the standard library that encode themselves.
var ownShapes = map[reflect.Type]shape{
	reflect.TypeFor[time.Time]():        {kind: text, format: "date-time"},
	reflect.TypeFor[json.Number]():      {kind: number},
	reflect.TypeFor[json.RawMessage]():  {kind: anything},
	reflect.TypeFor[sockeye.Argument](): {kind: anything},
	reflect.TypeFor[big.Int]():          {kind: integer},
}

func newReader(o Options) *reader {
	r := &reader{o: o, open: map[reflect.Type]bool{}, labels: map[*entry]string{}, known: map[definitionKey]*definition{}, apart: map[reflect.Type]bool{}}
	for _, t := range o.Open {
		r.open[t] = true
	}
	return r
}

func (r *reader) fault(why string) {
	if r.where != "" {
		why = r.where + ": " + why
	}
	r.faults = append(r.faults, errors.New(why))
}

// entry reads one namespace.
func (r *reader) entry(name string, dynamic bool, sigs []sockeye.Signature) *entry {
	e := &entry{name: name, dynamic: dynamic}
	for _, sig := range sigs {
		r.where = fmt.Sprintf("namespace %s, event %q", name, sig.Event)
		switch {
		case sig.Untyped:
			r.fault("its handler takes an *Event: say by sockeye.Accepts what it takes")
		case sig.Twice:
			r.fault("sockeye.Accepts declares it, and its handler has a type of its own")
		}
		dir, list := in, &e.taken
		if sig.Sent {
			dir, list = out, &e.sent
		}
		ev := &event{name: sig.Event, answers: sig.Asks || !sig.Sent, fails: sig.Fails && !sig.Sent}
		for i, t := range sig.Args {
			switch s := r.value(t, dir); {
			case sig.Variadic && i == len(sig.Args)-1:
				ev.rest = r.value(t.Elem(), dir)
			default:
				ev.args = append(ev.args, argument{name: argumentName(t, i), shape: s})
			}
		}
		for i := len(ev.args) - 1; i >= 0 && dir == in && sig.Args[i].Kind() == reflect.Pointer; i-- {
			ev.args[i].missing = true
		}
		for _, t := range sig.Results {
			ev.answer = append(ev.answer, r.value(t, !dir))
		}
		*list = append(*list, ev)
	}
	r.where = ""
	return e
}

var identifier = regexp.MustCompile(`^[\pL_$][\pL\p{Nd}_$]*$`)

// argumentName is that of the argument's type, if it has one of its own.
func argumentName(t reflect.Type, i int) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == "" || strings.Contains(t.Name(), "[") {
		return "arg" + strconv.Itoa(i+1)
	}
	r, n := utf8.DecodeRuneInString(t.Name())
	return string(unicode.ToLower(r)) + t.Name()[n:]
}

// value is the shape of an argument, or of an answer's value: []byte is binary there,
// within the three types into which the encoder looks.
func (r *reader) value(t reflect.Type, dir direction) *shape {
	switch t {
	case bytesType, reflect.TypeFor[io.Reader]():
		return &shape{kind: binary}
	case reflect.TypeFor[[][]byte]():
		return &shape{kind: list, elem: &shape{kind: binary}}
	case reflect.TypeFor[map[string][]byte]():
		return &shape{kind: table, elem: &shape{kind: binary}}
	}
	return r.shape(t, dir, nil)
}

// shape is that of a value anywhere. above are the types without a name that hold it.
func (r *reader) shape(t reflect.Type, dir direction, above []reflect.Type) *shape {
	if slices.Contains(above, t) {
		r.fault(fmt.Sprintf("%v holds nothing but itself", t))
		return &shape{kind: anything}
	}
	above = append(slices.Clip(above), t)
	if as, ok := r.o.Types[t]; ok {
		return r.shape(as, dir, above)
	}
	if s, ok := r.ownShape(t, dir); ok {
		return s
	}
	switch t.Kind() {
	case reflect.Bool:
		return &shape{kind: boolean}
	case reflect.String:
		return r.string(t, dir)
	case reflect.Float32, reflect.Float64:
		return &shape{kind: number}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return &shape{kind: integer}
	case reflect.Interface:
		return &shape{kind: anything}
	case reflect.Pointer:
		return r.shape(t.Elem(), dir, above).orNull()
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && !ownForm(t.Elem(), dir) {
			if dir == in {
				return &shape{kind: octets}
			}
			return &shape{kind: text, format: "base64"}
		}
	case reflect.Array, reflect.Map, reflect.Struct:
	default:
		r.fault(fmt.Sprintf("%v has no form outside this process", t))
		return &shape{kind: anything}
	}
	if t.Name() == "" {
		return r.compound(t, dir, above)
	}
	return r.reference(t, dir, func() *shape { return r.compound(t, dir, nil) })
}

// compound is the shape of what has parts.
func (r *reader) compound(t reflect.Type, dir direction, above []reflect.Type) *shape {
	switch t.Kind() {
	case reflect.Slice:
		return &shape{kind: list, elem: r.shape(t.Elem(), dir, above)}
	case reflect.Array:
		return &shape{kind: list, elem: r.shape(t.Elem(), dir, above), length: t.Len()}
	case reflect.Map:
		return &shape{kind: table, elem: r.shape(t.Elem(), dir, above)}
	}
	s := &shape{kind: object}
	for _, f := range fieldsOf(t) {
		one := r.shape(f.t, dir, above)
		if f.dropsNil && one.null {
			c := *one
			c.null = false
			one = &c
		}
		if f.quoted && (one.kind == integer || one.kind == number || one.kind == boolean || one.kind == text || one.kind == enum) {
			one = &shape{kind: text, format: string(one.kind), null: one.null}
		}
		s.fields = append(s.fields, field{f.name, f.optional, one})
	}
	slices.SortFunc(s.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return s
}

// reference is the shape of a type with a name, which make makes.
func (r *reader) reference(t reflect.Type, dir direction, make func() *shape) *shape {
	if !r.differs(t) {
		dir = out
	}
	key := definitionKey{t, dir}
	d := r.known[key]
	if d == nil {
		d = &definition{t: t, input: dir == in}
		r.known[key] = d
		r.types = append(r.types, d)
		d.shape = make()
	}
	return &shape{kind: named, name: &d.name}
}

// string is a text, or an enum if its type has constants.
func (r *reader) string(t reflect.Type, dir direction) *shape {
	if t.PkgPath() == "" || r.open[t] {
		return &shape{kind: text}
	}
	values, err := r.sources.constants(t)
	if err != nil {
		r.fault(fmt.Sprintf("the constants of %v: %v; with the type in Options.Open they are not asked for", t, err))
	}
	if len(values) == 0 {
		return &shape{kind: text}
	}
	return r.reference(t, dir, func() *shape { return &shape{kind: enum, values: values} })
}

// ownShape is that of a type that encodes itself.
func (r *reader) ownShape(t reflect.Type, dir direction) (*shape, bool) {
	if s, ok := ownShapes[t]; ok {
		return &s, true
	}
	if t == reflect.TypeFor[*big.Int]() || t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return nil, false // null, or what is pointed to
	}
	js, txt := marshaler, textOut
	if dir == in {
		js, txt = unmarshaler, textIn
	}
	switch {
	case has(t, js):
		r.fault(fmt.Sprintf("%v encodes itself: say in Options.Types what its JSON is like", t))
		return &shape{kind: anything}, true
	case has(t, txt):
		return &shape{kind: text}, true
	}
	return nil, false
}

func has(t, method reflect.Type) bool {
	return t.Implements(method) || reflect.PointerTo(t).Implements(method)
}

func ownForm(t reflect.Type, dir direction) bool {
	if dir == out {
		return has(t, marshaler) || has(t, textOut)
	}
	return has(t, unmarshaler) || has(t, textIn)
}

// differs tells whether a type has another shape when it is received: base64 may be
// binary then, and some types encode themselves only one way.
func (r *reader) differs(t reflect.Type) bool {
	if is, ok := r.apart[t]; ok {
		return is
	}
	is := r.holds(t, map[reflect.Type]bool{}, func(t reflect.Type) bool {
		return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 || ownForm(t, in) != ownForm(t, out)
	})
	r.apart[t] = is
	return is
}

func (r *reader) holds(t reflect.Type, seen map[reflect.Type]bool, what func(reflect.Type) bool) bool {
	if as, ok := r.o.Types[t]; ok {
		t = as
	}
	if seen[t] || ownShapes[t].kind != "" {
		return false
	}
	seen[t] = true
	if what(t) {
		return true
	}
	if t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer && ownForm(t, out) {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return r.holds(t.Elem(), seen, what)
	case reflect.Struct:
		return slices.ContainsFunc(fieldsOf(t), func(f goField) bool { return r.holds(f.t, seen, what) })
	}
	return false
}

// finish names the types.
func (r *reader) finish(c *Contract) map[string]*shape {
	taken := map[string]bool{}
	for _, name := range reservedTypes {
		taken[name] = true
	}
	labels := map[string]bool{rootKey: true}
	for _, e := range c.entries {
		base := e.base(r.labels[e])
		e.label = base
		for n := 2; labels[e.label]; n++ {
			e.label = base + strconv.Itoa(n)
		}
		labels[e.label] = true
	}
	bases := map[string]map[reflect.Type]bool{}
	for _, d := range r.types {
		base := typeName(d.t.Name())
		if bases[base] == nil {
			bases[base] = map[reflect.Type]bool{}
		}
		bases[base][d.t] = true
	}
	types := map[string]*shape{}
	for _, d := range r.types {
		base := typeName(d.t.Name())
		if len(bases[base]) > 1 {
			base = typeName(d.t.PkgPath()[strings.LastIndexByte(d.t.PkgPath(), '/')+1:]) + base
		}
		if d.input {
			base += "Input"
		}
		name := base
		if slices.Contains(reservedTypes, name) || strings.HasSuffix(name, "ToServerEvents") || strings.HasSuffix(name, "ToClientEvents") || strings.HasSuffix(name, "Socket") {
			name += "_"
		}
		for n := 2; taken[name]; n++ {
			name = base + strconv.Itoa(n)
		}
		taken[name] = true
		types[name] = d.shape
		d.name = name
	}
	return types
}

var (
	packagePath = regexp.MustCompile(`[^\[\],*]*[/.]`)
	localSuffix = regexp.MustCompile(`·\d+`)
	noName      = regexp.MustCompile(`[^\pL\p{Nd}_]+`)
)

// typeName makes an identifier with a capital of a Go type's name, which may be that of
// a generic one.
func typeName(name string) string {
	return capitals(packagePath.ReplaceAllString(localSuffix.ReplaceAllString(name, ""), ""))
}

// capitals makes an identifier of a text.
func capitals(name string) string {
	var b strings.Builder
	for _, part := range noName.Split(name, -1) {
		r, n := utf8.DecodeRuneInString(part)
		if n > 0 {
			b.WriteRune(unicode.ToUpper(r))
			b.WriteString(part[n:])
		}
	}
	if s := b.String(); identifier.MatchString(s) {
		return s
	}
	return "T" + b.String()
}
