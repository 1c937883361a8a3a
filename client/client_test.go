package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

const limit = 10 * time.Second

var modes = map[string][]string{
	"websocket": {"websocket"}, "polling": {"polling"}, "upgrade": {"polling", "websocket"},
}

// eachMode runs a test by every transport.
func eachMode(t *testing.T, f func(t *testing.T, cfg client.Config)) {
	for name, transports := range modes {
		t.Run(name, func(t *testing.T) { f(t, client.Config{Transports: transports, ReconnectDelay: time.Millisecond}) })
	}
}

// serve makes a server with the events that the tests use.
func serve(t *testing.T, cfg sockeye.Config) (addr string, srv *sockeye.Server) {
	t.Helper()
	var err error
	srv, err = sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*sockeye.Namespace{srv.Of("/"), srv.Of("/other")} {
		ns.On("echo", func(s *sockeye.Socket, e *sockeye.Event) error {
			if e.HasAck() {
				return e.Ack(e.Arguments()...)
			}
			return s.Emit("echo", e.Arguments()...)
		})
		ns.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
		ns.On("ask", func(s *sockeye.Socket) error {
			return s.EmitWithAck(func(answer sockeye.Args, err error) {
				var text string
				_ = answer.Decode(&text)
				_ = s.Emit("answered", text, fmt.Sprint(err))
			}, "question", 7)
		})
		ns.On("kick", func(s *sockeye.Socket, all bool) {
			if all {
				s.CloseSession()
			} else {
				s.Disconnect()
			}
		})
	}
	srv.Of("/members").Use(func(s *sockeye.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil || auth.Token != "secret" {
			return &sockeye.ConnectError{Message: "not authorized", Data: map[string]int{"code": 401}}
		}
		return nil
	})
	a, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(srv) })
	return a.String(), srv
}

func stop(srv *sockeye.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = srv.Shutdown(ctx)
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, address string, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.Dial(within(t), address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// values are the arguments of the next event.
func values(t *testing.T, c *client.Client, event string) <-chan []any {
	got := make(chan []any, 1000)
	c.On(event, func(e *client.Event) {
		v, err := e.Values()
		if err != nil {
			t.Error(err)
		}
		got <- v
	})
	return got
}

func next[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(limit):
		t.Fatal("nothing happened in time")
	}
	return v
}

func TestEcho(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c := dial(t, "http://"+addr, cfg)
		if srv.Socket(c.ID()) == nil || !c.Connected() {
			t.Error("the server does not know the socket")
		}
		echoes := values(t, c, "echo")
		for _, args := range [][]any{
			{},
			{"hello"},
			{"é \U0001f600 \u2028\x00", "", nil, true, 1.5},
			{strings.Repeat("x", 200_000)},
			{[]byte{0, 1, 0x1e, 255}, map[string]any{"a": []any{[]byte("deep"), "b"}}, []byte{}},
		} {
			if err := c.Emit("echo", args...); err != nil {
				t.Fatal(err)
			}
			if got := next(t, echoes); len(got) != len(args) || len(args) > 0 && !reflect.DeepEqual(got, args) {
				t.Errorf("got %.200s", fmt.Sprint(got))
			}
			answer, err := c.Call(within(t), "echo", args...)
			got, _ := answer.Values()
			if err != nil || len(got) != len(args) || len(args) > 0 && !reflect.DeepEqual(got, args) {
				t.Errorf("answer %.200s, %v", fmt.Sprint(got), err)
			}
		}
	})
}

func TestAcksAndRooms(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c, other := dial(t, "http://"+addr, cfg), dial(t, "http://"+addr, cfg)
		c.On("question", func(e *client.Event) {
			var n int
			if err := e.Decode(&n); err != nil || !e.HasAck() {
				t.Error(err)
			}
			_ = e.Ack(fmt.Sprint("answer ", n))
		})
		answered := values(t, c, "answered")
		_ = c.Emit("ask")
		if got := next(t, answered); got[0] != "answer 7" || got[1] != "<nil>" {
			t.Errorf("%v", got)
		}
		if _, err := c.Call(within(t), "join", "red"); err != nil {
			t.Fatal(err)
		}
		room := values(t, c, "room")
		wrong := values(t, other, "room")
		_ = srv.To("red").Emit("room", 1)
		next(t, room)
		if _, err := other.Call(within(t), "echo"); err != nil || len(wrong) > 0 {
			t.Errorf("%v, %d", err, len(wrong))
		}
		srv.CloseRoom("red")
	})
}

func TestNamespaces(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c := dial(t, "http://"+addr+"/other", cfg)
		root, err := c.Of(within(t), "/")
		if err != nil || root.Namespace() != "/" || root.ID() == c.ID() {
			t.Fatal(err)
		}
		if _, err := root.Call(within(t), "echo", 1); err != nil {
			t.Error(err)
		}
		var refusal *client.ConnectError
		if _, err := c.Of(within(t), "/none"); !errors.As(err, &refusal) || refusal.Message != "Invalid namespace" {
			t.Errorf("%v", err)
		}
		if _, err := client.Dial(within(t), "http://"+addr+"/members", cfg); !errors.As(err, &refusal) || string(refusal.Data) != `{"code":401}` {
			t.Errorf("%v", err)
		}
		cfg.Auth = func() any { return map[string]string{"token": "secret"} }
		dial(t, "http://"+addr+"/members", cfg)
		_ = c.Close()
		if _, err := root.Call(within(t), "echo", 1); err != nil {
			t.Error(err)
		}
		if err := c.Emit("echo"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// What one goroutine emits arrives in order, across the upgrade, too.
func TestOrder(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c := dial(t, "http://"+addr, cfg)
		echoes := values(t, c, "echo")
		const n = 500
		for i := range n {
			var v any = i
			if i%7 == 0 {
				v = map[string]any{"n": float64(i), "b": []byte{byte(i)}}
			}
			_ = c.Emit("echo", v)
		}
		for i := range n {
			got := next(t, echoes)[0]
			if m, ok := got.(map[string]any); ok {
				got = m["n"]
			}
			if got != float64(i) {
				t.Fatalf("echo %d is %v", i, got)
			}
		}
		if len(cfg.Transports) == 2 {
			eventually(t, func() bool { return c.Transport() == "websocket" && srv.Socket(c.ID()).Transport() == "websocket" })
		}
	})
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come true in time")
		}
	}
}

func TestReconnect(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg client.Config) {
		addr, srv := serve(t, sockeye.Config{})
		c := dial(t, "http://"+addr, cfg)
		connected, gone := make(chan struct{}, 1), make(chan string, 1)
		c.OnConnect(func() { connected <- struct{}{} })
		c.OnDisconnect(func(reason string) { gone <- reason })
		before := c.ID()
		stop(srv)
		if reason := next(t, gone); reason == "" {
			t.Error("no reason")
		}
		echoes := values(t, c, "echo")
		for i := range 10 {
			if err := c.Emit("echo", i); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.EmitVolatile("echo", "dropped")
		again, err := sockeye.New(sockeye.Config{})
		if err != nil {
			t.Fatal(err)
		}
		again.On("echo", func(s *sockeye.Socket, e *sockeye.Event) error { return s.Emit("echo", e.Arguments()...) })
		if _, err := again.Listen("tcp", addr); err != nil {
			t.Fatal(err)
		}
		defer stop(again)
		next(t, connected)
		for i := range 10 {
			if got := next(t, echoes); got[0] != float64(i) {
				t.Fatalf("echo %d is %v", i, got)
			}
		}
		if c.ID() == before || c.Recovered() {
			t.Error("the same socket")
		}
		_ = c.Close()
	})
}

func TestDisconnectedByServer(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	eachMode(t, func(t *testing.T, cfg client.Config) {
		cfg.NoReconnect = true
		c := dial(t, "http://"+addr, cfg)
		gone := make(chan string, 1)
		c.OnDisconnect(func(reason string) { gone <- reason })
		// A server that ends a session in the midst of its upgrade closes the WebSocket,
		// and what it has said by polling may not be asked for any more.
		eventually(t, func() bool { return len(cfg.Transports) == 1 || c.Transport() == "websocket" })
		_ = c.Emit("kick", true)
		if reason := next(t, gone); reason != "io server disconnect" {
			t.Error(reason)
		}
		if _, err := c.Call(within(t), "echo"); !errors.Is(err, client.ErrDisconnected) {
			t.Error(err)
		}
	})
	eventually(t, func() bool { return srv.Len() == 0 })
}

func TestRecovery(t *testing.T) {
	// A session that waits in no poll when it is cut is missed by its pings only.
	addr, srv := serve(t, sockeye.Config{PingInterval: 100 * time.Millisecond, PingTimeout: time.Second, Recovery: &sockeye.Recovery{}})
	x := newCutter(t, addr)
	eachMode(t, func(t *testing.T, cfg client.Config) {
		c := dial(t, "http://"+x.addr, cfg)
		got := values(t, c, "n")
		connected := make(chan struct{}, 1)
		c.OnConnect(func() { connected <- struct{}{} })
		_ = srv.Emit("n", 0)
		next(t, got)
		id := c.ID()
		x.hold()
		eventually(t, func() bool { return srv.Socket(id) == nil })
		for i := range 5 {
			_ = srv.Emit("n", i+1)
		}
		x.open()
		next(t, connected)
		if !c.Recovered() || c.ID() != id {
			t.Errorf("recovered %v, id %s, was %s", c.Recovered(), c.ID(), id)
		}
		for i := range 5 {
			if v := next(t, got); v[0] != float64(i+1) {
				t.Errorf("event %d is %v", i+1, v)
			}
		}
		_ = c.Close()
	})
}

// A client that has got no event yet comes back, too.
func TestRecoveryWithoutAnEvent(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{}})
	x := newCutter(t, addr)
	c := dial(t, "http://"+x.addr, quick("websocket"))
	got := values(t, c, "n")
	id := c.ID()
	x.hold()
	eventually(t, func() bool { return srv.RecoveryStats().Sockets == 1 })
	_ = srv.Emit("n", 1)
	x.open()
	if v := next(t, got); v[0] != float64(1) || !c.Recovered() || c.ID() != id {
		t.Errorf("%v; recovered %v, id %s, was %s", v, c.Recovered(), c.ID(), id)
	}
}

// cutter is a proxy whose connections can be cut.
type cutter struct {
	addr  string
	gate  chan bool // whether connections are let through
	conns chan net.Conn
	ln    net.Listener

	frozen atomic.Bool // nothing goes through, and nothing ends
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	x := &cutter{addr: ln.Addr().String(), gate: make(chan bool, 1), conns: make(chan net.Conn, 10_000), ln: ln}
	x.gate <- true
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open := <-x.gate
			x.gate <- open
			if !open {
				_ = c.Close()
				continue
			}
			u, err := net.Dial("tcp", target)
			if err != nil {
				_ = c.Close()
				continue
			}
			x.conns <- c
			go x.pipe(c, u)
			go x.pipe(u, c)
		}
	}()
	return x
}

func (x *cutter) pipe(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !x.frozen.Load() {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			if !x.frozen.Load() { // or nothing ends
				_ = to.Close()
			}
			_ = from.Close()
			return
		}
	}
}

// hold cuts all connections and lets none through.
func (x *cutter) hold() {
	<-x.gate
	x.gate <- false
	for {
		select {
		case c := <-x.conns:
			_ = c.Close()
		default:
			return
		}
	}
}

func (x *cutter) freeze() { x.frozen.Store(true) }

func (x *cutter) open() {
	<-x.gate
	x.gate <- true
}

// A server that is none, or lies, gives an error, and costs no more than the
// limits.
func TestBadServers(t *testing.T) {
	for name, answer := range map[string]string{
		"not found":      "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"no packet":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"no handshake":   "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n6",
		"bad handshake":  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0{{{",
		"no HTTP":        "nonsense\r\n\r\n",
		"too much of it": "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n4" + strings.Repeat("x", 1999),
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(answer))
				go func() { _, _ = c.Read(make([]byte, 4096)) }()
			}
		}()
		cfg := client.Config{MaxMessageBytes: 1000, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
		if c, err := client.Dial(within(t), "http://"+ln.Addr().String(), cfg); err == nil {
			t.Errorf("%s: connected", name)
			_ = c.Close()
		}
		_ = ln.Close()
	}
	for _, address := range []string{"ftp://x", "://", "localhost:3000"} {
		if _, err := client.Dial(within(t), address, client.Config{}); err == nil {
			t.Errorf("%s: connected", address)
		}
	}
}

func TestLimitsAndMisuse(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	c := dial(t, "http://"+addr, client.Config{MaxBuffered: 3, ReconnectDelay: time.Hour, ReconnectDelayMax: time.Hour})
	if err := c.Emit("connect"); !errors.Is(err, client.ErrReservedEvent) {
		t.Error(err)
	}
	if err := c.Emit("x", func() {}); err == nil {
		t.Error("a function was sent")
	}
	if _, err := c.Of(within(t), "/"); err == nil {
		t.Error("connected twice")
	}
	if _, err := c.Call(within(t), "echo", 1); err != nil {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Call(cancelled, "nobody listens"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.On("panic", func(*client.Event) { panic("on purpose") })
	echoes := values(t, c, "echo")
	_ = srv.Emit("panic")
	_ = c.Emit("echo", "still here")
	next(t, echoes)
	stop(srv)
	eventually(t, func() bool { return !c.Connected() })
	var err error
	for range 4 {
		err = c.Emit("x")
	}
	if !errors.Is(err, client.ErrBufferFull) {
		t.Error(err)
	}
}

// Nothing is left of closed Clients.
func TestGoroutinesEnd(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{})
	before := runtime.NumGoroutine()
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var clients []*client.Client
	for i := range 30 {
		cfg := client.Config{HTTPClient: h}
		cfg.Transports = [][]string{{"websocket"}, {"polling"}, nil}[i%3]
		clients = append(clients, dial(t, "http://"+addr, cfg))
	}
	for _, c := range clients {
		_ = c.Close()
	}
	eventually(t, func() bool { return srv.Len() == 0 })
	eventually(t, func() bool { return runtime.NumGoroutine() <= before+8 }) // the server's own come and go
}

func Example() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	srv.On("sum", func(a, b int) int { return a + b })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	c, err := client.Dial(ctx, "http://"+addr.String(), client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := c.Call(ctx, "sum", 1, 2)
	var sum int
	fmt.Println(answer.Decode(&sum), sum, err)
	_ = c.Close()
	_ = srv.Shutdown(ctx)
	// Output: <nil> 3 <nil>
}

// TestCookies: a balancer knows by a cookie which server has the session, also when
// that is upgraded.
func TestCookies(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{})
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	to.ModifyResponse = func(resp *http.Response) error {
		resp.Header.Set("Set-Cookie", "server=one; Path=/socket.io/")
		return nil
	}
	cookies := make(chan string, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			cookies <- r.Header.Get("X-Mine") + " " + r.Header.Get("Cookie")
		}
		to.ServeHTTP(w, r)
	}))
	defer front.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := client.Dial(ctx, front.URL, client.Config{HTTPClient: &http.Client{Jar: jar}, Header: http.Header{"X-Mine": {"yes"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case got := <-cookies:
		if got != "yes server=one" {
			t.Errorf("the WebSocket's request has %q", got)
		}
	case <-ctx.Done():
		t.Error("there is no upgrade")
	}
}

// TestTLS: a WebSocket trusts whom the Config, or else the HTTPClient, trusts; also when
// polling has spoken HTTP/2.
func TestTLS(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg client.Config) {
		srv, err := sockeye.New(sockeye.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		srv.On("echo", func(s *sockeye.Socket, v string) string { return v })
		site := httptest.NewUnstartedServer(srv.Handler())
		site.EnableHTTP2 = true
		site.StartTLS()
		defer site.Close()
		defer site.CloseClientConnections()
		web := site.Client()
		trust := web.Transport.(*http.Transport).TLSClientConfig.Clone()
		for name, cfg := range map[string]client.Config{
			"HTTPClient": {Transports: cfg.Transports, HTTPClient: web},
			"TLS":        {Transports: cfg.Transports, TLS: trust},
			"both":       {Transports: cfg.Transports, HTTPClient: web, TLS: trust},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			cfg.NoReconnect = true
			c, err := client.Dial(ctx, site.URL, cfg)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if _, err := c.Call(ctx, "echo", "x"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for len(cfg.Transports) == 2 && c.Transport() != "websocket" {
				if ctx.Err() != nil {
					t.Fatalf("%s: not upgraded", name)
				}
				time.Sleep(time.Millisecond)
			}
			_ = c.Close()
		}
	})
}
