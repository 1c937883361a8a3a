package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestCluster: the page of examples/cluster shows all processes and who is on them; what is
// written while one's process is killed is said once, by another; and all can read it.
func TestCluster(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	axe := axe(t)
	binary := filepath.Join(t.TempDir(), "cluster")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = "../../examples/cluster"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx := browser(t)
	url, _ := startChat(t, binary, "127.0.0.1:0", "-n", "4")
	ann, bob := openTab(t, ctx, url, "Ann", axe), openTab(t, ctx, url, "Bob", "")
	for _, b := range []*tab{ann, bob} {
		b.awaitText("summary", "2 online, on 4 processes")
		b.await("document.querySelectorAll('.process').length === 4 && document.querySelectorAll('.process.mine').length === 1")
		b.await("document.querySelectorAll('.process .avatar').length === 2")
	}
	mine := func(b *tab) int {
		t.Helper()
		pid, err := chromedp.Run(b.ctx, chromedp.Evaluate[int]("Number(document.querySelector('.process.mine').dataset.pid)"))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	for mine(bob) == mine(ann) { // who is away as Ann is does not hear her
		bob.do(chromedp.Reload())
		bob.awaitText("summary", "2 online, on 4 processes")
		bob.await("document.querySelectorAll('.process.mine').length === 1")
	}
	bob.say("hello <b>")
	ann.await("[...document.querySelectorAll('.message p')].some(p => p.textContent === 'hello <b>')")
	for _, s := range []size{desktop, phone} {
		for _, theme := range []string{"light", "dark"} {
			ann.show(s, theme)
			ann.fits()
			ann.picture("cluster-" + s.name + "-" + theme)
			ann.accessible(s.name + ", " + theme)
		}
	}
	pid := mine(ann)
	// Ann writes when she is offline, which is not for long.
	ann.await(`(new MutationObserver((_, observer) => {
		if (document.getElementById("transport").textContent !== "offline") return
		observer.disconnect()
		say.text.value = "is somebody there?"
		say.requestSubmit()
		window.written = document.querySelector(".pending") ? "pending" : "sent"
	}).observe(document.getElementById("transport"), {childList: true}), true)`)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ann.await("window.written === 'pending'")
	bob.awaitText("log", "is somebody there?")
	for _, b := range []*tab{ann, bob} {
		b.await(fmt.Sprintf("document.querySelectorAll('.process').length === 4 && !document.querySelector('[data-pid=\"%d\"]')", pid))
		b.awaitText("summary", "2 online")
		b.await("!document.querySelector('.pending') && [...document.querySelectorAll('.message p')].filter(p => p.textContent === 'is somebody there?').length === 1")
	}
}
