package docs_test

import (
	"context"
	"fmt"
	"go/format"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/texts"
)

// languages are those that a block may be in, and the test that tries it.
var languages = map[string]string{
	"go":      "TestGo",
	"sh":      "TestCommands",
	"js":      "TestJavaScript",
	"ts":      "TestTypeScript",
	"python":  "TestPython",
	"yaml":    "TestYAML",
	"ini":     "TestUnits",
	"html":    "", // of a file, or of the walk
	"mermaid": "TestSite",
	"diff":    "TestReadme", // of examples/service
	"text":    "",           // words
}

// elsewhere are kinds of blocks that are more than a text: where they are run.
var elsewhere = map[string]string{
	"file": "TestCodeIsFromFiles", // and by the tests of that folder
	"walk": "TestWalk",
	"unit": "TestUnits",
}

// blocks are those of all texts, the examples' included.
func blocks(t *testing.T) (all []texts.Block) {
	t.Helper()
	all, err := texts.All("*.md", "decisions/*.md", "../*.md", "../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestBlocks: each block says in which language it is, and a test tries those.
func TestBlocks(t *testing.T) {
	known := testNames(t)
	for _, tests := range []map[string]string{languages, elsewhere} {
		for what, test := range tests {
			if test != "" && !known[test] {
				t.Errorf("there is no %s, for %s", test, what)
			}
		}
	}
	n := 0
	for _, b := range blocks(t) {
		n++
		if _, ok := languages[b.Language]; !ok {
			t.Errorf("%v: no test tries %q: add one, or choose another language", b, b.Language)
		}
		if _, ok := elsewhere[b.Kind]; b.Kind != "" && !ok {
			t.Errorf("%v: there are no blocks of the kind %q", b, b.Kind)
		}
		if b.Language == "html" && b.Kind == "" {
			t.Errorf("%v: a page needs a test that opens it: let it be of a file", b)
		}
	}
	if n < 50 {
		t.Errorf("only %d blocks", n)
	}
}

// testNames are the names of all tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, file := range tree(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tests.FindAllSubmatch(b, -1) {
			known[string(m[1])] = true
		}
	}
	return known
}

// programs are the whole programs of the texts, by the text that they are in: each is run.
var programs = map[string]func(t *testing.T, binary, addr string){
	"../README.md": tryReadme,
}

// fragment is what is around the blocks that are not whole programs: these names may be
// used, and those of the packages in imports. What a block declares need not be used.
const fragment = `func _(t *testing.T, srv *sockeye.Server, s *sockeye.Socket, ctx context.Context, mux *http.ServeMux, text string, secret []byte) {
{
%s}
}
`

// sheet is what is around the calls of emit.md.
const sheet = `func use(...any) {}

func _(s *sockeye.Socket, srv *sockeye.Server, parent *sockeye.ParentNamespace, e *sockeye.Event, ctx context.Context, id string, ids, friends []string, f func(sockeye.Args, error), all func([]sockeye.Answer, error), re *regexp.Regexp) {
%s}
`

var imports = []string{
	"context", "crypto/subtle", "errors", "expvar", "log", "log/slog", "net", "net/http", "net/netip", "os", "os/signal", "regexp", "strings", "syscall", "testing", "time",
	"github.com/sockeye-io/sockeye", "github.com/sockeye-io/sockeye/contract", "github.com/sockeye-io/sockeye/adminui",
	"sockeyeprom github.com/sockeye-io/sockeye/metrics/prometheus", "sockeyeotel github.com/sockeye-io/sockeye/otel",
	"redis github.com/redis/go-redis/v9", "sockeyeredis github.com/sockeye-io/sockeye/broadcast/redis",
	"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/promhttp",
}

// withImports is a file of declarations.
func withImports(code string) string {
	var head strings.Builder
	head.WriteString("package shown\n\nimport (\n")
	for _, name := range imports {
		short, from, ok := strings.Cut(name, " ")
		if !ok {
			short, from = path.Base(name), name
		}
		if regexp.MustCompile(`\b` + short + `\.`).MatchString(code) {
			fmt.Fprintf(&head, "\t%s %q\n", short, from)
		}
	}
	return head.String() + ")\n\n" + code
}

// TestGo: the blocks of Go are as gofmt has them, and compile: fragments, the calls of
// emit.md, and programs, which are also run. Nothing is written into the project.
func TestGo(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()

	write("go.work", fmt.Sprintf("go 1.26.0\n\nuse (\n\t.\n\t%[1]s\n\t%[1]s/adminui\n\t%[1]s/broadcast/redis\n\t%[1]s/otel\n\t%[1]s/metrics/prometheus\n)\n", root))
	write("go.mod", "module shown\n\ngo 1.26\n")
	n, fragments, found := 0, "", []string{}
	for _, b := range blocks(t) {
		if b.Language != "go" {
			continue
		}
		n++
		if formatted, err := format.Source([]byte(b.Code)); err != nil || string(formatted) != b.Code {
			t.Errorf("%v is not as gofmt has it: %v", b, err)
		}
		switch {
		case b.Kind != "":
		case strings.Contains(b.Code, "package main\n"):
			found = append(found, b.Text)
			if programs[b.Text] == nil {
				t.Errorf("%v: a program has no test that runs it", b)
			}
			write(fmt.Sprintf("program%d/main.go", len(found)-1), strings.ReplaceAll(b.Code, `":3000"`, `"`+addr+`"`))
		default:
			file, err := filepath.Abs(b.Text)
			if err != nil {
				t.Fatal(err)
			}
			fragments += fmt.Sprintf(fragment, fmt.Sprintf("//line %s:%d\n%s", file, b.Line+1, b.Code))
		}
	}
	if n < 20 || len(found) != len(programs) {
		t.Errorf("only %d blocks of Go, programs in %v", n, found)
	}
	write("fragments.go", withImports(fragments))
	write("sheet.go", withImports(fmt.Sprintf(sheet, calls(t))))
	build := func(args ...string) (out string, err error) {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(dir, "go.work"), "GOFLAGS=")
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	out, err := build("-gcflags=-e", ".")
	told := false
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "#") { // the package
			continue
		}
		if told = true; !strings.Contains(line, "declared and not used: ") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil && !told {
		t.Fatal(err, out)
	}
	if out, err := build("-o", filepath.Join(dir, "bin")+"/", "./program..."); err != nil {
		t.Fatal(err, out)
	}
	for i, text := range found {
		programs[text](t, filepath.Join(dir, "bin", fmt.Sprintf("program%d", i)), addr)
	}
}

// calls are those of the cheat sheet.
func calls(t *testing.T) (code string) {
	n := 0
	for line := range strings.Lines(allTexts(t)["emit.md"]) {
		columns := strings.Split(line, "|")
		if len(columns) < 5 {
			continue
		}
		for _, m := range codeSpan.FindAllStringSubmatch(columns[4], -1) {
			if regexp.MustCompile(`^(s|srv|parent|e)\.`).MatchString(m[1]) {
				n++
				code += "\tuse(" + m[1] + ")\n"
			}
		}
	}
	if n < 20 {
		t.Errorf("emit.md has only %d calls", n)
	}
	return code
}

// tryReadme: who has no token is refused, who has joins a room, and what is said there
// comes to everyone but who says it.
func tryReadme(t *testing.T, binary, addr string) {
	cmd := exec.Command(binary)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := client.Dial(ctx, "http://"+addr, client.Config{}); err == nil || !strings.Contains(err.Error(), "not authorized") {
		t.Errorf("without a token: %v", err)
	}
	said := make(chan string, 2)
	var people []*client.Client
	for range 2 {
		c, err := client.Dial(ctx, "http://"+addr, client.Config{Auth: map[string]string{"token": "x"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.On("say", func(e *client.Event) {
			var id, text string
			if err := e.Decode(&id, &text); err != nil {
				t.Error(err)
			}
			said <- text
		})
		var rooms []string
		if answer, err := c.Call(ctx, "join", "lobby"); err != nil || answer.Decode(&rooms) != nil || !slices.Contains(rooms, "lobby") {
			t.Errorf("join: %v, %v", rooms, err)
		}
		people = append(people, c)
	}
	if err := people[0].Emit("say", "lobby", "one"); err != nil {
		t.Fatal(err)
	}
	if err := people[1].Emit("say", "lobby", "two"); err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for range 2 {
		select {
		case text := <-said:
			got = append(got, text)
		case <-ctx.Done():
			t.Fatalf("said: %v", got)
		}
	}
	if slices.Sort(got); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("said: %v", got)
	}
}
