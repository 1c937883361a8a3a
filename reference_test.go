package sockeye_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// The tests of this file are the cases of the reference server's own suites
// (socket.io 4.8, test/*.ts), written afresh for the in-memory server.

// inMemory makes a server and a function that connects clients to it.
func inMemory(t *testing.T, cfg sockeye.Config) (*sockeyetest.Server, func(namespace ...string) *sockeyetest.Client) {
	srv := sockeyetest.NewServer(t, cfg)
	return srv, func(namespace ...string) *sockeyetest.Client {
		t.Helper()
		return srv.Connect(t, sockeyetest.Options{Namespace: strings.Join(namespace, "")})
	}
}

// names are the events that a client has received, with their arguments.
func names(c *sockeyetest.Client) string {
	var all []string
	for _, e := range c.Received() {
		all = append(all, fmt.Sprint(e.Name, e.Args))
	}
	return strings.Join(all, " ")
}

func expectNames(t *testing.T, want string, clients ...*sockeyetest.Client) {
	t.Helper()
	for i, c := range clients {
		if got := names(c); got != want {
			t.Errorf("client %d got %q, want %q", i, got, want)
		}
	}
}

// namespaces.ts
func TestReferenceNamespaces(t *testing.T) {
	t.Run(`"" and "/" are the same, on the server and on the client`, func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		if srv.Of("") != srv.Of("/") || srv.Of("abc") != srv.Of("/abc") || srv.Of("/") != srv.Namespace {
			t.Error("other namespaces")
		}
		if connect("").Socket() == nil || connect("/").Socket() == nil || srv.Len() != 2 {
			t.Error("not in /")
		}
	})
	t.Run("the connect function is called once for each socket", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		var seen []string
		for _, name := range []string{"/", "/chat", "/news"} {
			srv.Of(name).OnConnect(func(s *sockeye.Socket) error { seen = append(seen, s.Namespace().Name()); return nil })
		}
		connect("/chat")
		connect("/news")
		connect()
		if !slices.Equal(seen, []string{"/chat", "/news", "/"}) {
			t.Errorf("%q", seen)
		}
	})
	t.Run("all namespaces are left when the transport goes", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		var seen notes
		srv.Of("/a").OnDisconnect(func(_ *sockeye.Socket, r sockeye.Reason) { seen.add("%s", r) })
		c := connect("/a")
		c.Break()
		seen.expect(t, "transport error")
		if srv.Of("/a").Len() != 0 {
			t.Error("still there")
		}
	})
	t.Run("disconnecting comes before the rooms are left", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		var seen notes
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("a") })
		srv.OnDisconnecting(func(s *sockeye.Socket, _ sockeye.Reason) { seen.add("disconnecting %d", len(s.Rooms())) })
		srv.OnDisconnect(func(s *sockeye.Socket, _ sockeye.Reason) { seen.add("disconnect %d", len(s.Rooms())) })
		connect().Disconnect()
		seen.expect(t, "disconnecting 2", "disconnect 0")
	})
	t.Run("a namespace that does not exist is refused", func(t *testing.T) {
		srv, _ := inMemory(t, sockeye.Config{})
		var refusal *sockeye.ConnectError
		if _, err := srv.Dial(t, sockeyetest.Options{Namespace: "/doesnotexist"}); !errors.As(err, &refusal) || refusal.Message != "Invalid namespace" {
			t.Errorf("%v", err)
		}
	})
	t.Run("sockets of a namespace, of a room, and across rooms", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		chat := srv.Of("/chat")
		rooms := []string{"foo", "foo", "bar"}
		chat.OnConnect(func(s *sockeye.Socket) error { room := rooms[0]; rooms = rooms[1:]; return s.Join(room) })
		a, b, c := connect("/chat"), connect("/chat"), connect("/chat")
		connect()
		ids := func(sockets []*sockeye.Socket) []string {
			var list []string
			for _, s := range sockets {
				list = append(list, s.ID())
			}
			slices.Sort(list)
			return list
		}
		sorted := func(clients ...*sockeyetest.Client) []string {
			var list []string
			for _, c := range clients {
				list = append(list, c.ID())
			}
			slices.Sort(list)
			return list
		}
		if !slices.Equal(ids(chat.Sockets()), sorted(a, b, c)) || !slices.Equal(ids(chat.To("foo").Sockets()), sorted(a, b)) ||
			!slices.Equal(ids(chat.To("foo").To("bar").Sockets()), sorted(a, b, c)) || !slices.Equal(ids(chat.Except("foo").Sockets()), sorted(c)) {
			t.Error("other sockets")
		}
	})
	t.Run("reserved events cannot be emitted", func(t *testing.T) {
		srv, _ := inMemory(t, sockeye.Config{})
		if err := srv.Emit("connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
			t.Error(err)
		}
	})
	t.Run("a client that joins no namespace is closed", func(t *testing.T) {
		srv, _ := inMemory(t, sockeye.Config{ConnectTimeout: 10 * time.Millisecond})
		silent := srv.Connect(t, sockeyetest.Options{Silent: true})
		srv.Advance(20 * time.Millisecond)
		if silent.Connected() {
			t.Error("still connected")
		}
	})
	t.Run("a socket, or a room, is left out", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		for _, name := range []string{"/", "/nsp"} {
			srv.Of(name)
			a, b := connect(name), connect(name)
			_ = srv.Of(name).Except(a.ID()).Emit("a")
			expectNames(t, "", a)
			expectNames(t, "a[]", b)
			_ = b.Socket().Join("quiet")
			_ = srv.Of(name).Except("quiet").Emit("b")
			expectNames(t, "b[]", a)
			expectNames(t, "", b)
		}
	})
	t.Run("new namespaces are told of", func(t *testing.T) {
		srv, _ := inMemory(t, sockeye.Config{})
		var seen notes
		srv.OnNamespace(func(ns *sockeye.Namespace) { seen.add("%s", ns.Name()) })
		srv.Of("/nsp")
		srv.Of("/nsp")
		seen.expect(t, "/nsp")
	})
}

// namespaces.ts, "dynamic namespaces"
func TestReferenceDynamicNamespaces(t *testing.T) {
	t.Run("by a pattern, and emitted to through the parent", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		p := srv.OfPattern(regexp.MustCompile(`/dynamic-\d+`))
		asked := 0
		p.Use(func(*sockeye.Socket) error { asked++; return nil })
		p.OnConnect(func(s *sockeye.Socket) error {
			if s.Namespace().Name() != "/dynamic-101" {
				t.Error(s.Namespace().Name())
			}
			_ = p.Emit("hello", 1)
			return s.Join("some-room")
		})
		c := connect("/dynamic-101")
		expectNames(t, "hello[1]", c)
		_ = p.To("some-room").Emit("room")
		expectNames(t, "room[]", c)
		if asked != 1 {
			t.Errorf("%d middlewares", asked)
		}
		if _, err := srv.Dial(t, sockeyetest.Options{Namespace: "/anotherns"}); err == nil {
			t.Error("another name was let in")
		}
	})
	t.Run("by a function", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		srv.OfFunc(func(name string, _ json.RawMessage) bool { return name == "/dynamic-101" })
		connect("/dynamic-101")
	})
	for _, cleanup := range []bool{true, false} {
		t.Run(fmt.Sprint("cleaned up when empty, or refused: ", cleanup), func(t *testing.T) {
			srv, connect := inMemory(t, sockeye.Config{CleanupEmptyChildNamespaces: cleanup})
			p := srv.OfPattern(regexp.MustCompile(`/dynamic-.*`))
			refuse := false
			p.Use(func(*sockeye.Socket) error {
				if refuse {
					return errors.New("no")
				}
				return nil
			})
			left := map[bool]int{true: 0, false: 1}[cleanup]
			c := connect("/dynamic-1")
			c.Disconnect()
			eventually(t, func() bool { return len(p.Children()) == left })
			c = connect("/dynamic-1") // again
			refuse = true
			if _, err := srv.Dial(t, sockeyetest.Options{Namespace: "/dynamic-1"}); err == nil {
				t.Fatal("not refused")
			}
			if len(p.Children()) != 1 || !c.Connected() {
				t.Error("gone although somebody is in it")
			}
			c.Disconnect()
			if _, err := srv.Dial(t, sockeyetest.Options{Namespace: "/dynamic-1"}); err == nil {
				t.Fatal("not refused")
			}
			eventually(t, func() bool { return len(p.Children()) == left })
		})
	}
	t.Run("others are never cleaned up", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{CleanupEmptyChildNamespaces: true})
		ns := srv.Of("/static")
		connect("/static").Disconnect()
		if srv.Of("/static") != ns {
			t.Error("another namespace")
		}
	})
	t.Run("a child made by hand belongs to its parent", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		p := srv.OfPattern(regexp.MustCompile(`/dynamic-.*`))
		p.On("who", func(s *sockeye.Socket) string { return s.Namespace().Name() })
		child := srv.Of("/dynamic-1")
		if got := p.Children(); len(got) != 1 || got[0] != child {
			t.Errorf("%v", got)
		}
		if got := connect("/dynamic-1").Call("who"); got[0] != "/dynamic-1" {
			t.Errorf("%v", got)
		}
	})
}

// messaging-many.ts
func TestReferenceMessagingMany(t *testing.T) {
	bin := []byte{1, 2}
	t.Run("to a namespace, with binary", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		srv.Of("/test")
		a, b, c := connect(), connect(), connect("/test")
		_ = srv.Emit("a", "b")
		_ = srv.Emit("bin", bin)
		expectNames(t, "a[b] bin[[1 2]]", a, b)
		expectNames(t, "", c)
	})
	t.Run("to the rest", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		srv.Of("/test")
		a, b, c := connect(), connect(), connect("/test")
		srv.On("broadcast", func(s *sockeye.Socket) error { return s.Broadcast().Emit("a", "b") })
		a.Emit("broadcast")
		expectNames(t, "", a, c)
		expectNames(t, "a[b]", b)
	})
	t.Run("to rooms, everyone once", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		a, b, c := connect(), connect(), connect()
		_ = a.Socket().Join("woot", "woot2") // several at once
		_ = b.Socket().Join("woot2")
		_ = srv.In("woot").In("woot2").Emit("a")
		expectNames(t, "a[]", a, b)
		expectNames(t, "", c)
		_ = a.Socket().To("woot2").Emit("b", bin)
		expectNames(t, "", a, c)
		expectNames(t, "b[[1 2]]", b)
	})
	t.Run("rooms are kept track of, and end when they are empty", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		a := connect()
		s := a.Socket()
		_ = s.Join("a", "b")
		s.Leave("a")
		s.Leave("never joined")
		if got := s.Rooms(); !slices.Equal(got, []string{s.ID(), "b"}) {
			t.Errorf("%q", got)
		}
		s.Leave("b")
		if got := len(srv.To("b").Sockets()); got != 0 || len(a.Rooms()) != 0 {
			t.Errorf("%d sockets", got)
		}
		_ = s.Join("c")
		a.Disconnect()
		if len(srv.To("c").Sockets()) != 0 || s.Join("d") == nil {
			t.Error("still there")
		}
	})
	t.Run("sockets and rooms are left out", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		a, b, c := connect(), connect(), connect()
		srv.On("exclude", func(s *sockeye.Socket, id string) error { return s.Except(id).Emit("a") })
		a.Emit("exclude", b.ID())
		expectNames(t, "", a, b)
		expectNames(t, "a[]", c)
		_ = b.Socket().Join("room1")
		a.Emit("exclude", "room1")
		expectNames(t, "", a, b)
		expectNames(t, "a[]", c)
	})
	t.Run("operators do not change", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		a, b := connect(), connect()
		_ = a.Socket().Join("room1")
		_ = b.Socket().Join("room2")
		one := srv.To("room1")
		_ = one.To("room2").Except("room1").Volatile().Compress(false)
		_ = one.Emit("x")
		expectNames(t, "x[]", a)
		expectNames(t, "", b)
	})
	t.Run("with acknowledgements of all, of some, of nobody", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		if got, err := srv.All().Call(context.Background(), "some event"); len(got) != 0 || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		clients := []*sockeyetest.Client{connect(), connect(), connect()}
		for i, c := range clients {
			c.Answer(func(sockeyetest.Event) []any { return []any{i} })
		}
		ask := func(ctx context.Context) (got []sockeye.Answer, err error) {
			done := make(chan struct{})
			go func() { got, err = srv.All().Call(ctx, "some event"); close(done) }()
			for range 10_000 {
				for _, c := range clients {
					c.Received()
				}
				select {
				case <-done:
					return got, err
				case <-time.After(100 * time.Microsecond):
				}
			}
			t.Fatal("no answer")
			return nil, nil
		}
		if got, err := ask(context.Background()); len(got) != 3 || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		clients[1].Answer(nil)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if got, err := ask(ctx); len(got) != 2 || !errors.Is(err, sockeye.ErrAckTimeout) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// socket-middleware.ts
func TestReferenceSocketMiddleware(t *testing.T) {
	srv, connect := inMemory(t, sockeye.Config{})
	var seen notes
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
		var arg string
		_ = e.Decode(&arg)
		seen.add("first %s %s", e.Name(), arg)
		return next(ctx)
	})
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
		seen.add("second")
		if e.Name() == "bad" {
			return errors.New("authentication error")
		}
		return next(ctx)
	})
	srv.On("join", func(arg string) string { seen.add("handler"); return "joined " + arg })
	srv.On("bad", func() { t.Error("called") })
	srv.OnError(func(_ *sockeye.Socket, event string, err error) { seen.add("error %s %v", event, err) })
	c := connect()
	if got := c.Call("join", "woot"); got[0] != "joined woot" {
		t.Errorf("%v", got)
	}
	seen.expect(t, "first join woot", "second", "handler")
	c.Emit("bad", "x")
	seen.expect(t, "first bad x", "second", "error bad authentication error")
}

// connection-state-recovery.ts, the parts that TestRecovery does not have.
func TestReferenceRecoveryMiddlewares(t *testing.T) {
	for _, ask := range []bool{false, true} {
		_, srv, join := recoverable(t, sockeye.Recovery{AskMiddlewares: ask})
		asked := make(chan struct{}, 10)
		srv.Use(func(*sockeye.Socket) error { asked <- struct{}{}; return nil })
		w, _, sid, pid := join("")
		<-asked
		_ = srv.Emit("x")
		offset := offsetOf(t, w.Expect(`42["x",*`))
		w.Conn.Close()
		eventually(t, func() bool { return srv.Socket(sid) == nil })
		if _, _, again, _ := join(`{"pid":"` + pid + `","offset":"` + offset + `"}`); again != sid {
			t.Error("not recovered")
		}
		if (len(asked) == 1) != ask {
			t.Errorf("AskMiddlewares %v: %d were asked", ask, len(asked))
		}
	}
	// Disabled: no pid, no offset.
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	_ = srv.Emit("x", 1)
	w.Expect(`42["x",1]`)
}

// socket.ts and middleware.ts: the end of a socket, and what may not outlive it.
func TestReferenceSocketEnds(t *testing.T) {
	t.Run("rooms of a refused socket are left", func(t *testing.T) {
		srv, _ := inMemory(t, sockeye.Config{})
		var refused *sockeye.Socket
		srv.Use(func(s *sockeye.Socket) error { refused = s; return s.Join("room1") })
		srv.Use(func(*sockeye.Socket) error { return &sockeye.ConnectError{Message: "nope"} })
		_, err := srv.Dial(t, sockeyetest.Options{})
		if e, ok := errors.AsType[*sockeye.ConnectError](err); !ok || e.Message != "nope" {
			t.Fatalf("%v", err)
		}
		if got := srv.In("room1").Sockets(); len(got) != 0 || refused.Connected() {
			t.Errorf("%d left in the room", len(got))
		}
	})
	t.Run("rooms joined in a middleware are the socket's when it is let in", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		srv.Use(func(s *sockeye.Socket) error {
			_ = s.Join("room1", "room2", "room3")
			s.Leave("room2")
			_ = srv.To("room1").Emit("too early")
			if got := s.Rooms(); len(got) != 3 || got[1] != "room1" || got[2] != "room3" {
				t.Errorf("in %v", got)
			}
			return nil
		})
		c := connect()
		_ = srv.To("room1").Emit("one")
		_ = srv.To("room2").Emit("two")
		_ = srv.To("room3").Emit("three")
		expectNames(t, "one[] three[]", c)
	})
	t.Run("no rooms are joined after the end", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		c := connect()
		s := c.Socket()
		c.Disconnect()
		if err := s.Join("room1"); err == nil || len(srv.In("room1").Sockets()) != 0 || len(s.Rooms()) != 0 {
			t.Errorf("%v, in %v", err, s.Rooms())
		}
	})
	t.Run("packets after the end are not handled", func(t *testing.T) {
		srv, connect := inMemory(t, sockeye.Config{})
		srv.On("end", func(s *sockeye.Socket) { s.Disconnect() })
		srv.On("test", func() { t.Error("called") })
		c := connect()
		c.Emit("end")
		c.Emit("test")
	})
	t.Run("all namespaces, with the session", func(t *testing.T) {
		addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) { srv.Of("/a"); srv.Of("/b") })
		w := wiretest.Connect(t, addr)
		for _, name := range []string{"/a", "/b"} {
			w.Write("40" + name + ",")
			w.Expect("40" + name + `,{"sid":"*`)
		}
		srv.Of("/a").Sockets()[0].CloseSession()
		w.ExpectClosed()
		eventually(t, func() bool { return srv.Len()+srv.Of("/a").Len()+srv.Of("/b").Len() == 0 })
	})
	t.Run("a socket that goes while a middleware runs is never connected", func(t *testing.T) {
		entered, release := make(chan *sockeye.Socket), make(chan struct{})
		addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
			srv.Use(func(s *sockeye.Socket) error { entered <- s; <-release; return nil })
			srv.OnConnect(func(*sockeye.Socket) error { t.Error("connected"); return nil })
		})
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40")
		s := within(t, entered)
		if s.Connected() {
			t.Error("connected before its middleware has returned")
		}
		w.Conn.Close()
		eventually(t, func() bool { return errors.Is(s.Emit("anyone?"), sockeye.ErrDisconnected) })
		close(release)
		eventually(t, func() bool { return srv.Stats().ActiveSockets == 0 })
		if s.Connected() || srv.Len() != 0 {
			t.Error("connected")
		}
	})
}

// socket.ts, "volatile": what a poll that waits takes, and what finds none.
func TestReferenceVolatile(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	p := wiretest.ConnectPoll(t, addr)
	s := srv.Sockets()[0]
	emit := func(event string, volatile bool) {
		t.Helper()
		op := s.Emit
		if volatile {
			op = s.Volatile().Emit
		}
		if err := op(event); err != nil {
			t.Fatal(err)
		}
	}
	emit("regular", false)
	emit("after regular", true)
	eventually(t, func() bool { return srv.Stats().VolatileDropped == 1 })
	if _, body := p.Get(); body != `42["regular"]` {
		t.Errorf("got %q", body)
	}
	emit("failed", true)
	eventually(t, func() bool { return srv.Stats().VolatileDropped == 2 })
	emit("regular", false)
	if _, body := p.Get(); body != `42["regular"]` {
		t.Errorf("got %q", body)
	}
	got := make(chan string)
	go func() { _, body := p.Get(); got <- body }()
	eventually(t, func() bool { // until the poll waits, volatile ones are dropped
		emit("volatile", true)
		select {
		case body := <-got:
			// Those of one turn leave with one answer.
			if strings.Trim(strings.ReplaceAll(body, `42["volatile"]`, ""), "\x1e") != "" || body == "" {
				t.Errorf("got %q", body)
			}
			return true
		default:
			return false
		}
	})
}

// socket.ts: "very large" packets, both ways.
func TestReferenceLargePackets(t *testing.T) {
	srv, connect := inMemory(t, sockeye.Config{})
	srv.On("echo", func(v any) any { return v })
	c := connect()
	large := strings.Repeat("a long text, ", 70_000)
	if got := c.Call("echo", large); got[0] != large {
		t.Error("text differs")
	}
	if got := c.Call("echo", map[string]any{"deep": []any{[]byte(large)}}); fmt.Sprint(got[0]) != fmt.Sprint(map[string]any{"deep": []any{[]byte(large)}}) {
		t.Error("binary differs")
	}
}

// TestReferenceHandshake: the cases of engine.io/test/server.js about what a
// handshake's answer says, by option.
func TestReferenceHandshake(t *testing.T) {
	cookie := func(c http.Cookie) sockeye.Config { return sockeye.Config{Cookie: &c, GenerateID: fixedID} }
	const polling, websocket = "transport=polling", "transport=websocket"
	for _, c := range []struct {
		name   string
		cfg    sockeye.Config
		query  string
		header []string
		status int
		want   string // "Name: value" lines of the answer, "-Name" for none, anything else in the body
	}{
		{"no cookie", sockeye.Config{}, polling, nil, 200, "-Set-Cookie"},
		{"cookie", cookie(http.Cookie{Name: "io", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}), polling, nil, 200, "Set-Cookie: io=fixed; Path=/; HttpOnly; SameSite=Lax"},
		{"cookie without path", cookie(http.Cookie{Name: "woot"}), polling, nil, 200, "Set-Cookie: woot=fixed"},
		{"cookie with path", cookie(http.Cookie{Name: "io", Path: "/custom"}), polling, nil, 200, "Set-Cookie: io=fixed; Path=/custom"},
		{"cookie, strict", cookie(http.Cookie{Name: "io", SameSite: http.SameSiteStrictMode}), polling, nil, 200, "Set-Cookie: io=fixed; SameSite=Strict"},
		{"own ID", sockeye.Config{GenerateID: fixedID}, polling, nil, 200, `"sid":"fixed"`},
		{"no ID", sockeye.Config{GenerateID: func(*sockeye.Request) string { return "" }}, polling, nil, 400, `{"code":3,"message":"Bad request"}`},
		{"timeouts", sockeye.Config{PingInterval: 300e6, PingTimeout: 200e6}, polling, nil, 200, `"pingInterval":300,"pingTimeout":200`},
		{"limit", sockeye.Config{MaxPayload: 77}, polling, nil, 200, `"maxPayload":77`},
		{"upgrades", sockeye.Config{}, polling, nil, 200, `"upgrades":["websocket"]`},
		{"polling only", sockeye.Config{Transports: []string{"polling"}}, polling, nil, 200, `"upgrades":[]`},
		{"no upgrades", sockeye.Config{NoUpgrades: true}, polling, nil, 200, `"upgrades":[]`},
		{"websocket only", sockeye.Config{Transports: []string{"websocket"}}, polling, nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"constructor", sockeye.Config{}, "transport=constructor", nil, 400, `"code":0`},
		{"__proto__", sockeye.Config{}, "transport=__proto__", nil, 400, `"code":0`},
		{"no upgrade header", sockeye.Config{}, websocket, nil, 400, `"code":3`},
		{"unknown session", sockeye.Config{}, polling + "&sid=nope", nil, 400, `{"code":1,"message":"Session ID unknown"}`},
		{"any data in the query", sockeye.Config{}, polling + "&a=b&__proto__=x&%F0%9F%91%8B=%20", nil, 200, `0{`},
		{"cache", sockeye.Config{}, polling, nil, 200, "Cache-Control: no-store"},
		{"no CORS", sockeye.Config{}, polling, []string{"Origin", "https://a.example"}, 403, "-Access-Control-Allow-Origin"},
		{"CORS", sockeye.Config{Origins: []string{"https://a.example"}, Credentials: true}, polling, []string{"Origin", "https://a.example"}, 200, "Access-Control-Allow-Origin: https://a.example\nAccess-Control-Allow-Credentials: true\nVary: Origin"},
		{"CORS, other origin", sockeye.Config{Origins: []string{"https://a.example"}}, polling, []string{"Origin", "https://b.example"}, 403, "-Access-Control-Allow-Origin\nVary: Origin"},
		{"CORS, any origin", sockeye.Config{Origins: []string{"*"}}, polling, []string{"Origin", "https://b.example"}, 200, "Access-Control-Allow-Origin: *"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, _ := serve(t, c.cfg, nil)
			resp, body := fetch(t, "http://"+addr+"/socket.io/?EIO=4&"+c.query, c.header...)
			if resp.StatusCode != c.status {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			for want := range strings.SplitSeq(c.want, "\n") {
				name, value, isHeader := strings.Cut(want, ": ")
				switch {
				case strings.HasPrefix(want, "-"):
					if got := resp.Header.Get(want[1:]); got != "" {
						t.Errorf("%s: %q", want[1:], got)
					}
				case isHeader:
					if got := resp.Header.Get(name); got != value {
						t.Errorf("%s: %q, want %q", name, got, value)
					}
				case !strings.Contains(body, want):
					t.Errorf("%q has no %q", body, want)
				}
			}
		})
	}
}

func fixedID(*sockeye.Request) string { return "fixed" }
