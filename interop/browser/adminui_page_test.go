package browser

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adminui"
	"github.com/sockeye-io/sockeye/client"
)

// adminPage is the page that the package @socket.io/admin-ui has, as it comes.
func adminPage() http.Handler {
	return http.FileServer(http.Dir("../clients/node_modules/@socket.io/admin-ui/ui/dist"))
}

// offline fails what the page wants from elsewhere (fonts, icons) at once.
var offline = chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")

// dial connects a socket of the application.
func dial(t *testing.T, url string) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := client.Dial(ctx, url, client.Config{Header: http.Header{"Cookie": {"session=open-sesame"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// waitFor waits for what the server is about to do.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func (b *tab) text(s string) {
	b.t.Helper()
	b.await(fmt.Sprintf("document.body.innerText.toLowerCase().includes(%q.toLowerCase())", s))
}

func (b *tab) noText(s string) {
	b.t.Helper()
	b.await(fmt.Sprintf("!document.body.innerText.toLowerCase().includes(%q.toLowerCase())", s))
}

// press clicks the first button of an icon, in what has a text.
func (b *tab) press(in, text, icon string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`(() => {
		const e = [...document.querySelectorAll(%q)].find(e => e.innerText.includes(%q))?.querySelector("button:not([disabled]) .%s")
		e?.closest("button").click()
		return e
	})()`, in, text, icon))
}

func (b *tab) login(password string) {
	b.t.Helper()
	b.await("document.querySelectorAll('.v-dialog form input').length >= 3")
	b.await(fmt.Sprintf(`(() => {
		const set = (input, v) => { input.value = v; input.dispatchEvent(new Event("input")) }
		const [url, name, pass] = document.querySelectorAll(".v-dialog form input")
		set(url, location.origin); set(name, "admin"); set(pass, %q)
		return true
	})()`, password))
	// Not by its place: the dialog moves while it opens.
	b.await(`(() => {
		const button = document.querySelector(".v-dialog form button[type=submit]:not([disabled])")
		button?.click()
		return Boolean(button)
	})()`)
}

// TestAdminPage drives the page of @socket.io/admin-ui.
func TestAdminPage(t *testing.T) {
	needClients(t)
	srv, url := startAdmin(t, sockeye.Config{Fallback: adminPage()}, adminui.Options{Mode: adminui.Development})
	srv.Of("/chat")
	inRoom := func(id, room string) func() bool {
		return func() bool { s := srv.Socket(id); return s != nil && slices.Contains(s.Rooms(), room) }
	}
	ctx := browser(t, offline)
	app := dial(t, url)
	if err := app.Emit("join", "blue"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "no room", inRoom(app.ID(), "blue"))

	b := openTab(t, ctx, url+"/", "admin", "")
	b.show(desktop, "light")
	b.login("wrong")
	b.text("invalid credentials")
	b.login(adminPassword)
	b.await("!document.querySelector('.v-dialog--active')")
	b.text("Servers")

	// What there was before is there.
	goTo := func(route string) { b.t.Helper(); b.await(fmt.Sprintf("(location.hash = %q, true)", "#"+route)) }
	goTo("/sockets/")
	b.text(app.ID())
	goTo("/rooms/")
	b.text("blue")
	b.await(`[...document.querySelectorAll("tr")].find(r => r.innerText.includes("blue")).cells[2].innerText.trim() === "1"`)
	// Where joining and connecting are at odds no socket is counted twice.
	remove := srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("hall") })
	var more []*client.Client
	for range 5 {
		more = append(more, dial(t, url))
	}
	remove()
	first := more[0].ID()
	b.await(`[...document.querySelectorAll("tr")].find(r => r.innerText.includes("hall"))?.cells[2].innerText.trim() === "5"`)
	// Events, as they come.
	goTo("/events/")
	if err := app.Emit("ask", "what is said", []byte("xyz")); err != nil {
		t.Fatal(err)
	}
	b.text("ask")
	b.text("answer")
	b.press("tr", "answer", "mdi-chevron-down")
	b.text("what is said")
	b.text("(binary")

	// A socket's page: its rooms and how it came, without secrets.
	socketPage := "/n/%2F/sockets/" + app.ID()
	goTo(socketPage)
	b.text("Initial HTTP request")
	b.text("(hidden)")
	b.noText("open-sesame")
	b.await(`(() => {
		const input = document.querySelector(".select-room input")
		if (!input) return false
		input.value = "red"
		input.dispatchEvent(new Event("input"))
		return true
	})()`)
	b.await("document.querySelector('.select-room input').closest('form').requestSubmit() || true")
	waitFor(t, "the button joins no room", inRoom(app.ID(), "red"))
	b.press("tr", "red", "mdi-tag-off-outline")
	waitFor(t, "the button leaves no room", func() bool { return !inRoom(app.ID(), "red")() })
	goTo("/rooms/")
	b.noText("red\n")
	b.press("tr", "blue", "mdi-tag-off-outline")
	waitFor(t, "the button clears no room", func() bool { return !inRoom(app.ID(), "blue")() })
	goTo("/rooms/") // a button's row is a link, too
	b.press("tr", "hall", "mdi-logout")
	waitFor(t, "the button disconnects no room", func() bool { return srv.Len() == 1 })
	for _, c := range more {
		waitFor(t, "a client goes on", func() bool { return !c.Connected() })
	}
	goTo("/rooms/")
	b.noText("hall")
	goTo("/sockets/")
	b.noText(first)
	b.text(app.ID())

	// The session outlives the page.
	b.do(chromedp.Reload())
	b.text(app.ID())
	b.await("!document.querySelector('.v-dialog--active')")
	goTo(socketPage)
	b.press("tr", "Status", "mdi-logout")
	waitFor(t, "the button disconnects nobody", func() bool { return srv.Len() == 0 })
}

// TestAdminPageProduction: counters alone.
func TestAdminPageProduction(t *testing.T) {
	needClients(t)
	_, url := startAdmin(t, sockeye.Config{Fallback: adminPage()}, adminui.Options{ReadOnly: true})
	app := dial(t, url)
	ctx := browser(t, offline)
	themes, sizes := []string{"light", "dark"}, []size{desktop, phone}
	if os.Getenv("SOCKEYE_PICTURES") == "" { // the page is not ours
		themes, sizes = themes[:1], sizes[:1]
	}
	for _, theme := range themes {
		for _, s := range sizes {
			b := openTab(t, ctx, url+"/", "admin", fmt.Sprintf("localStorage.setItem('dark_theme', %v)", theme == "dark"))
			b.show(s, theme)
			if !b.is("localStorage.getItem('session_id')") {
				b.login(adminPassword)
			}
			b.text("Namespaces")
			b.await(`[...document.querySelectorAll("tr")].some(r => r.innerText.replace(/\s+/g, " ").startsWith("/ 1"))`)
			b.noText(app.ID())
			b.await("!document.querySelector('a[href=\"#/rooms/\"]')")
			b.await("document.querySelectorAll('canvas').length >= 2")
			b.await(drawn)
			b.picture("admin-" + theme + "-" + s.name)
		}
	}
}

// drawn becomes true when the plots, which grow for a second, have not changed for a while.
const drawn = `(() => {
	const now = [...document.querySelectorAll("canvas")].map(c => c.toDataURL()).join()
	window.still = now === window.before ? window.still + 1 : 0
	window.before = now
	return window.still > 25
})()`

// is tells whether an expression of the page is true now.
func (b *tab) is(expression string) bool {
	b.t.Helper()
	ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
	if err != nil {
		b.t.Fatal(err)
	}
	return ok
}
