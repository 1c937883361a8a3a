package browser

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sockeye-io/sockeye"
)

// loadReport puts a server under load by cmd/sockeye-load, and returns its page. The server
// is slow for a while, refuses some, and lets some fall: the page has something to show.
func loadReport(t *testing.T) (url string) {
	t.Helper()
	dir := t.TempDir()
	tool := filepath.Join(dir, "sockeye-load")
	if out, err := exec.Command("go", "build", "-C", "../../cmd/sockeye-load", "-o", tool, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	srv.Use(func(s *sockeye.Socket) error {
		var auth struct{ User int }
		if err := s.Auth(&auth); err != nil || auth.User%40 == 39 {
			return &sockeye.ConnectError{Message: "no such user", Data: map[string]int{"code": 401}}
		}
		return nil
	})
	var mu sync.Mutex
	held := 0
	srv.On("price", func(_ *sockeye.Socket, e *sockeye.Event) error {
		mu.Lock()
		held++
		n := held
		mu.Unlock()
		switch {
		case n > 1000 && n < 1300:
			time.Sleep(20 * time.Millisecond)
		case n%500 == 0:
			return nil // no answer
		}
		return e.Ack(n)
	})
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "report.html")
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "-quiet", "-mode", "echo", "-event", "price", "-rate", "400", "-stages", "80@100:2s,200@100:2s,50@200:1s", "-timeout", "1s",
		"-auth", `{"user":{n}}`, "-title", "Shop, before the sale", "-fail-p99", "2s", "-fail-errors", "2", "-html", page, "http://"+addr.String())
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 { // the errors
		t.Fatalf("%v\n%s", err, out)
	}
	return "file://" + page
}

// TestLoadReport: the page of the load tool is read in both themes and on a phone; it runs
// nothing, and asks nobody. See eachLook.
func TestLoadReport(t *testing.T) {
	url := loadReport(t)
	ctx := browser(t)
	eachLook(t, ctx, url, "load", func(b *tab, look func(state string), title string) {
		b.awaitText("latency-title", "Latency of answers")
		b.await("document.querySelectorAll('main svg[role=img]').length === 5")
		b.await("[...document.querySelectorAll('svg path.curve')].every(p => p.getTotalLength() > 0)")
		b.await("document.querySelectorAll('.bars rect').length > 3")
		for _, text := range []string{"Shop, before the sale", "no such user", "no answer in 1s", "1 of 2 thresholds", "corrected for coordinated omission", "(given)"} {
			b.await(fmt.Sprintf("document.body.innerText.includes(%q)", text))
		}
		// Labels of plots are inside the page's cards, and none is over another.
		faults, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll(".x, .y")].flatMap(axis => {
			const card = axis.closest("section").getBoundingClientRect(), all = [...axis.children].map(e => [e.textContent, e.getBoundingClientRect()])
			return all.flatMap(([name, a], i) => [
				...a.left < card.left || a.right > card.right ? [name + " leaves its card"] : [],
				...all.slice(i + 1).filter(([, b]) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom).map(([other]) => name + " is over " + other),
			])
		})`))
		if err != nil || len(faults) > 0 {
			t.Errorf("%v, %v", faults, err)
		}
		look("report")
		if b.await("(document.querySelector('#throughput-title').scrollIntoView(), true)"); strings.HasSuffix(title, desktop.name) {
			b.picture("load-" + strings.Fields(title)[0] + "-desktop-plots")
		}
		b.do(chromedp.Click("#options summary"))
		b.await("document.querySelector('details').open")
		b.awaitText("options", "-max-message")
		b.accessible("all options")
	})
}

// TestLoadReportAsksNobody: it is one file, for a place without a network.
func TestLoadReportAsksNobody(t *testing.T) {
	url := loadReport(t)
	ctx := browser(t)
	b := openTab(t, ctx, "about:blank", "", "window.broken = []; document.addEventListener('securitypolicyviolation', e => broken.push(e.violatedDirective + ' ' + e.blockedURI))")
	b.do(chromedp.Navigate(url))
	b.await("document.readyState === 'complete' && broken.length === 0 && document.scripts.length === 0")
	b.await("performance.getEntriesByType('resource').length === 0")
}
