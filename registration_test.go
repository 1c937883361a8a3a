package sockeye_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// panics is what f panics with, as text; "" for nothing.
func panics(f func()) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

// TestRegistrationsThatCannotWork are refused at once: names that no event has,
// parameters that nothing can be decoded into, results that cannot be encoded, nil.
func TestRegistrationsThatCannotWork(t *testing.T) {
	_, srv := serve(t, sockeye.Config{}, nil)
	type holdsChannel struct{ C chan int }
	for want, f := range map[string]func(){
		"see OnConnect":         func() { srv.On("connection", func() {}) },
		"is the protocol's own": func() { srv.On("connect", func() {}) },
		"see OnAny":             func() { srv.On("*", func() {}) },
		"has no name":           func() { srv.On("", func() {}) },
		"stands alone":          func() { srv.On("x", func(*sockeye.Socket, string, *sockeye.Event) {}) },
		"take *Socket or":       func() { srv.On("x", func(sockeye.Event) {}) },
		"take any":              func() { srv.On("x", func(error) {}) },
		"a fmt.Stringer":        func() { srv.On("x", func(fmt.Stringer) {}) },
		"keys of":               func() { srv.On("x", func(map[bool]int) {}) },
		"field C":               func() { srv.On("x", func(holdsChannel) {}) },
		"complex128":            func() { srv.On("x", func([]complex128) {}) },
		"chan int":              func() { srv.On("x", func() chan int { return nil }) },
		"result 0":              func() { srv.On("x", func() func() { return nil }) },
		"result 1":              func() { srv.On("x", func() (int, map[string]chan int) { return 0, nil }) },
		"OnConnect: the":        func() { srv.OnConnect(nil) },
		"OnConnection":          func() { srv.OnConnection(nil) },
		"OnDisconnect:":         func() { srv.OnDisconnect(nil) },
		"OnDisconnecting:":      func() { srv.OnDisconnecting(nil) },
		"OnAny:":                func() { srv.OnAny(nil) },
		"OnAnyOutgoing:":        func() { srv.OnAnyOutgoing(nil) },
		"OnUnhandled:":          func() { srv.OnUnhandled(nil) },
		"OnUpgrade:":            func() { srv.OnUpgrade(nil) },
		"OnError:":              func() { srv.OnError(nil) },
		"OnNamespace:":          func() { srv.OnNamespace(nil) },
		"Use:":                  func() { srv.Use(nil) },
		"UseEvents:":            func() { srv.UseEvents(nil) },
		"OnRoom":                func() { srv.OnRoom((func(broadcast.RoomEvent))(nil)) },
		"OfPattern":             func() { srv.OfPattern(nil) },
		"OfFunc":                func() { srv.OfFunc((func(string, json.RawMessage) bool)(nil)) },
		"Register":              func() { srv.Register(nil) },
	} {
		if got := panics(f); !strings.Contains(got, "sockeye: ") || !strings.Contains(got, want) {
			t.Errorf("%s: panics with %q", want, got)
		}
	}
	for _, f := range []any{
		func(any) {}, func(map[int]string) {}, func(*int) {}, func(json.RawMessage) {}, func(sockeye.Argument) {},
		func(context.Context) {}, func(...string) {}, func(struct{ f func() }) {}, func() (any, error) { return nil, nil },
	} {
		if got := panics(func() { srv.On("right", f)() }); got != "" {
			t.Errorf("%T: panics with %q", f, got)
		}
	}
}

// TestErrorsStayHere: the text of an error reaches a peer only if it is of a type that
// is made for peers, from a middleware and OnConnect as from a handler.
func TestErrorsStayHere(t *testing.T) {
	secret := fmt.Errorf("pq: password of %q", "app")
	public := fmt.Errorf("%w, for %w", secret, &sockeye.ConnectError{Message: "full", Data: 7})
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.Of("/use").Use(func(*sockeye.Socket) error { return secret })
		srv.Of("/connect").OnConnect(func(*sockeye.Socket) error { return secret })
		srv.Of("/public").Use(func(*sockeye.Socket) error { return public })
		srv.Of("/late").OnConnect(func(*sockeye.Socket) error { return public })
		srv.Of("/auth").Use(func(s *sockeye.Socket) error { var n int; return s.Auth(&n) })
	})
	w := open(t, addr)
	for ns, want := range map[string]string{
		"/use": `{"message":"internal error"}`, "/connect": `{"message":"internal error"}`, "/auth": `{"message":"internal error"}`,
		"/public": `{"data":7,"message":"full"}`, "/late": `{"data":7,"message":"full"}`,
	} {
		w.Write("40" + ns + `,{"token":"x"}`)
		w.Expect("44" + ns + "," + want)
	}
	if n := srv.Stats().RefusedNamespaces; n != 5 {
		t.Errorf("%d are counted", n)
	}
}

// TestContextOfHandlers has the values of the handshake's request.
func TestContextOfHandlers(t *testing.T) {
	type key struct{}
	addr, _ := serve(t, sockeye.Config{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "ann")))
		})
	}}, func(srv *sockeye.Server) {
		srv.On("who", func(ctx context.Context, s *sockeye.Socket) (any, any, error) {
			return ctx.Value(key{}), s.Context().Value(key{}), ctx.Err()
		})
	})
	w := wiretest.Connect(t, addr)
	w.Write(`420["who"]`)
	w.Expect(`430["ann","ann"]`)
}

// TestAttachmentsTogether: those of one packet are bounded together, with its text.
func TestAttachmentsTogether(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{MaxPayload: 1000}, func(srv *sockeye.Server) {
		srv.On("two", func(a, b []byte) int { return len(a) + len(b) })
	})
	w := wiretest.Connect(t, addr)
	const text = `452-0["two",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
	w.Write(text)
	w.WriteBinary(make([]byte, 400))
	w.WriteBinary(make([]byte, 500))
	w.Expect(`430[900]`)
	w.Write(text)
	w.WriteBinary(make([]byte, 600))
	w.WriteBinary(make([]byte, 600))
	w.ExpectClosed()
	if n := srv.Stats().ProtocolErrors; n != 1 {
		t.Errorf("%d protocol errors", n)
	}
}

// TestRoomHooksAddUp, as every other hook does, one that ends its goroutine among them.
func TestRoomHooksAddUp(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, nil)
	add := func(name string) (remove func()) {
		return srv.OnRoom(func(e broadcast.RoomEvent) {
			seen.add("%s %s", name, e.Kind)
			runtime.Goexit()
		})
	}
	wiretest.Connect(t, addr)
	s := srv.Sockets()[0]
	first := add("first")
	add("second")
	_ = s.Join("a")
	seen.expect(t, "first create-room", "second create-room", "first join-room", "second join-room")
	first()
	first()
	s.Leave("a")
	seen.expect(t, "second leave-room", "second delete-room")
}

func TestRoomEvents(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnRoom(func(e broadcast.RoomEvent) { seen.add("%s %s %v", e.Kind, e.Room, e.ID != "") })
	})
	a, b := wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	sockets := srv.Sockets()
	_ = sockets[0].Join("r", "r")
	_ = sockets[1].Join("r")
	seen.expect(t, "create-room r false", "join-room r true", "join-room r true")
	sockets[0].Leave("r")
	sockets[0].Leave("r")
	seen.expect(t, "leave-room r true")
	a.Conn.Close()
	b.Conn.Close()
	seen.expect(t, "leave-room r true", "delete-room r false")
	wiretest.Connect(t, addr)
	eventually(t, func() bool { return srv.Len() == 1 })
	_ = srv.Sockets()[0].Join("again")
	seen.expect(t, "create-room again false", "join-room again true")
	srv.CloseRoom("again")
	seen.expect(t, "leave-room again true", "delete-room again false")
}
