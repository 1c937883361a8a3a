package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

type next = func(ctx context.Context) error

// TestEventMiddleware: what each of the forms that UseEvents' documentation lists does,
// on the mailboxes' goroutines and on the loop. Each middleware is the inner of two:
// what the outer one has seen of it is the first note behind the handler's.
func TestEventMiddleware(t *testing.T) {
	const internal = `[map[error:internal error]]`
	never := func(ctx context.Context, e *sockeye.Event, next next) error { return next(ctx) }
	for name, c := range map[string]struct {
		event string
		f     func(ctx context.Context, e *sockeye.Event, next next) error
		want  string // the answer
		notes string
	}{
		"it passes on":      {"sum", never, "[3]", "handler, outer <nil>"},
		"a handler's error": {"fail", never, "[map[error:no]]", "handler, outer no, error no"},
		"a handler's panic": {"panic", never, internal, `handler, error sockeye: handler of "panic" panicked: ouch, outer sockeye: handler of "panic" panicked: ouch`},
		"no arguments":      {"need", never, "[map[error:argument 0 is missing]]", "outer argument, error argument"},
		"the handler ends its goroutine": {
			"exit", never, internal, "handler, error sockeye: the function ended its goroutine (runtime.Goexit)",
		},
		"nobody's event":     {"nobody", never, "[unhandled]", "unhandled, outer <nil>"},
		"next is not called": {"sum", func(context.Context, *sockeye.Event, next) error { return nil }, internal, "outer <nil>"},
		"... and it answers": {"sum", func(_ context.Context, e *sockeye.Event, _ next) error { return e.Ack("mine") }, "[mine]", "outer <nil>"},
		"... and answers later": {"sum", func(_ context.Context, e *sockeye.Event, _ next) error {
			later := e.AckLater()
			return later("later")
		}, "[later]", "outer <nil>"},
		"an error instead": {"sum", func(context.Context, *sockeye.Event, next) error {
			return &sockeye.AckError{Message: "not for you"}
		}, "[map[error:not for you]]", "outer not for you, error not for you"},
		"an error after the handler": {"sum", func(ctx context.Context, _ *sockeye.Event, next next) error {
			return errors.Join(next(ctx), errors.New("after"))
		}, "[3]", "handler, outer after, error after"},
		"it swallows an error": {"fail", func(ctx context.Context, _ *sockeye.Event, next next) error {
			_ = next(ctx)
			return nil
		}, internal, "handler, outer <nil>"},
		"twice": {"sum", func(ctx context.Context, _ *sockeye.Event, next next) error {
			return errors.Join(next(ctx), next(ctx))
		}, "[3]", "handler, outer twice, error twice"},
		"a panic before next": {
			"sum", func(context.Context, *sockeye.Event, next) error { panic("early") }, internal,
			`error sockeye: handler of "sum" panicked: early, outer sockeye: handler of "sum" panicked: early`,
		},
		"a panic after next": {"sum", func(ctx context.Context, _ *sockeye.Event, next next) error {
			_ = next(ctx)
			panic("late")
		}, "[3]", `handler, error sockeye: handler of "sum" panicked: late, outer sockeye: handler of "sum" panicked: late`},
		"it ends its goroutine": {"sum", func(context.Context, *sockeye.Event, next) error {
			runtime.Goexit()
			return nil
		}, internal, "error sockeye: the function ended its goroutine (runtime.Goexit)"},
		"it disconnects": {"sum", func(ctx context.Context, e *sockeye.Event, next next) error {
			e.Socket().Disconnect()
			return next(ctx)
		}, "[]", "outer sockeye: the socket is disconnected, error sockeye: the socket is disconnected"},
		"nil for a context": {"sum", func(_ context.Context, _ *sockeye.Event, next next) error {
			return next(nil) //nolint:staticcheck // it is what is tested
		}, "[3]", "handler, outer <nil>"},
	} {
		for _, inline := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", inline ", inline), func(t *testing.T) {
				if inline && strings.Contains(name, "its goroutine") {
					t.Skip("the loop's goroutine is the test's own here; see TestEventMiddlewareGoexitInline")
				}
				srv, connect := inMemory(t, sockeye.Config{Inline: inline})
				var seen notes
				short := func(err error) string {
					var argument *sockeye.ArgumentError
					switch text := fmt.Sprint(err); {
					case errors.As(err, &argument):
						return "argument"
					case strings.Contains(text, "twice"):
						return "twice"
					default:
						return text
					}
				}
				srv.OnError(func(_ *sockeye.Socket, _ string, err error) { seen.add("error %s", short(err)) })
				srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next next) error {
					err := next(ctx)
					seen.add("outer %s", short(err))
					return err
				})
				srv.UseEvents(c.f)
				srv.On("sum", func(a, b int) int { seen.add("handler"); return a + b })
				srv.On("need", func(a string) { t.Error("called") })
				srv.On("fail", func() (int, error) { seen.add("handler"); return 0, &sockeye.AckError{Message: "no"} })
				srv.On("panic", func() { seen.add("handler"); panic("ouch") })
				srv.On("exit", func() { seen.add("handler"); runtime.Goexit() })
				srv.OnUnhandled(func(_ *sockeye.Socket, e *sockeye.Event) error { seen.add("unhandled"); return e.Ack("unhandled") })
				peer := connect()
				args := []any{1, 2}
				if c.event == "need" {
					args = nil
				}
				if c.want == "[]" { // nobody is there to be answered
					peer.Emit(c.event, args...)
				} else if got := fmt.Sprint(peer.Call(c.event, args...)); got != c.want {
					t.Errorf("answered %s, want %s", got, c.want)
				}
				if got := strings.Join(seen.get(), ", "); got != c.notes {
					t.Errorf("noted %s, want %s", got, c.notes)
				}
				filtered := uint64(0)
				if !strings.Contains(c.notes, "handled") && !strings.Contains(c.notes, "handler") && c.event != "need" {
					filtered = 1
				}
				if strings.Contains(name, "a panic before") { // the note has the word
					filtered = 1
				}
				if got := srv.Stats().FilteredEvents; got != filtered {
					t.Errorf("%d events were filtered, want %d", got, filtered)
				}
				if c.want != "[]" { // the socket goes on
					if got := fmt.Sprint(peer.Call("sum", 1, 1)); !peer.Connected() || got == "[]" {
						t.Errorf("the next event is answered %s", got)
					}
				}
			})
		}
	}
}

// TestEventMiddlewareNextLate: next that is called when its middleware has returned calls
// nothing; next that is under way on another goroutine is waited for.
func TestEventMiddlewareNextLate(t *testing.T) {
	srv, connect := inMemory(t, sockeye.Config{})
	kept := make(chan next, 1)
	returned, results := make(chan struct{}), make(chan error, 1)
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next next) error {
		switch e.Name() {
		case "late":
			kept <- next
		case "elsewhere":
			begun := make(chan struct{})
			go func() {
				results <- next(context.WithValue(ctx, key{}, begun))
			}()
			<-begun
			close(returned)
			return errors.New("it does not wait")
		}
		return nil
	})
	var seen notes
	srv.On("late", func() { t.Error("called") })
	srv.On("elsewhere", func(ctx context.Context, text string) string {
		close(ctx.Value(key{}).(chan struct{}))
		<-returned // of the middleware, or nearly
		seen.add("%s", text)
		return text
	})
	srv.OnError(func(_ *sockeye.Socket, event string, err error) { seen.add("error %s %v", event, err) })
	peer := connect()
	peer.Emit("late")
	if err := (<-kept)(t.Context()); err == nil {
		t.Error("next has done something after its middleware had returned")
	}
	if got := fmt.Sprint(peer.Call("elsewhere", "text")); got != "[text]" {
		t.Errorf("answered %s", got)
	}
	if err := <-results; err != nil {
		t.Error(err)
	}
	seen.expect(t, "text", "error elsewhere it does not wait")
}

// TestEventMiddlewarePeerGoes: the peer goes while a middleware runs. Its context ends,
// and next still calls the handler, as without a middleware.
func TestEventMiddlewarePeerGoes(t *testing.T) {
	inside, handled := make(chan struct{}), make(chan error, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.UseEvents(func(ctx context.Context, _ *sockeye.Event, next next) error {
			close(inside)
			<-ctx.Done()
			return next(ctx)
		})
		srv.On("e", func(ctx context.Context) { handled <- ctx.Err() })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["e"]`)
	<-inside
	_ = w.Conn.Close()
	if err := <-handled; !errors.Is(err, context.Canceled) {
		t.Errorf("the context's error is %v", err)
	}
}

// TestEventMiddlewareGoexitInline: a handler, or a middleware, on a loop ends the loop's
// goroutine: the event is answered, and told once.
func TestEventMiddlewareGoexitInline(t *testing.T) {
	var seen notes
	addr, _ := serve(t, sockeye.Config{Inline: true}, func(srv *sockeye.Server) {
		srv.UseEvents(func(ctx context.Context, _ *sockeye.Event, next next) error { return next(ctx) })
		srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next next) error {
			if e.Name() == "middleware" {
				runtime.Goexit()
			}
			return next(ctx)
		})
		srv.On("handler", func() { runtime.Goexit() })
		srv.OnError(func(_ *sockeye.Socket, event string, _ error) { seen.add("%s", event) })
	})
	for _, event := range []string{"handler", "middleware"} {
		w := wiretest.Connect(t, addr)
		w.Write(`420["` + event + `"]`)
		eventually(t, func() bool { return len(seen.get()) > 0 })
		seen.expect(t, event)
	}
}

// TestEventMiddlewareOnce: an event that is dropped uses up no handler.
func TestEventMiddlewareOnce(t *testing.T) {
	srv, connect := inMemory(t, sockeye.Config{})
	drop := true
	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next next) error {
		if !e.HasHandler() || e.Socket().Server() != srv.Server {
			return errors.New("nobody's")
		}
		if drop {
			return e.Ack("dropped")
		}
		return next(ctx)
	})
	var any notes
	srv.OnAny(func(_ *sockeye.Socket, e *sockeye.Event) { any.add("%s", e.Name()) })
	srv.Once("e", func() string { return "once" })
	peer := connect()
	var got []string
	for i := range 3 {
		drop = i == 0
		got = append(got, fmt.Sprint(peer.Call("e")...))
	}
	if s := strings.Join(got, " "); s != "dropped once map[error:internal error]" {
		t.Error(s)
	}
	any.expect(t, "e", "e", "e")
}

type key struct{}

// TestContexts: what Config.Middleware has put into the request's context is in the
// context of every handler, and so is what an event middleware adds. The end of the
// request's own context does not end them.
func TestContexts(t *testing.T) {
	for _, inline := range []bool{false, true} {
		srv := sockeyetest.NewServer(t, sockeye.Config{Inline: inline, Middleware: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithCancel(context.WithValue(r.Context(), key{}, "ann"))
				defer cancel()
				next.ServeHTTP(w, r.WithContext(ctx))
			})
		}})
		var seen notes
		note := func(where string, ctx context.Context) {
			seen.add("%s %v %v %v", where, ctx.Value(key{}), ctx.Value(extraKey{}), ctx.Err())
		}
		srv.Use(func(s *sockeye.Socket) error { note("Use", s.Context()); return nil })
		srv.OnConnect(func(s *sockeye.Socket) error { note("OnConnect", s.Context()); return nil })
		srv.OnConnection(func(s *sockeye.Socket) { note("OnConnection", s.Context()) })
		srv.OnDisconnect(func(s *sockeye.Socket, _ sockeye.Reason) { note("OnDisconnect", s.Context()) })
		srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next next) error {
			note("UseEvents", ctx)
			err := next(context.WithValue(ctx, extraKey{}, 1))
			note("UseEvents", e.Context())
			return err
		})
		srv.On("typed", func(ctx context.Context) { note("typed", ctx) })
		srv.On("raw", func(_ *sockeye.Socket, e *sockeye.Event) error { note("raw", e.Context()); return nil })
		peer := srv.Connect(t, sockeyetest.Options{})
		peer.Emit("typed")
		peer.Emit("raw")
		peer.Disconnect()
		srv.Settle()
		seen.expect(t, "Use ann <nil> <nil>", "OnConnect ann <nil> <nil>", "OnConnection ann <nil> <nil>",
			"UseEvents ann <nil> <nil>", "typed ann 1 <nil>", "UseEvents ann <nil> <nil>",
			"UseEvents ann <nil> <nil>", "raw ann 1 <nil>", "UseEvents ann <nil> <nil>",
			"OnDisconnect ann <nil> context canceled")
	}
}

type extraKey struct{}

type guarded struct{ seen *notes }

func (g guarded) UseEvents(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
	g.seen.add("UseEvents %s", e.Name())
	return next(ctx)
}

func (g guarded) OnHello() { g.seen.add("hello") }

// TestRegisterEventMiddleware: a method UseEvents of the right form is one.
func TestRegisterEventMiddleware(t *testing.T) {
	srv, connect := inMemory(t, sockeye.Config{})
	var seen notes
	remove := srv.Register(guarded{&seen})
	peer := connect()
	peer.Emit("hello")
	remove()
	peer.Emit("hello")
	seen.expect(t, "UseEvents hello", "hello")
}

// notes is what handlers have noted, in order.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprintf(format, args...))
}

func (n *notes) get() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

func (n *notes) expect(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, func() bool { return len(n.get()) >= len(want) })
	if got := n.get(); !slices.Equal(got, want) {
		t.Errorf("noted %q, want %q", got, want)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = nil
}

func TestWatchersAndEventMiddleware(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnAny(func(s *sockeye.Socket, e *sockeye.Event) { seen.add("any %s %d", e.Name(), e.Len()) })
		srv.OnAnyOutgoing(func(s *sockeye.Socket, event string, args []any) { seen.add("out %v %s %v", s != nil, event, args) })
		srv.UseEvents(func(ctx context.Context, _ *sockeye.Event, next func(context.Context) error) error {
			seen.add("first")
			return next(ctx)
		})
		srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
			if e.Name() == "secret" {
				return &sockeye.AckError{Message: "not for you"}
			}
			return next(ctx)
		})
		srv.On("secret", func() { t.Error("the middleware was passed") })
		srv.On("open", func(s *sockeye.Socket) int { _ = s.Emit("own", 1); return 1 })
		srv.OnError(func(s *sockeye.Socket, event string, err error) { seen.add("error %s %v", event, err) })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`420["secret","x"]`)
	w.Expect(`430[{"error":"not for you"}]`)
	seen.expect(t, "any secret 1", "first", "error secret not for you")
	w.Write(`421["open"]`)
	w.Expect(`42["own",1]`)
	w.Expect(`431[1]`)
	_ = srv.Emit("all", 2)
	w.Expect(`42["all",2]`)
	seen.expect(t, "any open 0", "first", "out true own [1]", "out false all [2]")
}
