package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// point moves the pointer over the board to a share of its size, or presses it.
func (b *tab) point(event string, x, y float64) {
	b.t.Helper()
	b.await(fmt.Sprintf(`(() => {
		const board = document.getElementById("board"), box = board.getBoundingClientRect();
		board.dispatchEvent(new PointerEvent("pointer%s", { clientX: box.left + %v * box.width, clientY: box.top + %v * box.height }));
		return true;
	})()`, event, x, y))
}

// shows has b move until another one sees it there: a position is volatile, and may get lost.
func (b *tab) shows(to *tab, x, y float64) {
	b.t.Helper()
	for range 100 {
		b.point("move", x, y)
		if ok, _ := to.within(500*time.Millisecond, cursorAt(b.name, x, y)); ok {
			return
		}
	}
	b.t.Fatalf("%s does not see %s at %v, %v", to.name, b.name, x, y)
}

func cursorAt(name string, x, y float64) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".cursor")].some((e) => e.textContent === %q && e.style.left === "%v%%" && e.style.top === "%v%%")`, name, 100*x, 100*y)
}

// TestCursors: two see where each other is, what is marked, and who goes.
func TestCursors(t *testing.T) {
	url := startExample(t, "cursors")
	ctx := browser(t)
	ann, bob := openTab(t, ctx, url, "Ann", ""), openTab(t, ctx, url, "Bob<i>", "")
	for _, b := range []*tab{ann, bob} {
		b.awaitText("connection", "online")
	}
	ann.awaitText("others", "Nobody else is here.")
	ann.shows(bob, 0.25, 0.5)
	bob.awaitText("others", "Ann")
	bob.shows(ann, 0.5, 0.75)
	bob.point("down", 0.75, 0.125)
	ann.await(cursorAt("Bob<i>", 0.75, 0.125))
	for _, b := range []*tab{ann, bob} {
		b.await(`document.querySelector(".mark").style.left === "75%"`)
	}
	// A long name is cut, and its pointer is seen.
	long := openTab(t, ctx, url, strings.Repeat("x", 40), "")
	long.name = long.name[:24]
	long.awaitText("connection", "online")
	long.shows(ann, 0.125, 0.25)
	for _, b := range []*tab{bob, long} {
		b.do(chromedp.Navigate("about:blank"))
	}
	ann.awaitText("others", "Nobody else is here.")
	ann.await(`document.querySelectorAll(".cursor").length === 0`)
}

// TestCursorsLook: axe-core finds nothing, in light and dark, on a desktop and on a phone,
// and nothing is wider than the window. With SOCKEYE_PICTURES it takes the pictures.
func TestCursorsLook(t *testing.T) {
	url := startExample(t, "cursors")
	ctx := browser(t)
	bob, cid := openTab(t, ctx, url, "Bob", ""), openTab(t, ctx, url, "Cid", "")
	eachLook(t, ctx, url, "cursors", func(ann *tab, look func(state string), _ string) {
		ann.awaitText("connection", "online")
		bob.shows(ann, 0.25, 0.375)
		cid.point("down", 0.625, 0.75)
		ann.await(cursorAt("Cid", 0.625, 0.75))
		look("board")
	})
}
