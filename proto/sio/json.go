package sio

import "unicode/utf8"

// MaxDepth is the deepest nesting of JSON that the scanner follows, and its
// default.
const MaxDepth = 512

// Valid checks that b is exactly one JSON value, by RFC 8259, in UTF-8, nested
// at most maxDepth deep (0 or less, or more than MaxDepth: MaxDepth). The error
// is a *SyntaxError. It does not allocate, other than for that.
//
// It takes what json.Valid takes, but for two things: text that is not UTF-8,
// and nesting deeper than maxDepth. As there, names of an object may repeat, an
// escape may be half a surrogate pair, and numbers have any size.
func Valid(b []byte, maxDepth int) error {
	if err := checkUTF8(b); err != nil {
		return err
	}
	end, err := scanValue(b, skipSpace(b, 0), limitDepth(maxDepth))
	if err != nil {
		return err
	}
	return checkEnd(b, end)
}

// ScanObject is Valid, and wants the value to be an object.
func ScanObject(b []byte, maxDepth int) error {
	if i := skipSpace(b, 0); i == len(b) || b[i] != '{' {
		return &SyntaxError{i, ErrJSON}
	}
	return Valid(b, maxDepth)
}

// MaxArguments is how many elements SplitArray takes: a view is 24 bytes, and an
// element may be two.
const MaxArguments = 10_000

// SplitArray checks that b is exactly one JSON array, as Valid does, and
// appends its elements to dst: views into b, without the white space around
// them. There may be MaxArguments of them. It allocates only if dst has no space,
// and for an error, with which it returns nil.
func SplitArray(b []byte, dst [][]byte, maxDepth int) ([][]byte, error) {
	if err := checkUTF8(b); err != nil {
		return nil, err
	}
	i := skipSpace(b, 0)
	if i == len(b) || b[i] != '[' {
		return nil, &SyntaxError{i, ErrJSON}
	}
	if i = skipSpace(b, i+1); i < len(b) && b[i] == ']' {
		return dst, checkEnd(b, i+1)
	}
	maxDepth = limitDepth(maxDepth) - 1
	for count := 0; ; count++ {
		if count == MaxArguments {
			return nil, &SyntaxError{i, ErrArguments}
		}
		end, err := scanValue(b, i, maxDepth)
		if err != nil {
			return nil, err
		}
		dst = append(dst, b[i:end:end])
		switch i = skipSpace(b, end); {
		case i == len(b):
			return nil, &SyntaxError{i, ErrJSON}
		case b[i] == ']':
			if err := checkEnd(b, i+1); err != nil {
				return nil, err
			}
			return dst, nil
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

// checkUTF8 is a pass of its own: utf8.Valid is faster than to decode characters
// while scanning (BenchmarkValid/greek).
func checkUTF8(b []byte) error {
	if utf8.Valid(b) {
		return nil
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return &SyntaxError{i, ErrUTF8}
		}
		i += n
	}
}

// checkEnd checks that only white space follows.
func checkEnd(b []byte, i int) error {
	if i = skipSpace(b, i); i < len(b) {
		return &SyntaxError{i, ErrJSON}
	}
	return nil
}
