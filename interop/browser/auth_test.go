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

// TestAuthRestart: a server that was restarted knows nobody: the page asks to log in again, and
// two clicks are one login.
func TestAuthRestart(t *testing.T) {
	e := buildExample(t, "auth", "-life", "10m")
	url, stop := e.start("127.0.0.1:0")
	b := openTab(t, browser(t), url, "Ann", "")
	login := func(times string) {
		t.Helper()
		b.do(chromedp.SetValue("#name", "Ann"))
		b.await(`(() => { const b = document.querySelector("#login button"); b.click(); b.click(); return true; })()`)
		b.awaitText("connection", "online")
		b.await(`document.getElementById("log").textContent.split("logged in").length - 1 === ` + times)
	}
	login("1")
	stop()
	b.awaitText("connection", "offline")
	e.start(host(url))
	b.awaitText("log", "refused: the token is not valid")
	b.await(`!document.getElementById("login").hidden`)
	login("2")
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
