package arguments_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/sockeye-io/sockeye/internal/arguments"
)

// TestThereAndBack: what is encoded and decoded again is the same, binary at any
// depth included.
func TestThereAndBack(t *testing.T) {
	values := []any{
		"text", 1.5, nil, true, []byte("top"),
		[]any{[]byte{0, 255}, "x", []any{[]byte{}}},
		map[string]any{"b": []byte("deep"), "list": []any{map[string]any{"again": []byte("deeper")}}, "plain": "\u2028"},
	}
	e := arguments.Encoder{Codec: arguments.JSON{}}
	text := e.AppendArray(nil, values)
	if e.Err != nil || len(e.Attachments) != 5 {
		t.Fatalf("%d attachments, %v", len(e.Attachments), e.Err)
	}
	var list []any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	arguments.Restore(&list, e.Attachments)
	if !reflect.DeepEqual(list, values) {
		t.Errorf("%v has become %v", values, list)
	}
	var anything any
	_ = json.Unmarshal(text, &anything)
	arguments.Restore(&anything, e.Attachments)
	if !reflect.DeepEqual(anything, any(values)) {
		t.Errorf("%v has become %v", values, anything)
	}
}

// TestPlaceholdersThatStandForNothing are left as they are.
func TestPlaceholdersThatStandForNothing(t *testing.T) {
	for _, text := range []string{
		`{"_placeholder":true,"num":1}`, `{"_placeholder":true,"num":-1}`, `{"_placeholder":true,"num":"0"}`,
		`{"_placeholder":true}`, `{"_placeholder":"true","num":0}`, `{"num":0}`,
	} {
		var got, want any
		_, _ = json.Unmarshal([]byte(text), &got), json.Unmarshal([]byte(text), &want)
		arguments.Restore(&got, [][]byte{[]byte("x")})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s has become %v", text, got)
		}
	}
}

// TestCycle: a value that holds itself is an error, with binary in it and without.
func TestCycle(t *testing.T) {
	withBinary := map[string]any{"b": []byte("x")}
	withBinary["self"], withBinary["again"] = withBinary, []any{withBinary, withBinary}
	list := []any{nil, nil}
	list[0], list[1] = list, list
	for _, v := range []any{withBinary, list, map[string]any{"list": list}} {
		e := arguments.Encoder{Codec: arguments.JSON{}}
		if e.AppendArray(nil, []any{v}); e.Err == nil {
			t.Error("a cycle was encoded")
		}
	}
}
