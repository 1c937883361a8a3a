package sockeye_test

import (
	"strings"
	"testing"
	"time"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

func TestHandshake(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&token=a%20b")
	w.Expect("0{*")
	w.Write(`40{"key":"v"}`)
	w.Expect(`40{*`)
	h := srv.Sockets()[0].Handshake()
	if h.Query.Get("token") != "a b" || h.Address != "127.0.0.1" || h.Secure || h.XDomain || string(h.Auth) != `{"key":"v"}` ||
		h.Headers.Get("Upgrade") == "" || !strings.HasPrefix(h.URL, "/socket.io/?") || time.Since(h.Time) > time.Minute {
		t.Errorf("%+v", h)
	}
}

// TestRemoteAddress: of a poll and of a WebSocket.
func TestRemoteAddress(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	wiretest.ConnectPoll(t, addr)
	wiretest.Connect(t, addr)
	for _, s := range srv.Sockets() {
		if got := s.Handshake().Address; got != "127.0.0.1" {
			t.Errorf("%s: %q", s.Transport(), got)
		}
	}
}
