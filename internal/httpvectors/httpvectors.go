// Package httpvectors loads the streams of HTTP/1.1 requests in
// netpoll/testdata/http, which feed tests, fuzz targets and benchmarks alike.
// The form of the files is told in the README beside them.
package httpvectors

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Case is one stream and what a server must make of it.
type Case struct {
	Pos   string   // file:line of its name
	Name  string   // what it is about
	Input []byte   // the stream
	Show  []string // names of the fields to show
	Want  []string // one line for each thing that comes out
}

// Load reads all files of a directory.
func Load(dir string) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("httpvectors: no files in %s", dir)
	}
	var cases []Case
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if cases, err = parse(cases, file, string(text)); err != nil {
			return nil, err
		}
	}
	return cases, nil
}

func parse(cases []Case, file, text string) ([]Case, error) {
	var c *Case
	for i, line := range strings.Split(text, "\n") {
		pos := file + ":" + strconv.Itoa(i+1)
		if line == "" {
			continue
		}
		kind, rest := line[0], strings.TrimPrefix(line[1:], " ")
		if kind == '#' {
			cases = append(cases, Case{Pos: pos, Name: rest})
			c = &cases[len(cases)-1]
			continue
		}
		if c == nil {
			return nil, fmt.Errorf("%s: no case has begun", pos)
		}
		var err error
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
		case '=':
			c.Want = append(c.Want, rest)
		default:
			err = fmt.Errorf("a line begins with %q", kind)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pos, err)
		}
	}
	return cases, nil
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
