// Command socketio is the server that the test suite of npm's socket.io-client
// runs against: what that suite expects of its own support server, in Go.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/interop/run"
)

func main() {
	addr := run.Address("127.0.0.1:3210")
	eio3 := flag.Bool("eio3", false, "serve clients of Socket.IO 1 and 2 as well")
	flag.Parse()
	if err := serve(*addr, *eio3); err != nil {
		log.Fatal(err)
	}
}

func serve(addr string, eio3 bool) error {
	srv, err := sockeye.New(sockeye.Config{
		PingInterval: 2 * time.Second,
		AllowEIO3:    eio3,
		AllowRequest: func(*engine.Request) error { time.Sleep(10 * time.Millisecond); return nil },
		Recovery:     &sockeye.Recovery{},
	})
	if err != nil {
		return err
	}
	namespaces(srv)
	events(srv)
	return run.UntilSignal(addr, run.Server{Listen: srv.Listen, Shutdown: srv.Shutdown})
}

// namespaces are the ones that clients join.
func namespaces(srv *sockeye.Server) {
	for _, name := range []string{"/timeout_socket", "/valid", "/asd"} {
		srv.Of(name)
	}
	srv.Of("/foo").On("getId", func(s *sockeye.Socket) string { return s.ID() })
	srv.Of("/abc").OnConnect(func(s *sockeye.Socket) error { return s.Emit("handshake", handshake(s)) })
	srv.Of("/no").Use(func(*sockeye.Socket) error { return &sockeye.ConnectError{Message: "Auth failed (custom namespace)"} })
	srv.Use(func(s *sockeye.Socket) error {
		if s.Handshake().Query.Get("fail") != "" {
			return &sockeye.ConnectError{Message: "Auth failed (main namespace)"}
		}
		return nil
	})
}

// handshake is a socket's handshake as the Node server's object has it.
func handshake(s *sockeye.Socket) map[string]any {
	h := s.Handshake()
	query := map[string]string{}
	for k, v := range h.Query {
		query[k] = v[0]
	}
	headers := map[string]string{}
	for k := range h.Headers {
		headers[k] = h.Headers.Get(k)
	}
	auth := h.Auth
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	return map[string]any{
		"headers": headers, "query": query, "auth": auth, "url": h.URL, "address": h.Address,
		"time": h.Time.Format(time.RFC1123), "issued": h.Time.UnixMilli(), "secure": h.Secure, "xdomain": h.XDomain,
	}
}

// isoDate is a date as JSON has JavaScript's.
func isoDate() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// events are those of the main namespace.
func events(srv *sockeye.Server) {
	srv.On("hi", func(s *sockeye.Socket) error { return s.Emit("hi") })
	srv.On("echo", func(s *sockeye.Socket, e *sockeye.Event) error {
		if e.Len() > 0 {
			return e.Ack(e.Argument(0))
		}
		return e.Ack()
	})
	// The undecoded form: this event is not acknowledged.
	srv.On("ack", func(s *sockeye.Socket, _ *sockeye.Event) error {
		return s.EmitWithAck(func(answer sockeye.Args, err error) {
			var a int
			var b struct{ Test bool }
			if err == nil && answer.Decode(&a, &b) == nil && a == 5 && b.Test {
				_ = s.Emit("got it")
			}
		}, "ack")
	})
	srv.On("getAckDate", func(any) string { return isoDate() })
	srv.On("getDate", func(s *sockeye.Socket) error { return s.Emit("takeDate", isoDate()) })
	srv.On("getDateObj", func(s *sockeye.Socket) error {
		return s.Emit("takeDateObj", map[string]string{"date": isoDate()})
	})
	srv.On("getUtf8", func(s *sockeye.Socket) {
		for _, text := range []string{"てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"} {
			_ = s.Emit("takeUtf8", text)
		}
	})
	srv.On("false", func(s *sockeye.Socket) error { return s.Emit("false", false) })
	srv.On("getHandshake", func(s *sockeye.Socket) map[string]any { return handshake(s) })
	srv.On("getId", func(s *sockeye.Socket) string { return s.ID() })
	binaryEvents(srv)
}

// binaryEvents are those with attachments. Some answer only if the events came
// in order.
func binaryEvents(srv *sockeye.Server) {
	srv.On("doge", func(s *sockeye.Socket) error { return s.Emit("doge", []byte("asdfasdf")) })
	srv.On("getbin", func(s *sockeye.Socket) error { return s.Emit("takebin", []byte("asdfasdf")) })
	answer := func(event string) func(*sockeye.Socket, []byte) error {
		return func(s *sockeye.Socket, b []byte) error {
			if b == nil {
				return errors.New("no binary came")
			}
			return s.Emit(event)
		}
	}
	srv.On("buffa", answer("buffack"))
	type mixed struct {
		Hello, Goodbye string
		Message        []byte
	}
	whole := func(m mixed) bool { return m.Hello == "lol" && m.Message != nil && m.Goodbye == "gotcha" }
	for event, reply := range map[string]string{"jsonbuff": "jsonbuff-ack", "jsonblob": "jsonblob-ack"} {
		srv.On(event, func(s *sockeye.Socket, m mixed) error {
			if !whole(m) {
				return fmt.Errorf("%s came as %+v", event, m)
			}
			return s.Emit(reply)
		})
	}
	srv.On("blob", answer("back"))
	inOrder(srv, "abuff2-ack", "abuff1", "abuff2")
	inOrder(srv, "blob3-ack", "blob1", "blob2", "blob3")
}

// inOrder answers the last event if the others came before it.
func inOrder(srv *sockeye.Server, answer string, events ...string) {
	for i, event := range events {
		srv.On(event, func(s *sockeye.Socket, _ *sockeye.Event) (err error) {
			s.WithSession(func(m map[string]any) {
				if n, _ := m[answer].(int); n == i {
					m[answer] = i + 1
				}
			})
			if i == len(events)-1 && s.Session()[answer] == len(events) {
				err = s.Emit(answer)
			}
			return err
		})
	}
}
