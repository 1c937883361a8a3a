package sio

import "encoding/binary"

// The scanner finds where JSON values end. It does not recurse: the containers
// that are open are bits. Positions are those of the whole text. UTF-8 has been
// checked; outside of strings no byte above 0x7f is let through.

// nesting has the containers that are open.
type nesting struct {
	depth   int
	objects [MaxDepth / 64]uint64 // a bit for each that is an object
}

func (n *nesting) push(object bool) {
	word, bit := n.depth/64, uint64(1)<<(n.depth%64)
	if n.objects[word] &^= bit; object {
		n.objects[word] |= bit
	}
	n.depth++
}

func (n *nesting) inObject() bool {
	top := n.depth - 1
	return n.objects[top/64]&(1<<(top%64)) != 0
}

// scanValue returns the end of the value that begins at b[i]. maxDepth is at
// most MaxDepth.
func scanValue(b []byte, i, maxDepth int) (end int, err error) {
	var open nesting
	for {
		// Here a value begins.
		if i == len(b) {
			return 0, &SyntaxError{i, ErrJSON}
		}
		switch c := b[i]; {
		case c == '"':
			i, err = scanString(b, i)
		case c == '{' || c == '[':
			if open.depth == maxDepth {
				return 0, &SyntaxError{i, ErrDepth}
			}
			open.push(c == '{')
			i = skipSpace(b, i+1)
			if i < len(b) && b[i] == c+2 { // it is empty: '}' is '{' + 2, ']' is '[' + 2
				break
			}
			if c == '{' {
				if i, err = scanName(b, i); err != nil {
					return 0, err
				}
			}
			continue
		case c == '-' || c-'0' <= 9:
			i, err = scanNumber(b, i)
		case c == 't':
			i, err = scanLiteral(b, i, "true")
		case c == 'f':
			i, err = scanLiteral(b, i, "false")
		case c == 'n':
			i, err = scanLiteral(b, i, "null")
		default:
			err = &SyntaxError{i, ErrJSON}
		}
		if err != nil {
			return 0, err
		}

		// Here a value has ended, or an empty container is about to.
		for {
			if open.depth == 0 {
				return i, nil
			}
			if i = skipSpace(b, i); i == len(b) {
				return 0, &SyntaxError{i, ErrJSON}
			}
			c, object := b[i], open.inObject()
			if c == '}' && object || c == ']' && !object {
				open.depth--
				i++
				continue
			}
			if c != ',' {
				return 0, &SyntaxError{i, ErrJSON}
			}
			i = skipSpace(b, i+1)
			if object {
				if i, err = scanName(b, i); err != nil {
					return 0, err
				}
			}
			break
		}
	}
}

// scanName returns where the value behind a name and its colon begins.
func scanName(b []byte, i int) (int, error) {
	if i == len(b) || b[i] != '"' {
		return 0, &SyntaxError{i, ErrJSON}
	}
	i, err := scanString(b, i)
	if err != nil {
		return 0, err
	}
	if i = skipSpace(b, i); i == len(b) || b[i] != ':' {
		return 0, &SyntaxError{i, ErrJSON}
	}
	return skipSpace(b, i+1), nil
}

// plain are the bytes of a string that stand for themselves.
var plain = func() (t [256]bool) {
	for c := 0x20; c < len(t); c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// scanString returns the end of the string literal that begins at b[i].
func scanString(b []byte, i int) (int, error) {
	for i++; i < len(b); {
		if len(b)-i >= 8 && allPlain(binary.LittleEndian.Uint64(b[i:])) {
			i += 8
			continue
		}
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i == len(b) {
			break
		}
		if b[i] == '"' {
			return i + 1, nil
		}
		n := escapeLen(b[i:])
		if n == 0 {
			return 0, &SyntaxError{i, ErrJSON}
		}
		i += n
	}
	return 0, &SyntaxError{len(b), ErrJSON}
}

// allPlain tells whether eight bytes at once are plain.
//
// To subtract k from each byte sets the highest bit of those below k, and with
// k = 1, after XOR with c, of those that are c. Those above 0x7f are cut out; a
// borrow only reaches a neighbour if there is a true hit below it.
func allPlain(x uint64) bool {
	const ones = 0x0101010101010101
	quote, backslash := x^'"'*ones, x^'\\'*ones
	hits := (x-0x20*ones)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash
	return hits&(0x80*ones) == 0
}

// escapeLen is the length of the escape that begins b, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 || b[0] != '\\' {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
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

// scanNumber returns the end of the number that begins at b[i].
func scanNumber(b []byte, i int) (end int, err error) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++ // and no more digits
	} else if i, err = scanDigits(b, i); err != nil {
		return 0, err
	}
	if i < len(b) && b[i] == '.' {
		if i, err = scanDigits(b, i+1); err != nil {
			return 0, err
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return scanDigits(b, i)
	}
	return i, nil
}

// scanDigits returns the end of the digits, one at least, that begin at b[i].
func scanDigits(b []byte, i int) (int, error) {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return 0, &SyntaxError{i, ErrJSON}
	}
	return i, nil
}

func scanLiteral(b []byte, i int, literal string) (int, error) {
	if end := i + len(literal); end <= len(b) && string(b[i:end]) == literal {
		return end, nil
	}
	return 0, &SyntaxError{i, ErrJSON}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
