package sockeye_test

import (
	"testing"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

type lobby struct{ seen *notes }

func (l *lobby) OnConnect(s *sockeye.Socket) error {
	l.seen.add("connect")
	return s.Join("room")
}

func (l *lobby) OnDisconnecting(s *sockeye.Socket, r sockeye.Reason) {
	l.seen.add("disconnecting from %d rooms", len(s.Rooms()))
}

func (l *lobby) OnDisconnect(s *sockeye.Socket, r sockeye.Reason) {
	l.seen.add("disconnect %s %d", r, len(s.Rooms()))
}

func (l *lobby) OnChatMessage(s *sockeye.Socket, text string) string { return text + "!" }

func (l *lobby) OnSpecial() string { return "special" }

func (l *lobby) EventNames() map[string]string {
	return map[string]string{"OnSpecial": "very special"}
}

func (l *lobby) Helper() {}

func TestRegister(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) { srv.Of("/lobby").Register(&lobby{&seen}) })
	w := wiretest.Connect(t, addr)
	w.Write(`40/lobby,`)
	w.Expect(`40/lobby,{*`)
	w.Write(`42/lobby,1["chatMessage","hi"]`)
	w.Expect(`43/lobby,1["hi!"]`)
	w.Write(`42/lobby,2["very special"]`)
	w.Expect(`43/lobby,2["special"]`)
	w.Write(`41/lobby,`)
	seen.expect(t, "connect", "disconnecting from 2 rooms", "disconnect client namespace disconnect 0")
	for name, v := range map[string]any{"no methods": struct{}{}, "a wrong one": wrongLobby{}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			srv.Register(v)
		}()
	}
}

type wrongLobby struct{}

func (wrongLobby) OnConnect(string) {}
