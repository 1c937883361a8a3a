package interop_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The servers that the cases are sent to. net/http is the yardstick.
const yardstick = "net/http"

var sockeyeTargets = []string{"fallback", "socket.io"}

// What is waited for, at most: an answer, or the end of a connection that was
// announced; and where silence is an outcome, that there is none. The latter
// can only make a fault go unseen, not a case fail.
const (
	answerTime = 5 * time.Second
	silentTime = 400 * time.Millisecond
)

// Requests up to this length are also sent byte by byte, and those that are to be
// refused also in two parts, cut at each byte.
const maxCut = 400

// TestHTTP11 sends the cases of two public suites for HTTP/1.1 to net/http, to
// Sockeye's Fallback and to its own path. Nothing may be worse than at net/http:
// what passes there must pass, and what is tolerated there must not fail. It runs
// in make conformance.
func TestHTTP11(t *testing.T) {
	if os.Getenv("SOCKEYE_CONFORMANCE") == "" {
		t.Skip("the HTTP/1.1 cases are run by make conformance")
	}
	cases, err := readHTTPCases("testdata/http11.txt")
	if err != nil {
		t.Fatal(err)
	}
	plain := start(t, "httpserver", "-nethttp")
	engine := start(t, "httpserver")
	targets := []*httpTarget{
		{name: yardstick, addr: plain.addr},
		{name: "fallback", addr: engine.addr},
		{name: "socket.io", addr: engine.addr, sessions: true},
	}
	rows := make([][]string, len(cases))
	counts := map[string]int{}
	var mu sync.Mutex // guards counts
	t.Run("cases", func(t *testing.T) {
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				rows[i] = c.run(t, targets)
				mu.Lock()
				defer mu.Unlock()
				for j, cell := range rows[i][1:] {
					verdict, _, _ := strings.Cut(cell, " ")
					counts[targets[j].name+" "+verdict]++
				}
			})
		}
	})
	var table strings.Builder
	fmt.Fprintf(&table, "%-52s %-30s %-30s %s\n", "case", yardstick, "fallback", "socket.io")
	for _, row := range rows {
		fmt.Fprintf(&table, "%-52s %-30s %-30s %s\n", row[0], row[1], row[2], row[3])
	}
	t.Logf("%d cases: %v\n%s", len(cases), counts, table.String())
	plain.stop(t, 0)
	engine.stop(t, 0)
}

// run sends a case to all targets and returns its row of the table.
func (c *httpCase) run(t *testing.T, targets []*httpTarget) []string {
	row := []string{c.name}
	bar := 0 // what net/http reaches
	for _, target := range targets {
		if c.fallbackOnly && target.sessions {
			row = append(row, "-")
			continue
		}
		sends, five := c.fill(t, target)
		seen := target.observe(c, sends, whole)
		verdict := c.judge(seen, five, target.sessions)
		row = append(row, fmt.Sprintf("%s %s", verdictNames[verdict], seen))
		if target.name == yardstick {
			bar = verdict
			continue
		}
		x, excepted := c.exceptions[target.name]
		switch {
		case excepted && verdict >= bar:
			t.Errorf("%s: the exception for %q is not needed: %s passes", target.name, x.outcome.text, seen)
		case excepted && !x.outcome.matches(seen, five):
			t.Errorf("%s: %s, want %s, which is the exception", target.name, seen, x.outcome.text)
		case verdict < bar && !excepted:
			t.Errorf("%s: %s, which is %s, and net/http has %s (%s)", target.name, seen, verdictNames[verdict], row[1], c.section)
		}
		c.cut(t, target, sends, seen, verdict)
	}
	return row
}

// cut sends a case in parts: its verdict may not be worse for how it arrives.
func (c *httpCase) cut(t *testing.T, target *httpTarget, sends [][]byte, atOnce *observation, verdict int) {
	if len(sends[0]) > maxCut {
		return
	}
	check := func(sends [][]byte, five string, at int) bool {
		got := target.observe(c, sends, at)
		if got.final() == atOnce.final() || c.judge(got, five, target.sessions) >= max(verdict, 1) {
			return true
		}
		t.Errorf("%s, cut after %d bytes (-1: after each): %s, and at once %s", target.name, at, got, atOnce)
		return false
	}
	sends, five := c.fill(t, target) // another session
	check(sends, five, eachByte)
	if atOnce.end != "closed" || target.sessions && strings.Contains(c.sends[0], "{post}") {
		return
	}
	for at := 1; at < len(sends[0]); at++ {
		if !check(sends, five, at) {
			return
		}
	}
}

// fill opens a session if the target needs one, and returns what the case sends
// and the content of five bytes in it.
func (c *httpCase) fill(t *testing.T, target *httpTarget) (sends [][]byte, five string) {
	fill, err := target.placeholders()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range c.sends {
		b, err := fill.expand(text)
		if err != nil {
			t.Fatal(err)
		}
		sends = append(sends, b)
	}
	return sends, fill.five
}

var verdictNames = []string{"FAIL", "warn", "pass"}

// judge returns the index of a verdict.
func (c *httpCase) judge(seen *observation, five string, session bool) int {
	content := five
	if session {
		content = "ok"
	}
	for i, outcomes := range [][]outcome{c.pass, c.warn} {
		for _, o := range outcomes {
			if o.matches(seen, content) {
				return 2 - i
			}
		}
	}
	return 0
}

// httpTarget is a server that cases are sent to.
type httpTarget struct {
	name, addr string
	sessions   bool // Socket.IO's path: a POST needs a session
}

// placeholders opens a session if one is needed. The five bytes are then a packet
// that joins a namespace, which is refused, and may be sent again.
func (x *httpTarget) placeholders() (*placeholders, error) {
	if !x.sessions {
		return &placeholders{get: "/?a", post: "/?a", five: "hello"}, nil
	}
	get := "/socket.io/?EIO=4&transport=polling"
	resp, err := http.Get("http://" + x.addr + get)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(body), `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	if !ok {
		return nil, fmt.Errorf("no handshake: %q", body)
	}
	return &placeholders{get: get, post: get + "&sid=" + sid, five: "40/a,"}, nil
}

// observation is what was seen on a connection.
type observation struct {
	answers []answer
	end     string // "open" or "closed"
	junk    string // what is no answer
}

// answer is one response.
type answer struct {
	status int
	header http.Header
	body   string
}

// String is the statuses and the end.
func (o *observation) String() string {
	var b strings.Builder
	for _, a := range o.answers {
		fmt.Fprintf(&b, "%d ", a.status)
	}
	if len(o.answers) == 0 {
		b.WriteString("none ")
	}
	b.WriteString(o.end)
	if o.junk != "" {
		fmt.Fprintf(&b, " junk %.20q", o.junk)
	}
	return b.String()
}

// final is String without the interim answers: whether 100 is sent may depend on
// how a request arrives (RFC 9110 section 10.1.1).
func (o *observation) final() string {
	answers := slices.DeleteFunc(slices.Clone(o.answers), func(a answer) bool { return a.status < 200 })
	return (&observation{answers: answers, end: o.end, junk: o.junk}).String()
}

// has tells whether an answer has what an outcome wants.
func (a *answer) has(w want, content string) bool {
	switch w.kind {
	case "has":
		return len(a.header.Values(w.value)) > 0
	case "no":
		return len(a.header.Values(w.value)) == 0
	case "with":
		return strings.Contains(a.body, w.value)
	case "without":
		return !strings.Contains(a.body, w.value)
	case "echo":
		return a.body == content
	case "empty":
		return a.body == ""
	case "date":
		_, err := time.Parse(http.TimeFormat, a.header.Get("Date"))
		return err == nil
	}
	return false
}

// How sends are cut; any other number is where the first one is cut in two.
const (
	whole    = 0
	eachByte = -1
)

// observe sends a case over a connection of its own, and reads what comes.
func (x *httpTarget) observe(c *httpCase, sends [][]byte, cut int) *observation {
	seen := &observation{end: "open"}
	conn, err := net.Dial("tcp", x.addr)
	if err != nil {
		seen.junk = err.Error()
		return seen
	}
	defer conn.Close()
	// The port is to be free at once: there are very many connections.
	_ = conn.(*net.TCPConn).SetLinger(0)
	r := bufio.NewReader(conn)
	for i, b := range sends {
		// A server may answer and close before it has read all.
		written := make(chan struct{})
		go func() {
			defer close(written)
			for _, part := range parts(b, cut, i == 0) {
				if _, err := conn.Write(part); err != nil {
					return
				}
			}
		}()
		method, _, _ := strings.Cut(string(b[:min(len(b), 10)]), " ")
		seen.read(conn, r, method, c.maySay("none", "open"))
		if seen.end == "closed" {
			_ = conn.Close()
		}
		<-written
		if seen.end == "closed" || seen.junk != "" {
			break
		}
	}
	return seen
}

// parts cuts what is sent.
func parts(b []byte, cut int, first bool) [][]byte {
	switch {
	case cut == eachByte:
		var all [][]byte
		for i := range b {
			all = append(all, b[i:i+1])
		}
		return all
	case cut == whole || !first:
		return [][]byte{b}
	}
	return [][]byte{b[:cut], b[cut:]}
}

// maySay tells whether an outcome has this text.
func (c *httpCase) maySay(words ...string) bool {
	text := strings.Join(words, " ")
	for _, outcomes := range [][]outcome{c.pass, c.warn} {
		for _, o := range outcomes {
			if o.text == text {
				return true
			}
		}
	}
	return false
}

// read reads answers until the connection ends or is silent.
func (o *observation) read(conn net.Conn, r *bufio.Reader, method string, maybeNone bool) {
	wait := answerTime
	if maybeNone {
		wait = silentTime
	}
	for {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		head, err := r.Peek(5)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && len(head) == 0:
			return
		case err != nil && len(head) == 0: // its end, or a reset
			o.end = "closed"
			return
		case !bytes.Equal(head, []byte("HTTP/")):
			o.junk = string(head)
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(answerTime))
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			o.junk = "a malformed head"
			return
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			o.junk = "a malformed body"
			return
		}
		o.answers = append(o.answers, answer{resp.StatusCode, resp.Header, string(body)})
		wait = silentTime
		if resp.Close {
			wait = answerTime // the end was announced
		}
		if resp.StatusCode >= 200 {
			method = http.MethodGet // further ones are to requests that came along
		}
	}
}
