// Package snippets gives the blocks of the texts that are not Go to the tools of their
// languages: node, the TypeScript compiler, Python, a parser of YAML, systemd.
package snippets

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/texts"
)

// of are the blocks in a language, of all texts.
func of(t *testing.T, language string) (blocks []texts.Block) {
	t.Helper()
	all, err := texts.All("../../docs/*.md", "../../docs/decisions/*.md", "../../*.md", "../../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range all {
		if block.Language == language {
			blocks = append(blocks, block)
		}
	}
	if len(blocks) == 0 {
		t.Errorf("no block is in %s", language)
	}
	return blocks
}

// write makes a file, and what is above it.
func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// installed is the path of something that ci/interop.sh has installed. There nothing may
// be skipped.
func installed(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("SOCKEYE_INTEROP") != "" || os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err, "(run ci/interop.sh)")
	}
	return path
}

// try runs a tool in a folder.
func try(t *testing.T, dir, tool string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestJavaScript: node takes each block, as a module.
func TestJavaScript(t *testing.T) {
	installed(t, "../clients/node_modules/.installed-from")
	for _, b := range of(t, "js") {
		name := filepath.Join(t.TempDir(), "block.mjs")
		write(t, name, b.Code)
		if out, err := try(t, ".", "node", "--check", name); err != nil {
			t.Errorf("%v: %v\n%s", b, err, out)
		}
	}
}

// TestTypeScript: the compiler takes each block under --strict, with the contract of the
// lobby beside it, as contracts.md says. TestWalk compiles what start.md has.
func TestTypeScript(t *testing.T) {
	modules := installed(t, "../contract/node_modules")
	declaration, err := os.ReadFile("../../examples/lobby/page/contract.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range of(t, "ts") {
		if b.Kind == "walk" {
			continue
		}
		dir := t.TempDir()
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "contract.d.ts"), string(declaration))
		compile := func(code string) (string, error) {
			write(t, filepath.Join(dir, "page.ts"), code)
			return try(t, dir, "node_modules/.bin/tsc", "--strict", "--noEmit", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "page.ts")
		}
		if out, err := compile(b.Code); err != nil {
			t.Errorf("%v: %v\n%s", b, err, out)
		}
		if out, err := compile(strings.Replace(b.Code, `"state"`, `"no such event"`, 1)); err == nil || !strings.Contains(out, "no such event") {
			t.Errorf("%v: an event that there is not is taken: %s", b, out)
		}
	}
}

// TestPython: Python takes each block.
func TestPython(t *testing.T) {
	python := installed(t, "../clients/.venv/bin/python")
	for _, b := range of(t, "python") {
		name := filepath.Join(t.TempDir(), "block.py")
		write(t, name, b.Code)
		if out, err := try(t, ".", python, "-m", "py_compile", name); err != nil {
			t.Errorf("%v: %v\n%s", b, err, out)
		}
	}
}

// TestYAML: a parser takes each block.
func TestYAML(t *testing.T) {
	parser := installed(t, "../contract/node_modules/.bin/js-yaml")
	for _, b := range of(t, "yaml") {
		name := filepath.Join(t.TempDir(), "block.yaml")
		write(t, name, b.Code)
		if out, err := try(t, ".", "node", parser, name); err != nil || !strings.Contains(out, "{") {
			t.Errorf("%v: %v\n%s", b, err, out)
		}
	}
}

// TestUnits: systemd itself, where it is, finds no fault in the units that the texts show.
func TestUnits(t *testing.T) {
	dir := t.TempDir()
	var units []string
	for _, b := range of(t, "ini") {
		if b.Kind != "unit" {
			t.Errorf("%v: which unit is it?", b)
			continue
		}
		units = append(units, b.Name)
		write(t, filepath.Join(dir, b.Name), strings.ReplaceAll(b.Code, "/usr/local/bin/chat", "/bin/true"))
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log(err)
		return
	}
	for _, fault := range []string{"", "NoDlay=true\n"} { // a mistyped line is seen
		if fault != "" {
			b, err := os.ReadFile(filepath.Join(dir, "chat.socket"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "chat.socket"), strings.Replace(string(b), "NoDelay=true\n", fault, 1))
		}
		out, _ := try(t, dir, analyze, append([]string{"verify", "--man=no"}, units...)...)
		said := ""
		for line := range strings.Lines(out) {
			for _, unit := range units { // and not of the machine's own
				if strings.Contains(line, unit) {
					said += line
				}
			}
		}
		if (fault == "") != (said == "") {
			t.Errorf("with %q: %s", fault, said)
		}
	}
}
