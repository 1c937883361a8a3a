package sockeye_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// server makes a server and serves it.
func server(cfg sockeye.Config) (srv *sockeye.Server, url string) {
	srv, err := sockeye.New(cfg)
	if err != nil {
		panic(err)
	}
	return srv, listen(srv)
}

// OnConnect decides: its error refuses the connection. The peer has not been told yet
// that it is in.
func ExampleNamespace_OnConnect() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	srv.OnConnect(func(s *sockeye.Socket) error {
		if srv.Len() > 1 {
			return &sockeye.ConnectError{Message: "full"}
		}
		return s.Join("lobby")
	})
	_, err := client.Dial(ctx, url, client.Config{})
	fmt.Println(err)
	_, err = client.Dial(ctx, url, client.Config{})
	fmt.Println(err)
	// Output:
	// <nil>
	// client: the server refuses: full
}

// OnConnection is called when the peer has been told that it is in, so it can be asked.
func ExampleNamespace_OnConnection() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	asked := make(chan struct{})
	srv.OnConnection(func(s *sockeye.Socket) {
		defer close(asked)
		answer, err := s.Call(ctx, "who are you?")
		var name string
		fmt.Println(errors.Join(err, answer.Decode(&name)), name)
	})
	c, _ := client.New(url, client.Config{})
	c.On("who are you?", func(e *client.Event) { _ = e.Ack("ann") })
	_ = c.Connect(ctx)
	defer c.Close()
	<-asked
	// Output: <nil> ann
}

// OnDisconnecting is called before OnDisconnect; Rooms still has the rooms then.
func ExampleNamespace_OnDisconnecting() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	gone := make(chan struct{})
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("hall") })
	srv.OnDisconnecting(func(s *sockeye.Socket, _ sockeye.Reason) { fmt.Println("left", s.Rooms()[1:]) })
	srv.OnDisconnect(func(_ *sockeye.Socket, reason sockeye.Reason) { fmt.Println(reason); close(gone) })
	_ = dial(url, client.Config{}).Close()
	<-gone
	// Output:
	// left [hall]
	// client namespace disconnect
}

// OnUpgrade is called when a session that began with long-polling has become a
// WebSocket.
func ExampleNamespace_OnUpgrade() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	upgraded := make(chan string)
	srv.OnUpgrade(func(s *sockeye.Socket) { upgraded <- s.Transport() })
	c := dial(url, client.Config{Transports: []string{"polling", "websocket"}})
	defer c.Close()
	fmt.Println(<-upgraded)
	// Output: websocket
}

// OnUnhandled gets the events that have no handler.
func ExampleNamespace_OnUnhandled() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	srv.OnUnhandled(func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack("there is no " + e.Name()) })
	answer, _ := dial(url, client.Config{}).Call(ctx, "tea")
	values, _ := answer.Values()
	fmt.Println(values...)
	// Output: there is no tea
}

// OnAny sees every event before its handler does, OnAnyOutgoing every one that is sent.
func ExampleNamespace_OnAny() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	srv.OnAny(func(_ *sockeye.Socket, e *sockeye.Event) { fmt.Println("in", e.Name(), e.Len()) })
	srv.OnAnyOutgoing(func(_ *sockeye.Socket, event string, args []any) { fmt.Println("out", event, args) })
	srv.On("ping me", func(s *sockeye.Socket) error { return s.Emit("here", 1) })
	_, _ = dial(url, client.Config{}).Call(ctx, "ping me")
	// Output:
	// in ping me 0
	// out here [1]
}

// UseEvents decides which events are handled, and sees how that ends; its error answers
// the peer.
func ExampleNamespace_UseEvents() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
		err := next(ctx) // the handler, and how long it takes
		fmt.Println(e.Name(), err)
		return err
	})
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
		if e.Name() == "format disk" {
			return &sockeye.AckError{Message: "no"}
		}
		return next(ctx)
	})
	srv.On("format disk", func() string { return "done" })
	answer, _ := dial(url, client.Config{}).Call(ctx, "format disk")
	values, _ := answer.Values()
	fmt.Println(values...)
	// Output:
	// format disk no
	// map[error:no]
}

// OnRoom tells of rooms: the first socket makes one, the last one ends it.
func ExampleNamespace_OnRoom() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	ended := make(chan struct{})
	srv.OnRoom(func(e sockeye.RoomEvent) {
		fmt.Println(e.Kind, e.Room)
		if e.Kind == sockeye.DeleteRoom {
			close(ended)
		}
	})
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("hall") })
	_ = dial(url, client.Config{}).Close()
	<-ended
	// Output:
	// create-room hall
	// join-room hall
	// leave-room hall
	// delete-room hall
}

// OnError gets what handlers return, and their panics. The peer is told "internal
// error", unless it is an AckError.
func ExampleServer_OnError() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	told := make(chan struct{})
	srv.OnError(func(_ *sockeye.Socket, event string, err error) { fmt.Println(event, "failed:", err); close(told) })
	srv.On("save", func() (bool, error) { return false, errors.New("disk full") })
	answer, _ := dial(url, client.Config{}).Call(ctx, "save")
	<-told
	values, _ := answer.Values()
	fmt.Println(values...)
	// Output:
	// save failed: disk full
	// map[error:internal error]
}

// OnNamespace is called for each namespace that is made.
func ExampleServer_OnNamespace() {
	srv, _ := server(sockeye.Config{})
	defer srv.Close()
	srv.OnNamespace(func(ns *sockeye.Namespace) { fmt.Println(ns.Name()) })
	srv.Of("/admin")
	// Output: /admin
}

// AckLater answers after the handler has returned.
func ExampleEvent_AckLater() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	srv.On("slow", func(_ *sockeye.Socket, e *sockeye.Event) error {
		answer := e.AckLater()
		go func() { _ = answer("at last") }()
		return nil
	})
	answer, _ := dial(url, client.Config{}).Call(ctx, "slow")
	values, _ := answer.Values()
	fmt.Println(values...)
	// Output: at last
}

// Once handles an event one time for a namespace's or socket's life.
func ExampleSocket_Once() {
	srv, url := server(sockeye.Config{})
	defer srv.Close()
	srv.OnConnect(func(s *sockeye.Socket) error {
		s.Once("name", func(name string) string { s.SetData(name); return "hello " + name })
		return nil
	})
	srv.OnUnhandled(func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack("you have a name") })
	c := dial(url, client.Config{})
	for _, name := range []string{"ann", "bob"} {
		answer, _ := c.Call(ctx, "name", name)
		values, _ := answer.Values()
		fmt.Println(values...)
	}
	// Output:
	// hello ann
	// you have a name
}
