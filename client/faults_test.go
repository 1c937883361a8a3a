package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// soon is how long something may take that does not wait for a peer, on a busy
// machine.
const soon = 2 * time.Second

// quick makes clients that connect again at once.
func quick(transports ...string) client.Config {
	return client.Config{Transports: transports, ReconnectDelay: time.Millisecond, ReconnectDelayMax: 5 * time.Millisecond}
}

// cut ends the connections of a Client without taking it in again, until open is
// called.
func (x *cutter) cut(t *testing.T, c *client.Client) {
	t.Helper()
	x.hold()
	eventually(t, func() bool { return !c.Connected() })
}

// An answer to a question of a connection that has gone is not sent on the next
// one, whose questions have the same numbers.
func TestAckOfAnOldConnection(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	x := newCutter(t, addr)
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c := dial(t, "http://"+x.addr, cfg)
		events := make(chan *client.Event, 2)
		c.On("ask", func(e *client.Event) { events <- e })
		ask := func(n int) <-chan string {
			got := make(chan string, 1)
			s := srv.Socket(c.ID())
			if s == nil {
				t.Fatal("the server does not know the socket")
			}
			_ = s.EmitWithAck(func(a sockeye.Args, err error) {
				var text string
				_ = a.Decode(&text)
				got <- text
			}, "ask", n)
			return got
		}
		ask(1)
		old := next(t, events)
		x.cut(t, c)
		x.open()
		eventually(t, c.Connected)
		second := ask(2)
		present := next(t, events)
		if err := old.Ack("of the first"); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Ack of an old event: %v", err)
		}
		if err := present.Ack("of the second"); err != nil {
			t.Error(err)
		}
		if got := next(t, second); got != "of the second" {
			t.Errorf("the second question is answered %q", got)
		}
	})
}

// Close in a handler is at once, however many events wait.
func TestCloseInAHandler(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		cfg.MaxQueued = 5
		c := dial(t, "http://"+addr, cfg)
		begin, done := make(chan struct{}), make(chan time.Duration, 1)
		var handled atomic.Int32
		c.On("x", func(*client.Event) {
			if handled.Add(1) > 1 {
				return
			}
			<-begin
			start := time.Now()
			_ = c.Close()
			_ = c.Close()
			done <- time.Since(start)
		})
		for range 100 {
			_ = srv.Socket(c.ID()).Emit("x", strings.Repeat("x", 1000))
		}
		close(begin)
		if d := next(t, done); d > soon {
			t.Errorf("Close took %v", d)
		}
		eventually(t, func() bool { return srv.Len() == 0 })
		if n := handled.Load(); n != 1 {
			t.Errorf("%d events were handled after Close", n-1)
		}
	})
}

// An answer is read though the queue of events is full.
func TestCallInAHandler(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		cfg.MaxQueued = 5
		c := dial(t, "http://"+addr, cfg)
		begin, done := make(chan struct{}), make(chan error, 200)
		c.On("x", func(*client.Event) {
			<-begin
			_, err := c.Call(within(t), "echo")
			done <- err
		})
		s := srv.Socket(c.ID())
		for range 100 {
			_ = s.Emit("x", strings.Repeat("x", 1000))
		}
		close(begin)
		for range 100 {
			if err := next(t, done); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The event of a Call that has returned is not sent any more, nor is one whose
// context is done before.
func TestCallIsNotSentLater(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	paid := make(chan int, 10)
	srv.On("pay", func(n int) int { paid <- n; return n })
	x := newCutter(t, addr)
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c := dial(t, "http://"+x.addr, cfg)
		x.cut(t, c)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := c.Call(ctx, "pay", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		kept := make(chan error, 1) // waits for the connection
		go func() {
			_, err := c.Call(within(t), "pay", 2)
			kept <- err
		}()
		x.open()
		if err := next(t, kept); err != nil {
			t.Error(err)
		}
		if _, err := c.Call(ctx, "pay", 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if _, err := c.Call(within(t), "pay", 4); err != nil {
			t.Error(err)
		}
		if a, b := next(t, paid), next(t, paid); a != 2 || b != 4 || len(paid) > 0 {
			t.Errorf("paid %d, %d, and %d more", a, b, len(paid))
		}
	})
}

// A Call ends when its connection does.
func TestCallEndsWithItsConnection(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	asked := make(chan struct{}, 1)
	srv.On("never", func(*sockeye.Socket, *sockeye.Event) error { asked <- struct{}{}; return nil })
	x := newCutter(t, addr)
	for name, end := range map[string]func(c *client.Client){
		"cut":        func(*client.Client) { x.hold(); x.open() },
		"kicked":     func(c *client.Client) { srv.Socket(c.ID()).Disconnect() },
		"Disconnect": func(c *client.Client) { c.Disconnect() },
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, "http://"+x.addr, quick("websocket"))
			got := make(chan error, 1)
			go func() {
				_, err := c.Call(context.Background(), "never")
				got <- err
			}()
			next(t, asked)
			end(c)
			if err := next(t, got); !errors.Is(err, client.ErrDisconnected) {
				t.Error(err)
			}
		})
	}
}

// What is emitted when the connection is over, but its reader does not know yet, is for the
// next one: a Call that was registered there and not sent waited for ever.
func TestCallBetweenConnections(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	srv.On("sum", func(a, b int) int { return a + b })
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c := dial(t, "http://"+addr, cfg)
		end := client.Stopping(c)
		got := make(chan error, 1)
		go func() {
			_, err := c.Call(within(t), "sum", 1, 2)
			got <- err
		}()
		eventually(t, func() bool { return client.Calls(c) == 1 })
		end()
		if err := next(t, got); err != nil {
			t.Error(err)
		}
	})
}

// A refusal at a later connection is not the end: Connect asks again, and what was
// emitted before goes out then.
func TestConnectAfterARefusal(t *testing.T) {
	var refuse atomic.Bool
	addr, srv := serve(t, sockeye.Config{})
	srv.Use(func(*sockeye.Socket) error {
		if refuse.Load() {
			return &sockeye.ConnectError{Message: "token expired"}
		}
		return nil
	})
	x := newCutter(t, addr)
	eachMode(t, func(t *testing.T, cfg client.Config) {
		refuse.Store(false)
		c := dial(t, "http://"+x.addr, cfg)
		refused := make(chan error, 10)
		c.OnConnectError(func(err error) {
			if errors.As(err, new(*client.ConnectError)) {
				refused <- err
			}
		})
		echoes := values(t, c, "echo")
		x.cut(t, c)
		_ = c.Emit("echo", "kept")
		refuse.Store(true)
		x.open()
		if err := next(t, refused); err.Error() != "client: the server refuses: token expired" {
			t.Error(err)
		}
		if c.Active() || c.Connected() {
			t.Error("active after a refusal")
		}
		if err := c.Emit("echo", "nobody"); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Emit after a refusal: %v", err)
		}
		var refusal *client.ConnectError
		if err := c.Connect(within(t)); !errors.As(err, &refusal) {
			t.Errorf("Connect: %v", err)
		}
		next(t, refused)
		refuse.Store(false)
		if err := c.Connect(within(t)); err != nil || !c.Active() || !c.Connected() {
			t.Errorf("Connect: %v", err)
		}
		if got := next(t, echoes); got[0] != "kept" {
			t.Errorf("%v", got)
		}
	})
}

// Nobody waits for a connection that nobody makes.
func TestOfAfterGivingUp(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	cfg := quick()
	cfg.ReconnectAttempts = 2
	c := dial(t, "http://"+addr, cfg)
	failed, attempts := make(chan struct{}), make(chan int, 10)
	c.OnReconnectFailed(func() { close(failed) })
	c.OnReconnectAttempt(func(n int) { attempts <- n })
	stop(srv)
	next(t, failed)
	if a, b := next(t, attempts), next(t, attempts); a != 1 || b != 2 || len(attempts) > 0 {
		t.Errorf("attempts %d, %d, and %d more", a, b, len(attempts))
	}
	eventually(t, func() bool { return !c.Active() })
	start := time.Now()
	if _, err := c.Of(context.Background(), "/other"); !errors.Is(err, client.ErrDisconnected) || time.Since(start) > soon {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if err := c.Emit("x"); !errors.Is(err, client.ErrDisconnected) {
		t.Error(err)
	}
	if err := c.Connect(context.Background()); !errors.Is(err, client.ErrDisconnected) {
		t.Error(err)
	}
	// Of that waits is told.
	addr, srv = serve(t, sockeye.Config{})
	cfg.ReconnectDelay, cfg.ReconnectDelayMax = 100*time.Millisecond, 100*time.Millisecond
	c = dial(t, "http://"+addr, cfg)
	stop(srv)
	eventually(t, func() bool { return !c.Connected() })
	if _, err := c.Of(context.Background(), "/other"); !errors.Is(err, client.ErrDisconnected) {
		t.Error(err)
	}
}

// mute is a server that accepts connections and does not answer.
func mute(t *testing.T) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return ln.Addr().String()
}

// A poll is not sent again when its connection breaks: what the server has answered
// would be lost, and nobody would know.
func TestPollIsNotSentAgain(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	polls := make(chan string, 10)
	var opened atomic.Int32
	answer := func(r *http.Request) string {
		sid := r.URL.Query().Get("sid")
		switch {
		case sid == "":
			return fmt.Sprintf(`0{"sid":"s%d","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, opened.Add(1))
		case r.Method == http.MethodPost:
			return "ok"
		}
		select {
		case polls <- sid:
		default:
		}
		if len(polls) == 1 {
			return `40{"sid":"a"}`
		}
		return "" // the answer is lost
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					body := answer(r)
					if body == "" {
						return
					}
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				}
			}()
		}
	}()
	_ = dial(t, "http://"+ln.Addr().String(), quick("polling"))
	for _, want := range []string{"s1", "s1", "s2"} {
		if got := next(t, polls); got != want {
			t.Errorf("a poll of %s, not %s", got, want)
		}
	}
}

// Dial's error tells why it has ended, at once.
func TestDialDeadline(t *testing.T) {
	deaf, srv := serve(t, sockeye.Config{}) // answers the handshake, not CONNECT
	begin := make(chan struct{})
	srv.Use(func(*sockeye.Socket) error { <-begin; return nil })
	t.Cleanup(func() { close(begin) })
	for name, addr := range map[string]string{"handshake": mute(t), "connect": deaf} {
		eachMode(t, func(t *testing.T, cfg client.Config) {
			t.Run(name, func(t *testing.T) {
				check := func(why error, ctx context.Context, cfg client.Config) {
					t.Helper()
					start := time.Now()
					_, err := client.Dial(ctx, "http://"+addr, cfg)
					if !errors.Is(err, why) || errors.Is(err, context.Canceled) != (why == context.Canceled) || time.Since(start) > soon {
						t.Errorf("%v after %v", err, time.Since(start))
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				defer cancel()
				check(context.DeadlineExceeded, ctx, cfg)
				ctx, cancel = context.WithCancel(context.Background())
				time.AfterFunc(50*time.Millisecond, cancel)
				check(context.Canceled, ctx, cfg)
				check(context.Canceled, ctx, cfg)
				cfg.ConnectTimeout = 50 * time.Millisecond
				check(context.DeadlineExceeded, context.Background(), cfg)
			})
		})
	}
}

// The reasons are those of the JavaScript client, and each connection has one.
func TestReasons(t *testing.T) {
	for want, end := range map[string]func(srv *sockeye.Server, x *cutter, c *client.Client){
		"io client disconnect": func(_ *sockeye.Server, _ *cutter, c *client.Client) { c.Disconnect() },
		"io server disconnect": func(srv *sockeye.Server, _ *cutter, c *client.Client) { srv.Socket(c.ID()).Disconnect() },
		"transport close":      func(_ *sockeye.Server, x *cutter, _ *client.Client) { x.hold() },
		"ping timeout":         func(_ *sockeye.Server, x *cutter, _ *client.Client) { x.freeze() },
	} {
		t.Run(want, func(t *testing.T) {
			addr, srv := serve(t, sockeye.Config{PingInterval: 100 * time.Millisecond, PingTimeout: 400 * time.Millisecond})
			x := newCutter(t, addr)
			cfg := quick("websocket")
			cfg.NoReconnect = true
			c := dial(t, "http://"+x.addr, cfg)
			reasons := make(chan string, 10)
			c.OnDisconnect(func(reason string) { reasons <- reason })
			end(srv, x, c)
			if got := next(t, reasons); got != want {
				t.Errorf("%q", got)
			}
			eventually(t, func() bool { return !c.Active() })
			c.Disconnect()
			_ = c.Close()
			marker(t, c)
			if len(reasons) > 0 {
				t.Errorf("again: %q", next(t, reasons))
			}
		})
	}
	addr, _ := serve(t, sockeye.Config{})
	c := dial(t, "http://"+addr, client.Config{})
	reasons := make(chan string, 10)
	c.OnDisconnect(func(reason string) { _ = c.Close(); c.Disconnect(); reasons <- reason })
	for range 3 {
		go func() { _ = c.Close() }()
	}
	if got := next(t, reasons); got != "io client disconnect" {
		t.Errorf("%q", got)
	}
	_ = c.Close()
	if len(reasons) > 0 {
		t.Errorf("again: %q", next(t, reasons))
	}
}

// marker waits until what c is to tell has been told: it is closed, so that nothing
// follows.
func marker(t *testing.T, c *client.Client) {
	t.Helper()
	eventually(t, func() bool { return client.Quiet(c) })
}

// A handler that blocks, a queue that is full: the server's pings are answered all
// the same, and the end of the namespace is seen.
func TestBlockedHandler(t *testing.T) {
	const pings, patience = 50 * time.Millisecond, 2 * time.Second
	addr, srv := serve(t, sockeye.Config{PingInterval: pings, PingTimeout: patience})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		t.Parallel()
		cfg.MaxQueued, cfg.MaxQueuedBytes = 5, 64<<10
		c := dial(t, "http://"+addr, cfg)
		reasons := make(chan string, 10)
		c.OnDisconnect(func(reason string) { reasons <- reason })
		blocked, begin := make(chan struct{}), make(chan struct{})
		var got atomic.Int32
		c.On("x", func(*client.Event) {
			if got.Add(1) == 1 {
				blocked <- struct{}{}
				<-begin
			}
		})
		s := srv.Socket(c.ID())
		const n = 200
		for range n {
			if err := s.Emit("x", strings.Repeat("x", 2000)); err != nil {
				t.Fatal(err)
			}
		}
		next(t, blocked)
		time.Sleep(2 * patience) // many pings
		if !c.Connected() || srv.Socket(c.ID()) == nil {
			t.Fatal("a handler that blocks has ended the connection")
		}
		if n, bytes := client.Queued(c); bytes > cfg.MaxQueuedBytes+8<<10 {
			t.Errorf("%d events of %d bytes wait", n, bytes)
		}
		begin <- struct{}{}
		eventually(t, func() bool { return got.Load() == n })
		if len(reasons) > 0 {
			t.Errorf("%q", next(t, reasons))
		}
		// The end, behind more than the queue takes.
		got.Store(0)
		for range 20 {
			_ = s.Emit("x")
		}
		next(t, blocked)
		s.Disconnect()
		eventually(t, func() bool { return !c.Connected() })
		if got.Load() != 1 {
			t.Error("the handler does not block")
		}
		begin <- struct{}{}
		if reason := next(t, reasons); reason != "io server disconnect" || got.Load() != 20 {
			t.Errorf("%q after %d events", reason, got.Load())
		}
	})
}

// Both sides emit much to each other from handlers that wait for room: nobody waits
// for ever.
func TestBothSidesEmitMuch(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{
		MaxQueuedBytes: 64 << 20,
	})
	const n = 300
	pad := strings.Repeat("x", 64<<10)
	srv.On("begin", func(s *sockeye.Socket) error {
		for range n {
			if err := s.Emit("chunk", pad); err != nil {
				return err
			}
		}
		return nil
	})
	var server atomic.Int32
	srv.On("chunk", func(string) { server.Add(1) })
	eachMode(t, func(t *testing.T, cfg client.Config) {
		server.Store(0)
		cfg.MaxQueued = 5
		c := dial(t, "http://"+addr, cfg)
		reasons := make(chan string, 10)
		c.OnDisconnect(func(reason string) { reasons <- reason })
		var got atomic.Int32
		c.On("chunk", func(*client.Event) {
			got.Add(1)
			if err := c.Emit("chunk", pad); err != nil {
				t.Error(err)
			}
		})
		_ = c.Emit("begin")
		deadline := time.After(9 * limit)
		for got.Load() < n || server.Load() < n {
			select {
			case r := <-reasons:
				t.Fatalf("%q after %d and %d", r, got.Load(), server.Load())
			case <-deadline:
				t.Fatalf("it stands still after %d and %d", got.Load(), server.Load())
			case <-time.After(time.Millisecond):
			}
		}
	})
}

// Handlers that New's user has registered before Connect miss nothing.
func TestHandlersBeforeTheConnection(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	srv.OnConnection(func(s *sockeye.Socket) { _ = s.Emit("hello", 1) })
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c, err := client.New("http://"+addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if c.Active() || !errors.Is(c.Emit("x"), client.ErrDisconnected) {
			t.Error("New connects")
		}
		order := make(chan string, 10)
		c.OnConnect(func() { order <- "connect" })
		c.OnConnect(func() { order <- "connect 2" })
		c.OnConnect(func() { order <- "removed" })()
		c.On("hello", func(*client.Event) { order <- "hello" })
		c.OnDisconnect(func(reason string) { order <- reason })
		for range 2 {
			if err := c.Connect(within(t)); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"connect", "connect 2", "hello"} {
				if got := next(t, order); got != want {
					t.Fatalf("%q, not %q", got, want)
				}
			}
			if err := c.Connect(within(t)); err != nil {
				t.Error(err)
			}
			c.Disconnect()
			if got := next(t, order); got != "io client disconnect" || c.Active() {
				t.Errorf("%q", got)
			}
		}
	})
}

// Every public method may be called by every handler, hook and by Config.Auth.
func TestEveryMethodInEveryHook(t *testing.T) {
	methods := map[string]func(ctx context.Context, c *client.Client){
		"Close":      func(_ context.Context, c *client.Client) { _ = c.Close() },
		"Disconnect": func(_ context.Context, c *client.Client) { c.Disconnect() },
		"Connect":    func(ctx context.Context, c *client.Client) { _ = c.Connect(ctx) },
		"Of": func(ctx context.Context, c *client.Client) {
			if other, err := c.Of(ctx, "/other"); err == nil {
				_ = other.Close()
			}
		},
		"Share":        func(_ context.Context, c *client.Client) { _, _ = c.Share("/other") },
		"Call":         func(ctx context.Context, c *client.Client) { _, _ = c.Call(ctx, "echo") },
		"Emit":         func(_ context.Context, c *client.Client) { _ = c.Emit("echo") },
		"EmitVolatile": func(_ context.Context, c *client.Client) { _ = c.EmitVolatile("echo") },
		"Send":         func(_ context.Context, c *client.Client) { _ = c.Send() },
		"getters": func(_ context.Context, c *client.Client) {
			_, _, _, _, _, _ = c.ID(), c.Namespace(), c.Active(), c.Connected(), c.Recovered(), c.Transport()
		},
		"registrations": func(_ context.Context, c *client.Client) {
			c.On("y", func(*client.Event) {})()
			c.OnAny(func(*client.Event) {})()
			c.OnConnect(func() {})()
			c.OnDisconnect(func(string) {})()
			c.OnConnectError(func(error) {})()
			c.OnReconnectAttempt(func(int) {})()
			c.OnReconnect(func(int) {})()
			c.OnReconnectError(func(error) {})()
			c.OnReconnectFailed(func() {})()
		},
	}
	hooks := map[string]func(c *client.Client, f func()){
		"event":              func(c *client.Client, f func()) { c.On("x", func(*client.Event) { f() }) },
		"OnAny":              func(c *client.Client, f func()) { c.OnAny(func(*client.Event) { f() }) },
		"OnConnect":          func(c *client.Client, f func()) { c.OnConnect(f) },
		"OnDisconnect":       func(c *client.Client, f func()) { c.OnDisconnect(func(string) { f() }) },
		"OnConnectError":     func(c *client.Client, f func()) { c.OnConnectError(func(error) { f() }) },
		"OnReconnectAttempt": func(c *client.Client, f func()) { c.OnReconnectAttempt(func(int) { f() }) },
		"OnReconnect":        func(c *client.Client, f func()) { c.OnReconnect(func(int) { f() }) },
		"OnReconnectError":   func(c *client.Client, f func()) { c.OnReconnectError(func(error) { f() }) },
		"OnReconnectFailed":  func(c *client.Client, f func()) { c.OnReconnectFailed(f) },
		"Auth":               nil,
	}
	addr, srv := serve(t, sockeye.Config{})
	srv.OnConnection(func(s *sockeye.Socket) { _ = s.Emit("x") })
	x := newCutter(t, addr)
	for hook, register := range hooks {
		for method, call := range methods {
			t.Run(hook+"/"+method, func(t *testing.T) {
				cfg := quick("websocket")
				cfg.ReconnectAttempts = 3
				called := make(chan time.Duration, 1)
				var c *client.Client
				var once atomic.Bool
				f := func() {
					if once.Swap(true) {
						return
					}
					ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
					defer cancel()
					start := time.Now()
					call(ctx, c)
					called <- time.Since(start)
				}
				if register == nil {
					cfg.Auth = func() any { f(); return nil }
				}
				var err error
				if c, err = client.New("http://"+x.addr, cfg); err != nil {
					t.Fatal(err)
				}
				if register != nil {
					register(c, f)
				}
				done := make(chan struct{})
				go func() { // what makes every hook run
					defer close(done)
					ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
					defer cancel()
					connected := c.Connect(ctx) == nil
					switch hook {
					case "event", "OnAny", "OnConnect", "Auth":
						return
					}
					if connected {
						x.hold()
						if hook != "OnReconnect" {
							for end := time.Now().Add(limit); c.Active() && len(called) == 0 && time.Now().Before(end); {
								time.Sleep(time.Millisecond)
							}
						}
						x.open()
					}
				}()
				if d := next(t, called); d > soon {
					t.Errorf("it took %v", d)
				}
				next(t, done)
				start := time.Now()
				_ = c.Close()
				if d := time.Since(start); d > soon {
					t.Errorf("Close took %v", d)
				}
				marker(t, c)
			})
		}
	}
	eventually(t, func() bool { return srv.Len() == 0 })
}

// Close while a connection is being made: in the handshake, before the answer to
// CONNECT, between attempts.
func TestCloseWhileConnecting(t *testing.T) {
	deaf, srv := serve(t, sockeye.Config{})
	begin := make(chan struct{})
	srv.Use(func(*sockeye.Socket) error { <-begin; return nil })
	t.Cleanup(func() { close(begin) })
	refuses, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = refuses.Close()
	for name, addr := range map[string]string{"handshake": mute(t), "connect": deaf, "pause": refuses.Addr().String()} {
		for method, leave := range map[string]func(*client.Client){
			"Close":      func(c *client.Client) { _ = c.Close() },
			"Disconnect": func(c *client.Client) { c.Disconnect() },
		} {
			eachMode(t, func(t *testing.T, cfg client.Config) {
				cfg.ReconnectDelay, cfg.ReconnectDelayMax = time.Hour, time.Hour
				c, err := client.New("http://"+addr, cfg)
				if err != nil {
					t.Fatal(err)
				}
				got := make(chan error, 1)
				go func() { got <- c.Connect(context.Background()) }()
				eventually(t, func() bool { return client.Standing(c) == name })
				start := time.Now()
				leave(c)
				if err := next(t, got); !errors.Is(err, client.ErrClosed) && !errors.Is(err, client.ErrDisconnected) {
					t.Errorf("%s, %s: Connect: %v", name, method, err)
				}
				if d := time.Since(start); d > soon {
					t.Errorf("%s, %s: took %v", name, method, d)
				}
				_ = c.Close()
				marker(t, c)
			})
		}
	}
}

// What is bounded says so.
func TestBounds(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	srv.On("never", func(*sockeye.Socket, *sockeye.Event) error { return nil })
	x := newCutter(t, addr)
	cfg := quick("websocket")
	cfg.MaxBufferedBytes, cfg.MaxCalls = 10_000, 3
	c := dial(t, "http://"+x.addr, cfg)
	ends := make(chan error, 10)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 3 {
		go func() {
			_, err := c.Call(ctx, "never")
			ends <- err
		}()
	}
	eventually(t, func() bool { return client.Calls(c) == 3 })
	if _, err := c.Call(within(t), "never"); !errors.Is(err, client.ErrTooManyCalls) {
		t.Error(err)
	}
	cancel()
	for range 3 {
		next(t, ends)
	}
	if _, err := c.Call(within(t), "echo"); err != nil {
		t.Error(err)
	}
	x.cut(t, c)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = c.Emit("x", strings.Repeat("x", 1000))
	}
	if !errors.Is(err, client.ErrBufferFull) || n < 5 || n > 10 {
		t.Errorf("%v after %d", err, n)
	}
}

// A function that is nil is refused at once, and not when it would be called.
func TestNilHooks(t *testing.T) {
	c, err := client.New("http://localhost", client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, register := range map[string]func(){
		"On":                 func() { c.On("x", nil) },
		"OnAny":              func() { c.OnAny(nil) },
		"OnConnect":          func() { c.OnConnect(nil) },
		"OnDisconnect":       func() { c.OnDisconnect(nil) },
		"OnConnectError":     func() { c.OnConnectError(nil) },
		"OnReconnectAttempt": func() { c.OnReconnectAttempt(nil) },
		"OnReconnect":        func() { c.OnReconnect(nil) },
		"OnReconnectError":   func() { c.OnReconnectError(nil) },
		"OnReconnectFailed":  func() { c.OnReconnectFailed(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s takes nil", name)
				}
			}()
			register()
		}()
	}
}

// Faults of the configuration are told at once, all of them.
func TestConfig(t *testing.T) {
	_, err := client.New("http://localhost", client.Config{
		Transports: []string{"carrier pigeon"}, ReconnectDelay: -1, MaxQueued: -1, Path: "x",
	})
	for _, want := range []string{"carrier pigeon", "ReconnectDelay", "MaxQueued", "Path"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := client.New("http://localhost", client.Config{Transports: []string{}}); err == nil {
		t.Error("no transports")
	}
	addr, _ := serve(t, sockeye.Config{})
	if _, err := client.Dial(within(t), "http://"+addr, client.Config{Auth: []int{1}}); err == nil || !strings.Contains(err.Error(), "JSON object") {
		t.Errorf("%v", err)
	}
	if _, err := client.Dial(within(t), "http://"+addr, client.Config{Auth: func() any { panic("on purpose") }}); err == nil || !strings.Contains(err.Error(), "on purpose") {
		t.Errorf("%v", err)
	}
	c := dial(t, "http://"+addr, client.Config{})
	c.On("x", func(*client.Event) {})
	defer func() {
		if recover() == nil {
			t.Error("a second handler is taken")
		}
	}()
	c.On("x", func(*client.Event) {})
}
