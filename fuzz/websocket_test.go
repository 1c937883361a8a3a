package fuzz

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/proto/ws"

	"github.com/sockeye-io/sockeye/internal/vectors"
)

// FuzzWebSocket: a stream of frames says the same however it is cut, and what it
// says is what a plain reader of RFC 6455 says.
func FuzzWebSocket(f *testing.F) {
	cases := vectors.Load(f, "../proto/ws/testdata/ws", vectors.WebSocket)
	for _, c := range cases {
		if len(c.Input) <= 2000 {
			f.Add(c.Input, uint16(len(c.Input)/2), uint32(c.Max))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16, limit uint32) {
		maxBytes := int(limit % (1 << 20))
		whole := ws.ParseFrames(maxBytes, b)
		check := func(how string, got []ws.ParsedEvent) {
			t.Helper()
			if !slices.EqualFunc(got, whole, sameEvent) {
				t.Fatalf("%s: %v, in one piece: %v", how, got, whole)
			}
		}
		check("by a plain reader", readPlainly(b, maxBytes))
		at := min(int(cut), len(b))
		check("cut in two", ws.ParseFrames(maxBytes, b[:at], b[at:]))
		check("cut in three", ws.ParseFrames(maxBytes, b[:at/2], b[at/2:at], b[at:]))
		if len(b) <= 2048 {
			check("byte by byte", ws.ParseFrames(maxBytes, slices.Collect(slices.Chunk(b, 1))...))
		}
	})
}

func sameEvent(a, b ws.ParsedEvent) bool {
	return a.Kind == b.Kind && a.Code == b.Code && a.Reason == b.Reason && bytes.Equal(a.Data, b.Data)
}

// readPlainly reads a stream that is there as a whole, with the header reader
// of gobwas/ws and without any thought of speed.
func readPlainly(b []byte, maxBytes int) (events []ws.ParsedEvent) {
	var message []byte
	var kind string // of the message that is under way
	var empty int
	fail := func(code uint16, reason string) []ws.ParsedEvent {
		return append(events, ws.ParsedEvent{Kind: "error", Code: code, Reason: reason})
	}
	for len(b) >= 2 {
		// A header that is not complete, made complete, tells what two bytes decide.
		head := bytes.NewReader(append(b[:min(len(b), 14):min(len(b), 14)], make([]byte, 14)...))
		h, err := gobwas.ReadHeader(head)
		state := gobwas.StateServerSide
		if kind != "" {
			state |= gobwas.StateFragmented
		}
		switch n := b[1] & 0x7f; {
		case errors.Is(err, gobwas.ErrHeaderLengthMSB):
			h = gobwas.Header{Fin: b[0]&0x80 != 0, Rsv: b[0] >> 4 & 7, OpCode: gobwas.OpCode(b[0] & 15), Masked: b[1]&0x80 != 0, Length: 126}
		case err != nil:
			panic(err)
		case n > 125:
			h.Length = max(h.Length, 126) // refused below, where it is too small
		}
		if err := gobwas.CheckHeader(h, state); err != nil {
			return fail(1002, err.Error())
		}
		size := 6
		switch b[1] & 0x7f {
		case 126:
			size = 8
			if len(b) >= 4 && b[2] == 0 && b[3] < 126 {
				return fail(1002, "the payload length is not in its shortest form")
			}
		case 127:
			size = 14
			switch {
			case len(b) < 10:
			case b[2] >= 0x80:
				return fail(1002, "the payload length is above 2^63-1")
			case bytes.Equal(b[2:8], make([]byte, 6)):
				return fail(1002, "the payload length is not in its shortest form")
			}
		}
		if len(b) < size {
			return events
		}
		b = b[size:]
		payload := bytes.Clone(b[:min(h.Length, int64(len(b)))])
		whole := int64(len(payload)) == h.Length
		for i := range payload {
			payload[i] ^= h.Mask[i%4]
		}
		if h.OpCode.IsControl() {
			if !whole {
				return events
			}
			b = b[h.Length:]
			event := ws.ParsedEvent{Data: payload}
			switch h.OpCode {
			case gobwas.OpPing:
				event.Kind = "ping"
			case gobwas.OpPong:
				event.Kind = "pong"
			case gobwas.OpClose:
				return append(events, readClose(payload))
			}
			events = append(events, event)
			continue
		}

		if h.Length > int64(maxBytes-len(message)) {
			return fail(1009, "")
		}
		fragmented := kind != "" || !h.Fin
		if kind == "" {
			kind = "text"
			if h.OpCode == gobwas.OpBinary {
				kind = "binary"
			}
		}
		if fragmented && h.Length == 0 {
			if empty++; empty > 1000 {
				return fail(1008, "the message has too many empty fragments")
			}
		}
		message = append(message, payload...)
		if kind == "text" && !mayBecomeUTF8(message, whole && h.Fin) {
			return fail(1007, "the text is not UTF-8")
		}
		if !whole {
			return events
		}
		b = b[h.Length:]
		if h.Fin {
			events = append(events, ws.ParsedEvent{Kind: kind, Data: message})
			kind, message, empty = "", nil, 0
		}
	}
	return events
}

func readClose(payload []byte) ws.ParsedEvent {
	refuse := func(code uint16, reason string) ws.ParsedEvent {
		return ws.ParsedEvent{Kind: "error", Code: code, Reason: reason}
	}
	if len(payload) == 0 {
		return ws.ParsedEvent{Kind: "close", Code: 1005}
	}
	if len(payload) == 1 {
		return refuse(1002, "the close frame has half a code")
	}
	code := uint16(payload[0])<<8 | uint16(payload[1])
	registered := []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
	switch {
	case (code < 3000 || code > 4999) && !slices.Contains(registered, code):
		return refuse(1002, "the close code must not be sent")
	case !utf8.Valid(payload[2:]):
		return refuse(1007, "the close reason is not UTF-8")
	}
	return ws.ParsedEvent{Kind: "close", Code: code, Reason: string(payload[2:])}
}

// mayBecomeUTF8 tells whether b is UTF-8, or if it is not complete, can be
// continued to be.
func mayBecomeUTF8(b []byte, complete bool) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return !complete && !utf8.FullRune(b)
		}
		b = b[n:]
	}
	return true
}
