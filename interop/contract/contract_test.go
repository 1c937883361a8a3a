// Package contract gives the files of package contract to those who read them: the
// TypeScript compiler with socket.io-client's types, and AsyncAPI's parser.
package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// installed skips where ci/interop.sh has not installed npm's packages. There nothing may
// be skipped.
func installed(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("node_modules/.installed-from"); err != nil {
		if os.Getenv("SOCKEYE_INTEROP") != "" || os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err, "(run ci/interop.sh)")
	}
}

// tsc compiles a folder that has a copy of files, and of a tsconfig.json, under --strict.
func tsc(t *testing.T, files map[string]string) (output string, ok bool) {
	t.Helper()
	dir := t.TempDir()
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for name, from := range files {
		b := []byte(from)
		if !strings.Contains(from, "\n") { // a file's name
			if b, err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(modules, ".bin/tsc"), "--strict", "--noEmit", "--project", "tsconfig.json")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

const tsconfig = `{
  "compilerOptions": {"target": "es2022", "module": "esnext", "moduleResolution": "bundler", "lib": ["es2022", "dom"], "types": [], "strict": true, "noEmit": true},
  "files": ["use.ts", "contract.d.ts"]
}
`

// TestTypeScript: a program that uses each event as it is meant compiles, with the types of
// socket.io-client.
func TestTypeScript(t *testing.T) {
	installed(t)
	t.Parallel()
	out, ok := tsc(t, map[string]string{
		"tsconfig.json": tsconfig, "contract.d.ts": "../../contract/testdata/all.d.ts", "use.ts": "testdata/use.ts",
	})
	if !ok {
		t.Error(out)
	}
}

// TestTypeScriptRefuses: each line of wrong.ts is an error, and there are no others.
func TestTypeScriptRefuses(t *testing.T) {
	installed(t)
	t.Parallel()
	out, ok := tsc(t, map[string]string{
		"tsconfig.json": tsconfig, "contract.d.ts": "../../contract/testdata/all.d.ts", "use.ts": "testdata/wrong.ts",
	})
	if ok {
		t.Fatal("it compiles")
	}
	b, err := os.ReadFile("testdata/wrong.ts")
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]bool{}
	for _, m := range regexp.MustCompile(`use\.ts\((\d+),`).FindAllStringSubmatch(out, -1) {
		wrong[m[1]] = true
	}
	n := 0
	for i, line := range strings.Split(string(b), "\n") {
		number := strconv.Itoa(i + 1)
		if marked := strings.HasSuffix(line, "// wrong"); marked != wrong[number] {
			t.Errorf("line %s: an error: %v, marked: %v: %s", number, wrong[number], marked, line)
		} else if marked {
			n++
		}
	}
	if n < 12 || strings.Contains(out, "contract.d.ts(") {
		t.Errorf("%d lines are wrong:\n%s", n, out)
	}
}

// TestLobby: the page of the lobby example compiles as it is, and not by the contract of a
// server whose handlers have other types.
func TestLobby(t *testing.T) {
	installed(t)
	t.Parallel()
	const lobby = "../../examples/lobby/"
	files := map[string]string{
		"tsconfig.json": lobby + "tsconfig.json", "page/lobby.js": lobby + "page/lobby.js", "page/contract.d.ts": lobby + "page/contract.d.ts",
	}
	if out, ok := tsc(t, files); !ok {
		t.Error(out)
	}
	b, err := os.ReadFile(lobby + "page/contract.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	for was, is := range map[string]string{
		"create: (arg1: string,":           "create: (arg1: number,",
		"(answer: boolean) => void":        "(answer: string) => void",
		"games: (":                         "all_games: (",
		"winner: Mark | null":              "won: Mark | null",
		`Phase = "over" | "playing" | "wa`: `Phase = "over" | "paused" | "playing" | "wa`,
	} {
		files["page/contract.d.ts"] = strings.Replace(string(b), was, is, 1)
		if files["page/contract.d.ts"] == string(b) {
			t.Fatalf("%q is not in it", was)
		}
		if out, ok := tsc(t, files); ok || !strings.Contains(out, "lobby.js(") || strings.Contains(out, "contract.d.ts(") {
			t.Errorf("%s: the page compiles, or fails elsewhere: %s", is, out)
		}
	}
}

// TestAsyncAPI: the official parser takes the documents, and finds no fault.
func TestAsyncAPI(t *testing.T) {
	installed(t)
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.json")
	b, err := os.ReadFile("../../contract/testdata/all.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, []byte(strings.Replace(string(b), `"action": "send"`, `"action": "shout"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	parse := func(files ...string) (string, bool) {
		out, err := exec.Command("node", append([]string{"testdata/parse.mjs"}, files...)...).CombinedOutput()
		return string(out), err == nil
	}
	if out, ok := parse("../../contract/testdata/all.json", "../../examples/lobby/contract.json"); !ok {
		t.Error(out)
	}
	if out, ok := parse(broken); ok {
		t.Errorf("a document that is broken was accepted: %s", out)
	}
}
