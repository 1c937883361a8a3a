package browser

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// line is a proxy in front of a server: the line to it can be cut.
type line struct {
	server string
	ln     net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool   // connections are closed
	mute  bool   // what the server says is lost
	last  string // the line is mute once the server is told this
	done  sync.WaitGroup
}

func startLine(t *testing.T, server string) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{server: server, ln: ln, conns: map[net.Conn]bool{}}
	l.done.Go(l.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		l.cut()
		l.done.Wait()
	})
	return l
}

func (l *line) url() string { return "http://" + l.ln.Addr().String() + "/" }

func (l *line) accept() {
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", l.server)
		if err != nil {
			_ = in.Close()
			continue
		}
		if !l.keep(in, out) {
			continue
		}
		l.done.Go(func() { l.copy(out, in, l.toServer) })
		l.done.Go(func() { l.copy(in, out, l.muted) })
	}
}

// keep notes connections, or closes them on a dead line.
func (l *line) keep(cs ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range cs {
		if l.dead {
			_ = c.Close()
		} else {
			l.conns[c] = true
		}
	}
	return !l.dead
}

// toServer looks for the text after which the line is mute; nothing is lost.
func (l *line) toServer(b []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute = l.mute || l.last != "" && bytes.Contains(b, []byte(l.last))
	return false
}

func (l *line) muted([]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mute
}

func (l *line) copy(to, from net.Conn, lost func([]byte) bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if lost(b[:n]) {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

// silence loses what the server says from now on or, if a text is given, from
// when the client has said that.
func (l *line) silence(after string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute, l.last = after == "", after
}

func (l *line) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead, l.mute, l.last = false, false, ""
}

// texts are the log's messages.
func (b *tab) texts() string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("[...document.querySelectorAll('.message p')].map(p => p.textContent).join('|')"))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// TestWrittenOffline: what is written while there is no connection is shown as
// pending at once. It is sent once, in order, when there is one again. So is what
// was sent and not answered.
func TestWrittenOffline(t *testing.T) {
	binary := buildChat(t)
	ctx := browser(t)
	for _, c := range []struct{ badge, script string }{{"websocket", ""}, {"polling", "delete window.WebSocket"}} {
		t.Run(c.badge, func(t *testing.T) {
			url, _ := startChat(t, binary, "127.0.0.1:0")
			l := startLine(t, strings.Trim(url, "htp:/"))
			bob := openTab(t, ctx, url, "Bob", "")
			ann := openTab(t, ctx, l.url(), "Ann", c.script)
			for _, b := range []*tab{ann, bob} {
				b.awaitText("room", "lobby")
				b.do(chromedp.SendKeys("#new-room input", "kitchen\r"))
				b.awaitText("room", "kitchen")
			}
			ann.awaitText("transport", c.badge)
			ann.awaitText("here", "2")
			pending := func(n int) {
				t.Helper()
				ann.await(fmt.Sprintf("document.querySelectorAll('.pending').length === %d", n))
			}
			ann.say("zero")
			bob.awaitText("log", "zero")
			pending(0)

			// The answer to this one is lost. A POST waits for the one before it; what
			// a WebSocket says is masked.
			if c.badge == "polling" {
				l.silence(`["say","one"`)
			} else {
				l.silence("")
			}
			ann.say("one")
			bob.awaitText("log", "one")
			pending(1)
			l.cut()
			ann.awaitText("banner", "sent when the connection is back")
			ann.awaitText("transport", "offline")
			if c.badge == "websocket" { // of a page that polls the server knows after a ping only
				bob.awaitText("here", "1")
			}
			ann.say("two")
			ann.say("three")
			pending(3)
			ann.await("document.querySelectorAll('.pending time')[2].textContent === 'not sent yet'")
			ann.await("document.querySelector('#say input').value === ''")
			ann.await("document.getElementById('online').textContent === '' && document.getElementById('rooms').inert")

			l.restore()
			bob.awaitText("log", "three")
			pending(0)
			ann.await("document.getElementById('banner').hidden && !document.getElementById('rooms').inert")
			ann.awaitText("room", "kitchen")
			ann.awaitText("people", "(you)")
			// A second line, lost before anything was written.
			l.cut()
			ann.awaitText("transport", "offline")
			ann.say("four")
			pending(1)
			l.restore()
			pending(0)
			// What one says arrives in order: after this one nothing can follow.
			ann.say("five")
			for _, b := range []*tab{ann, bob} {
				b.awaitText("log", "five")
				if got, want := b.texts(), "zero|one|two|three|four|five"; got != want {
					t.Errorf("%s has %s, want %s", b.name, got, want)
				}
			}
		})
	}
}

// TestSentAgainToAnotherServer: the answer was lost and the server restarted, so that it
// does not know what was said before. Nobody sees it twice.
func TestSentAgainToAnotherServer(t *testing.T) {
	binary := buildChat(t)
	ctx := browser(t)
	url, stop := startChat(t, binary, "127.0.0.1:0")
	addr := strings.Trim(url, "htp:/")
	l := startLine(t, addr)
	bob, ann := openTab(t, ctx, url, "Bob", ""), openTab(t, ctx, l.url(), "Ann", "")
	ann.awaitText("transport", "websocket")
	ann.awaitText("room", "lobby")
	bob.awaitText("here", "2")
	l.silence("")
	ann.say("one")
	bob.awaitText("log", "one")
	l.cut()
	stop()
	bob.awaitText("transport", "offline")
	_, _ = startChat(t, binary, addr)
	bob.awaitText("here", "1")
	ann.await("document.querySelector('.pending')")
	l.restore()
	ann.await("!document.querySelector('.pending')")
	ann.say("two")
	for _, b := range []*tab{ann, bob} {
		b.awaitText("log", "two")
		if got := b.texts(); got != "one|two" {
			t.Errorf("%s has %s, want one|two", b.name, got)
		}
	}
}

// TestRoomIsGone: what was written for a room that is refused afterwards is not said
// in another.
func TestRoomIsGone(t *testing.T) {
	binary := buildChat(t)
	ctx := browser(t)
	url, _ := startChat(t, binary, "127.0.0.1:0")
	l := startLine(t, strings.Trim(url, "htp:/"))
	bob, ann := openTab(t, ctx, url, "Bob", ""), openTab(t, ctx, l.url(), "Ann", "")
	ann.awaitText("transport", "websocket")
	ann.awaitText("room", "lobby")
	bob.awaitText("here", "2")
	ann.do(chromedp.SendKeys("#new-room input", "kitchen\r"))
	ann.awaitText("room", "kitchen")
	bob.awaitText("rooms", "kitchen")
	l.cut()
	ann.awaitText("transport", "offline")
	ann.say("between us")
	bob.await("!document.getElementById('rooms').textContent.includes('kitchen')")
	// Others make as many rooms as there may be.
	bob.await(`(() => {
		for (let i = 0; i < 47; i++) new SockeyeClient({auth: {name: "other", room: "r" + i}, transport: "websocket"})
		return true
	})()`)
	bob.await("document.querySelectorAll('#rooms li').length === 50")
	l.restore()
	ann.awaitText("room", "lobby")
	ann.await("document.querySelector('.failed time').textContent === 'not sent: there are too many rooms'")
	ann.say("hello")
	bob.awaitText("log", "hello")
	if got := bob.texts(); got != "hello" {
		t.Errorf("Bob has %s", got)
	}
}
