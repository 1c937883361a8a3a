package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	ts, err := sockeye(lobby)
	if err != "" || ts != read(lobby+"/page/contract.d.ts") {
		t.Errorf("printed %q, %s", ts, err)
	}
	file := filepath.Join(dir, "c.json")
	if out, err := sockeye("-asyncapi", file, "-ts", filepath.Join(dir, "c.d.ts"), lobby); err != "" || out != "" || read(file) != read(lobby+"/contract.json") || read(filepath.Join(dir, "c.d.ts")) != ts {
		t.Errorf("%q, %s", out, err)
	}
	if out, err := sockeye("-check", file, lobby); err != "" || out != "" {
		t.Errorf("%q, %s", out, err)
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
		"no such file":         {"-check", file + "x", lobby},
		"has no TestContract":  {"."},
		"one package at":       {"../..", lobby},
		"go list ./none":       {"./none"},
		"not defined":          {"-x"},
		"unexpected end of":    {"-check", os.DevNull, lobby},
		"not match one packag": {"./..."},
	} {
		if _, err := sockeye(args...); !strings.Contains(err, want) && want != "not match one packag" || err == "" {
			t.Errorf("%v: %q, want %q", args, err, want)
		}
	}
	if err := run(nil, os.Stdout); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Error(err)
	}
}
