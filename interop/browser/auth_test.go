package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAuth: a connection goes on by new tokens, ends without one, comes back by another
// one, and does not come back after a logout.
func TestAuth(t *testing.T) {
	url := startExample(t, "auth", "-life", "2s")
	ctx := browser(t)
	b := openTab(t, ctx, url, "Ann", "")
	b.do(chromedp.Click("#login button"))
	b.awaitText("log", "a name has 1 to 24 characters")
	b.do(chromedp.SendKeys("#name", "Ann <b>\r"))
	b.awaitText("connection", "online")
	b.awaitText("who", "Ann <b>")
	b.awaitText("log", "the connection goes on")
	b.do(chromedp.Click("#ask"))
	b.awaitText("log", "the server: you are Ann <b>")
	b.await(`!document.getElementById("log").textContent.includes("expired")`)
	b.do(chromedp.Click("#renews"))
	b.awaitText("log", "the server: the token has expired")
	b.awaitText("log", "disconnected: io server disconnect")
	b.await(`document.getElementById("log").textContent.split("connected").length > 3`) // once more
	b.awaitText("connection", "online")
	b.do(chromedp.Reload())
	b.awaitText("who", "Ann <b>")
	b.awaitText("connection", "online")
	b.do(chromedp.Click("#logout"))
	b.awaitText("log", "logged out")
	b.do(chromedp.Reload())
	b.await(`document.getElementById("session").hidden`)
	b.awaitText("connection", "offline")
}

// TestAuthLooks: see eachLook.
func TestAuthLooks(t *testing.T) {
	url := startExample(t, "auth")
	eachLook(t, browser(t), url, "auth", func(ann *tab, look func(state string), _ string) {
		ann.await(`document.getElementById("session").hidden || (document.getElementById("logout").click(), false)`)
		look("login")
		ann.do(chromedp.SendKeys("#name", "Ann\r"))
		ann.awaitText("connection", "online")
		ann.do(chromedp.Click("#ask"))
		ann.awaitText("log", "you are Ann")
		look("session")
		ann.do(chromedp.Click("#logout"))
		ann.awaitText("log", "logged out")
	})
}
