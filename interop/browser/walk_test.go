package browser

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sockeye-io/sockeye/internal/texts"
)

// walk is who follows docs/start.md.
type walk struct {
	t    *testing.T
	dir  string // where the shell is
	here *strings.Replacer
}

// run runs a command of the text, and returns what it prints. Only these are done in
// another way: the module is in this checkout, npm's packages are those of
// interop/contract, and the port is one that is free.
func (w *walk) run(command string) (out string, err error) {
	w.t.Helper()
	if dir, ok := strings.CutPrefix(command, "cd "); ok {
		w.dir = filepath.Join(w.dir, dir)
		return "", nil
	}
	if strings.HasPrefix(command, "npm install ") {
		return "", w.install(strings.Fields(command)[2:])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // all is compiled
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", w.here.Replace(command))
	cmd.Dir, cmd.WaitDelay = w.dir, time.Second
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func (w *walk) must(command string) string {
	w.t.Helper()
	out, err := w.run(command)
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// install has the packages that npm would install, if they are those.
func (w *walk) install(packages []string) error {
	modules, err := filepath.Abs("../contract/node_modules")
	if err != nil {
		return err
	}
	for _, name := range packages {
		name, version, _ := strings.Cut(name, "@")
		b, err := os.ReadFile(filepath.Join(modules, name, "package.json"))
		if err != nil {
			return err
		}
		if !bytes.Contains(b, []byte(`"version": "`+version)) {
			w.t.Errorf("%s is not installed as version %s", name, version)
		}
	}
	return os.Symlink(modules, filepath.Join(w.dir, "node_modules"))
}

// TestWalk does what docs/start.md says, block by block, in an empty folder; then Ann and
// Bob talk, and the metrics tell of it.
func TestWalk(t *testing.T) {
	if _, err := os.Stat("../contract/node_modules/.installed-from"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err, "(run ci/interop.sh)")
	}
	b, err := os.ReadFile("../../docs/start.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := texts.Blocks("docs/start.md", string(b))
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	w := &walk{t, t.TempDir(), strings.NewReplacer("../sockeye", root, "localhost:3000", addr)}

	lines := 0 // of Go
	url, stop := "http://"+addr+"/", func() {}
	defer func() { stop() }()
	printed := map[string]string{}
	for _, block := range blocks {
		switch {
		case block.Kind == "walk":
			if block.Language == "go" {
				lines += len(strings.FieldsFunc(block.Code, func(r rune) bool { return r == '\n' }))
			}
			if err := os.WriteFile(filepath.Join(w.dir, block.Name), []byte(w.here.Replace(block.Code)), 0o600); err != nil {
				t.Fatal(err)
			}
		case block.Language == "sh" && block.Code == "go run .\n":
			stop = w.serve(addr)
		case block.Language == "sh":
			for _, command := range block.Commands() {
				printed[command] = w.must(command)
			}
		default:
			t.Errorf("%v is no part of the walk", block)
		}
	}
	if t.Logf("%d lines of Go", lines); lines > 40 || !strings.Contains(string(b), "40 lines of Go") {
		t.Errorf("%d lines of Go, and the text promises 40", lines)
	}
	for command, want := range map[string]string{
		"curl -s localhost:3000/metrics": "sockeye_connections 0\n",
		"curl -s localhost:3000/healthz": "ok",
	} {
		if !strings.Contains(printed[command], want) {
			t.Errorf("%s has not %q:\n%s", command, want, printed[command])
		}
	}

	// What the text says of a page that is not as the contract is.
	ts := filepath.Join(w.dir, "page/chat.ts")
	written, err := os.ReadFile(ts)
	if err != nil {
		t.Fatal(err)
	}
	compile := ""
	for command := range printed {
		if strings.HasPrefix(command, "npx tsc ") {
			compile = command
		}
	}
	js, err := os.ReadFile(filepath.Join(w.dir, "page/chat.js"))
	if err != nil {
		t.Fatal(err)
	}
	const fault = "'txt' does not exist in type 'Message'"
	if err := os.WriteFile(ts, bytes.Replace(written, []byte("text: input.value"), []byte("txt: input.value"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := w.run(compile); err == nil || !strings.Contains(out, fault) || !strings.Contains(string(b), fault) {
		t.Errorf("%s: %v\n%s", compile, err, out)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "page/chat.js"), js, 0o600); err != nil { // tsc writes it all the same
		t.Fatal(err)
	}
	// And of handlers that have changed.
	other := strings.NewReplacer(`json:"text"`, `json:"words"`)
	source, err := os.ReadFile(filepath.Join(w.dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "main.go"), []byte(other.Replace(string(source))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := w.run("go test ."); err == nil || !strings.Contains(out, "contract.d.ts") {
		t.Errorf("go test: %v\n%s", err, out)
	}

	ctx := browser(t)
	bob := openTab(t, ctx, url, "Bob", `window.prompt = () => "Bob"`)
	eachLook(t, ctx, url, "walk", func(ann *tab, look func(state string), _ string) {
		const said = "document.querySelector('ul').innerText.includes"
		bob.await(`window.here = document.querySelectorAll("li").length + 1`)
		ann.do(chromedp.SendKeys("form input", "Hello <b>Bob</b>\r"))
		bob.await(`document.querySelectorAll("li").length === here && ` + said + `("Ann: Hello <b>Bob</b>")`)
		bob.do(chromedp.SendKeys("form input", "Hello Ann! That took ten minutes.\r"))
		ann.await(said + `("Bob: Hello Ann!")`)
		ann.do(chromedp.SendKeys("form input", "And 40 lines.\r"))
		ann.await(said + `("40 lines")`)
		ann.await("document.querySelector('p').textContent.endsWith('have heard it')")
		look("chat")
	})
	// Each of Ann's four windows said two things, and Bob one: to Bob, and to those of
	// Ann's that were open.
	out := w.must("curl -s localhost:3000/metrics")
	for _, want := range []string{"sockeye_broadcasts_total 12\n", "sockeye_deliveries_total 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("the metrics have not %q:\n%s", want, out)
		}
	}
}

// serve runs "go run .", and returns when the chat listens. stop ends it.
func (w *walk) serve(addr string) (stop func()) {
	w.t.Helper()
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = w.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run does not pass signals on
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has nothing to lose
		<-ended
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return stop
		}
		select {
		case <-ended:
			w.t.Fatalf("go run . has ended:\n%s", out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	stop()
	w.t.Fatal("it does not listen")
	return nil
}
