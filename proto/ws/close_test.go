package ws

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestCloseCodes: RFC 6455 section 7.4.2 for each code there is, both ways.
func TestCloseCodes(t *testing.T) {
	allowed := map[int]bool{}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} {
		allowed[code] = true
	}
	for code := 3000; code < 5000; code++ {
		allowed[code] = true
	}
	for code := range 1 << 16 {
		b := binary.BigEndian.AppendUint16(nil, uint16(code))
		got, reason, err := parseClosePayload(append(b, "why"...))
		frame := AppendClose(nil, uint16(code), "why")
		if allowed[code] {
			if err != nil || int(got) != code || reason != "why" {
				t.Errorf("%d: %d, %q, %v", code, got, reason, err)
			}
			if want := "\x88\x05" + string(b) + "why"; string(frame) != want {
				t.Errorf("%d is sent as %q, want %q", code, frame, want)
			}
			continue
		}
		if err == nil || err.Code != 1002 {
			t.Errorf("%d: %d, %q, %v, want 1002", code, got, reason, err)
		}
		if string(frame) != "\x88\x00" {
			t.Errorf("%d is sent as %q, want a close without code", code, frame)
		}
	}
}

// TestCloseReasonSent: section 5.5.1, a reason is UTF-8, and section 5.5, a
// control frame has at most 125 bytes of payload.
func TestCloseReasonSent(t *testing.T) {
	for _, c := range []struct{ reason, want string }{
		{"", ""},
		{strings.Repeat("a", 123), strings.Repeat("a", 123)},
		{strings.Repeat("a", 124), strings.Repeat("a", 123)},
		{strings.Repeat("ä", 62), strings.Repeat("ä", 61)},
		{strings.Repeat("🎸", 100), strings.Repeat("🎸", 30)},
		{"a\xffb", "a\ufffdb"},
		{strings.Repeat("a", 122) + "\xff", strings.Repeat("a", 122)},
	} {
		frame := AppendClose([]byte("x"), 1000, c.reason)
		if frame[0] != 'x' || frame[1] != 0x88 || int(frame[2]) != len(frame)-3 || frame[2] > 125 {
			t.Fatalf("%q: %q", c.reason, frame)
		}
		code, reason, err := parseClosePayload(frame[3:])
		if err != nil || code != 1000 || reason != c.want || !utf8.ValidString(reason) {
			t.Errorf("%q is sent as %q (%v), want %q", c.reason, reason, err, c.want)
		}
	}
}

// TestErrorsCanBeSent: whatever the reader refuses, the close frame tells.
func TestErrorsCanBeSent(t *testing.T) {
	for _, err := range []*Error{
		errFrameLength, errFrameLengthHi, errClosePayload, errCloseCode, errCloseReason,
		errMessageTooBig, errEmptyFragments, errTextUTF8, errFrameRSV, errInflate, errFinalBlocks,
	} {
		frame := AppendClose(nil, err.Code, err.Reason)
		if code, reason, _ := parseClosePayload(frame[2:]); code != err.Code || reason != err.Reason {
			t.Errorf("%+v is sent as %d %q", *err, code, reason)
		}
	}
}
