package http1

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Classes of characters.
const (
	isToken uint8 = 1 << iota // tchar, RFC 9110 section 5.6.2
	isHex
	inPath
	inQuery
	inHost
	inIPv6
	inValue // field-vchar, SP, HTAB: RFC 9110 section 5.5
)

var charClass = func() (t [256]uint8) {
	for c := range t {
		b := byte(c)
		digit := isDigit(b)
		letter := 'a' <= b|0x20 && b|0x20 <= 'z'
		in := func(s string) bool { return bytes.IndexByte([]byte(s), b) >= 0 }
		if digit || letter || in("!#$%&'*+-.^_`|~") {
			t[c] |= isToken
		}
		if digit || ('a' <= b|0x20 && b|0x20 <= 'f') {
			t[c] |= isHex | inIPv6
		}
		if b == ':' || b == '.' {
			t[c] |= inIPv6
		}
		if digit || letter || in("-._~%") {
			t[c] |= inHost
		}
		if b > ' ' && b != 0x7f && b != '#' {
			t[c] |= inQuery
			if b != '?' {
				t[c] |= inPath
			}
		}
		if b >= ' ' && b != 0x7f || b == '\t' {
			t[c] |= inValue
		}
	}
	return t
}()

// only tells whether all of b is of a class.
func only(class uint8, b []byte) bool {
	for _, c := range b {
		if charClass[c]&class == 0 {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// validFieldValue refuses control characters other than HTAB: CR, LF and NUL
// above all (RFC 9110 section 5.5).
func validFieldValue(b []byte) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	for len(b) >= 8 {
		// Eight at a time; HTAB and characters above 0x7f take the slow way.
		w := binary.LittleEndian.Uint64(b)
		del := w ^ 0x7f*ones
		if (w|(w-0x20*ones)|(del-ones))&highs != 0 && !only(inValue, b[:8]) {
			return false
		}
		b = b[8:]
	}
	return only(inValue, b)
}

func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold compares without regard to the case of ASCII letters.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c != s[i] && lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c-'A' <= 'Z'-'A' {
		c |= 0x20
	}
	return c
}

// hasToken tells whether a comma-separated list has the token, in any case.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte{','})
		if equalFold(trimOWS(item), token) {
			return true
		}
	}
	return false
}

// parseLength reads 1*DIGIT that fits an int64 (RFC 9110 section 8.6).
func parseLength(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		d := int64(c - '0')
		if n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(b) > 0
}

// codingError tells a transfer coding that is not known from one that leaves
// the end of the request in doubt (RFC 9112 sections 6.1 and 6.3).
func codingError(value []byte) *Error {
	if len(value) == 0 || hasToken(value, "chunked") || !only(isToken, value) {
		return errCoding
	}
	return errCodingUnknown
}
