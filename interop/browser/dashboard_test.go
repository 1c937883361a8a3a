package browser

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestDashboard: values come each second, not for who looks away, and again afterwards,
// with what was missed.
func TestDashboard(t *testing.T) {
	url := startExample(t, "dashboard")
	b := openTab(t, browser(t), url, "Ann", "")
	const plot = `document.querySelector("#goroutines svg").getAttribute("aria-label")`
	const count = `Number(document.querySelector("#heap svg").getAttribute("aria-label").match(/last (\d+) seconds/)[1])`
	b.awaitText("connection", "online")
	b.await(plot + `?.includes("in the last 2 seconds")`)
	b.await(`document.querySelectorAll("article").length === 6`)
	b.awaitText("pages", "1")
	b.do(chromedp.Click("#goroutines input"))
	b.await(`document.querySelector("#goroutines").classList.contains("away")`)
	seconds := func(n int) { // pass: the figures that are looked at tell
		t.Helper()
		b.await(`window.until = ` + count + ` + ` + strconv.Itoa(n))
		b.await(count + ` >= until`)
	}
	seconds(1)
	b.await(`window.before = ` + plot)
	seconds(2)
	b.await(plot + ` === before`)
	b.do(chromedp.Click("#goroutines input"))
	b.await(`Number(` + plot + `.match(/last (\d+) seconds/)[1]) >= 4`)
}

// TestDashboardLooks: see eachLook.
func TestDashboardLooks(t *testing.T) {
	url := startExample(t, "dashboard")
	eachLook(t, browser(t), url, "dashboard", func(ann *tab, look func(state string), _ string) {
		ann.awaitText("connection", "online")
		ann.await(`document.querySelector("#out svg").getAttribute("aria-label")?.includes("now")`)
		if os.Getenv("SOCKEYE_PICTURES") != "" { // of the two minutes that a figure has
			full := `document.querySelector("#out svg").getAttribute("aria-label").includes("last 120 seconds")`
			if ok, err := ann.within(3*time.Minute, full); !ok {
				t.Fatal("the plots do not fill: ", err)
			}
		}
		look("board")
	})
}
