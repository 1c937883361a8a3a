package fuzz

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// FuzzSIOPacket: a header that is accepted is encoded back to one that reads
// the same.
func FuzzSIOPacket(f *testing.F) {
	for _, s := range []string{`40`, `0/admin,{"token":1}`, `2["a",1]`, `212["a"]`, `51-/a,3["x",{"_placeholder":true,"num":0}]`, `0/custom`, `3/a,1[]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := sio.Limits{}.ConsumePacket(b)
		if err != nil || p.Data != nil && sio.Valid(p.Data, 0) != nil {
			return // what is no JSON may look like a namespace
		}
		text := append(sio.AppendHeader(nil, p), p.Data...)
		again, err := sio.Limits{}.ConsumePacket(text)
		if len(p.Namespace) == 0 || err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q is %+v, encoded %q, which is %+v, %v", b, p, text, again, err)
		}
	})
}

// FuzzJSON compares the scanner with encoding/json. It is stricter in two
// things: what is not UTF-8, and nesting below 512 levels.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`["a",1.5e-3,{"b":[null,true]}]`, `"\ud83d\ude00"`, `[[[[`, `{"a":}`, `[1,]`, "\"\x01\"", `-0`, `01`, ` [ ] `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := sio.Valid(b, 0) == nil
		if want := json.Valid(b) && utf8.Valid(b); got != want && bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) < sio.MaxDepth {
			t.Errorf("%q: valid is %v, want %v", b, got, want)
		}
		args, err := sio.SplitArray(b, nil, 0)
		if err != nil {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil || len(want) != len(args) {
			t.Fatalf("%q has %d elements, want %d, %v", b, len(args), len(want), err)
		}
		for i := range args {
			if !bytes.Equal(args[i], want[i]) {
				t.Errorf("%q: element %d is %q, want %q", b, i, args[i], want[i])
			}
		}
	})
}

// FuzzPlaceholders: renumbering with the same numbers changes no meaning, and
// what is resolved is JSON without placeholders.
func FuzzPlaceholders(f *testing.F) {
	f.Add([]byte(`["a",{"_placeholder":true,"num":1},{"x":[{"num":0,"_placeholder":true}]}]`))
	f.Add([]byte(`{"_placeholder":true,"num":"\"_placeholder\""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if sio.Valid(b, 0) != nil {
			return
		}
		attachments := [][]byte{{1}, {2, 3}}
		check := sio.CheckPlaceholders(b, len(attachments))
		resolved, err := sio.AppendResolved(nil, b, attachments)
		if (err == nil) != (check == nil) {
			t.Fatalf("%q: resolved with %v, checked with %v", b, err, check)
		}
		if err != nil {
			return
		}
		if sio.Valid(resolved, 0) != nil || sio.CheckPlaceholders(resolved, 0) != nil {
			t.Errorf("%q resolved is %q", b, resolved)
		}
		same, err := sio.AppendRenumbered(nil, b, func(n int) (int, bool) { return n, true })
		if err != nil || sio.Valid(same, 0) != nil {
			t.Fatalf("%q renumbered is %q, %v", b, same, err)
		}
		if again, err := sio.AppendResolved(nil, same, attachments); err != nil || !bytes.Equal(again, resolved) {
			t.Errorf("%q renumbered is %q, which resolves to %q, not %q", b, same, again, resolved)
		}
	})
}
