// Package vectors loads the codecs' test vectors, which feed tests, fuzz targets and
// benchmarks alike. They are text files in the testdata folders of the codecs; the
// form of each is told in the README beside it.
package vectors

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Case is one stream and what a reader must make of it.
type Case struct {
	Pos   string   // file:line of its name
	Name  string   // what it is about
	Input []byte   // the stream
	Want  []string // one line for each thing that comes out
	Show  []string // HTTP: names of the fields to show
	Max   int      // WebSocket: the limit of a message in bytes
}

// Form reads a line of a case that begins with kind.
type Form func(c *Case, kind byte, rest string) error

// Load reads the cases of all files of a folder. A line "# name" begins a case, a
// line "= text" is something that must come out; the others are the form's.
func Load(t testing.TB, dir string, form Form) (cases []Case) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s (%v)", dir, err)
	}
	for _, file := range files {
		var c *Case
		lines(t, file, func(pos, line string) error {
			kind, rest := line[0], strings.TrimPrefix(line[1:], " ")
			switch {
			case kind == '#':
				cases = append(cases, Case{Pos: pos, Name: rest, Max: DefaultMax})
				c = &cases[len(cases)-1]
				return nil
			case c == nil:
				return fmt.Errorf("no case has begun")
			case kind == '=':
				c.Want = append(c.Want, rest)
				return nil
			}
			return form(c, kind, rest)
		})
	}
	return cases
}

// Lines calls f with each line of a file that is neither empty nor a comment.
func Lines(t testing.TB, file string, f func(line string)) {
	t.Helper()
	n := 0
	lines(t, file, func(_, line string) error {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			f(line)
			n++
		}
		return nil
	})
	if n == 0 {
		t.Fatal("no vectors in ", file)
	}
}

func lines(t testing.TB, file string, f func(pos, line string) error) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" {
			continue
		}
		pos := file + ":" + strconv.Itoa(i+1)
		if err := f(pos, line); err != nil {
			t.Fatalf("%s: %v", pos, err)
		}
	}
}
