package sockeye_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/sockeye-io/sockeye"
)

// A chat server, and a request that the client wants answered.
func Example() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("lobby") }) // a returned error refuses the connection
	srv.On("chat", func(s *sockeye.Socket, text string) { srv.To("lobby").Emit("chat", text) })
	srv.On("sum", func(s *sockeye.Socket, a, b int) int { return a + b }) // results answer the client's ack

	addr, err := srv.Listen("tcp", "127.0.0.1:0") // or ListenAndServe(":3000"), which blocks
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("serving on", addr.Network())
	fmt.Println(srv.Shutdown(context.Background()))
	// Output:
	// serving on tcp
	// <nil>
}

// A middleware decides who may connect, and files are served beside.
func ExampleNamespace_Use() {
	srv, err := sockeye.New(sockeye.Config{
		Fallback: http.FileServer(http.Dir("public")), // requests for other paths than /socket.io/
	})
	if err != nil {
		log.Fatal(err)
	}
	srv.Use(func(s *sockeye.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil || auth.Token == "" {
			return &sockeye.ConnectError{Message: "not authorized"}
		}
		return nil
	})
	srv.On("join", func(s *sockeye.Socket, room string) ([]string, error) {
		err := s.Join(room)
		return s.Rooms(), err
	})
	srv.On("say", func(s *sockeye.Socket, room, text string) error {
		return s.To(room).Emit("say", s.ID(), text) // everyone in the room but s
	})
	srv.OnDisconnect(func(s *sockeye.Socket, reason sockeye.Reason) { log.Println(s.ID(), reason) })
	fmt.Println(srv.Shutdown(context.Background()))
	// Output: <nil>
}

// The undecoded form has no reflection: arguments are views, passed on as they
// are.
func ExampleNamespace_On_undecoded() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/relay").On("echo", func(s *sockeye.Socket, e *sockeye.Event) error {
		if e.HasAck() {
			return e.Ack(e.Arguments()...)
		}
		return s.Emit("echo", e.Arguments()...)
	})
	fmt.Println(srv.Shutdown(context.Background()))
	// Output: <nil>
}

// A wrong signature is refused when it is registered.
func ExampleNamespace_On_refused() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	defer func() { fmt.Println(recover()) }()
	srv.On("sum", func(a int, s *sockeye.Socket) int { return a })
	// Output: sockeye: On("sum"): parameter 1, a *sockeye.Socket, must come first; a handler is func([ctx context.Context,] [s *Socket,] args...) (results..., error) or func(*Socket, *Event) error, not func(int, *sockeye.Socket) int
}

// Call asks the peer, and waits for its answer.
func ExampleSocket_Call() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	srv.On("order", func(s *sockeye.Socket, dish string) error {
		answer, err := s.Call(context.Background(), "confirm", dish) // give it a deadline
		if err != nil {
			return err
		}
		var yes bool
		if err := answer.Decode(&yes); err != nil || !yes {
			return &sockeye.AckError{Message: "not confirmed"}
		}
		return s.To("kitchen").Emit("order", dish)
	})
	fmt.Println(srv.Shutdown(context.Background()))
	// Output: <nil>
}
