// Package texts takes the blocks of code out of the project's texts, for the tests that
// run them.
package texts

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Block is a block of code, between two fences.
type Block struct {
	Text     string // the file
	Line     int    // of the first fence
	Language string
	// Kind and Name are those of a comment right before the block, "<!-- kind: name -->",
	// and empty without one.
	Kind, Name string
	Code       string
}

func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Text, b.Line) }

// Commands are the command lines of a block, without comments. A line that ends in a
// backslash goes on in the next one.
func (b Block) Commands() (commands []string) {
	for line := range strings.Lines(strings.ReplaceAll(b.Code, "\\\n", " ")) {
		line, _, _ = strings.Cut(line, " #")
		if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.HasPrefix(line, "#") {
			commands = append(commands, line)
		}
	}
	return commands
}

var (
	fence   = regexp.MustCompile("^(```+)(\\w*)$")
	comment = regexp.MustCompile(`^<!-- (\w+): (\S+) -->$`)
	listed  = regexp.MustCompile(`^( *[-*]|\d+\.) |^ +\S`)
)

// All are the blocks of the texts that patterns match.
func All(patterns ...string) (blocks []Block, err error) {
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			some, err := Blocks(file, string(b))
			if err != nil {
				return nil, err
			}
			blocks = append(blocks, some...)
		}
	}
	return blocks, nil
}

// Blocks are the blocks of a text. Code by indentation is an error: it has no language, so
// that nobody can tell how to try it.
func Blocks(file, text string) (blocks []Block, err error) {
	var in *Block
	var closing, before, last string // last is the last line that was not empty
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		m := fence.FindStringSubmatch(line)
		switch {
		case in != nil && line == closing:
			blocks, in, last = append(blocks, *in), nil, line
		case in != nil:
			in.Code += line + "\n"
		case m != nil:
			closing = m[1]
			in = &Block{Text: file, Line: n, Language: m[2]}
			if c := comment.FindStringSubmatch(before); c != nil {
				in.Kind, in.Name = c[1], c[2]
			}
		case strings.HasPrefix(line, "    ") && before == "" && !listed.MatchString(last):
			return nil, fmt.Errorf("%s:%d: code by indentation: %q", file, n, line)
		}
		if before = line; line != "" && in == nil {
			last = line
		}
	}
	if in != nil {
		return nil, fmt.Errorf("%v: the block has no end", *in)
	}
	return blocks, nil
}
