package sockeye

import (
	"encoding"
	"encoding/json"
	"io"
	"reflect"
)

// A handler's parameters and results are looked through once, when it is
// registered: what no codec can decode or encode is refused then, and not found out
// by each event.

var (
	readerType           = reflect.TypeFor[io.Reader]()
	argumentType         = reflect.TypeFor[Argument]()
	jsonUnmarshalerType  = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType  = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonMarshalerType    = reflect.TypeFor[json.Marshaler]()
	textMarshalerType    = reflect.TypeFor[encoding.TextMarshaler]()
	binaryTypesOfParsers = []reflect.Type{reflect.TypeFor[encoding.BinaryUnmarshaler](), reflect.TypeFor[encoding.BinaryMarshaler]()}
)

// undecodable says why nothing can be decoded into a parameter's type; "" if
// something can.
func undecodable(t reflect.Type) string {
	if t == readerType || t == argumentType {
		return ""
	}
	return typeFault(t, true, map[reflect.Type]bool{})
}

// unencodable says why no value of a result's type can be encoded.
func unencodable(t reflect.Type) string { return typeFault(t, false, map[reflect.Type]bool{}) }

// typeFault looks through a type, which may hold itself.
func typeFault(t reflect.Type, decode bool, seen map[reflect.Type]bool) string {
	if seen[t] || ownForm(t, decode) {
		return ""
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return t.String() + " has no form outside this process"
	case reflect.Interface:
		if decode && t.NumMethod() > 0 {
			return "it is not known what a " + t.String() + " is to be; take any, or a type"
		}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return typeFault(t.Elem(), decode, seen)
	case reflect.Map:
		switch k := t.Key(); k.Kind() {
		case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		default:
			if !ownForm(k, decode) {
				return "the keys of " + t.String() + " are neither strings nor integers"
			}
		}
		return typeFault(t.Elem(), decode, seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() && !f.Anonymous || f.Tag.Get("json") == "-" {
				continue
			}
			if why := typeFault(f.Type, decode, seen); why != "" {
				return "field " + f.Name + ": " + why
			}
		}
	}
	return ""
}

// ownForm tells whether a type says itself how it is decoded or encoded.
func ownForm(t reflect.Type, decode bool) bool {
	forms := []reflect.Type{jsonMarshalerType, textMarshalerType}
	if decode {
		forms = []reflect.Type{jsonUnmarshalerType, textUnmarshalerType}
	}
	for _, form := range append(forms, binaryTypesOfParsers...) {
		if t.Kind() != reflect.Interface && (t.Implements(form) || reflect.PointerTo(t).Implements(form)) {
			return true
		}
	}
	return false
}
