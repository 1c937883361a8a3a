package ws

import "unicode/utf8"

// validUTF8Prefix checks text that has arrived in part: b[:n] is whole
// characters, and what follows, at most three bytes, may become one with what
// is still to come. It is not ok as soon as no continuation could make the text
// valid (RFC 6455 section 8.1; strict in the sense of Autobahn's cases 6.4).
func validUTF8Prefix(b []byte) (n int, ok bool) {
	n = len(b)
	for i := n - 1; i >= 0 && i >= n-(utf8.UTFMax-1); i-- {
		if utf8.RuneStart(b[i]) {
			// FullRune also says true of bytes that cannot become a character.
			if !utf8.FullRune(b[i:]) {
				n = i
			}
			break
		}
	}
	return n, utf8.Valid(b[:n])
}
