// Command start is the server of docs/three-chats.md, beside app.py and server.js, which do
// the same.
package main

import (
	"cmp"
	"log"
	"net/http"
	"os"

	"github.com/sockeye-io/sockeye"
)

type message struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func newChat() (*sockeye.Server, error) {
	srv, err := sockeye.New(sockeye.Config{
		Fallback: http.FileServer(http.Dir("public")), // requests for other paths than /socket.io/
	})
	if err != nil {
		return nil, err
	}
	srv.OnConnect(func(s *sockeye.Socket) error {
		var auth struct {
			Name string `json:"name"`
		}
		if err := s.Auth(&auth); err != nil || auth.Name == "" {
			return &sockeye.ConnectError{Message: "what is your name?"}
		}
		s.SetData(auth.Name)
		return nil
	})
	srv.On("join", func(s *sockeye.Socket, room string) (int, error) {
		err := s.Join(room)
		return len(srv.To(room).Sockets()), err
	})
	srv.On("say", func(s *sockeye.Socket, room, text string) error {
		return srv.To(room).Emit("say", message{s.Data().(string), text})
	})
	srv.OnDisconnect(func(s *sockeye.Socket, reason sockeye.Reason) {
		log.Println(s.Data(), "has gone:", reason)
	})
	return srv, nil
}

func main() {
	srv, err := newChat()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(srv.ListenAndServe(":" + cmp.Or(os.Getenv("PORT"), "3000")))
}
