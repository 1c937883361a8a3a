package msgpack_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	library "github.com/vmihailenco/msgpack/v5"

	"github.com/sockeye-io/sockeye/internal/arguments"
	wire "github.com/sockeye-io/sockeye/internal/msgpack"
)

// decodeLibrary reads one value with the library, and returns what it has left.
func decodeLibrary(b []byte) (v any, rest int, err error) {
	r := bytes.NewReader(b)
	v, err = library.NewDecoder(r).DecodeInterface()
	return v, r.Len(), err
}

// sameValue compares what the library has decoded from MessagePack with what
// encoding/json has from its JSON, attachments in place.
func sameValue(lib, js any) bool {
	switch lib := lib.(type) {
	case nil:
		return js == nil
	case []any:
		js, ok := js.([]any)
		return ok && slices.EqualFunc(lib, js, sameValue)
	case map[string]any:
		js, ok := js.(map[string]any)
		if !ok {
			return false
		}
		valid := make(map[string]any, len(lib)) // as keys have become
		for k, v := range lib {
			valid[string([]rune(k))] = v
		}
		return len(valid) < len(lib) || maps.EqualFunc(valid, js, sameValue) // two that are not UTF-8 may be one
	case string:
		return js == string([]rune(lib))
	case []byte:
		js, ok := js.([]byte)
		return ok && bytes.Equal(lib, js)
	case bool:
		return js == lib
	case time.Time:
		if js == nil {
			return lib.Unix() > 8.64e12-1 || lib.Unix() < -8.64e12 // no Date of JavaScript's
		}
		text, ok := js.(string)
		at, err := time.Parse(time.RFC3339, text)
		return ok && (err != nil && (lib.UTC().Year() < 0 || lib.UTC().Year() > 9999) || at.UnixMilli() == lib.UnixMilli())
	}
	n := reflect.ValueOf(lib)
	var f float64
	switch {
	case n.CanInt():
		f = float64(n.Int())
	case n.CanUint():
		f = float64(n.Uint())
	default:
		f = n.Float()
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return js == nil
	}
	return js == f
}

func decodeJSON(t *testing.T, text []byte, attachments [][]byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	arguments.Restore(&v, attachments)
	return v
}

// hasIntegerKey looks for one: a map has them at every other place behind its head.
func hasIntegerKey(value []byte) bool {
	var look func(b []byte) (rest []byte, found bool)
	look = func(b []byte) (rest []byte, found bool) {
		h, err := wire.ReadHead(b)
		if err != nil {
			return nil, false
		}
		b = b[h.Size+h.Body:]
		for i := range h.Items {
			if key, err := wire.ReadHead(b); err == nil && h.Kind == wire.KindMap && i%2 == 0 && key.Kind == wire.KindInt {
				found = true
			}
			var f bool
			b, f = look(b)
			found = found || f
		}
		return b, found
	}
	_, found := look(value)
	return found
}

// FuzzToJSON: of what the scanner takes, what the library decodes becomes JSON of the
// same value, and what it refuses is refused, but for what the two see differently:
// keys that are no strings, and extensions.
func FuzzToJSON(f *testing.F) {
	for _, s := range []string{
		"93a64c4d6249645383a47479706502a46461746192a2686901a36e7370a12f83a5726f6f6d7391a27231a665786365707490a5666c61677380",
		"93a362696ec403010203d6ff00000000", "92cb3ff8000000000000ca3fc00000", "c70cff1dcd6500ffffffff00000000", "82a16101a2ff7802", "d505", "9fc0",
		"95ccffcdffffceffffffffcfffffffffffffffffd38000000000000000", "dc0002c2c3", "df00000001a16190",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		_, ext, scanErr := wire.Scan(value, 0)
		var attachments [][]byte
		text, err := wire.AppendJSON(nil, value, &attachments)
		if errors.Is(err, wire.ErrKey) || errors.Is(err, wire.ErrPlaceholder) || errors.Is(err, wire.ErrDepth) {
			return
		}
		if scanErr != nil { // the library takes memory for any length that it reads
			if err == nil {
				t.Fatalf("%x was accepted: %v", value, scanErr)
			}
			return
		}
		v, rest, libErr := decodeLibrary(value)
		switch {
		case err != nil && libErr == nil && rest == 0:
			t.Fatalf("%x is %v for the library: %v", value, v, err)
		case err != nil || libErr != nil && (ext || hasIntegerKey(value)):
			return
		case libErr != nil || rest != 0:
			t.Fatalf("%x is %s: the library says %v and leaves %d", value, text, libErr, rest)
		}
		if js := decodeJSON(t, text, attachments); !sameValue(v, js) {
			t.Fatalf("%x is %s, and %v for the library", value, text, v)
		}
	})
}

// FuzzFromJSON: the library decodes what JSON has become, to the same value, and what
// the library encodes of it becomes that again.
func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{
		`["hi",1,-1,{"a":[1.5,1e300,null,true]},{"_placeholder":true,"num":1}]`, `"\ud83d\ude00\ud800"`, `[18446744073709551615,-9223372036854775808,-0]`,
		`{"1":2,"":{}}`, `[[[[]]],{"a":{"a":{}}}]`, `{"\u005fplaceholder":true,"n\u0075m":0}`,
	} {
		f.Add([]byte(s))
	}
	attachments := [][]byte{[]byte("a"), make([]byte, 300)}
	f.Fuzz(func(t *testing.T, text []byte) {
		value, err := wire.AppendValue(nil, text, attachments)
		if err != nil {
			return
		}
		want := decodeJSON(t, text, attachments)
		v, rest, err := decodeLibrary(value)
		if err != nil || rest != 0 || !sameValue(v, want) {
			t.Fatalf("%s is %x, and %v for the library, which leaves %d: %v", text, value, v, rest, err)
		}
		encoded, err := library.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back [][]byte
		again, err := wire.AppendJSON(nil, encoded, &back)
		if errors.Is(err, wire.ErrPlaceholder) {
			return
		}
		if err != nil || !reflect.DeepEqual(decodeJSON(t, again, back), want) {
			t.Fatalf("%s is %x of the library's, and %s again: %v", text, encoded, again, err)
		}
	})
}
