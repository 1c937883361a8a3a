package sio

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// EventName returns the name that the first element of an event, as SplitArray
// gives it, stands for: a view into it, unless it has escapes. Like the
// reference server it takes a number for a name, as it is written.
func EventName(element []byte) ([]byte, error) {
	if len(element) == 0 {
		return nil, &SyntaxError{0, ErrEventName}
	}
	switch c := element[0]; {
	case c == '"' && bytes.IndexByte(element, '\\') < 0:
		return element[1 : len(element)-1], nil
	case c == '"':
		return Unquote(nil, element)
	case c == '-' || c-'0' <= 9:
		return element, nil
	}
	return nil, &SyntaxError{0, ErrEventName}
}

// Unquote appends what a JSON string literal stands for. Half a surrogate pair
// becomes U+FFFD.
func Unquote(dst, literal []byte) ([]byte, error) {
	if end, err := scanString(literal, 0); err != nil {
		return nil, err
	} else if end != len(literal) || literal[0] != '"' {
		return nil, &SyntaxError{0, ErrJSON}
	}
	for b := literal[1 : len(literal)-1]; len(b) > 0; {
		if b[0] != '\\' {
			n := bytes.IndexByte(b, '\\')
			if n < 0 {
				n = len(b)
			}
			dst = append(dst, b[:n]...)
			b = b[n:]
			continue
		}
		switch b[1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(b[2:])
			b = b[6:]
			if utf16.IsSurrogate(r) {
				var low rune
				if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
					low, _ = hex4(b[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					b = b[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		default:
			dst = append(dst, b[1])
		}
		b = b[2:]
	}
	return dst, nil
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
