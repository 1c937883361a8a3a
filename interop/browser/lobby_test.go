package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestLobby: two make a game and play it, one watches, and the loser wants another one.
func TestLobby(t *testing.T) {
	url := startExample(t, "lobby")
	ctx := browser(t)
	ann, bob, cid := openTab(t, ctx, url, "Ann", ""), openTab(t, ctx, url, "Bob", ""), openTab(t, ctx, url, "Cid", "")
	all := []*tab{ann, bob, cid}
	for _, b := range all {
		b.awaitText("connection", "online")
	}
	cell := func(b *tab, n string) {
		t.Helper()
		b.do(chromedp.Click("#board button:nth-child(" + n + ")"))
	}
	// The server's error is shown: the type of the answer has it.
	ann.do(chromedp.Click("#create button"))
	ann.awaitText("problem", "the title is empty")
	ann.do(chromedp.SendKeys("#title", "Fri <b>day"))
	ann.await("(document.getElementById('create').requestSubmit(), document.getElementById('create').requestSubmit(), true)") // one game
	ann.awaitText("game-title", "Fri <b>day")
	ann.await("document.getElementById('problem').hidden")
	ann.awaitText("status", "Waiting for a second player.")
	ann.awaitText("seats", "Ann (you)")
	bob.awaitText("games", "1 of 2")
	bob.await("document.querySelectorAll('#games button').length === 1")
	ann.do(chromedp.Click("#games button")) // her own: she stays
	ann.do(chromedp.SendKeys("#text", "still here\r"))
	ann.awaitText("log", "Ann: still here")
	bob.do(chromedp.Click("#games button"))
	ann.awaitText("status", "It is your turn.")
	bob.awaitText("status", "It is Ann’s turn.")
	cid.awaitText("games", "playing")
	cid.do(chromedp.Click("#games button"))
	for _, b := range all {
		b.awaitText("watches", "1 watching")
	}
	cell(bob, "1")
	bob.awaitText("problem", "it is not your turn")
	cell(cid, "1")
	cid.awaitText("problem", "you watch")

	// Who plays does not hear who watches.
	cid.do(chromedp.SendKeys("#text", "the middle!\r"))
	cid.awaitText("log", "Cid: the middle!")
	bob.do(chromedp.SendKeys("#text", "good luck\r"))
	for _, b := range []*tab{ann, bob} {
		b.awaitText("log", "Bob: good luck")
		b.await("!document.getElementById('log').textContent.includes('middle')")
	}
	for i, n := range []string{"1", "4", "2", "5", "3"} {
		b, sign := ann, "✕"
		if i%2 == 1 {
			b, sign = bob, "◯"
		}
		b.awaitText("status", "It is your turn.")
		cell(b, n)
		cid.await("document.querySelector('#board button:nth-child(" + n + ")').textContent === '" + sign + "'")
	}
	ann.awaitText("status", "You have won.")
	cid.awaitText("status", "Ann has won.")
	cid.await("document.getElementById('again').hidden")

	// The server asks the other page, and waits for its answer.
	bob.do(chromedp.Click("#again"))
	ann.awaitText("ask-text", "Bob wants to play again.")
	ann.do(chromedp.Click("#ask button[value=no]"))
	bob.awaitText("problem", "the other one does not want to")
	bob.do(chromedp.Click("#again"))
	ann.await("document.getElementById('ask').open")
	ann.do(chromedp.Click("#ask button[value=yes]"))
	bob.awaitText("status", "It is your turn.")
	cid.await("document.getElementById('board').textContent === ''")

	// A seat gets free when its player goes to another game; who watches may take it.
	ann.do(chromedp.SendKeys("#title", "another\r"))
	ann.awaitText("game-title", "another")
	cid.awaitText("status", "Waiting for a second player.")
	cid.do(chromedp.Click("#sit"))
	cid.awaitText("seats", "Cid (you)")
	cid.awaitText("status", "It is your turn.")
	// ... and when its page is left, which Chromium keeps, with its connection.
	bob.do(chromedp.Navigate("about:blank"))
	cid.awaitText("status", "Waiting for a second player.")
}

// TestLobbyLooks: axe-core finds nothing in the lobby and in a game, in light and dark, on
// a desktop and on a phone, and nothing is wider than the window. With SOCKEYE_PICTURES it
// takes the pictures of docs/pictures.
func TestLobbyLooks(t *testing.T) {
	url := startExample(t, "lobby")
	ctx := browser(t)
	bob := openTab(t, ctx, url, "Bob", "")
	eachLook(t, ctx, url, "lobby", func(ann *tab, look func(state string), title string) {
		ann.awaitText("connection", "online")
		look("lobby")
		ann.do(chromedp.SendKeys("#title", title+"\r"))
		ann.awaitText("status", "Waiting for a second player.")
		bob.await("[...document.querySelectorAll('#games button')].some(b => b.textContent.includes('" + title + "') && (b.click(), true))")
		ann.awaitText("status", "It is your turn.")
		ann.do(chromedp.Click("#board button:nth-child(5)"))
		bob.awaitText("status", "It is your turn.")
		bob.do(chromedp.Click("#board button:nth-child(1)"), chromedp.SendKeys("#text", "good luck\r"))
		ann.awaitText("log", "good luck")
		ann.awaitText("status", "It is your turn.")
		ann.do(chromedp.Click("#board button:nth-child(1)"))
		ann.awaitText("problem", "this cell is not free")
		look("game")
	})
}
