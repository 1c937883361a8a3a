package sockeye_test

import (
	"fmt"
	"testing"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

func TestSocketData(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	wiretest.Connect(t, addr)
	s := srv.Sockets()[0]
	if s.Data() != nil || len(s.Session()) != 0 {
		t.Error("not empty at first")
	}
	s.SetData(42)
	s.SaveSession(map[string]any{"user": "ann"})
	s.WithSession(func(m map[string]any) { m["n"] = 1 })
	s.Session()["x"] = "a copy's"
	if got := fmt.Sprint(s.Data(), s.Session()); got != "42 map[n:1 user:ann]" {
		t.Error(got)
	}
}

// TestWithSessionBlocksNobody: an application's function that takes long under the
// session's lock keeps no loop, and no other socket, waiting.
func TestWithSessionBlocksNobody(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	addr, srv := serve(t, sockeye.Config{Loops: 1}, func(srv *sockeye.Server) {
		srv.On("session", func(s *sockeye.Socket) {
			s.WithSession(func(map[string]any) { close(in); <-out })
		})
		srv.On("echo", func(n int) int { return n })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["session"]`)
	within(t, in)
	w.Write(`42["echo",1]`)
	_ = w.Conn.Close()
	other := wiretest.Connect(t, addr)
	other.Write(`420["echo",1]`)
	other.Expect(`430[1]`)
	eventually(t, func() bool { return srv.Len() == 1 })
	close(out)
}
