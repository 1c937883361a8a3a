package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/texts"
)

// TestContract is run by TestCommand, too, in a package that has no such test: this one.
func TestContract(t *testing.T) {}

// lobby is a package whose test calls contract.Test.
const lobby = "../../examples/lobby"

// TestCommand: what the command prints, writes, and finds.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	sockeye := func(args ...string) (string, string) {
		var out bytes.Buffer
		text := ""
		if err := run(append([]string{"contract"}, args...), &out); err != nil {
			text = err.Error()
		}
		return out.String(), text
	}
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	file := filepath.Join(dir, "c.json")
	if out, err := sockeye("-asyncapi", file, "-ts", filepath.Join(dir, "c.d.ts"), lobby); err != "" || strings.Count(out, "written: ") != 2 || read(file) != read(lobby+"/contract.json") || read(filepath.Join(dir, "c.d.ts")) != read(lobby+"/page/contract.d.ts") {
		t.Errorf("%q, %s", out, err)
	}
	// Flags may stand behind the package.
	if out, err := sockeye(lobby, "-asyncapi", file); err != "" || out != "up to date: "+file+"\n" {
		t.Errorf("%q, %s", out, err)
	}
	if _, err := sockeye("-h"); err != "" {
		t.Error(err)
	}
	// Peers that were built when an event was taken that is not any more.
	document := read(file)
	old := strings.ReplaceAll(document, `"name": "create"`, `"name": "make"`)
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil || old == document {
		t.Fatal(err)
	}
	if out, err := sockeye("-check", file, lobby); !strings.Contains(out, `namespace /, event "make": it has gone`) || !strings.HasSuffix(err, "1 changes break peers") {
		t.Errorf("%q, %s", out, err)
	}
	for want, args := range map[string][]string{
		"no such file":        {"-check", file + "x", lobby},
		"has no TestContract": {"."},
		"one package at":      {"../..", lobby},
		"go list ./none":      {"./none"},
		"not defined":         {"-x"},
		"unexpected end of":   {"-check", os.DevNull, lobby},
	} {
		if _, err := sockeye(args...); !strings.Contains(err, want) {
			t.Errorf("%v: %q, want %q", args, err, want)
		}
	}
	if err := run(nil, os.Stdout); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Error(err)
	}
}

// TestCommandsOfTheText: each command of docs/contracts.md does what the text says: it
// passes, and -write writes what is there already.
func TestCommandsOfTheText(t *testing.T) {
	b, err := os.ReadFile("../../docs/contracts.md")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(lobby + "/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	n, printed := 0, ""
	blocks, err := texts.Blocks("docs/contracts.md", string(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if b.Language != "sh" {
			continue
		}
		for _, line := range b.Commands() {
			command, ok := strings.CutPrefix(line, "go run ./cmd/sockeye ")
			if !ok {
				t.Errorf("%v: %q", b, line)
				continue
			}
			n++
			var out bytes.Buffer
			if err := run(strings.Fields(command), &out); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			printed += out.String()
		}
	}
	if after, err := os.ReadFile("examples/lobby/contract.json"); err != nil || string(after) != string(before) || n != 3 {
		t.Errorf("%d commands, %v", n, err)
	}
	// The first says that the files are there, the second prints, the third has nothing to say.
	ts, err := os.ReadFile("examples/lobby/page/contract.d.ts")
	if _, rest, _ := strings.Cut(printed, "// Written"); err != nil || "// Written"+rest != string(ts) || strings.Count(printed, "up to date: ") != 2 {
		t.Errorf("%v, printed:\n%s", err, printed)
	}
}
