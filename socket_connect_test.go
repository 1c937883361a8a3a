package sockeye_test

import (
	"strings"
	"testing"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// Socket.IO: a middleware's emits come before the connect answer, OnConnect's
// behind it.
func TestEmitInAMiddleware(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.Use(func(s *sockeye.Socket) error { return s.Emit("early", s.ID()) })
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Emit("late") })
	})
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	w.Write("40")
	id := strings.TrimSuffix(strings.TrimPrefix(w.Expect(`42["early",*`), `42["early","`), `"]`)
	w.Expect(`40{"sid":"` + id + `"}`)
	w.Expect(`42["late"]`)
}
