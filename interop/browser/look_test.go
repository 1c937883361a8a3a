package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// size is a window's, in CSS pixels.
type size struct {
	name          string
	width, height int64
}

var (
	desktop = size{"desktop", 1280, 800}
	phone   = size{"phone", 390, 844}
)

func (b *tab) show(s size, theme string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: 1, Mobile: s == phone})
	if err != nil {
		b.t.Fatal(err)
	}
	// Without movement nothing is looked at half-way.
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		b.t.Fatal(err)
	}
	b.size = s
	b.await(fmt.Sprintf("innerWidth === %d && matchMedia('(prefers-color-scheme: %s)').matches", s.width, theme))
}

// fits holds that nothing is wider than the window. On a phone Chrome makes innerWidth as
// wide as the page then.
func (b *tab) fits() {
	b.t.Helper()
	b.await(fmt.Sprintf("innerWidth === %[1]d && document.documentElement.scrollWidth <= %[1]d", b.size.width))
}

// picture keeps what is shown in the folder that SOCKEYE_PICTURES names.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("SOCKEYE_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// accessible holds what is shown to WCAG 2.1 A and AA, as far as axe-core can tell.
// Contrast that it cannot tell counts as a fault, but for the avatars and the words of
// programs, since it does not judge single letters, and for what the log's edge cuts.
func (b *tab) accessible(state string) {
	b.t.Helper()
	b.await("delete window.axeResult")
	b.await(`(axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).then(r => {
		const tell = (v) => v.nodes.map(n => v.id + ": " + n.target + ": " + n.any.concat(n.all).map(c => c.message).join("; "))
		const cut = (e) => e.closest("#log") && e.getBoundingClientRect().top < e.closest("#log").getBoundingClientRect().top
		const judged = (n) => { const e = document.querySelector(n.target[0]); return !e.matches(".avatar, .highlight *") && !cut(e) }
		const unsure = r.incomplete.filter(v => v.id === "color-contrast").map(v => ({...v, nodes: v.nodes.filter(judged)}))
		window.axeResult = {passes: r.passes.map(p => p.id), faults: r.violations.concat(unsure).flatMap(tell)}
	}, e => { window.axeResult = {passes: [], faults: [String(e)]} }), true)`)
	b.await("window.axeResult")
	faults, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string]("window.axeResult.faults"))
	if err != nil {
		b.t.Fatal(err)
	}
	if len(faults) > 0 {
		b.t.Errorf("%s:\n%s", state, strings.Join(faults, "\n"))
	}
	b.await("window.axeResult.passes.includes('color-contrast')")
}

// avatarContrast is the least contrast of an avatar's letter, of all hues. The
// colours are painted, to have them as red, green and blue.
const avatarContrast = `(() => {
	const a = avatar({name: "A"})
	document.body.append(a)
	const g = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true})
	const luminance = (colour) => {
		g.fillStyle = colour
		g.fillRect(0, 0, 1, 1)
		const [r, gr, b] = [...g.getImageData(0, 0, 1, 1).data].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		return 0.2126 * r + 0.7152 * gr + 0.0722 * b
	}
	let least = 21
	for (let hue = 0; hue < 360; hue++) {
		a.style.setProperty("--hue", hue)
		const s = getComputedStyle(a), x = luminance(s.color), y = luminance(s.backgroundColor)
		least = Math.min(least, (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05))
	}
	a.remove()
	return least
})()`

func TestAccessible(t *testing.T) {
	rules := axe(t)
	binary := buildChat(t)
	ctx := browser(t)
	for _, theme := range []string{"light", "dark"} {
		for _, s := range []size{desktop, phone} {
			t.Run(theme+" "+s.name, func(t *testing.T) {
				name := theme + "-" + s.name + "-"
				url, stop := startChat(t, binary, "127.0.0.1:0")
				door := openTab(t, ctx, url, "", rules)
				door.show(s, theme)
				door.await("document.getElementById('hello').open")
				door.accessible("the door")
				door.picture(name + "door")

				bob := openTab(t, ctx, url, "Bob", "")
				ann := openTab(t, ctx, url, "Ann", rules)
				ann.show(s, theme)
				ann.awaitText("transport", "websocket")
				bob.awaitText("room", "lobby")
				ann.awaitText("latency", "ms")
				bob.write(strings.Repeat("a long text that fills the log ", 30))
				ann.awaitText("log", "fills the log")
				for i := range 8 {
					ann.write(fmt.Sprint("a short one, ", i))
				}
				bob.awaitText("log", "a short one, 7")
				bob.do(chromedp.SendKeys("#say input", "w"))
				ann.awaitText("typing", "Bob is typing")
				ann.await("document.getElementById('log').scrollHeight > document.getElementById('log').clientHeight")
				ann.await("!document.querySelector('.pending')")
				ann.accessible("the chat")
				ann.picture(name + "chat")
				if s == phone {
					ann.do(chromedp.Click("#menu"))
					ann.await("document.getElementById('side').matches(':popover-open')")
					ann.accessible("the rooms")
					ann.picture(name + "rooms")
					ann.do(chromedp.Click("#side h1 button"))
				}
				// Letters of people.
				ann.await("window.hasOwnProperty('least') || (window.least = " + avatarContrast + ")")
				if least, err := chromedp.Run(ann.ctx, chromedp.Evaluate[float64]("window.least")); err != nil || least < 4.5 {
					t.Errorf("an avatar's contrast is %.2f:1, %v", least, err)
				}
				stop()
				ann.awaitText("banner", "Reconnecting")
				ann.say("kept")
				ann.await("document.querySelector('.pending')")
				ann.accessible("offline")
				ann.picture(name + "offline")
			})
		}
	}
}

// TestPhone: on a phone all of the chat is within reach.
func TestPhone(t *testing.T) {
	binary := buildChat(t)
	ctx := browser(t)
	url, _ := startChat(t, binary, "127.0.0.1:0")
	ann := openTab(t, ctx, url, "Ann", "")
	bob := openTab(t, ctx, url, "Bob", "")
	ann.show(phone, "light")
	ann.awaitText("transport", "websocket")
	bob.awaitText("transport", "websocket")

	// reachable: in the window, on top, and large enough for a finger.
	reachable := func(selector string) {
		t.Helper()
		ann.await(fmt.Sprintf(`(() => {
			const e = document.querySelector(%q)
			const r = e.getBoundingClientRect()
			const top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)
			return r.left >= 0 && r.top >= 0 && r.right <= innerWidth && r.bottom <= innerHeight && e.contains(top) &&
				(!e.matches("button, input") || r.height >= 44 && r.width >= 44)
		})()`, selector))
	}
	fits := "innerWidth === 390 && document.documentElement.scrollWidth <= 390 && document.documentElement.scrollHeight <= innerHeight"
	for _, s := range []string{"#menu", "#room", "#transport", "#say input", "#say button"} {
		reachable(s)
	}
	ann.await(fits)
	ann.await("!document.getElementById('side').checkVisibility()")

	ann.do(chromedp.Click("#menu"))
	for _, s := range []string{`button[data-room="gophers"]`, "#new-room input", "#rename input", "#people li:nth-child(2)", "#side h1 button"} {
		reachable(s)
	}
	ann.awaitText("people", "Bob")
	// A room is chosen, or made: the side gives way to it.
	ann.do(chromedp.Click(`button[data-room="gophers"]`))
	ann.awaitText("room", "gophers")
	ann.await("!document.getElementById('side').checkVisibility()")
	reachable("#say input")
	ann.do(chromedp.Click("#menu"), chromedp.SendKeys("#new-room input", strings.Repeat("W", 24)+"\r"))
	ann.awaitText("room", "WWW")
	ann.await("!document.getElementById('side').checkVisibility()")
	ann.write(strings.Repeat("m", 300))
	ann.awaitText("log", "mmm")
	ann.await("!document.querySelector('.pending')")
	ann.await(fits)
	for _, s := range []string{"#menu", "#transport", "#say button"} {
		reachable(s)
	}
	// Wide again, there is no menu.
	ann.do(chromedp.Click("#menu"))
	ann.show(desktop, "light")
	ann.await("!document.getElementById('menu').checkVisibility() && !document.querySelector(':popover-open')")
	ann.await("document.getElementById('side').checkVisibility() && document.getElementById('people').checkVisibility()")
}

// TestPictures: in fonts of any width, no label of the published pictures is over
// another or over a bar, and on a phone their letters are 10 px high at least.
func TestPictures(t *testing.T) {
	files, err := filepath.Glob("../../bench/results/*/*.svg")
	if err != nil || len(files) == 0 {
		t.Fatal("no pictures: ", err)
	}
	b := &tab{t: t, name: "pictures", ctx: browser(t)}
	for _, f := range files {
		f, err := filepath.Abs(f)
		if err != nil {
			t.Fatal(err)
		}
		b.do(chromedp.Navigate("file://" + f))
		for _, font := range []string{"", "serif", "monospace", "sans-serif; font-weight: bold"} {
			faults, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](fmt.Sprintf(`(() => {
				const svg = document.documentElement, faults = []
				if (%[1]q) for (const t of svg.querySelectorAll("text")) t.style = "font-family: " + %[1]q
				const texts = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBBox()])
				// A line's box has room above and below its letters.
				for (const [, b] of texts) { b.y += b.height * 0.15; b.height *= 0.7 }
				const bars = [...svg.querySelectorAll("rect:not(.ground)")].map(r => ["a bar", r.getBBox()])
				const view = svg.viewBox.baseVal
				texts.forEach(([name, a], i) => {
					if (a.x < 0 || a.x + a.width > view.width) faults.push(name + " leaves the picture")
					for (const [other, b] of texts.slice(0, i).concat(bars))
						if (a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height) faults.push(name + " is over " + other)
				})
				for (const t of svg.querySelectorAll("text"))
					if (parseFloat(getComputedStyle(t).fontSize) * 390 / Math.max(view.width, 390) < 10) faults.push(t.textContent + " is small")
				return texts.length && bars.length ? faults : ["nothing is drawn"]
			})()`, font)))
			if err != nil {
				t.Fatal(err)
			}
			if len(faults) > 0 {
				t.Errorf("%s in %q:\n%s", filepath.Base(f), font, strings.Join(faults, "\n"))
			}
		}
	}
}

// eachLook opens a page for Ann, who says her name if she is asked, in light and dark, on a desktop and on a phone. f has it
// show something, and looks at it: nothing is wider than the window, axe-core finds
// nothing, and a picture is kept.
func eachLook(t *testing.T, browser context.Context, url, example string, f func(ann *tab, look func(state string), title string)) {
	t.Helper()
	rules := axe(t)
	for _, theme := range []string{"light", "dark"} {
		for _, s := range []size{desktop, phone} {
			title := theme + " " + s.name
			t.Run(title, func(t *testing.T) {
				ann := openTab(t, browser, url, "Ann", `window.prompt = () => "Ann"; `+rules)
				ann.show(s, theme)
				f(ann, func(state string) {
					t.Helper()
					ann.fits()
					ann.accessible(state)
					ann.picture(example + "-" + theme + "-" + s.name + "-" + state)
				}, title)
			})
		}
	}
}
