// Package golden runs scripts that hold what they should bring about: commands at the
// beginning of a line, each followed by the trace of what happened, two spaces in.
// -update rewrites the traces, to be reviewed as a diff.
package golden

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the scripts' traces")

// Script does one command and returns the lines of its trace.
type Script func(command string) (trace string, err error)

// Run runs each script that matches the pattern; start makes what it is run on.
func Run(t *testing.T, pattern string, start func(t *testing.T) Script) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts at %s (%v)", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { run(t, file, start(t)) })
	}
}

func run(t *testing.T, file string, do Script) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		fmt.Fprintln(&got, line)
		if line == "" || line[0] == '#' {
			continue
		}
		trace, err := do(line)
		if err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		for l := range strings.Lines(trace) {
			got.WriteString("  " + l)
		}
	}
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := strings.Split(string(text), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("%s:%d: got\n%s\nwant\n%s\nwhole trace:\n%s", file, i+1, line, strings.Join(want[min(i, len(want)-1):min(i+1, len(want))], ""), got.String())
		}
	}
}
