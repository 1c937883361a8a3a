package interop_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// httpCase is a case of testdata/http11.txt, where the format is explained.
type httpCase struct {
	name, section string
	fallbackOnly  bool     // not for Socket.IO's path
	sends         []string // escapes are resolved, placeholders are not
	pass, warn    []outcome
	exceptions    map[string]exception // by target
}

// exception is an outcome that one target has for a reason.
type exception struct {
	outcome outcome
	reason  string
}

// outcome is what may be seen on a connection.
type outcome struct {
	statuses []string // patterns, of one answer each
	end      string   // "open", "closed", or "" for both
	wants    []want   // of the last answer
	text     string
}

// want is something the last answer must have.
type want struct{ kind, value string }

// readHTTPCases reads the table of cases.
func readHTTPCases(name string) ([]*httpCase, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var cases []*httpCase
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			id, section, ok := strings.Cut(line[1:], "] ")
			if !ok {
				return nil, fmt.Errorf("%s:%d: a case is [name] section", name, i+1)
			}
			c := &httpCase{name: id, exceptions: map[string]exception{}}
			c.section, _, c.fallbackOnly = strings.Cut(section, ", fallback")
			cases = append(cases, c)
			continue
		}
		if len(cases) == 0 {
			return nil, fmt.Errorf("%s:%d: no case begins before", name, i+1)
		}
		if err := cases[len(cases)-1].parse(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	return cases, nil
}

// parse adds a line to a case.
func (c *httpCase) parse(line string) (err error) {
	text := strings.TrimPrefix(line[1:], " ")
	switch line[0] {
	case '>':
		if text, err = strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`); err != nil {
			return fmt.Errorf("the escapes are not Go's: %w", err)
		}
		c.sends = append(c.sends, text)
	case '=':
		c.pass, err = parseOutcomes(text)
	case '~':
		c.warn, err = parseOutcomes(text)
	case '!':
		parts := strings.SplitN(text, ": ", 3)
		if len(parts) != 3 || !slices.Contains(sockeyeTargets, parts[0]) {
			return fmt.Errorf("an exception is target: outcome: reason")
		}
		outcomes, err := parseOutcomes(parts[1])
		if err != nil {
			return err
		}
		c.exceptions[parts[0]] = exception{outcomes[0], parts[2]}
	default:
		return fmt.Errorf("a line begins with >, =, ~ or !")
	}
	return err
}

func parseOutcomes(text string) ([]outcome, error) {
	var all []outcome
	for _, alternative := range strings.Split(text, " | ") {
		o := outcome{text: alternative}
		for _, word := range strings.Fields(alternative) {
			kind, value, _ := strings.Cut(word, "=")
			switch kind {
			case "open", "closed":
				o.end = kind
			case "none":
			case "has", "no", "echo", "empty", "date":
				o.wants = append(o.wants, want{kind, value})
			case "with", "without":
				value, err := strconv.Unquote(value)
				if err != nil {
					return nil, fmt.Errorf("%s is not quoted: %w", word, err)
				}
				o.wants = append(o.wants, want{kind, value})
			default:
				if !validStatusPattern(word) {
					return nil, fmt.Errorf("%q is no part of an outcome", word)
				}
				o.statuses = append(o.statuses, word)
			}
		}
		all = append(all, o)
	}
	return all, nil
}

// validStatusPattern tells whether word is 404, 2xx, any, !101 or some of these
// with slashes between.
func validStatusPattern(word string) bool {
	for _, p := range strings.Split(strings.TrimPrefix(word, "!"), "/") {
		if p != "any" && (len(p) != 3 || p[0] < '1' || p[0] > '5' || strings.Trim(p[1:], "0123456789x") != "") {
			return false
		}
	}
	return true
}

// matchStatus tells whether a status is in a pattern.
func matchStatus(pattern string, status int) bool {
	pattern, not := strings.CutPrefix(pattern, "!")
	in := false
	for _, p := range strings.Split(pattern, "/") {
		code := strconv.Itoa(status)
		in = in || p == code || p == "any" && status >= 200 || strings.HasSuffix(p, "xx") && p[0] == code[0]
	}
	return in != not
}

// matches tells whether what was seen is this outcome; content is what has been
// sent, and comes back.
func (o *outcome) matches(seen *observation, content string) bool {
	if len(o.statuses) != len(seen.answers) || o.end != "" && o.end != seen.end {
		return false
	}
	for i, pattern := range o.statuses {
		if !matchStatus(pattern, seen.answers[i].status) {
			return false
		}
	}
	for _, w := range o.wants {
		if len(seen.answers) == 0 || !seen.answers[len(seen.answers)-1].has(w, content) {
			return false
		}
	}
	return true
}

// The placeholders of what is sent.
type placeholders struct {
	get, post string // targets
	five      string // content of five bytes
}

// expand resolves the placeholders of what a case sends.
func (p *placeholders) expand(text string) ([]byte, error) {
	text = strings.NewReplacer("{get}", p.get, "{post}", p.post, "{5}", p.five).Replace(text)
	var out bytes.Buffer
	for {
		before, rest, ok := strings.Cut(text, "{")
		out.WriteString(before)
		if !ok {
			break
		}
		inside, after, ok := strings.Cut(rest, "}")
		if !ok {
			return nil, fmt.Errorf("a placeholder has no end: %.40q", rest)
		}
		switch i := strings.LastIndexByte(inside, '*'); {
		case inside == "n":
			out.WriteString("{n}") // once the length is known
		case strings.HasPrefix(inside, "chunk:"):
			data := inside[len("chunk:"):]
			fmt.Fprintf(&out, "%x\r\n%s\r\n", len(data), data)
		case i >= 0:
			n, err := strconv.Atoi(inside[i+1:])
			if err != nil {
				return nil, fmt.Errorf("%.40q is no repetition: %w", inside, err)
			}
			for j := range n {
				out.WriteString(strings.ReplaceAll(inside[:i], "#", strconv.Itoa(j)))
			}
		default:
			return nil, fmt.Errorf("unknown placeholder %.40q", inside)
		}
		text = after
	}
	_, content, _ := bytes.Cut(out.Bytes(), []byte("\r\n\r\n"))
	return bytes.ReplaceAll(out.Bytes(), []byte("{n}"), strconv.AppendInt(nil, int64(len(content)), 10)), nil
}
