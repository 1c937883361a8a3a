package fuzz

import (
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/internal/wsvectors"

	"github.com/sockeye-io/sockeye/proto/ws"
)

// FuzzDeflate: compressed frames say the same however they are cut, and no
// message is over the limit.
func FuzzDeflate(f *testing.F) {
	cases, err := wsvectors.Load("../proto/ws/testdata/wsdeflate")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		if len(c.Input) <= 2000 {
			f.Add(c.Input, uint16(len(c.Input)/2), uint16(1000))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, cut, limit uint16) {
		whole := ws.ParseDeflatedFrames(int(limit), b)
		at := min(int(cut), len(b))
		if got := ws.ParseDeflatedFrames(int(limit), b[:at], b[at:]); !slices.EqualFunc(got, whole, sameEvent) {
			t.Fatalf("cut at %d: %v, in one piece: %v", at, got, whole)
		}
		for _, e := range whole {
			if len(e.Data) > int(limit) && (e.Kind == "text" || e.Kind == "binary") {
				t.Fatalf("a message of %d bytes, the limit is %d", len(e.Data), limit)
			}
		}
	})
}
