package sio

import "unicode/utf8"

// MaxDepth is the deepest nesting of JSON that the scanner follows, and its
// default.
const MaxDepth = 512

// depthBits has one bit for each level of nesting: set for an object.
type depthBits [MaxDepth / 64]uint64

// Valid checks that b is exactly one JSON value, by RFC 8259, in UTF-8, nested
// at most maxDepth deep (0, or more than MaxDepth: MaxDepth). The error is a
// *SyntaxError.
func Valid(b []byte, maxDepth int) error {
	i, err := scanValue(b, skipSpace(b, 0), limitDepth(maxDepth))
	if err == nil {
		err = atEnd(b, i)
	}
	return err
}

// ScanObject is Valid, and wants the value to be an object.
func ScanObject(b []byte, maxDepth int) error {
	if i := skipSpace(b, 0); i == len(b) || b[i] != '{' {
		return &SyntaxError{i, ErrJSON}
	}
	return Valid(b, maxDepth)
}

// SplitArray checks that b is exactly one JSON array, as Valid does, and
// appends its elements to dst: views into b, without the white space around
// them. It allocates only if dst has no room.
func SplitArray(b []byte, dst [][]byte, maxDepth int) ([][]byte, error) {
	maxDepth = limitDepth(maxDepth)
	i := skipSpace(b, 0)
	if i == len(b) || b[i] != '[' {
		return nil, &SyntaxError{i, ErrJSON}
	}
	if i = skipSpace(b, i+1); i < len(b) && b[i] == ']' {
		return dst, atEnd(b, i+1)
	}
	for {
		end, err := scanValue(b, i, maxDepth-1)
		if err != nil {
			return nil, err
		}
		dst = append(dst, b[i:end:end])
		switch i = skipSpace(b, end); {
		case i == len(b):
			return nil, &SyntaxError{i, ErrJSON}
		case b[i] == ']':
			return dst, atEnd(b, i+1)
		case b[i] != ',':
			return nil, &SyntaxError{i, ErrJSON}
		}
		i = skipSpace(b, i+1)
	}
}

func limitDepth(d int) int {
	if d <= 0 || d > MaxDepth {
		return MaxDepth
	}
	return d
}

func atEnd(b []byte, i int) error {
	if i = skipSpace(b, i); i < len(b) {
		return &SyntaxError{i, ErrJSON}
	}
	return nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// scanValue returns the end of the value that begins at b[i].
func scanValue(b []byte, i, maxDepth int) (int, error) {
	var objects depthBits
	depth := 0
	var err error
	for {
		// A value begins here.
		if i == len(b) {
			return 0, &SyntaxError{i, ErrJSON}
		}
		switch c := b[i]; {
		case c == '"':
			i, err = scanString(b, i)
		case c == '{', c == '[':
			if depth == maxDepth {
				return 0, &SyntaxError{i, ErrDepth}
			}
			bit := uint64(1) << (depth % 64)
			depth++
			i = skipSpace(b, i+1)
			if c == '{' {
				objects[(depth-1)/64] |= bit
				if i == len(b) || b[i] != '}' {
					if i, err = scanKey(b, i); err != nil {
						return 0, err
					}
					continue
				}
			} else {
				objects[(depth-1)/64] &^= bit
				if i == len(b) || b[i] != ']' {
					continue
				}
			}
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
		// A value, or the opening of an empty container, is behind.
		for more := false; !more; {
			if depth == 0 {
				return i, nil
			}
			if i = skipSpace(b, i); i == len(b) {
				return 0, &SyntaxError{i, ErrJSON}
			}
			object := objects[(depth-1)/64]&(1<<((depth-1)%64)) != 0
			switch c := b[i]; {
			case c == '}' && object, c == ']' && !object:
				depth--
				i++
			case c != ',':
				return 0, &SyntaxError{i, ErrJSON}
			default:
				i = skipSpace(b, i+1)
				if object {
					if i, err = scanKey(b, i); err != nil {
						return 0, err
					}
				}
				more = true
			}
		}
	}
}

// scanKey returns where the value behind a key and its colon begins.
func scanKey(b []byte, i int) (int, error) {
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

// plain are the characters of a string that stand for themselves, in ASCII.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// scanString returns the end of the string literal that begins at b[i].
func scanString(b []byte, i int) (int, error) {
	for i++; i < len(b); {
		c := b[i]
		switch {
		case plain[c]:
			i++
		case c == '"':
			return i + 1, nil
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return 0, &SyntaxError{i, ErrJSON}
			}
			i += n
		case c < 0x20:
			return 0, &SyntaxError{i, ErrJSON}
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return 0, &SyntaxError{i, ErrUTF8}
			}
			i += n
		}
	}
	return 0, &SyntaxError{i, ErrJSON}
}

// escapeLen is the length of the escape that begins b, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
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

// scanNumber returns the end of the number that begins at b[i].
func scanNumber(b []byte, i int) (int, error) {
	digits := func() bool {
		start := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i > start
	}
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return 0, &SyntaxError{i, ErrJSON}
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return 0, &SyntaxError{i, ErrJSON}
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return 0, &SyntaxError{i, ErrJSON}
		}
	}
	return i, nil
}

func scanLiteral(b []byte, i int, literal string) (int, error) {
	if end := i + len(literal); end <= len(b) && string(b[i:end]) == literal {
		return end, nil
	}
	return 0, &SyntaxError{i, ErrJSON}
}
