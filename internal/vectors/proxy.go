package vectors

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Proxy is the form of headers of the PROXY protocol: "> text", "x hex" and "* times
// hex".
func Proxy(c *Case, kind byte, rest string) (err error) {
	var b []byte
	n := 1
	switch kind {
	case '>':
		b, err = unescape(nil, rest)
	case '*':
		number, what, _ := strings.Cut(rest, " ")
		if n, err = strconv.Atoi(number); err != nil {
			return err
		}
		rest = what
		fallthrough
	case 'x':
		b, err = hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
	default:
		err = fmt.Errorf("a line begins with %q", kind)
	}
	c.Input = append(c.Input, bytes.Repeat(b, n)...)
	return err
}
