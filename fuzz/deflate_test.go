package fuzz

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/internal/wsvectors"

	"github.com/sockeye-io/sockeye/proto/ws"
)

// FuzzDeflate: compressed frames say the same however they are cut and wherever
// they are inflated, and no message is over the limit.
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
		for _, here := range []int{0, int(cut % 64), ws.InflateHere} {
			if got := inflateApart(int(limit), here, b[:at], b[at:]); !slices.EqualFunc(got, whole, sameEvent) {
				t.Fatalf("inflated apart above %d bytes, cut at %d: %v, at once: %v", here, at, got, whole)
			}
		}
		for _, e := range whole {
			if len(e.Data) > int(limit) && (e.Kind == "text" || e.Kind == "binary") {
				t.Fatalf("a message of %d bytes, the limit is %d", len(e.Data), limit)
			}
		}
	})
}

// inflateApart reads a stream as a loop does, which leaves to others what is larger
// than here.
func inflateApart(maxBytes, here int, pieces ...[]byte) (events []ws.ParsedEvent) {
	var r ws.Reader
	defer r.Release()
	lim := ws.Limits{MaxBytes: maxBytes, Deflate: true, InflateHere: here}
	var kept []byte
	for _, piece := range pieces {
		b := append(kept, piece...)
		for {
			ev, n, err := r.ConsumeFrame(b, lim)
			e := ws.ParsedEvent{Data: bytes.Clone(ev.Data), Code: ev.Code, Reason: ev.Reason}
			if ev.Kind == ws.Deflated {
				if size := len(ev.Payload.B); size > 2*maxBytes+1000 || r.Held() != 0 {
					panic("the payload is over its limit, or still the reader's")
				}
				buf, inflateErr := ws.Inflate(ev.Payload, ev.Binary, maxBytes)
				if err = inflateErr; err == nil {
					ev.Kind = ws.Message
					e.Data = buf.B
				}
			}
			switch {
			case err != nil:
				return append(events, ws.ParsedEvent{Kind: "error", Code: err.Code, Reason: err.Reason})
			case ev.Kind == ws.Close:
				e.Kind = "close"
				return append(events, e)
			case ev.Kind == ws.Message && ev.Binary:
				e.Kind = "binary"
			case ev.Kind == ws.Message:
				e.Kind = "text"
			case ev.Kind == ws.Ping:
				e.Kind = "ping"
			case ev.Kind == ws.Pong:
				e.Kind = "pong"
			}
			if e.Kind != "" {
				events = append(events, e)
			}
			if n == 0 {
				kept = b
				break
			}
			if b = b[n:]; len(b) == 0 {
				kept = nil
				break
			}
		}
	}
	return events
}

