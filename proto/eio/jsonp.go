package eio

import (
	"bytes"
	"net/url"
	"unicode/utf8"
)

// JSONP is polling by <script> elements and forms, for browsers that cannot
// send requests to other origins. An answer is a call with the payload as a
// string; a request is a form whose field d is the payload.

// AppendJSONP appends the script that gives payload to the callback of that
// number, which must be digits. The payload cannot break out of the string.
func AppendJSONP(dst, index, payload []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, "___eio["...)
	dst = append(dst, index...)
	dst = append(dst, `]("`...)
	for len(payload) > 0 {
		switch c := payload[0]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c < 0x20 || c == '<' || c == 0x7f: // '<': no "</script>" in a page
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRune(payload)
			if r == '\u2028' || r == '\u2029' { // line ends in older JavaScript
				dst = append(dst, `\u202`...)
				dst = append(dst, hex[r&15])
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			payload = payload[n:]
			continue
		}
		payload = payload[1:]
	}
	return append(dst, `");`...)
}

// ConsumeJSONP returns the payload of a form, of which it needs the field d. In
// it the client has written a line feed as \n and \n as \\n.
func ConsumeJSONP(form []byte) ([]byte, error) {
	for field := range bytes.SplitSeq(form, []byte{'&'}) {
		value, ok := bytes.CutPrefix(field, []byte("d="))
		if !ok {
			continue
		}
		text, err := url.QueryUnescape(string(value))
		if err != nil {
			return nil, &SyntaxError{0, ErrForm}
		}
		return unescapeLines([]byte(text)), nil
	}
	return nil, &SyntaxError{0, ErrForm}
}

// unescapeLines undoes what engine.io-client does to line feeds, in place.
func unescapeLines(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		switch {
		case bytes.HasPrefix(b[i:], []byte(`\\n`)):
			out = append(out, `\n`...)
			i += 2
		case bytes.HasPrefix(b[i:], []byte(`\n`)):
			out = append(out, '\n')
			i++
		default:
			out = append(out, b[i])
		}
	}
	return out
}
