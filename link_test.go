package sockeye

import (
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/seam"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// TestAttachmentsOfPausedSession: the time of attachments does not count while this side
// does not read them, and all of it is left when it reads on.
func TestAttachmentsOfPausedSession(t *testing.T) {
	const timeout = time.Second
	net := netpolltest.NewNet(1)
	srv, err := New(Config{AttachmentTimeout: timeout, Inline: true, Seams: &seam.Seams{Systems: net.Systems()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		go srv.Shutdown(t.Context())
		net.RunUntil(time.Second, func() bool { return srv.Stats().Net.Open == 0 })
	}()
	var got []string
	srv.On("binary", func(b []byte) { got = append(got, string(b)) })
	peer := net.Dial(0)
	send := func(op ws.OpCode, text string) {
		peer.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, true, []byte(text)))))
		net.Run()
	}
	peer.Write([]byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	net.Run()
	send(ws.OpText, "40")
	if !net.RunUntil(10*time.Second, func() bool { return srv.Len() == 1 && srv.Stats().ActiveSockets == 0 }) {
		t.Fatal("not connected")
	}
	session := srv.Sockets()[0].engineSession()
	for i, step := range []struct {
		paused, before time.Duration // until the attachment comes
		arrives        bool
	}{{3 * timeout, 0, true}, {3 * timeout, timeout - time.Millisecond, true}, {3 * timeout, timeout, false}} {
		got = nil
		send(ws.OpText, `451-["binary",{"_placeholder":true,"num":0}]`)
		net.Advance(timeout - time.Millisecond)
		session.Loop().PostNow(func(_, _ any) { session.Pause() }, nil, nil, 0)
		net.Run()
		net.Advance(step.paused)
		session.Loop().PostNow(func(_, _ any) { linkOf(session).pace() }, nil, nil, 0)
		net.Run()
		net.Advance(step.before)
		send(ws.OpBinary, "abc")
		if fmt.Sprint(got) == "[abc]" != step.arrives || session.Open() != step.arrives {
			t.Errorf("%d: got %q, open %v", i, got, session.Open())
		}
	}
}
