package vectors

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// HTTP is the form of streams of HTTP/1.1 requests: "> text", "* times text" and
// "? field".
func HTTP(c *Case, kind byte, rest string) (err error) {
	switch kind {
	case '>':
		c.Input, err = unescape(c.Input, rest)
	case '*':
		number, what, _ := strings.Cut(rest, " ")
		var n int
		var b []byte
		if n, err = strconv.Atoi(number); err == nil {
			b, err = unescape(nil, what)
		}
		c.Input = append(c.Input, bytes.Repeat(b, n)...)
	case '?':
		c.Show = append(c.Show, rest)
	default:
		err = fmt.Errorf("a line begins with %q", kind)
	}
	return err
}

func unescape(dst []byte, s string) ([]byte, error) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			continue
		}
		i++
		if i == len(s) {
			return nil, fmt.Errorf("a backslash at the end of a line")
		}
		switch s[i] {
		case 'r':
			dst = append(dst, '\r')
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case '0':
			dst = append(dst, 0)
		case '\\':
			dst = append(dst, '\\')
		case 'x':
			if len(s) < i+3 {
				return nil, fmt.Errorf("an incomplete \\x")
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return nil, err
			}
			dst = append(dst, byte(n))
			i += 2
		default:
			return nil, fmt.Errorf("unknown escape \\%c", s[i])
		}
	}
	return dst, nil
}
