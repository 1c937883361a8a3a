package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// audience makes a server with clients, each in the room of its name and in "all".
// heard prints what they have got since it was called before.
func audience(names ...string) (srv *sockeye.Server, heard func()) {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	srv.OnConnect(func(s *sockeye.Socket) error {
		var auth struct{ Name string }
		_ = s.Auth(&auth)
		s.SetData(auth.Name)
		return s.Join(auth.Name, "all")
	})
	var mu sync.Mutex
	var lines []string
	ends := make(chan struct{}, len(names))
	url := listen(srv)
	for _, name := range names {
		c := dial(url, client.Config{Auth: map[string]string{"name": name}, Transports: []string{"websocket"}})
		c.OnAny(func(e *client.Event) {
			values, _ := e.Values()
			mu.Lock()
			defer mu.Unlock()
			if e.Name == "end" {
				ends <- struct{}{}
				return
			}
			lines = append(lines, fmt.Sprint(name, " got ", e.Name, " ", values))
			_ = e.Ack("thanks from " + name)
		})
	}
	return srv, func() {
		there := len(srv.Sockets())
		_ = srv.Emit("end") // what was emitted before comes before this
		for range there {
			<-ends
		}
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(lines)
		for _, line := range lines {
			fmt.Println(line)
		}
		lines = nil
	}
}

// named is the socket of a client of audience.
func named(srv *sockeye.Server, name string) *sockeye.Socket { return srv.To(name).Sockets()[0] }

// To addresses rooms; who is in several of them gets the event once.
func ExampleOperator_To() {
	srv, heard := audience("ann", "bob", "eve")
	defer srv.Close()
	_ = srv.To("ann").To("bob", "ann").Emit("news", 1)
	heard()
	// Output:
	// ann got news [1]
	// bob got news [1]
}

func ExampleOperator_Except() {
	srv, heard := audience("ann", "bob", "eve")
	defer srv.Close()
	_ = srv.To("all").Except("bob").Emit("news", 1)
	heard()
	// Output:
	// ann got news [1]
	// eve got news [1]
}

// Send emits the event "message".
func ExampleOperator_Send() {
	srv, heard := audience("ann", "bob")
	defer srv.Close()
	_ = srv.All().Send("hello")
	heard()
	// Output:
	// ann got message [hello]
	// bob got message [hello]
}

// What is volatile is dropped for a peer that has not read what came before.
func ExampleOperator_Volatile() {
	srv, heard := audience("ann")
	defer srv.Close()
	heard() // it has read everything
	_ = srv.To("all").Volatile().Emit("position", 3, 4)
	heard()
	// Output: ann got position [3 4]
}

// Messages are compressed by Config.Deflate; those that will not shrink need not be.
func ExampleOperator_Compress() {
	srv, heard := audience("ann")
	defer srv.Close()
	_ = srv.To("all").Compress(false).Emit("image", "a JPEG")
	heard()
	// Output: ann got image [a JPEG]
}

// Emit waits while too many broadcasts are under way, until the context is done.
func ExampleOperator_Context() {
	srv, heard := audience("ann")
	defer srv.Close()
	deadline, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	fmt.Println(srv.To("all").Context(deadline).Emit("news", 1))
	heard()
	// Output:
	// <nil>
	// ann got news [1]
}

// Call asks all and waits for the answers that come in time.
func ExampleOperator_Call() {
	srv, _ := audience("ann", "bob")
	defer srv.Close()
	answers, err := srv.To("all").Timeout(5*time.Second).Call(ctx, "present", "for you")
	var texts []string
	for _, a := range answers {
		var text string
		_ = a.Args.Decode(&text)
		texts = append(texts, text)
	}
	slices.Sort(texts)
	fmt.Println(texts, err)
	// Output: [thanks from ann thanks from bob] <nil>
}

// EmitWithAck asks without waiting.
func ExampleOperator_EmitWithAck() {
	srv, _ := audience("ann", "bob")
	defer srv.Close()
	done := make(chan struct{})
	err := srv.To("all").EmitWithAck(func(answers []sockeye.Answer, err error) {
		fmt.Println(len(answers), "answers,", err)
		close(done)
	}, "present", "for you")
	fmt.Println("asked,", err)
	<-done
	// Unordered output:
	// asked, <nil>
	// 2 answers, <nil>
}

// Timeout is how long EmitWithAck waits for answers, and Emit for its turn.
func ExampleOperator_Timeout() {
	srv, _ := audience("ann")
	defer srv.Close()
	_, err := srv.To("nobody").Timeout(time.Second).Call(ctx, "present")
	fmt.Println(err)
	// Output: <nil>
}

// Whole rooms can be moved.
func ExampleOperator_Join() {
	srv, heard := audience("ann", "bob")
	defer srv.Close()
	srv.To("ann", "bob").Join("couple")
	_ = srv.To("couple").Emit("news", 1)
	heard()
	// Output:
	// ann got news [1]
	// bob got news [1]
}

func ExampleOperator_Leave() {
	srv, heard := audience("ann", "bob")
	defer srv.Close()
	srv.To("bob").Leave("all")
	_ = srv.To("all").Emit("news", 1)
	heard()
	// Output: ann got news [1]
}

// Disconnect takes sockets out of their namespace; their sessions go on.
func ExampleOperator_Disconnect() {
	srv, heard := audience("ann", "bob")
	defer srv.Close()
	gone := make(chan sockeye.Reason, 3)
	srv.OnDisconnect(func(s *sockeye.Socket, reason sockeye.Reason) { gone <- reason })
	srv.To("bob").Disconnect()
	fmt.Println(<-gone)
	_ = srv.Emit("news", 1)
	heard()
	// Output:
	// server namespace disconnect
	// ann got news [1]
}

// CloseSession ends the sessions, with all of their namespaces.
func ExampleOperator_CloseSession() {
	srv, heard := audience("ann", "bob")
	defer srv.Close()
	gone := make(chan sockeye.Reason, 3)
	srv.OnDisconnect(func(s *sockeye.Socket, reason sockeye.Reason) { gone <- reason })
	srv.To("bob").CloseSession()
	fmt.Println(<-gone)
	_ = srv.Emit("news", 1)
	heard()
	// Output:
	// server namespace disconnect
	// ann got news [1]
}

func ExampleOperator_Sockets() {
	srv, _ := audience("ann", "bob", "eve")
	defer srv.Close()
	var names []string
	for _, s := range srv.To("all").Except("eve").Sockets() {
		names = append(names, s.Data().(string))
	}
	slices.Sort(names)
	fmt.Println(names)
	// Output: [ann bob]
}

// An event for one client. To(id) reaches it as well, by its ID.
func ExampleSocket_Emit() {
	srv, heard := audience("ann", "bob")
	defer srv.Close()
	ann := named(srv, "ann")
	_ = ann.Emit("news", "a", 1, []byte("binary"))
	_ = srv.To(ann.ID()).Emit("news", "b")
	heard()
	// Output:
	// ann got news [a 1 [98 105 110 97 114 121]]
	// ann got news [b]
}

// A socket's To leaves the socket itself out.
func ExampleSocket_To() {
	srv, heard := audience("ann", "bob", "eve")
	defer srv.Close()
	_ = named(srv, "ann").To("all").Emit("news", 1)
	heard()
	// Output:
	// bob got news [1]
	// eve got news [1]
}

// Broadcast addresses everyone else in the namespace.
func ExampleSocket_Broadcast() {
	srv, heard := audience("ann", "bob")
	defer srv.Close()
	_ = named(srv, "ann").Broadcast().Emit("typing", "ann")
	heard()
	// Output: bob got typing [ann]
}

func ExampleSocket_EmitWithAck() {
	srv, _ := audience("ann")
	defer srv.Close()
	done := make(chan struct{})
	_ = named(srv, "ann").EmitWithAck(func(answer sockeye.Args, err error) {
		var text string
		fmt.Println(errors.Join(err, answer.Decode(&text)), text)
		close(done)
	}, "present")
	<-done
	// Output: <nil> thanks from ann
}

// Timeout bounds how long one emit waits for a peer that reads slowly.
func ExampleSocket_Timeout() {
	srv, heard := audience("ann")
	defer srv.Close()
	fmt.Println(named(srv, "ann").Timeout(time.Second).Emit("news", 1))
	heard()
	// Output:
	// <nil>
	// ann got news [1]
}

// Flush waits until what was emitted has left, before a Disconnect for instance.
func ExampleSocket_Flush() {
	srv, heard := audience("ann")
	defer srv.Close()
	ann := named(srv, "ann")
	_ = ann.Emit("bye", 1)
	fmt.Println(ann.Flush(ctx), ann.QueuedBytes())
	heard()
	// Output:
	// <nil> 0
	// ann got bye [1]
}

// A session is a map that belongs to a socket; WithSession changes it.
func ExampleSocket_WithSession() {
	srv, _ := audience("ann")
	defer srv.Close()
	ann := named(srv, "ann")
	ann.WithSession(func(m map[string]any) { m["visits"] = 1 })
	fmt.Println(ann.Session()["visits"])
	// Output: 1
}
