package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

func TestTypedHandlers(t *testing.T) {
	type point struct{ X, Y int }
	failures := make(chan error, 1)
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("sum", func(_ *sockeye.Socket, a, b int) int { return a + b })
		srv.On("join", func(_ *sockeye.Socket, sep string, parts ...string) string { return strings.Join(parts, sep) })
		srv.On("swap", func(_ *sockeye.Socket, p point) point { return point{p.Y, p.X} })
		srv.On("two", func(_ *sockeye.Socket) (int, string) { return 1, "two" })
		srv.On("reverse", func(_ *sockeye.Socket, b []byte) []byte { slices.Reverse(b); return b })
		srv.On("fail", func(_ *sockeye.Socket) (int, error) { return 0, errors.New("no luck") })
		srv.On("nothing", func(*sockeye.Socket) {})
		srv.On("nested", func(_ *sockeye.Socket, v struct{ Data []byte }) int { return len(v.Data) })
		srv.OnError(func(_ *sockeye.Socket, _ string, err error) { failures <- err })
	})
	w := wiretest.Connect(t, addr)
	for _, c := range [][2]string{
		{`420["sum",1,2]`, `430[3]`},
		{`421["sum",1]`, `431[{"error":"argument 1 is missing"}]`},
		{`422["sum",1,2,"more"]`, `432[3]`},
		{`423["join","-","a","b","\u00e9\n"]`, `433["a-b-é\n"]`},
		{`424["join","-"]`, `434[""]`},
		{`425["swap",{"X":1,"Y":2}]`, `435[{"X":2,"Y":1}]`},
		{`426["two"]`, `436[1,"two"]`},
		{`427["nothing"]`, `437[]`},
		{`428["fail"]`, `438[{"error":"internal error"}]`},
	} {
		w.Write(c[0])
		w.Expect(c[1])
	}
	if err := within(t, failures); !errors.Is(err, sockeye.ErrMissingArgument) {
		t.Errorf("OnError got %v", err)
	}
	if err := within(t, failures); err.Error() != "no luck" {
		t.Errorf("OnError got %v", err)
	}
	w.Write(`451-9["reverse",{"_placeholder":true,"num":0}]`)
	w.WriteBinary([]byte{1, 2, 3})
	w.Expect(`461-9[{"_placeholder":true,"num":0}]`)
	w.ExpectBinary([]byte{3, 2, 1})
	w.Write(`451-9["nested",{"Data":{"num":0,"_placeholder":true}}]`)
	w.WriteBinary([]byte("12345"))
	w.Expect(`439[5]`)
	w.Write(`429["sum","x",2]`) // does not fit: not called, reported
	w.Expect(`439[{"error":"argument 0 does not fit"}]`)
	var misfit *sockeye.ArgumentError
	if err := within(t, failures); !errors.As(err, &misfit) || misfit.Index != 0 || misfit.Event != "sum" || srv.Stats().DecodeErrors != 2 {
		t.Errorf("err %v, %d decode errors", err, srv.Stats().DecodeErrors)
	}
	w.Write(`429["unknown",1]`) // ignored
	w.Write(`420["sum",20,22]`)
	w.Expect(`430[42]`)
}

func TestOnRefusesWrongSignatures(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	for name, h := range map[string]any{
		"not a function":   1,
		"socket is late":   func(string, *sockeye.Socket) {},
		"channel":          func(*sockeye.Socket, chan int) {},
		"event among args": func(*sockeye.Socket, string, *sockeye.Event) {},
		"nil":              nil,
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "a handler is func(") {
					t.Errorf("panicked with %v; want a message that says what is allowed", v)
				}
			}()
			srv.On("x", h)
		})
	}
	defer func() {
		if recover() == nil {
			t.Error("a reserved name was accepted")
		}
	}()
	srv.On("disconnect", func(*sockeye.Socket) {})
}

func TestMiddlewareAndConnectErrors(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		ns := srv.Of("/members")
		ns.Use(func(s *sockeye.Socket) error {
			var auth struct{ Token string }
			if err := s.Auth(&auth); err != nil || auth.Token != "secret" {
				return &sockeye.ConnectError{Message: "not authorized", Data: map[string]any{"retry": false}}
			}
			return nil
		})
		ns.OnConnect(func(s *sockeye.Socket) error {
			if s.Request().Query().Get("full") != "" {
				return &sockeye.ConnectError{Message: "full"}
			}
			return s.Join("room")
		})
		srv.Of("/panics").OnConnect(func(*sockeye.Socket) error { panic("at the door") })
	})
	w := open(t, addr)
	w.Write(`40/members,{"token":"wrong"}`)
	w.Expect(`44/members,{"data":{"retry":false},"message":"not authorized"}`)
	w.Write(`40/members,{"token":"secret"}`)
	w.Expect(`40/members,{"sid":"*`)
	w.Write(`40/panics,`)
	w.Expect(`44/panics,{"message":"internal error"}`)
	x := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&full=1")
	x.Expect("0{*")
	x.Write(`40/members,{"token":"secret"}`)
	x.Expect(`44/members,{"message":"full"}`)
}

// TestEmitInOnConnect: what OnConnect emits follows the connect packet, also
// by way of rooms and broadcast.
func TestEmitInOnConnect(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error {
			_ = s.Emit("one")
			_ = s.Join("room")
			_ = srv.To("room").Emit("two")
			_ = srv.Emit("three")
			_ = s.Broadcast().Emit("not for me")
			return s.Emit("four")
		})
	})
	w := open(t, addr)
	w.Write("40")
	w.Expect(`40{"sid":"*`)
	for _, name := range []string{"one", "two", "three", "four"} {
		w.Expect(`42["` + name + `"]`)
	}
}

func TestRooms(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("join", func(s *sockeye.Socket, rooms ...string) error { return s.Join(rooms...) })
		srv.On("leave", func(s *sockeye.Socket, room string) { s.Leave(room) })
		srv.On("rooms", func(s *sockeye.Socket) []string { return s.Rooms()[1:] })
		srv.On("id", func(s *sockeye.Socket) string { return s.ID() })
	})
	a, b, c := wiretest.Connect(t, addr), wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	ask := func(w *wiretest.WS, q, want string) { t.Helper(); w.Write("420" + q); w.Expect("430" + want) }
	ask(a, `["join","x","y"]`, `[]`)
	ask(a, `["join","x"]`, `[]`)
	ask(b, `["join","y"]`, `[]`)
	ask(a, `["rooms"]`, `[["x","y"]]`)
	a.Write(`420["id"]`)
	idA := a.Expect(`430["*`)[5:25]
	sync := func() {
		t.Helper()
		_ = srv.Emit("sync")
		for _, w := range []*wiretest.WS{a, b, c} {
			w.Expect(`42["sync"]`)
		}
	}
	_ = srv.To("x").Emit("e", 1)
	a.Expect(`42["e",1]`)
	_ = srv.To("x", "y").Emit("e", 2) // each once
	a.Expect(`42["e",2]`)
	b.Expect(`42["e",2]`)
	_ = srv.To("y").Except("x").Emit("e", 3)
	b.Expect(`42["e",3]`)
	_ = srv.Except("y").Emit("e", 4)
	c.Expect(`42["e",4]`)
	_ = srv.To(idA).Emit("e", 5) // an ID is a room
	a.Expect(`42["e",5]`)
	_ = srv.To("y").Except(idA).Emit("e", 6)
	b.Expect(`42["e",6]`)
	_ = srv.To("nobody").Emit("e", 7)
	sync()
	ask(a, `["leave","x"]`, `[]`)
	ask(a, `["rooms"]`, `[["y"]]`)
	_ = srv.To("x").Emit("e", 8)
	sync()
	if n := len(srv.To("y").Sockets()); n != 2 {
		t.Errorf("%d sockets in y", n)
	}
	srv.To("y").Join("z")
	_ = srv.To("z").Emit("e", 9)
	a.Expect(`42["e",9]`)
	b.Expect(`42["e",9]`)
	srv.To("y").Leave("z")
	_ = srv.To("z").Emit("e", 10)
	sync()
	op := srv.To("y") // operators are immutable
	_, _ = op.Except("x"), op.To("q")
	_ = op.Emit("e", 11)
	a.Expect(`42["e",11]`)
	b.Expect(`42["e",11]`)
	s := srv.Of("/").Socket(idA)
	if s == nil {
		t.Fatal("socket not found by its ID")
	}
	_ = s.To("y").Emit("e", 12) // not to itself
	b.Expect(`42["e",12]`)
	_ = s.Broadcast().Emit("e", 13)
	b.Expect(`42["e",13]`)
	c.Expect(`42["e",13]`)
	sync()
	srv.To("y").Disconnect()
	a.Expect("41")
	b.Expect("41")
	if got := s.Rooms(); got != nil || s.Connected() {
		t.Errorf("after disconnect: rooms %v, connected %v", got, s.Connected())
	}
	if err := s.Emit("late"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Errorf("emit after disconnect: %v", err)
	}
	if err := s.Join("late"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Errorf("join after disconnect: %v", err)
	}
	if n := srv.Of("/").Len(); n != 1 {
		t.Errorf("%d sockets left", n)
	}
}

func TestServerAsksForAcknowledgement(t *testing.T) {
	answers := make(chan string, 1)
	say := func(args sockeye.Args, err error) {
		var text string
		if err == nil {
			err = args.Decode(&text)
		}
		if err != nil {
			text = err.Error()
		}
		answers <- text
	}
	addr, srv := serve(t, sockeye.Config{AckTimeout: 50 * time.Millisecond, MaxPendingAcks: 1}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket, question string) error { return s.EmitWithAck(say, "question", question) })
		srv.On("call", func(s *sockeye.Socket, question string) string {
			ctx, cancel := context.WithTimeout(context.Background(), wiretest.Limit)
			defer cancel()
			a, err := s.Call(ctx, "question", question)
			if err != nil {
				return err.Error()
			}
			var text string
			_ = a.Decode(&text)
			return text
		})
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask","a?"]`)
	w.Expect(`420["question","a?"]`)
	w.Write(`430["yes"]`)
	if got := within(t, answers); got != "yes" {
		t.Errorf("got %q", got)
	}
	w.Write(`430["again"]`) // ignored
	w.Write(`42["ask","b?"]`)
	w.Expect(`421["question","b?"]`)
	if got := within(t, answers); got != sockeye.ErrAckTimeout.Error() {
		t.Errorf("got %q", got)
	}
	// Call waits inside a handler: its answer must not wait for that handler.
	w.Write(`4277["call","c?"]`)
	w.Expect(`422["question","c?"]`)
	w.Write(`432["called"]`)
	w.Expect(`4377["called"]`)
	// The socket ends while an answer is waited for.
	s := srv.Sockets()[0]
	go func() { _, err := s.Call(context.Background(), "question", "d?"); say(sockeye.Args{}, err) }()
	w.Expect(`423["question","d?"]`)
	if err := s.EmitWithAck(say, "one too many"); !errors.Is(err, sockeye.ErrTooManyAcks) {
		t.Errorf("got %v", err)
	}
	w.Conn.Close()
	if got := within(t, answers); got != sockeye.ErrDisconnected.Error() {
		t.Errorf("got %q", got)
	}
}

// TestHandlersThatBlock: 10 blocked handlers among 1,000 sockets stop nobody
// else, and the events of each socket stay in order.
func TestHandlersThatBlock(t *testing.T) {
	release := make(chan struct{})
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("block", func(*sockeye.Socket) { <-release })
		srv.On("echo", func(s *sockeye.Socket, n int) error { return s.Emit("echo", n) })
	})
	sockets := 1_000
	if testing.Short() {
		sockets = 100
	}
	all := make([]*wiretest.WS, sockets)
	for i := range all {
		all[i] = wiretest.Connect(t, addr)
	}
	for _, w := range all[:10] {
		w.Write(`42["block"]`)
		w.Write(`42["echo",1]`)
	}
	for n := range 5 {
		for _, w := range all[10:] {
			w.Write(`42["echo",` + strconv.Itoa(n) + `]`)
		}
	}
	for _, w := range all[10:] {
		for n := range 5 {
			w.Expect(`42["echo",` + strconv.Itoa(n) + `]`)
		}
	}
	close(release)
	for _, w := range all[:10] {
		w.Expect(`42["echo",1]`)
	}
}

// TestFullMailbox: a socket whose handlers are slow is not read from, and
// nothing is lost.
func TestFullMailbox(t *testing.T) {
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			release := make(chan struct{})
			var got []int
			done := make(chan struct{})
			addr, srv := serve(t, sockeye.Config{MailboxEvents: 8}, func(srv *sockeye.Server) {
				srv.On("n", func(_ *sockeye.Socket, n int) {
					<-release
					if got = append(got, n); len(got) == 500 {
						close(done)
					}
				})
			})
			var packets []string
			for n := range 500 {
				packets = append(packets, `42["n",`+strconv.Itoa(n)+`]`)
			}
			if transport == "websocket" {
				w := wiretest.Connect(t, addr)
				for _, p := range packets {
					w.Write(p)
				}
			} else {
				p := wiretest.ConnectPoll(t, addr)
				answered := make(chan struct{})
				go func() {
					defer close(answered)
					p.Post(strings.Join(packets, "\x1e"), 200, "ok")
				}()
				defer func() { <-answered }()
			}
			eventually(t, func() bool { return srv.Stats().PausedForMailbox > 0 })
			close(release)
			within(t, done)
			if !slices.IsSorted(got) {
				t.Error("out of order:", got)
			}
		})
	}
}

// TestOrder: what one goroutine emits arrives in that order, by whatever
// method; and across an upgrade.
func TestOrder(t *testing.T) {
	const steps = 200
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("room") })
	})
	emit := func(s *sockeye.Socket) {
		for n := range steps {
			var err error
			switch n % 5 {
			case 0:
				err = s.Emit("n", n)
			case 1:
				err = srv.To("room").Emit("n", n)
			case 2:
				err = srv.Emit("n", n)
			case 3:
				err = srv.To(s.ID()).Emit("n", n)
			case 4:
				err = s.EmitWithAck(func(sockeye.Args, error) {}, "n", n)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	expect := func(next func() string) {
		t.Helper()
		for n := range steps {
			got := next()
			if i := strings.IndexByte(got, '['); i < 0 || got[i:] != `["n",`+strconv.Itoa(n)+`]` {
				t.Fatalf("got %q, want n %d", got, n)
			}
		}
	}
	t.Run("websocket", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		go emit(srv.Sockets()[0])
		expect(func() string { return w.Expect("42*") })
		w.Conn.Close()
	})
	t.Run("upgrade", func(t *testing.T) {
		eventually(t, func() bool { return srv.Of("/").Len() == 0 })
		p := wiretest.ConnectPoll(t, addr)
		go emit(srv.Sockets()[0])
		var got []string
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&sid="+p.SID)
		w.Write("2probe")
		probed := false
		for !probed { // polls go on until the probe is answered
			_, body := p.Get()
			for _, packet := range strings.Split(body, "\x1e") {
				if packet == "6" {
					probed = true
				} else if packet != "2" {
					got = append(got, packet)
				}
			}
			if len(got) >= steps {
				break
			}
			probed = probed || len(got) > steps/2
		}
		w.Expect("3probe")
		w.Write("5")
		expect(func() string {
			if len(got) > 0 {
				s := got[0]
				got = got[1:]
				return s
			}
			return w.Expect("42*")
		})
	})
}

// TestOrderAmongBroadcasts: many goroutines broadcast and emit to members of a
// room that is larger than a fan-out's chunk; each one's messages arrive in
// order, each once.
func TestOrderAmongBroadcasts(t *testing.T) {
	const sockets, emitters, steps = 300, 4, 40
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("room") })
	})
	all := make([]*wiretest.WS, sockets)
	for i := range all {
		all[i] = wiretest.Connect(t, addr)
	}
	members := srv.To("room").Sockets()
	var wg sync.WaitGroup
	for e := range emitters {
		wg.Go(func() {
			for n := range steps {
				if n%2 == 0 {
					_ = srv.To("room").Emit("n", e, n)
					continue
				}
				for _, m := range members { // overtakes the fan-out if it can
					_ = m.Emit("n", e, n)
				}
			}
		})
	}
	for i, w := range all {
		next := make([]int, emitters)
		for range emitters * steps {
			var e, n int
			got := w.Expect(`42["n",*`)
			if _, err := fmt.Sscanf(got, `42["n",%d,%d]`, &e, &n); err != nil || next[e] != n {
				t.Fatalf("socket %d: got %q, want n %d of emitter %d", i, got, next[e], e)
			}
			next[e]++
		}
	}
	wg.Wait()
}

// TestLeaveAndDisconnectDuringBroadcast: what was broadcast before a socket
// left, or was disconnected, still reaches it.
func TestLeaveAndDisconnectDuringBroadcast(t *testing.T) {
	const sockets = 400
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("room") })
	})
	all := make([]*wiretest.WS, sockets)
	for i := range all {
		all[i] = wiretest.Connect(t, addr)
	}
	members := srv.To("room").Sockets()
	for n := range 3 {
		_ = srv.To("room").Emit("n", n)
	}
	for _, m := range members[:sockets/2] {
		m.Leave("room")
	}
	for _, m := range members {
		m.Disconnect()
	}
	_ = srv.To("room").Emit("never")
	for _, w := range all {
		for n := range 3 {
			w.Expect(`42["n",` + strconv.Itoa(n) + `]`)
		}
		w.Expect("41")
	}
}

func TestPanicInAHandler(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("panic", func(*sockeye.Socket) { panic("on purpose") })
		srv.On("raw", func(*sockeye.Socket, *sockeye.Event) { panic("on purpose") })
		srv.On("echo", func(_ *sockeye.Socket, n int) int { return n })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`421["panic"]`)
	w.Write(`42["raw"]`)
	w.Expect(`431[{"error":"internal error"}]`)
	w.Write(`422["echo",5]`)
	w.Expect(`432[5]`)
	if n := srv.Stats().HandlerPanics; n != 2 {
		t.Errorf("%d panics counted", n)
	}
}

func TestVolatile(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	p := wiretest.ConnectPoll(t, addr)
	s := srv.Sockets()[0]
	_ = s.Volatile().Emit("lost") // no poll waits
	_ = srv.Volatile().Emit("lost, too")
	eventually(t, func() bool { return srv.Stats().VolatileDropped == 2 })
	_ = s.Emit("kept")
	if _, body := p.Get(); body != `42["kept"]` {
		t.Errorf("got %q", body)
	}
	w := wiretest.Connect(t, addr)
	_ = s.Broadcast().Volatile().Emit("taken")
	w.Expect(`42["taken"]`)
}

func TestInline(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{Inline: true}, func(srv *sockeye.Server) {
		srv.On("echo", func(s *sockeye.Socket, n int) (int, error) {
			_ = srv.Emit("all", n)
			return n, s.Emit("echo", n)
		})
	})
	w := wiretest.Connect(t, addr)
	for n := range 100 {
		w.Write(`421["echo",` + strconv.Itoa(n) + `]`)
	}
	for n := range 100 {
		i := strconv.Itoa(n)
		w.Expect(`42["all",` + i + `]`)
		w.Expect(`42["echo",` + i + `]`)
		w.Expect(`431[` + i + `]`)
	}
}

func TestReservedNamesCannotBeEmitted(t *testing.T) {
	_, srv := serve(t, sockeye.Config{}, nil)
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if err := srv.Emit(name); !errors.Is(err, sockeye.ErrReservedEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := srv.Emit("x", func() {}); err == nil {
		t.Error("what cannot be encoded was emitted")
	}
}

func TestClose(t *testing.T) {
	reasons := make(chan sockeye.Reason, 2)
	var late atomic.Int32
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	srv.OnDisconnect(func(s *sockeye.Socket, r sockeye.Reason) {
		if s.Emit("late") == nil {
			late.Add(1)
		}
		reasons <- r
	})
	a, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := a.String()
	w, p := wiretest.Connect(t, addr), wiretest.ConnectPoll(t, addr)
	polled := make(chan string, 1)
	go func() { _, body := p.Get(); polled <- body }()
	_ = srv.Emit("last words")
	if body := within(t, polled); body != `42["last words"]` {
		t.Errorf("got %q", body)
	}
	go func() { _, body := p.Get(); polled <- body }()
	w.Expect(`42["last words"]`)
	time.Sleep(20 * time.Millisecond) // the second poll is on its way; either way it gets an end
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), wiretest.Limit)
		defer cancel()
		closed <- srv.Shutdown(ctx)
	}()
	w.ExpectClosed()
	w.Conn.Close()
	if body := within(t, polled); body != "1" {
		t.Errorf("the poll got %q", body)
	}
	if err := within(t, closed); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range 2 {
		if r := within(t, reasons); r != sockeye.ServerShuttingDown {
			t.Errorf("reason %q", r)
		}
	}
	if late.Load() != 0 {
		t.Error("emitting after the end did not fail")
	}
	if _, err := srv.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("a closed server listens")
	}
}

// disconnect calls Disconnect, or CloseSession.
func disconnect(who any, closeSession bool) {
	switch who := who.(type) {
	case *sockeye.Socket:
		if closeSession {
			who.CloseSession()
		} else {
			who.Disconnect()
		}
	case sockeye.Operator:
		if closeSession {
			_ = who.CloseSession()
		} else {
			_ = who.Disconnect()
		}
	}
}

// TestDisconnectBeforeTheAnswer: whenever this side ends a socket whose CONNECT has
// not been answered, the peer is answered first, as by the reference.
func TestDisconnectBeforeTheAnswer(t *testing.T) {
	var lives sync.Map // socket ID: what has happened
	note := func(s *sockeye.Socket, what string) {
		before, _ := lives.Load(s.ID())
		text, _ := before.(string)
		lives.Store(s.ID(), text+" "+what)
	}
	ids := make(chan string, 100)
	setup := func(srv *sockeye.Server) {
		watch := func(ns *sockeye.Namespace) {
			ns.OnConnection(func(s *sockeye.Socket) { note(s, "connection") })
			ns.OnDisconnect(func(s *sockeye.Socket, _ sockeye.Reason) { note(s, "disconnect"); ids <- s.ID() })
		}
		for _, closes := range []bool{false, true} {
			ns := srv.Of(fmt.Sprintf("/handler-%v", closes))
			watch(ns)
			ns.OnConnect(func(s *sockeye.Socket) error {
				note(s, "connect")
				err := s.Emit("before")
				disconnect(s, closes)
				disconnect(s, !closes)
				if again := s.Emit("after"); !errors.Is(again, sockeye.ErrDisconnected) {
					t.Errorf("Emit after Disconnect: %v", again)
				}
				return err
			})
			ns = srv.Of(fmt.Sprintf("/another-%v", closes))
			watch(ns)
			ns.OnConnect(func(s *sockeye.Socket) error {
				note(s, "connect")
				done := make(chan struct{})
				go func() { disconnect(s.Namespace().All(), closes); close(done) }()
				<-done
				return nil
			})
			ns = srv.Of(fmt.Sprintf("/refused-%v", closes))
			watch(ns)
			ns.OnConnect(func(s *sockeye.Socket) error {
				note(s, "connect")
				disconnect(s, closes)
				ids <- s.ID()
				return errors.New("too late")
			})
			ns = srv.Of(fmt.Sprintf("/middleware-error-%v", closes))
			ns.Use(func(s *sockeye.Socket) error { disconnect(s, closes); return &sockeye.ConnectError{Message: "no"} })
			ns = srv.Of(fmt.Sprintf("/middleware-%v", closes))
			ns.Use(func(s *sockeye.Socket) error { disconnect(s, closes); return nil })
		}
	}
	addr, srv := serve(t, sockeye.Config{}, setup)
	for _, c := range []struct {
		namespace string
		answers   []string
		ends      bool
		life      string
	}{
		{"/handler-%v", []string{`40%s,{*`, `42%s,["before"]`, `41%s,`}, true, " connect disconnect"},
		{"/another-%v", []string{`40%s,{*`, `41%s,`}, true, " connect disconnect"},
		{"/refused-%v", []string{`40%s,{*`, `41%s,`}, true, " connect"},
		{"/middleware-error-%v", []string{`44%s,{"message":"no"}`}, false, ""},
		{"/middleware-%v", []string{`40%s,{*`}, false, ""},
	} {
		for _, closes := range []bool{false, true} {
			name := fmt.Sprintf(c.namespace, closes)
			t.Run(name, func(t *testing.T) {
				w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
				w.Expect("0{*")
				w.Write("40" + name + ",")
				for _, answer := range c.answers {
					w.Expect(strings.Replace(answer, "%s", name, 1))
				}
				if c.ends && closes {
					if _, _, err := w.Read(); err == nil {
						t.Error("the session lives")
					}
				} else {
					w.Write("40") // the session lives
					w.Expect("40{*")
				}
				if c.life != "" {
					id := within(t, ids)
					eventually(t, func() bool { got, _ := lives.Load(id); return got == c.life })
				}
			})
		}
	}
	eventually(t, func() bool { return srv.Of("/another-true").Len() == 0 && srv.Of("/handler-false").Len() == 0 })
}

// TestNoEventAfterDisconnect: from Disconnect on no event reaches a handler,
// however many have arrived, whoever has called.
func TestNoEventAfterDisconnect(t *testing.T) {
	for _, inline := range []bool{false, true} {
		t.Run(fmt.Sprintf("inline %v", inline), func(t *testing.T) {
			var handled, ended atomic.Int64
			addr, _ := serve(t, sockeye.Config{Inline: inline}, func(srv *sockeye.Server) {
				srv.On("one", func(s *sockeye.Socket) {
					handled.Add(1)
					s.Disconnect()
					if err := s.Join("room"); !errors.Is(err, sockeye.ErrDisconnected) {
						t.Errorf("Join: %v", err)
					}
				})
				srv.OnDisconnect(func(*sockeye.Socket, sockeye.Reason) { ended.Add(1) })
			})
			w := wiretest.Connect(t, addr)
			for range 100 {
				w.Write(`42["one"]`)
			}
			w.Expect("41")
			eventually(t, func() bool { return ended.Load() == 1 })
			if n := handled.Load(); n != 1 {
				t.Errorf("%d events are handled", n)
			}
			w.Write("40") // what crosses the disconnection costs nothing
			w.Expect("40{*")
		})
	}
}

// TestPacketsThatCrossADisconnection: what a peer has sent to a namespace before it
// knows that this side has taken it out is ignored; other namespaces live on.
func TestPacketsThatCrossADisconnection(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("echo", func(n int) int { return n })
		srv.Of("/custom").On("kick", func(s *sockeye.Socket) { s.Disconnect() })
		srv.Of("/refuses").OnConnect(func(*sockeye.Socket) error { return &sockeye.ConnectError{Message: "no"} })
	})
	w := wiretest.Connect(t, addr)
	w.Write("40/custom,")
	w.Expect("40/custom,{*")
	w.Write(`42/custom,["kick"]`)
	w.Expect("41/custom,")
	w.Write("40/refuses,")
	w.Expect(`44/refuses,{"message":"no"}`)
	for _, ns := range []string{"/custom", "/refuses"} {
		w.Write(`42` + ns + `,["echo",1]`)
		w.Write(`43` + ns + `,1[7]`)
		w.Write(`451-` + ns + `,["echo",{"_placeholder":true,"num":0}]`)
		w.WriteBinary([]byte("x"))
		w.Write(`41` + ns + `,`)
	}
	w.Write(`420["echo",7]`)
	w.Expect(`430[7]`)
	if n := srv.Stats().IgnoredPackets; n == 0 {
		t.Error("what was ignored is not counted")
	}
	w.Write(`42/never,["echo",1]`) // never joined: a fault, as it was
	if _, _, err := w.Read(); err == nil {
		t.Error("an event for a namespace that was never joined is taken")
	}
}

// TestGhosts: peers that go while they connect leave nothing behind.
func TestGhosts(t *testing.T) {
	for _, recovery := range []*sockeye.Recovery{nil, {}} {
		addr, srv := serve(t, sockeye.Config{Recovery: recovery}, func(srv *sockeye.Server) {
			srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("room") })
		})
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		const pairs = 3000
		go func() {
			for range pairs {
				_, _, _ = w.Read()
			}
		}()
		for range pairs {
			w.Write("40")
			w.Write("41")
		}
		for range 300 {
			w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
			w.Write("40")
			_ = w.Conn.Close()
		}
		_ = w.Conn.Close()
		eventually(t, func() bool { s := srv.Stats(); return s.Engine.Sessions == 0 && s.ActiveSockets == 0 })
		if n, room := srv.Len(), len(srv.To("room").Sockets()); n > 0 || room > 0 {
			t.Errorf("%d ghosts, %d in the room", n, room)
		}
	}
}

// TestPredecessorsCalls: what is called on a socket that has gone does nothing to
// the one that has taken its place.
func TestPredecessorsCalls(t *testing.T) {
	sockets := make(chan *sockeye.Socket, 2)
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("echo", func(n int) int { return n })
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	w := wiretest.Connect(t, addr)
	first := within(t, sockets)
	w.Write("41")
	w.Write("40")
	w.Expect("40{*")
	second := within(t, sockets)
	first.CloseSession()
	first.Disconnect()
	first.Leave("room")
	_ = first.Join("room")
	first.SetData("x")
	w.Write(`420["echo",1]`)
	w.Expect(`430[1]`)
	if !second.Connected() || second.Data() != nil || srv.Len() != 1 || len(srv.To("room").Sockets()) > 0 {
		t.Error("the second is not as it was")
	}
}
