package sockeye_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

var ctx = context.Background()

// listen serves srv, and returns its URL.
func listen(srv *sockeye.Server) string {
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return "http://" + addr.String()
}

// dial connects a client.
func dial(url string, cfg client.Config) *client.Client {
	c, err := client.Dial(ctx, url, cfg)
	if err != nil {
		panic(err)
	}
	return c
}

// print returns a handler that prints an event, and a function that waits for
// one to be printed.
func print(name string) (handler func(*client.Event), printed func()) {
	done := make(chan struct{}, 100)
	return func(e *client.Event) {
		values, _ := e.Values()
		fmt.Println(name, "got", e.Name, values)
		done <- struct{}{}
	}, func() { <-done }
}

// Contracts: what is emitted is declared. Package contract makes TypeScript of it and of the
// handlers, and in tests each emit is compared with it.
func ExampleEmits() {
	srv, err := sockeye.New(sockeye.Config{
		OnContractError: func(err *sockeye.ContractError) { fmt.Println(err) }, // sockeyetest sets it
	})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	sockeye.Emits[func(from, text string)](srv, "said")
	sockeye.Emits[func(question string) (yes bool)](srv, "agree?")
	_ = srv.Emit("said", "ann", "hello")
	_ = srv.Emit("said", "ann", 7)
	_ = srv.Emit("agree?", "really?")
	// Output:
	// sockeye: "said" of namespace /: value 1: it is a int, and a string is declared: json: cannot unmarshal number into Go value of type string
	// sockeye: "agree?" of namespace /: an answer is declared, and none is asked for; use Call or EmitWithAck
}

// Events: handlers are functions with typed parameters; results answer the
// client's acknowledgement.
func Example_events() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	type message struct {
		Text string   `json:"text"`
		Tags []string `json:"tags"`
	}
	srv.On("say", func(s *sockeye.Socket, m message) error { return s.Emit("said", m.Text, len(m.Tags)) })
	srv.On("divide", func(a, b int) (int, error) {
		if b == 0 {
			return 0, &sockeye.AckError{Message: "cannot divide by zero"}
		}
		return a / b, nil
	})

	c := dial(listen(srv), client.Config{})
	handler, printed := print("client")
	c.On("said", handler)
	_ = c.Emit("say", message{"hello", []string{"a", "b"}})
	printed()
	for _, b := range []int{2, 0} {
		answer, _ := c.Call(ctx, "divide", 10, b)
		values, _ := answer.Values()
		fmt.Println(values...)
	}
	// Output:
	// client got said [hello 2]
	// 5
	// map[error:cannot divide by zero]
}

// Binary is []byte, at any depth.
func Example_binary() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	srv.On("head", func(file map[string]any) []byte { return file["data"].([]byte)[:3] })
	c := dial(listen(srv), client.Config{})
	answer, _ := c.Call(ctx, "head", map[string]any{"name": "x", "data": []byte{1, 2, 3, 4}})
	var head []byte
	fmt.Println(answer.Decode(&head), head)
	// Output: <nil> [1 2 3]
}

// Rooms and broadcasts: a broadcast is encoded once.
func Example_rooms() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	srv.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	url := listen(srv)
	ann, bob := dial(url, client.Config{}), dial(url, client.Config{})
	toAnn, annPrinted := print("ann")
	toBob, bobPrinted := print("bob")
	ann.On("news", toAnn)
	bob.On("news", toBob)
	_, _ = ann.Call(ctx, "join", "red")
	_ = srv.To("red").Emit("news", "for the room")
	annPrinted()
	_ = srv.Except("red").Emit("news", "for all others")
	bobPrinted()
	fmt.Println(len(srv.To("red").Sockets()), "in the room, of", srv.Len())
	// Output:
	// ann got news [for the room]
	// bob got news [for all others]
	// 1 in the room, of 2
}

// Acknowledgements of a client, and of many.
func Example_acknowledgements() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	url := listen(srv)
	for i := range 3 {
		c := dial(url, client.Config{})
		c.On("vote", func(e *client.Event) { _ = e.Ack(i * i) })
	}
	deadline, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answers, err := srv.All().Call(deadline, "vote")
	sum := 0
	for _, a := range answers {
		var n int
		_ = a.Args.Decode(&n)
		sum += n
	}
	fmt.Println(len(answers), "answers, together", sum, err)
	// Output: 3 answers, together 5 <nil>
}

// Middlewares decide who may connect, and which events are handled.
func Example_middleware() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	srv.Use(func(s *sockeye.Socket) error {
		var auth struct{ Name string }
		if err := s.Auth(&auth); err != nil || auth.Name == "" {
			return &sockeye.ConnectError{Message: "who are you?", Data: map[string]int{"code": 401}}
		}
		s.SetData(auth.Name)
		return nil
	})
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
		if e.Name() == "shutdown" && e.Socket().Data() != "root" {
			return &sockeye.AckError{Message: "only root may"}
		}
		return next(ctx)
	})
	srv.On("shutdown", func() string { return "bye" })
	url := listen(srv)
	_, err = client.Dial(ctx, url, client.Config{})
	fmt.Println(err)
	for _, name := range []string{"ann", "root"} {
		c := dial(url, client.Config{Auth: map[string]string{"name": name}})
		answer, _ := c.Call(ctx, "shutdown")
		values, _ := answer.Values()
		fmt.Println(values...)
	}
	// Output:
	// client: the server refuses: who are you?
	// map[error:only root may]
	// bye
}

// Namespaces by name, and made as clients ask for them.
func Example_namespaces() {
	srv, err := sockeye.New(sockeye.Config{CleanupEmptyChildNamespaces: true})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	games := srv.OfPattern(regexp.MustCompile(`/game-\d+`))
	games.On("where", func(s *sockeye.Socket) string { return s.Namespace().Name() })
	srv.OfFunc(func(name string, auth json.RawMessage) bool { return name == "/vip" && len(auth) > 0 })
	url := listen(srv)
	answer, _ := dial(url+"/game-7", client.Config{}).Call(ctx, "where")
	values, _ := answer.Values()
	fmt.Println(values...)
	_, err = client.Dial(ctx, url+"/vip", client.Config{})
	fmt.Println(err)
	// Output:
	// /game-7
	// client: the server refuses: Invalid namespace
}

type hall struct{}

func (hall) OnConnect(s *sockeye.Socket) error     { return s.Join("lobby") }
func (hall) OnRename(s *sockeye.Socket, to string) { s.SetData(to) }
func (hall) OnWhoAmI(s *sockeye.Socket) any        { return s.Data() }

// A namespace as a type: its methods are the handlers.
func Example_classBased() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	srv.Of("/lobby").Register(hall{})
	c := dial(listen(srv)+"/lobby", client.Config{})
	_, _ = c.Call(ctx, "rename", "ann")
	answer, _ := c.Call(ctx, "whoAmI")
	values, _ := answer.Values()
	fmt.Println(values...)
	// Output: ann
}

// Connection state recovery: who comes back in time is the same socket, and gets
// what it has missed. See the tests for one that breaks.
func Example_recovery() {
	srv, err := sockeye.New(sockeye.Config{Recovery: &sockeye.Recovery{MaxDisconnection: time.Minute, MaxBytes: 1 << 20}})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	srv.OnConnect(func(s *sockeye.Socket) error {
		if !s.Recovered() {
			return s.Join("news")
		}
		return nil // it is in its rooms already
	})
	c := dial(listen(srv), client.Config{})
	fmt.Println(c.Recovered(), srv.RecoveryStats().Recovered)
	// Output: false 0
}

// The life of a socket, and who watches its events.
func Example_life() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	gone := make(chan struct{})
	srv.OnAny(func(s *sockeye.Socket, e *sockeye.Event) { fmt.Println("event", e.Name(), e.Len()) })
	srv.OnUnhandled(func(s *sockeye.Socket, e *sockeye.Event) error { return e.Ack("nobody listens") })
	srv.OnDisconnecting(func(s *sockeye.Socket, r sockeye.Reason) { fmt.Println("leaving", s.Rooms()[1:]) })
	srv.OnDisconnect(func(s *sockeye.Socket, r sockeye.Reason) { fmt.Println(r); close(gone) })
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("hall") })
	c := dial(listen(srv), client.Config{})
	answer, _ := c.Call(ctx, "knock", 1, 2)
	values, _ := answer.Values()
	fmt.Println(values...)
	_ = c.Close()
	<-gone
	// Output:
	// event knock 2
	// nobody listens
	// leaving [hall]
	// client namespace disconnect
}

// What peers may do, and for whom: old clients, browsers of other origins,
// compression, handshakes, and other paths.
func Example_options() {
	srv, err := sockeye.New(sockeye.Config{
		AllowEIO3:    true, // clients of Socket.IO 1 and 2
		Origins:      []string{"https://example.org"},
		Credentials:  true,
		MaxPayload:   100_000,
		PingInterval: 10 * time.Second,
		AllowRequest: func(r *sockeye.Request) error {
			if r.Header("User-Agent") == "" {
				return &sockeye.ConnectError{Message: "who are you?"}
			}
			return nil
		},
		Middleware: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Served-By", "sockeye")
				next.ServeHTTP(w, r)
			})
		},
		Deflate:  &sockeye.DeflateConfig{},
		Fallback: http.FileServer(http.Dir(".")),
	})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(ctx)
	resp, err := http.Get(listen(srv) + "/socket.io/?EIO=4&transport=polling")
	fmt.Println(resp.Status, resp.Header.Get("X-Served-By"), err)
	_ = resp.Body.Close()
	// Output: 200 OK sockeye <nil>
}
