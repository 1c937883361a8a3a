// Package browser drives the examples' pages in headless Chromium.
package browser

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// limit is how long a test waits for what must come.
const limit = 20 * time.Second

// axe is the text of axe-core, which ci/clients.sh installs.
func axe(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../clients/node_modules/axe-core/axe.min.js")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("axe-core is not installed: ci/clients.sh does that")
	}
	return string(b)
}

// chromium finds the browser. A machine without one skips, but CI may not.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium is installed")
	}
	t.Skip("no Chromium is installed")
	return ""
}

// buildChat builds the example once for all tests.
func buildChat(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "chat")
	build := exec.Command("go", "build", "-o", binary, "./examples/chat")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// startChat runs the example and returns its address; stop ends it.
func startChat(t *testing.T, binary, addr string, args ...string) (url string, stop func()) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"-addr", addr}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = regexp.MustCompile(`http://\S+/`).FindString(line)
	if url == "" {
		t.Fatalf("no address in %q", line)
	}
	return url, stop
}

// browser starts Chromium, with more options if there are any.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true))
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is one page of the chat.
type tab struct {
	t    *testing.T
	name string
	ctx  context.Context
	size size // by show
}

// openTab opens the chat in a tab of its own; script runs before the page's.
func openTab(t *testing.T, browser context.Context, url, name, script string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	if script != "" {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		if err != nil {
			t.Fatal(err)
		}
	}
	b := &tab{t: t, name: name, ctx: ctx}
	b.do(chromedp.Navigate(url + "?name=" + name))
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", b.name, err)
	}
}

// await waits until an expression of the page is true.
func (b *tab) await(expression string) {
	b.t.Helper()
	if ok, err := b.within(limit, expression); !ok {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		b.t.Fatalf("%s: %s did not come true: %v\nthe page says:\n%s", b.name, expression, err, text)
	}
}

// within tells whether an expression of the page is true in time.
func (b *tab) within(d time.Duration, expression string) (ok bool, err error) {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, limit)
		// An error may mean that the page is just being loaded.
		ok, err = chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		cancel()
		if err == nil && ok {
			return true, nil
		}
	}
	return false, err
}

func (b *tab) awaitText(id, text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("document.getElementById(%q).textContent.includes(%q)", id, text))
}

func (b *tab) say(text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys("#say input", text+"\r"))
}

// write says a long text at once.
func (b *tab) write(text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("(say.text.value = %q, say.requestSubmit(), true)", text))
}

func TestChat(t *testing.T) {
	binary := buildChat(t)
	ctx := browser(t)
	for _, c := range []struct{ name, script, badge string }{
		{"websocket", "", "websocket"},
		{"polling", "delete window.WebSocket", "polling"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, _ := startChat(t, binary, "127.0.0.1:0")
			ann := openTab(t, ctx, url, "Ann", c.script)
			ann.awaitText("transport", c.badge)
			ann.awaitText("room", "lobby")
			bob := openTab(t, ctx, url, "Bob", c.script)
			bob.awaitText("transport", c.badge)
			bob.awaitText("room", "lobby")
			for _, b := range []*tab{ann, bob} {
				b.awaitText("online", "2 online")
				b.awaitText("here", "2")
				b.awaitText("people", "Ann")
				b.awaitText("people", "Bob")
			}
			// Two tabs talking; what they write is text and nothing else.
			ann.say("hello <b>Bob</b>")
			for _, b := range []*tab{ann, bob} {
				b.awaitText("log", "hello <b>Bob</b>")
			}
			bob.say("hi Ann, é😀")
			for _, b := range []*tab{ann, bob} {
				b.awaitText("log", "hi Ann, é😀")
			}
			ann.await("document.querySelector('.own p').textContent === 'hello <b>Bob</b>'")
			// Who is typing.
			bob.do(chromedp.SendKeys("#say input", "w"))
			ann.awaitText("typing", "Bob is typing")
			bob.say("ell")
			ann.awaitText("log", "well")
			ann.await("document.getElementById('typing').textContent === ''")
			// Rooms.
			bob.do(chromedp.SendKeys("#new-room input", "kitchen\r"))
			bob.awaitText("room", "kitchen")
			ann.awaitText("rooms", "kitchen")
			ann.awaitText("here", "1")
			ann.say("only the lobby")
			ann.awaitText("log", "only the lobby")
			bob.say("only the kitchen")
			bob.awaitText("log", "only the kitchen")
			ann.do(chromedp.Click(`button[data-room="kitchen"]`))
			ann.awaitText("room", "kitchen")
			ann.awaitText("here", "2")
			bob.say("welcome")
			ann.awaitText("log", "welcome")
			ann.await("!document.getElementById('log').textContent.includes('only the kitchen')")
			bob.await("!document.getElementById('log').textContent.includes('only the lobby')")
			// Acknowledgements are measured.
			ann.awaitText("latency", "ms")
		})
	}
}

// TestDoor: a name of spaces is none.
func TestDoor(t *testing.T) {
	url, _ := startChat(t, buildChat(t), "127.0.0.1:0")
	b := openTab(t, browser(t), url, "%20", "")
	b.await("hello.open")
	b.do(chromedp.SetValue("#hello input", "  "), chromedp.SendKeys("#hello input", "\r"))
	b.await("hello.open")
	b.do(chromedp.SetValue("#hello input", " Ann "), chromedp.SendKeys("#hello input", "\r"))
	b.awaitText("people", "Ann (you)")
}

// TestChatReconnects: the server is restarted on its port; the pages come back
// by themselves, into their rooms.
func TestChatReconnects(t *testing.T) {
	binary := buildChat(t)
	ctx := browser(t)
	url, stop := startChat(t, binary, "127.0.0.1:0")
	addr := url[len("http://") : len(url)-1]
	ann, bob := openTab(t, ctx, url, "Ann", ""), openTab(t, ctx, url, "Bob", "")
	ann.awaitText("transport", "websocket")
	bob.awaitText("transport", "websocket")
	for _, b := range []*tab{ann, bob} {
		b.awaitText("room", "lobby")
		b.do(chromedp.SendKeys("#new-room input", "kitchen\r"))
		b.awaitText("room", "kitchen")
	}
	stop()
	ann.awaitText("banner", "Reconnecting")
	ann.awaitText("transport", "offline")
	bob.awaitText("transport", "offline")
	_, _ = startChat(t, binary, addr)
	for _, b := range []*tab{ann, bob} {
		b.awaitText("transport", "websocket")
		b.await("document.getElementById('banner').hidden")
		b.awaitText("here", "2")
	}
	ann.say("back again")
	bob.awaitText("log", "back again")
}

// TestForeignPage: a page of another origin can neither connect nor read, by either
// transport, unless the server is told that it may.
func TestForeignPage(t *testing.T) {
	binary := buildChat(t)
	ctx := browser(t)
	page, _ := startChat(t, binary, "127.0.0.1:0")
	closed, _ := startChat(t, binary, "127.0.0.1:0")
	open, _ := startChat(t, binary, "127.0.0.1:0", "-origin", page[:len(page)-1])
	ann := openTab(t, ctx, page, "Ann", "")
	ann.awaitText("transport", "websocket")
	for name, c := range map[string]struct{ url, want string }{"its own": {page, "in"}, "another": {closed, "out"}, "one that allows it": {open, "in"}} {
		for transport, try := range map[string]string{
			"websocket": `(() => {
				const s = new WebSocket(%q.replace("http", "ws") + "socket.io/?EIO=4&transport=websocket")
				s.onmessage = () => { window.result = "in"; s.close() }
				s.onerror = () => { window.result = "out" }
			})()`,
			"polling": `fetch(%q + "socket.io/?EIO=4&transport=polling").then(async r => { await r.text(); window.result = "in" }, () => { window.result = "out" })`,
			// With a header that is not simple the browser asks first.
			"preflight": `fetch(%q + "socket.io/?EIO=4&transport=polling", {headers: {"X-Tenant": "a"}}).then(async r => { await r.text(); window.result = "in" }, () => { window.result = "out" })`,
		} {
			ann.await("delete window.result")
			ann.await("(" + fmt.Sprintf(try, c.url) + ", true)")
			ann.await("window.result")
			ann.await(fmt.Sprintf("window.result === %q || console.error(%q)", c.want, name+" "+transport))
		}
	}
	// A page in a sandbox has no origin of its own.
	ann.await(`(() => {
		const f = document.createElement("iframe")
		f.sandbox = "allow-scripts"
		f.srcdoc = "<script>const s = new WebSocket('" + location.origin.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket'); s.onopen = () => parent.postMessage('in', '*'); s.onerror = () => parent.postMessage('out', '*')</" + "script>"
		delete window.result
		window.onmessage = e => { window.result = e.data }
		document.body.append(f)
		return true
	})()`)
	ann.await("window.result === 'out'")
}
