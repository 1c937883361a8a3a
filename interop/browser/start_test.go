package browser

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestStart: the page of docs/three-chats.md talks to each of its three servers, as they are
// written there.
func TestStart(t *testing.T) {
	clients, err := filepath.Abs("../clients")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/start")); err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(filepath.Join(clients, "node_modules/socket.io-client/dist/socket.io.min.js"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err, "(run ci/clients.sh)")
	}
	if err := os.WriteFile(filepath.Join(dir, "public/socket.io.min.js"), bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(clients, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "start")
	build := exec.Command("go", "build", "-o", binary, "./examples/start")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx := browser(t)
	for name, command := range map[string][]string{
		"Flask":   {filepath.Join(clients, ".venv/bin/python"), "app.py"},
		"Node":    {"node", "server.js"},
		"Sockeye": {binary},
	} {
		t.Run(name, func(t *testing.T) {
			url := runIn(t, dir, command)
			nobody := openTab(t, ctx, url, "", `window.prompt = () => ""`)
			nobody.awaitText("said", "what is your name?")
			ann := openTab(t, ctx, url, "ann", `window.prompt = () => "ann"`)
			ann.awaitText("said", "1 here")
			bob := openTab(t, ctx, url, "bob", `window.prompt = () => "bob"`)
			bob.awaitText("said", "2 here")
			ann.do(chromedp.SendKeys("#text", "hello <b>\r"))
			for _, b := range []*tab{ann, bob} {
				b.awaitText("said", "ann: hello <b>")
			}
		})
	}
}

// runIn runs a server in a folder, which is told its port by the environment.
func runIn(t *testing.T, dir string, command []string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = l.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PORT="+port)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it has nothing to lose
		<-ended
		if t.Failed() {
			t.Log(out.String())
		}
	})
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return "http://" + addr + "/"
		}
		select {
		case <-ended:
			t.Fatal("it has ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("it does not listen")
	return ""
}
