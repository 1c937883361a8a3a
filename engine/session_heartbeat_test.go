package engine

import (
	"bytes"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// TestPongsOfALongPause: a session that was paused for hours is given all of its pongs
// at once; they were asked for. As many that were not are a flood.
func TestPongsOfALongPause(t *testing.T) {
	for _, paused := range []bool{true, false} {
		h := &benchHandler{}
		e := mustNew(Config{PingInterval: time.Second, PingTimeout: time.Second}, h)
		n := netpolltest.New(netpoll.Config{}, Mux{e}, 1)
		p := n.Dial(0)
		p.Write([]byte("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		n.Run()
		pong := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("3"))))
		post := func(f func()) {
			h.s.Loop().Post(func(_, _ any) { f() }, nil, nil, 0)
			n.Run()
		}
		p.Read()
		pings := 3000
		if paused {
			post(h.s.Pause)
			n.Advance(time.Duration(pings) * time.Second)
			if got := bytes.Count(p.Read(), []byte("2")); got != pings {
				t.Fatalf("%d pings in a pause of %d s", got, pings)
			}
		}
		p.Write(bytes.Repeat(pong, pings))
		n.Run()
		post(h.s.Resume)
		if open := h.s.Open(); open != paused {
			t.Errorf("paused %v: the session lives: %v", paused, open)
		}
		n.Advance(990 * time.Millisecond)
		if open := h.s.Open(); open != paused {
			t.Errorf("paused %v: the session lives a second later: %v", paused, open)
		}
	}
}
