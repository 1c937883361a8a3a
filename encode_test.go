package sockeye_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestBinaryAtAnyDepth: bytes are sent as binary wherever lists and maps hold them, as
// deep as JSON may be; what is deeper is refused and not sent as something else.
func TestBinaryAtAnyDepth(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	const place = `{"_placeholder":true,"num":0}`
	nest := func(v any, n int) any {
		for i := range n {
			if i%2 == 0 {
				v = []any{v}
			} else {
				v = map[string]any{"a": v}
			}
		}
		return v
	}
	deep := func(n int) string {
		text := place
		for i := range n {
			if i%2 == 0 {
				text = "[" + text + "]"
			} else {
				text = `{"a":` + text + "}"
			}
		}
		return text
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{[]byte("x"), place},
		{[][]byte{[]byte("x")}, "[" + place + "]"},
		{map[string][]byte{"a": []byte("x")}, `{"a":` + place + "}"},
		{nest([]byte("x"), 70), deep(70)},
		{nest([]byte("x"), 500), deep(500)},
		{nest([][]byte{[]byte("x")}, 10), strings.Replace(deep(10), place, "["+place+"]", 1)},
	} {
		if err := srv.Emit("e", c.v); err != nil {
			t.Errorf("%.40v: %v", c.v, err)
			continue
		}
		w.Expect(fmt.Sprintf(`451-["e",%s]`, c.want))
		w.ExpectBinary([]byte("x"))
	}
	if err := srv.Emit("e", nest([]byte("x"), 600)); err == nil {
		t.Error("what is nested 600 deep was sent")
	}
}

// TestCyclicValues are refused, with binary in them or without.
func TestCyclicValues(t *testing.T) {
	_, srv := serve(t, sockeye.Config{}, nil)
	cycle := map[string]any{"b": []byte("x")}
	cycle["self"], cycle["again"] = cycle, []any{cycle, cycle}
	list := []any{nil}
	list[0] = list
	for _, v := range []any{cycle, list} {
		if err := srv.Emit("x", v); err == nil || strings.Contains(err.Error(), "connected") {
			t.Errorf("Emit of a cycle: %v", err)
		}
	}
}
