package browser

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adminui"
)

// TestStatusPage: the page shows what happens, by itself, in both themes and on a phone.
func TestStatusPage(t *testing.T) {
	rules := axe(t)
	mux := http.NewServeMux()
	srv, url := startAdmin(t, sockeye.Config{Fallback: mux}, adminui.Options{})
	mux.Handle("/ops/status", adminui.Status(srv, adminui.StatusOptions{}))
	for range 3 {
		dial(t, url)
	}
	waitFor(t, "nobody is there", func() bool { return srv.Len() == 3 })
	// Traffic that goes up and down.
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			for range 10 + int(9*math.Sin(float64(i)/40)) {
				_ = srv.Emit("tick", i) // it ends with the server
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	defer func() { close(stop); <-ended }()
	// The page's two seconds are 40 ms.
	const fast = "{ const real = setTimeout; window.setTimeout = (f, ms) => real(f, ms / 50) }\n"
	ctx := browser(t, offline)
	now := func(title string) string {
		return fmt.Sprintf("[...document.querySelectorAll('article')].find(a => a.innerText.startsWith(%q)).querySelector('.now').textContent", title)
	}
	value := func(title string) string { return "parseFloat(" + now(title) + ".replaceAll(',', ''))" }
	points := "10"
	if os.Getenv("SOCKEYE_PICTURES") != "" {
		points = "60"
	}
	for _, theme := range []string{"light", "dark"} {
		for _, s := range []size{desktop, phone} {
			name := "status-" + theme + "-" + s.name
			b := openTab(t, ctx, url+"/ops/status", name, fast+rules)
			b.show(s, theme)
			b.awaitText("health", "live and ready")
			b.await(value("Connections") + " >= 3")
			b.await("document.querySelectorAll('svg').length === 6")
			// It goes on by itself.
			b.await(value("Deliveries") + " > 10")
			b.await(value("Memory") + " > 0")
			b.await("document.querySelector('svg path.curve').getAttribute('d').split('L').length > " + points)
			b.fits()
			b.await("document.getElementById('fault').hidden")
			b.accessible(name)
			b.picture(name)
			if s == phone && theme == "dark" {
				// Closed, it says so.
				shut, cancel := context.WithCancel(context.Background())
				cancel()
				if err := srv.Shutdown(shut); err != nil && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				b.awaitText("fault", "No numbers come")
				b.accessible("without numbers")
			}
		}
	}
}

// TestStatusPolicy: nothing on the page breaks its own Content-Security-Policy.
func TestStatusPolicy(t *testing.T) {
	mux := http.NewServeMux()
	srv, url := startAdmin(t, sockeye.Config{Fallback: mux}, adminui.Options{})
	mux.Handle("/status", adminui.Status(srv, adminui.StatusOptions{}))
	ctx := browser(t, offline)
	b := openTab(t, ctx, url+"/status", "status", "window.broken = []; document.addEventListener('securitypolicyviolation', e => broken.push(e.violatedDirective + ' ' + e.blockedURI))")
	b.awaitText("health", "live and ready")
	b.await("document.querySelector('svg path.curve').getAttribute('d')")
	broken, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string]("broken"))
	if err != nil || len(broken) > 0 {
		t.Errorf("broken: %v, %v", broken, err)
	}
	// The listener works: an inline script is told of, and does not run.
	b.await("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = true'})) || broken.length > 0 && !window.evil")
}
