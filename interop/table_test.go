package interop_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of clients in the README from this run")

// The rows of the README's table: the clients, by their names here, and there.
var tableRows = [][2]string{
	{"socket.io-client", "npm socket.io-client 4.8.4"},
	{"socket.io-client-3", "npm socket.io-client 3.1.3"},
	{"socket.io-client-2", "npm socket.io-client 2.5.0 (with `AllowEIO3`)"},
	{"socket.io-client-1", "npm socket.io-client 1.7.4 (with `AllowEIO3`)"},
	{"js-msgpack", "… 4.8.4 with socket.io-msgpack-parser 3.0.2"},
	{"python", "PyPI python-socketio 5.18.1, threads"},
	{"python-asyncio", "PyPI python-socketio 5.18.1, asyncio"},
	{"python-msgpack", "… with serializer='msgpack'"},
	{"java", "Maven io.socket:socket.io-client 2.1.2"},
}

// table is what the tests have found out.
type table struct {
	mu    sync.Mutex
	cells map[[2]string]bool
}

var found = table{cells: map[[2]string]bool{}}

// record notes at the end of t whether a client works in a mode.
func record(t *testing.T, client, mode string) {
	t.Cleanup(func() {
		if t.Skipped() {
			return
		}
		found.mu.Lock()
		defer found.mu.Unlock()
		key := [2]string{client, mode}
		before, seen := found.cells[key]
		found.cells[key] = !t.Failed() && (before || !seen)
	})
}

// render is the table in Markdown; ok is false if not all clients were run.
func (x *table) render() (text string, ok bool) {
	var b strings.Builder
	b.WriteString("| client | websocket | polling | polling, then upgrade |\n|---|---|---|---|\n")
	for _, row := range tableRows {
		fmt.Fprintf(&b, "| %s |", row[1])
		for _, mode := range modes {
			works, seen := x.cells[[2]string{row[0], mode}]
			if !seen {
				return "", false
			}
			b.WriteString(map[bool]string{true: " ✓ |", false: " – |"}[works])
		}
		b.WriteString("\n")
	}
	return b.String(), true
}

const (
	readme     = "../README.md"
	tableBegin = "<!-- clients: written by go test ./interop -update -->\n"
	tableEnd   = "<!-- end -->\n"
)

// checkTable compares the README's table with what this run has found, or writes
// it. A run of some tests only says nothing.
func checkTable() error {
	text, ok := found.render()
	if !ok {
		return nil
	}
	content, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(content), tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	switch {
	case !ok || !ok2:
		return fmt.Errorf("%s has no place for the table of clients: %q", readme, tableBegin)
	case old == text:
		return nil
	case !*update:
		return fmt.Errorf("the table of clients in %s is not what this run has found:\n%s", readme, text)
	}
	return os.WriteFile(readme, []byte(before+tableBegin+text+tableEnd+after), 0o644)
}
