package http1

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"
)

// TestHTTPVectors runs each case of testdata/http whole, cut in two at every
// byte, and byte by byte.
func TestHTTPVectors(t *testing.T) {
	for _, c := range vectors.Load(t, "testdata/http", vectors.HTTP) {
		t.Run(c.Name, func(t *testing.T) {
			check := func(how string, cut func(rest []byte) [][]byte) {
				t.Helper()
				if got := traceRequests(c, cut); !slices.Equal(got, c.Want) {
					t.Fatalf("%s: %s\n%s\ngot:  %s\nwant: %s", c.Pos, c.Name, how,
						strings.Join(got, "\n      "), strings.Join(c.Want, "\n      "))
				}
			}
			check("whole", func(b []byte) [][]byte { return [][]byte{b} })
			step := 1 + len(c.Input)/300
			for at := 1; at < len(c.Input); at += step {
				check(fmt.Sprintf("cut at %d", at), func(b []byte) [][]byte {
					at := at - (len(c.Input) - len(b))
					if at <= 0 || at >= len(b) {
						return [][]byte{b}
					}
					return [][]byte{b[:at], b[at:]}
				})
			}
			check("byte by byte", func(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 1)) })
		})
	}
}

// traceRequests tells what is read from a stream, in the form of testdata/http.
func traceRequests(c vectors.Case, cut func(rest []byte) [][]byte) (lines []string) {
	rest := c.Input
	for {
		r, n, err := ParseRequest(cut(rest)...)
		var refused *Error
		switch {
		case errors.As(err, &refused):
			return append(lines, fmt.Sprintf("%d %s", refused.Status, refused.Reason))
		case err != nil:
			return append(lines, err.Error())
		case n == 0:
			return append(lines, "more")
		}
		lines = append(lines, describe(r))
		switch {
		case len(r.Body) > 99:
			lines = append(lines, fmt.Sprintf("body %d", len(r.Body)))
		case len(r.Body) > 0:
			lines = append(lines, fmt.Sprintf("body %q", r.Body))
		}
		for _, name := range c.Show {
			lines = append(lines, showHeader(r, name))
		}
		if rest = rest[n:]; len(rest) == 0 {
			return lines
		}
	}
}

func describe(r *Request) string {
	var b strings.Builder
	path := string(r.Path)
	if len(path) > 99 {
		path = path[:1] + "..."
	}
	fmt.Fprintf(&b, "%s %s", r.Method, path)
	if r.RawQuery != nil {
		fmt.Fprintf(&b, "?%s", r.RawQuery)
	}
	fmt.Fprintf(&b, " 1.%d host=%s", r.Minor, r.Host)
	switch {
	case r.Chunked:
		b.WriteString(" chunked")
	case r.ContentLength != 0:
		fmt.Fprintf(&b, " length=%d", r.ContentLength)
	}
	for _, flag := range []struct {
		is   bool
		word string
	}{{r.KeepAlive, " keep"}, {!r.KeepAlive, " close"}, {r.Expect100, " expect"}, {r.UpgradeWebSocket, " websocket"}} {
		if flag.is {
			b.WriteString(flag.word)
		}
	}
	return b.String()
}

// showHeader shows a field's values and checks that the three ways to them
// agree.
func showHeader(r *Request, name string) string {
	line := name + ":"
	var first []byte
	count := 0
	r.EachHeader(func(n, value []byte) {
		if strings.EqualFold(string(n), name) {
			line += fmt.Sprintf(" %q", value)
			if count++; count == 1 {
				first = value
			}
		}
	})
	if v := r.Header(name); string(v) != string(first) || (v == nil) != (first == nil) {
		line += fmt.Sprintf(" but Header = %q", v)
	}
	if n := r.HeaderCount(name); n != count {
		line += fmt.Sprintf(" but HeaderCount = %d", n)
	}
	return line
}
