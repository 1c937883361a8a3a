package sio

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// EventName returns the name that the first element of an event, as SplitArray
// gives it, stands for: a view into it, unless it has escapes. Like the
// reference server it takes a number for a name, as it is written. The error is
// a *SyntaxError. Which names are reserved is told by IsReserved.
//
// Socket.IO v5, "Sending and receiving data".
func EventName(element []byte) ([]byte, error) {
	n := len(element)
	switch {
	case n == 0:
	case element[0] == '"' && bytes.IndexByte(element, '\\') >= 0:
		return Unquote(nil, element)
	case element[0] == '"' && n >= 2 && element[n-1] == '"':
		return element[1 : n-1 : n-1], nil
	case element[0] == '-' || element[0]-'0' <= 9:
		return element, nil
	}
	return nil, &SyntaxError{0, ErrEventName}
}

// IsReserved tells whether name is the protocol's own, so that no event may have
// it.
//
// They are the names that the reference's parser refuses (socket.io-parser
// 4.2.7).
func IsReserved(name []byte) bool {
	switch string(name) {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// Unquote appends what a JSON string literal stands for. An escape that is half
// a surrogate pair becomes U+FFFD, as in encoding/json. The error, with which it
// returns nil, is a *SyntaxError.
func Unquote(dst, literal []byte) ([]byte, error) {
	if err := checkUTF8(literal); err != nil {
		return nil, err
	}
	if len(literal) == 0 || literal[0] != '"' {
		return nil, &SyntaxError{0, ErrJSON}
	}
	if end, err := scanString(literal, 0); err != nil {
		return nil, err
	} else if end != len(literal) {
		return nil, &SyntaxError{end, ErrJSON}
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

// AppendString appends s as JSON.stringify writes it; what is not UTF-8
// becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			start = i + 1
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}
