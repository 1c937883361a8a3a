// Package events is what the servers of the interoperability tests do.
package events

import (
	"context"
	"time"

	sockeye "github.com/sockeye-io/sockeye"
)

// oddName is an event name that needs every kind of JSON escape.
const oddName = "odd \"name\"\n\\ é\u2028😀"

// Register gives a namespace the events that the tests use.
func Register(ns *sockeye.Namespace) {
	ns.OnConnect(func(s *sockeye.Socket) error {
		auth := map[string]any{}
		if err := s.Auth(&auth); err != nil {
			return err
		}
		return s.Emit("auth", auth)
	})
	ns.OnDisconnect(func(s *sockeye.Socket, reason sockeye.Reason) {
		_ = ns.To("watch:"+s.ID()).Emit("gone", s.ID(), string(reason))
	})
	registerSuite(ns)
	registerRooms(ns)
	registerAcks(ns)
	registerFaults(ns)
}

// registerSuite registers what the public Socket.IO protocol suite asks for,
// and echoes.
func registerSuite(ns *sockeye.Namespace) {
	ns.On("message", func(s *sockeye.Socket, e *sockeye.Event) error {
		return s.Emit("message-back", e.Arguments()...)
	})
	ns.On("message-with-ack", func(_ *sockeye.Socket, e *sockeye.Event) error {
		return e.Ack(e.Arguments()...)
	})
	for _, name := range []string{"echo", oddName} {
		ns.On(name, func(s *sockeye.Socket, e *sockeye.Event) error {
			if e.HasAck() {
				return e.Ack(e.Arguments()...)
			}
			return s.Emit(name, e.Arguments()...)
		})
	}
	ns.On("whoami", func(s *sockeye.Socket) map[string]string {
		return map[string]string{"id": s.ID(), "transport": s.Transport(), "namespace": ns.Name()}
	})
	ns.On("burst", func(s *sockeye.Socket, n int) error {
		for i := range n {
			if err := s.Emit("numbered", i); err != nil {
				return err
			}
		}
		return nil
	})
}

func registerRooms(ns *sockeye.Namespace) {
	ns.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	ns.On("leave", func(s *sockeye.Socket, room string) { s.Leave(room) })
	ns.On("rooms", func(s *sockeye.Socket) []string { return s.Rooms() })
	ns.On("bcast", func(_ *sockeye.Socket, arg sockeye.Argument) error { return ns.Emit("bcast", arg) })
	ns.On("others", func(s *sockeye.Socket, arg sockeye.Argument) error { return s.Broadcast().Emit("others", arg) })
	ns.On("room", func(_ *sockeye.Socket, room string, arg sockeye.Argument) error {
		return ns.To(room).Emit("room", arg)
	})
	ns.On("room-except", func(_ *sockeye.Socket, room, except string, arg sockeye.Argument) error {
		return ns.To(room).Except(except).Emit("room", arg)
	})
	ns.On("watch", func(s *sockeye.Socket, id string) error { return s.Join("watch:" + id) })
}

// registerAcks registers events that ask the peer in return, and typed
// handlers, whose results are the answer.
func registerAcks(ns *sockeye.Namespace) {
	ns.On("ask", func(s *sockeye.Socket, e *sockeye.Event) error {
		return s.EmitWithAck(func(answer sockeye.Args, err error) {
			if err != nil {
				_ = s.Emit("unanswered", err.Error())
				return
			}
			_ = s.Emit("answered", answer.Arguments()...)
		}, "question", e.Arguments()...)
	})
	ns.On("ask-and-wait", func(s *sockeye.Socket, e *sockeye.Event) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		answer, err := s.Call(ctx, "question", e.Arguments()...)
		if err != nil {
			return err
		}
		return e.Ack(answer.Arguments()...)
	})
	ns.On("sum", func(_ *sockeye.Socket, a, b int) int { return a + b })
	ns.On("swap", func(_ *sockeye.Socket, a, b []byte) ([]byte, []byte) { return b, a })
	type letter struct {
		Subject string `json:"subject"`
		Body    []byte `json:"body"`
	}
	ns.On("letter", func(_ *sockeye.Socket, l letter) (string, []byte) { return l.Subject, l.Body })
}

func registerFaults(ns *sockeye.Namespace) {
	ns.On("kick", func(s *sockeye.Socket, closeSession bool) {
		if closeSession {
			s.CloseSession()
		} else {
			s.Disconnect()
		}
	})
	ns.On("panic", func(*sockeye.Socket, *sockeye.Event) error { panic("as the test asked") })
}

// RegisterRefused lets in only who knows the word.
func RegisterRefused(ns *sockeye.Namespace) {
	ns.Use(func(s *sockeye.Socket) error {
		var auth struct{ Word string }
		if err := s.Auth(&auth); err != nil {
			return err
		}
		if auth.Word != "please" {
			return &sockeye.ConnectError{Message: "not authorized", Data: map[string]any{"code": 401, "hint": "say please"}}
		}
		return nil
	})
	ns.OnConnect(func(s *sockeye.Socket) error { return s.Emit("welcome") })
}
