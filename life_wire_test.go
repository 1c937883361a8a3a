package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// disconnect calls Disconnect, or CloseSession.
func disconnect(who interface {
	Disconnect()
	CloseSession()
}, closeSession bool,
) {
	if closeSession {
		who.CloseSession()
	} else {
		who.Disconnect()
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

// TestCallEndsWithItsPeer: a handler that waits in Call for a peer that goes is let
// go at once, and its worker with it.
func TestCallEndsWithItsPeer(t *testing.T) {
	const workers = 10
	failures := make(chan error, 3*workers)
	addr, srv := serve(t, sockeye.Config{MaxWorkers: workers}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) {
			_, err := s.Call(context.Background(), "question")
			failures <- err
		})
		srv.On("askAll", func(s *sockeye.Socket) {
			_, err := s.Server().All().Call(context.Background(), "question")
			failures <- err
		})
		srv.On("echo", func(n int) int { return n })
	})
	for i := range 2 * workers {
		w := wiretest.Connect(t, addr)
		want := sockeye.ErrDisconnected
		if i%2 == 0 {
			w.Write(`42["ask"]`)
		} else {
			w.Write(`42["askAll"]`)
			want = sockeye.ErrAckTimeout
		}
		w.Expect(`42*`)
		_ = w.Conn.Close()
		if err := within(t, failures); !errors.Is(err, want) {
			t.Errorf("Call: %v, want %v", err, want)
		}
	}
	w := wiretest.Connect(t, addr)
	w.Write(`420["echo",1]`)
	w.Expect(`430[1]`)
	eventually(t, func() bool { return srv.Stats().ActiveSockets == 0 })
}

// TestCallWithoutDeadline ends after Config.AckTimeout.
func TestCallWithoutDeadline(t *testing.T) {
	failures := make(chan error, 2)
	addr, _ := serve(t, sockeye.Config{AckTimeout: 20 * time.Millisecond}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) {
			_, err := s.Call(context.Background(), "question")
			failures <- err
			_, err = s.Server().All().Call(context.Background(), "question")
			failures <- err
		})
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask"]`)
	for range 2 {
		if err := within(t, failures); !errors.Is(err, sockeye.ErrAckTimeout) {
			t.Errorf("Call: %v", err)
		}
	}
}

// TestCallWhereNoAnswerCanCome returns at once, and says where one can.
func TestCallWhereNoAnswerCanCome(t *testing.T) {
	type result struct {
		where string
		err   error
	}
	for _, inline := range []bool{false, true} {
		results := make(chan result, 10)
		ask := func(where string, s *sockeye.Socket) {
			_, err := s.Call(context.Background(), where)
			results <- result{where, err}
		}
		addr, _ := serve(t, sockeye.Config{Inline: inline}, func(srv *sockeye.Server) {
			srv.Use(func(s *sockeye.Socket) error { ask("middleware", s); return nil })
			srv.OnConnect(func(s *sockeye.Socket) error {
				ask("OnConnect", s)
				_, err := s.Server().All().Call(context.Background(), "all")
				results <- result{"all in OnConnect", err}
				return nil
			})
			srv.OnConnection(func(s *sockeye.Socket) { ask("OnConnection", s) })
			srv.On("event", func(s *sockeye.Socket) { ask("event", s) })
		})
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40")
		w.Expect("40{*")
		w.Expect(`42*`)
		wants := []error{sockeye.ErrConnecting, sockeye.ErrConnecting, sockeye.ErrAckTimeout, nil, nil}
		if inline {
			wants[3], wants[4] = sockeye.ErrWouldBlock, sockeye.ErrWouldBlock
		} else {
			question := w.Expect(`42*`)
			w.Write("43" + ackID(t, question) + "[]")
		}
		w.Write(`42["event"]`)
		if !inline {
			question := w.Expect(`42*`)
			w.Write("43" + ackID(t, question) + "[]")
		}
		for _, want := range wants {
			if r := within(t, results); !errors.Is(r.err, want) {
				t.Errorf("inline %v, %s: %v, want %v", inline, r.where, r.err, want)
			}
		}
	}
}

// TestCallBesideAFullMailbox: the answer is behind more events than the mailbox
// takes, and arrives; a peer that is not asked is still not read on.
func TestCallBesideAFullMailbox(t *testing.T) {
	asked, answered := make(chan struct{}), make(chan error, 1)
	addr, srv := serve(t, sockeye.Config{MailboxEvents: 10}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) {
			close(asked)
			_, err := s.Call(context.Background(), "question")
			answered <- err
		})
		srv.On("event", func() {})
		srv.On("block", func() { <-answered })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask"]`)
	within(t, asked)
	question := w.Expect(`42*`)
	for range 15 {
		w.Write(`42["event"]`)
	}
	w.Write("43" + ackID(t, question) + "[]")
	if err := within(t, answered); err != nil {
		t.Errorf("Call: %v", err)
	}
	// It is paused first, and asked then.
	go func() { answered <- nil }()
	w.Write(`42["block"]`)
	for range 12 {
		w.Write(`42["event"]`)
	}
	eventually(t, func() bool { return srv.Stats().PausedForMailbox > 0 })
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

// TestWithSessionBlocksNobody: an application's function that takes long under the
// session's lock keeps no loop, and no other socket, waiting.
func TestWithSessionBlocksNobody(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	addr, srv := serve(t, sockeye.Config{Loops: 1}, func(srv *sockeye.Server) {
		srv.On("session", func(s *sockeye.Socket) {
			s.WithSession(func(map[string]any) { close(in); <-out })
		})
		srv.On("echo", func(n int) int { return n })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["session"]`)
	within(t, in)
	w.Write(`42["echo",1]`)
	_ = w.Conn.Close()
	other := wiretest.Connect(t, addr)
	other.Write(`420["echo",1]`)
	other.Expect(`430[1]`)
	eventually(t, func() bool { return srv.Len() == 1 })
	close(out)
}

// TestCloseKeepsItsContext whatever handlers and loops do.
func TestCloseKeepsItsContext(t *testing.T) {
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for _, c := range []struct {
		name   string
		config sockeye.Config
	}{
		{"handlers", sockeye.Config{}},
		{"loops", sockeye.Config{Inline: true, Loops: 1, MaxPostedJobs: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, out := make(chan struct{}), make(chan struct{})
			addr, srv := serve(t, c.config, func(srv *sockeye.Server) {
				srv.On("block", func() { close(in); <-out })
			})
			defer close(out)
			w := wiretest.Connect(t, addr)
			w.Write(`42["block"]`)
			within(t, in)
			for range 2 { // the second is after the first, and has its error
				begun := time.Now()
				if err := srv.Shutdown(soon()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
					t.Errorf("Close: %v after %v", err, time.Since(begun))
				}
			}
		})
	}
	t.Run("in a handler", func(t *testing.T) {
		for _, inline := range []bool{false, true} {
			closed := make(chan error, 2)
			addr, srv := serve(t, sockeye.Config{Inline: inline}, func(srv *sockeye.Server) {
				srv.On("close", func() {
					closed <- srv.Shutdown(context.Background())
					closed <- srv.Shutdown(context.Background())
				})
			})
			w := wiretest.Connect(t, addr)
			w.Write(`42["close"]`)
			for range 2 {
				if err := within(t, closed); err != nil {
					t.Error(err)
				}
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestQuestionsAreAnswered, whatever becomes of their handlers, with nothing that is
// not for strangers.
func TestQuestionsAreAnswered(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("panic", func() { panic("password") })
		srv.On("fail", func() error { return errors.New("password") })
		srv.On("public", func() error {
			return fmt.Errorf("password: %w", &sockeye.AckError{Message: "taken", Data: map[string]int{"by": 7}})
		})
		srv.On("unsendable", func() error { return &sockeye.AckError{Message: "taken", Data: make(chan int)} })
		srv.On("result", func() any { return make(chan int) })
		srv.On("raw", func(_ *sockeye.Socket, e *sockeye.Event) error { return e.Ack(make(chan int)) })
		srv.On("exit", func() { runtime.Goexit() })
		srv.On("need", func(string) {})
		srv.On("pointer", func(p *int) bool { return p == nil })
		srv.On("later", func(_ *sockeye.Socket, e *sockeye.Event) error {
			answer := e.AckLater()
			go func() { _ = answer(1); _ = answer(2) }()
			return nil
		})
		srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
			if e.Name() == "filtered" {
				panic("password")
			}
			return next(ctx)
		})
	})
	w := wiretest.Connect(t, addr)
	const internal = `43%d[{"error":"internal error"}]`
	for i, c := range [][2]string{
		{`["panic"]`, internal},
		{`["fail"]`, internal},
		{`["public"]`, `43%d[{"data":{"by":7},"error":"taken"}]`},
		{`["unsendable"]`, `43%d[{"error":"taken"}]`},
		{`["result"]`, internal},
		{`["raw"]`, internal},
		{`["exit"]`, internal},
		{`["need"]`, `43%d[{"error":"argument 0 is missing"}]`},
		{`["need",7]`, `43%d[{"error":"argument 0 does not fit"}]`},
		{`["pointer"]`, `43%d[true]`},
		{`["later"]`, `43%d[1]`},
		{`["filtered"]`, internal},
	} {
		w.Write(fmt.Sprintf("42%d%s", i, c[0]))
		w.Expect(fmt.Sprintf(c[1], i))
	}
	if s := srv.Stats(); s.HandlerPanics != 2 || s.HandlerErrors != 7 || s.DecodeErrors != 2 {
		t.Errorf("%d panics, %d errors, %d of decoding", s.HandlerPanics, s.HandlerErrors, s.DecodeErrors)
	}
}

// TestAnswersThatNobodyWaitsFor are ignored, if they are answers.
func TestAnswersThatNobodyWaitsFor(t *testing.T) {
	answers := make(chan error, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) error {
			return s.EmitWithAck(func(_ sockeye.Args, err error) { answers <- err }, "question")
		})
		srv.On("echo", func(n int) int { return n })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask"]`)
	question := w.Expect(`42*`)
	w.Write(`43["x"]`) // without an id it answers nothing
	w.Write(`43999["x"]`)
	w.Write("43" + ackID(t, question) + `[]`)
	if err := within(t, answers); err != nil {
		t.Error(err)
	}
	w.Write(`420["echo",1]`)
	w.Expect(`430[1]`)
	w.Write(`43999{}`)
	if _, _, err := w.Read(); err == nil {
		t.Error("an answer that is no array is taken")
	}
}

// TestReservedNameInABinaryEvent ends the session before the attachments come.
func TestReservedNameInABinaryEvent(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	w.Write(`451-["connect",{"_placeholder":true,"num":0}]`)
	if _, _, err := w.Read(); err == nil {
		t.Error("the session lives")
	}
}

// TestAuthIsBounded: a session keeps no more of auth objects than it may.
func TestAuthIsBounded(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{MaxAuthBytes: 10_000}, func(srv *sockeye.Server) { srv.Of("/b"); srv.Of("/c") })
	auth := `{"x":"` + strings.Repeat("x", 4_000) + `"}`
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	before := srv.Stats().Net.MemoryBytes
	for _, ns := range []string{"", "/b,"} {
		w.Write("40" + ns + auth)
		w.Expect("40" + ns + "{*")
	}
	if charged := srv.Stats().Net.MemoryBytes - before; charged < 8_000 {
		t.Errorf("%d bytes are charged", charged)
	}
	w.Write("40/c," + auth)
	w.Expect(`44/c,{"message":"Auth too large"}`)
	w.Write("41/b,")
	w.Write("40/c," + auth)
	w.Expect("40/c,{*")
	w.Write("41/c,")
	w.Write("41")
	eventually(t, func() bool { return srv.Stats().Net.MemoryBytes == before })
}

// TestHooksAddUp: they are called in order, each registration can be taken away, and
// an event has one handler.
func TestHooksAddUp(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, nil)
	first := srv.OnConnect(func(*sockeye.Socket) error { seen.add("first"); return nil })
	srv.OnConnect(func(*sockeye.Socket) error { seen.add("second"); return nil })
	srv.OnConnection(func(*sockeye.Socket) { seen.add("connection") })
	off := srv.On("event", func() int { return 1 })
	func() {
		defer func() {
			if v, _ := recover().(string); !strings.Contains(v, `On("event"): the event has a handler already`) {
				t.Errorf("a second handler: %v", v)
			}
		}()
		srv.On("event", func() int { return 2 })
	}()
	w := wiretest.Connect(t, addr)
	w.Write(`420["event"]`)
	w.Expect(`430[1]`)
	seen.expect(t, "first", "second", "connection")
	first()
	first()
	off()
	again := srv.On("event", func() int { return 3 })
	off() // it is another's
	w = wiretest.Connect(t, addr)
	w.Write(`420["event"]`)
	w.Expect(`430[3]`)
	seen.expect(t, "second", "connection")
	again()
}

// TestInlineIsSequential: with Config.Inline, too, nothing of a socket runs beside
// anything else of it.
func TestInlineIsSequential(t *testing.T) {
	var running, overlaps atomic.Int64
	alone := func(f func()) {
		if running.Add(1) > 1 {
			overlaps.Add(1)
		}
		if f != nil {
			f()
		}
		for range 20 {
			runtime.Gosched()
		}
		running.Add(-1)
	}
	ended := make(chan struct{}, 1)
	addr, _ := serve(t, sockeye.Config{Inline: true}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { alone(nil); return nil })
		srv.OnConnection(func(s *sockeye.Socket) { alone(nil) })
		srv.On("ask", func(s *sockeye.Socket) {
			alone(func() { _ = s.EmitWithAck(func(sockeye.Args, error) { alone(nil) }, "question") })
		})
		srv.On("event", func(*sockeye.Socket) { alone(nil) })
		srv.OnDisconnecting(func(*sockeye.Socket, sockeye.Reason) { alone(nil) })
		srv.OnDisconnect(func(*sockeye.Socket, sockeye.Reason) { alone(nil); ended <- struct{}{} })
	})
	for range 20 {
		w := wiretest.Connect(t, addr)
		for i := range 20 {
			w.Write(`42["ask"]`)
			w.Write(fmt.Sprintf(`43%d[]`, i))
			w.Write(`42["event"]`)
		}
		_ = w.Conn.Close()
		within(t, ended)
	}
	if n := overlaps.Load(); n > 0 {
		t.Errorf("%d times at once", n)
	}
}

// TestGoexitInHooks: a hook that ends its goroutine keeps nobody from running.
func TestGoexitInHooks(t *testing.T) {
	var seen notes
	ended := make(chan struct{})
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		for i := range 3 {
			srv.OnConnection(func(*sockeye.Socket) { seen.add("connection %d", i); runtime.Goexit() })
			srv.OnDisconnecting(func(*sockeye.Socket, sockeye.Reason) { seen.add("disconnecting %d", i); runtime.Goexit() })
			srv.OnDisconnect(func(*sockeye.Socket, sockeye.Reason) {
				if seen.add("disconnect %d", i); i == 2 {
					defer close(ended)
				}
				runtime.Goexit()
			})
		}
		srv.Of("/no").OnConnect(func(*sockeye.Socket) error { runtime.Goexit(); return nil })
	})
	w := wiretest.Connect(t, addr)
	w.Write("40/no,")
	w.Expect(`44/no,{"message":"internal error"}`)
	_ = w.Conn.Close()
	within(t, ended)
	seen.expect(t, "connection 0", "connection 1", "connection 2", "disconnecting 0", "disconnecting 1", "disconnecting 2",
		"disconnect 0", "disconnect 1", "disconnect 2")
	eventually(t, func() bool { return srv.Stats().ActiveSockets == 0 })
}

// TestCyclicValues are refused, with binary in them or without.
func TestCyclicValues(t *testing.T) {
	_, srv := serve(t, sockeye.Config{}, nil)
	cycle := map[string]any{"b": []byte("x")}
	cycle["self"], cycle["again"] = cycle, []any{cycle, cycle}
	list := []any{nil}
	list[0] = list
	for _, v := range []any{cycle, list} {
		if err := srv.Emit("x", v); err == nil || strings.Contains(err.Error(), "connected") {
			t.Errorf("Emit of a cycle: %v", err)
		}
	}
}

// TestConfigurationFaults are all found at once, with what to do.
func TestConfigurationFaults(t *testing.T) {
	_, err := sockeye.New(sockeye.Config{
		ConnectTimeout: 45, AckTimeout: -1, MailboxEvents: -1, MaxJSONDepth: 1000,
		Recovery: &sockeye.Recovery{MaxBytes: -1}, Engines: []*engine.Engine{nil},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"ConnectTimeout is 45 nanoseconds; has a unit been forgotten?", "AckTimeout", "MailboxEvents is -1", "MaxJSONDepth", "Recovery", "Config.Engines has nil at 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}
