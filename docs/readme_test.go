package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?s)\n```go\n(.*?)\n```\n")

// TestReadmeCompiles: the programs of the README are programs.
func TestReadmeCompiles(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := goBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 2 {
		t.Errorf("%d programs", len(blocks))
	}
	for _, b := range blocks {
		code := b[1]
		if !strings.Contains(code, "package main") {
			code = "package main\n\nimport (\n\t\"log\"\n\n\t\"github.com/sockeye-io/sockeye\"\n)\n\nfunc main() {\n" + code + "\n}\n"
		}
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, code)
		}
	}
}
