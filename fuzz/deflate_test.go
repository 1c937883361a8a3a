package fuzz

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/internal/vectors"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// FuzzDeflate: compressed frames say the same however they are cut and wherever
// they are inflated, and no message is over the limit.
func FuzzDeflate(f *testing.F) {
	cases := vectors.Load(f, "../proto/ws/testdata/wsdeflate", vectors.WebSocket)
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
			if ev.Kind == ws.Deflated {
				if size := len(ev.Payload.B); size > 2*maxBytes+1000 || r.Held() != 0 {
					panic("the payload is over its limit, or still the reader's")
				}
				buf, inflateErr := ws.Inflate(ev.Payload, ev.Binary, maxBytes)
				if err = inflateErr; err == nil {
					ev.Kind, ev.Data = ws.Message, buf.B
				}
			}
			e := ws.Parsed(ev, err)
			if e.Kind != "" {
				events = append(events, e)
			}
			if e.Kind == "error" || e.Kind == "close" {
				return events
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

// FuzzInflate: what comes out of a compressed payload, or that nothing does, is what
// the standard library says.
func FuzzInflate(f *testing.F) {
	cases := vectors.Load(f, "../proto/ws/testdata/wsdeflate", vectors.WebSocket)
	for _, c := range cases {
		if n := len(c.Input); 8 < n && n <= 125+6 && c.Input[1] == byte(0x80|n-6) {
			payload := bytes.Clone(c.Input[6:])
			gobwas.Cipher(payload, [4]byte(c.Input[2:]), 0)
			f.Add(payload)
		}
	}
	for level := -2; level <= 9; level++ {
		frame := ws.AppendDeflatedFrame(nil, bytes.Repeat([]byte("content, some 100 bytes of it; "), 3), true, level)
		f.Add(frame[2:])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		const limit = 1 << 16
		want, ok := inflatePlainly(payload, limit)
		in := bytepool.Get(len(payload) + 9)
		in.B = append(append(in.B, payload...), inflateEnd...)
		got, wsErr := ws.Inflate(in, true, limit)
		if (wsErr == nil) != ok {
			t.Fatalf("%v, plainly %v", wsErr, ok)
		}
		if ok && !bytes.Equal(got.B, want) {
			t.Fatalf("%d bytes, plainly %d", len(got.B), len(want))
		}
	})
}

// inflateEnd is what Deflated payloads end in: what the sender removed, and a final
// block.
const inflateEnd = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflatePlainly inflates with compress/flate; it is not ok if the payload is wrong
// or comes to more than the limit.
func inflatePlainly(payload []byte, limit int) (out []byte, ok bool) {
	src := bytes.NewReader(append(bytes.Clone(payload), inflateEnd...))
	for finals := 0; finals <= 1000; finals++ {
		z := flate.NewReaderDict(src, out[max(0, len(out)-1<<15):])
		more, err := io.ReadAll(io.LimitReader(z, int64(limit+1-len(out))))
		if out = append(out, more...); err != nil || len(out) > limit {
			return nil, false
		}
		switch rest := src.Len(); {
		case rest == 0 || rest == len(inflateEnd):
			return out, true
		case rest < len(inflateEnd):
			return nil, false
		}
	}
	return nil, false
}

// FuzzProtocols: the subprotocol that is selected is the first of a list of
// different tokens, as a plain reader has it, however the list is dealt to fields.
func FuzzProtocols(f *testing.F) {
	for _, s := range []string{"chat", "chat, superchat", "chat,chat", ",", "", "a b", "a,\tb ,c", "a,b@"} {
		f.Add(s)
	}
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	f.Fuzz(func(t *testing.T, list string) {
		names := strings.Split(list, ",")
		want, seen := "", map[string]bool{}
		for i, name := range names {
			name = strings.Trim(name, " \t")
			if i == 0 {
				want = name
			}
			if name == "" || strings.Trim(name, token) != "" || seen[name] {
				want = ""
				break
			}
			seen[name] = true
		}
		if len(names) > 32 {
			want = ""
		}
		var whole, dealt ws.Protocols
		whole.Add([]byte(list))
		for _, name := range names {
			dealt.Add([]byte(name))
		}
		for _, p := range []*ws.Protocols{&whole, &dealt} {
			if got, err := p.Accept(); string(got) != want || (err == nil) != (want != "") {
				t.Fatalf("%q: %q, %v, want %q", list, got, err, want)
			}
		}
	})
}
