package browser

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// buildSite builds docs/ as a site, and returns its folder. It installs nothing.
func buildSite(t *testing.T) (dir string) {
	t.Helper()
	for _, file := range []string{".venv", "node_modules"} {
		if _, err := os.Stat("../../ci/docs/" + file + "/.installed-from"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err, "(run ci/docs.sh)")
		}
	}
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../../ci/docs.sh")
	cmd.Env, cmd.WaitDelay = append(os.Environ(), "SITE="+dir), time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

var (
	// loaded is what a page or a style sheet has a browser load. Links to other hosts are a reader's to follow.
	loaded  = regexp.MustCompile(`(?i)<(?:script|img|iframe|source|video|audio|embed|object|link)\b[^>]*?\s(?:src|srcset|href|data)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)`)
	foreign = regexp.MustCompile(`^(?:[a-z]+:)?//`)
)

// TestSite: the site names no file of another host; its pages load none, either. They are
// readable in light and dark, on a desktop and on a phone, and its search finds what is
// looked for, from a server and without one.
func TestSite(t *testing.T) {
	dir := buildSite(t)
	pages, assets := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(path)
		if err != nil || d.IsDir() || ext != ".html" && ext != ".css" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if ext == ".html" {
			pages++
		}
		for _, m := range loaded.FindAllSubmatch(b, -1) {
			assets++
			if name := string(m[1]) + string(m[2]) + string(m[3]); foreign.MatchString(name) {
				t.Errorf("%s loads %s", path, name)
			}
		}
		return nil
	})
	if err != nil || pages < 40 || assets < 200 {
		t.Fatalf("%d pages load %d files: %v", pages, assets, err)
	}

	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	ctx := browser(t, offline)
	const own = `performance.getEntriesByType("resource").every(r => r.name.startsWith(location.origin) || r.name.startsWith("file:") || r.name.startsWith("data:") || r.name.startsWith("blob:"))`
	search := func(b *tab) {
		t.Helper()
		b.await(`window.document$ !== undefined`) // its script runs
		b.await(`(document.querySelector("label.md-header__button[for=__search]").offsetParent && document.querySelector("label.md-header__button[for=__search]").click(), document.querySelector("input.md-search__input").focus(), true)`)
		b.do(chromedp.SendKeys("input.md-search__input", "rooms"))
		b.await(`document.querySelectorAll(".md-search-result__item").length > 3`)
		b.await(`[...document.querySelectorAll(".md-search-result__link")].some(a => a.href.includes("emit.html"))`)
	}
	eachLook(t, ctx, server.URL+"/start.html", "site", func(b *tab, look func(state string), title string) {
		b.await(`document.querySelector("h1").innerText.startsWith("Ten minutes")`)
		b.await(`[...document.images].every(i => i.complete && i.naturalWidth > 0)`)
		look("start")
		b.await(own)
		if title != "dark phone" && os.Getenv("SOCKEYE_PICTURES") == "" {
			return // the index takes its time
		}
		search(b)
		b.await(own)
		b.await(`document.getAnimations().every(a => a.playState !== "running")`)
		// What is behind the search is no wider than the window: or Chrome makes the page as wide, at times.
		b.await(fmt.Sprintf(`document.querySelector(".md-search__overlay").getBoundingClientRect().right <= %d`, b.size.width))
		b.fits()
		b.picture("site-" + strings.ReplaceAll(title, " ", "-") + "-search")
	})
	// Opened as files, there is no server at all.
	b := openTab(t, ctx, "file://"+dir+"/index.html", "files", "")
	search(b)
	b.await(own)
	b.await(`(document.querySelector(".md-search-result__link[href*='emit.html']").click(), true)`)
	b.await(`location.pathname.endsWith("/emit.html") && document.querySelector("h1").innerText.length > 0`)
	// The other pages, once each.
	rules := axe(t)
	for _, page := range []string{"index.html", "troubleshooting.html"} {
		b := openTab(t, ctx, server.URL+"/"+page, page, rules)
		b.show(phone, "dark")
		b.fits()
		b.accessible(page)
	}
	// Drawings are drawn, by a script of the site's own.
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	drawings := openTab(t, ctx, server.URL+"/architecture.html", "drawings", "")
	drawings.await(fmt.Sprint(`document.querySelectorAll("div.mermaid").length === `, strings.Count(string(text), "```mermaid")))
	drawings.await(`[...document.querySelectorAll("div.mermaid")].every(d => d.offsetHeight > 200) && !document.querySelector("pre.mermaid")`)
	drawings.await(own)
}
