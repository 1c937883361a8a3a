package pyredis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/pyredis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/client"
)

// TestConformance: the cases hold, but for what the format cannot express.
func TestConformance(t *testing.T) {
	srv := redistest.Start(t)
	adaptertest.Run(t, adaptertest.Bus{
		Adapter: func(t testing.TB) broadcast.Adapter {
			a, err := pyredis.New(srv.Client(t), pyredis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Cut:       srv.Cut,
		NoAnswers: true,
		NoExcept:  true,
		NoTargets: true,
	})
}

// TestFaults: what Redis does to servers, and what it can do to nobody.
func TestFaults(t *testing.T) {
	adaptertest.RunFaults(t, func(t testing.TB) adaptertest.Faulty {
		srv := redistest.Start(t)
		return adaptertest.Faulty{
			Addr: srv.Addr, Kill: srv.Kill, Restart: srv.Restart, NoAnswers: true, Unknown: -1,
			Adapter: func(t testing.TB, addr string) broadcast.Adapter {
				c := goredis.NewClient(&goredis.Options{Addr: addr})
				t.Cleanup(func() { _ = c.Close() })
				a, err := pyredis.New(c, pyredis.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return a
			},
		}
	})
}

// world are two servers on one Redis, with a client at each.
type world struct {
	redis    *redistest.Server
	adapters [2]*pyredis.Adapter
	servers  [2]*sockeye.Server
	clients  [2]*client.Client
	got      [2]chan string
}

func newWorld(t *testing.T) *world {
	w := &world{redis: redistest.Start(t)}
	for i := range w.servers {
		a, err := pyredis.New(w.redis.Client(t), pyredis.Options{Channel: "flask-socketio", Options: cluster.Options{Logger: slog.New(slog.DiscardHandler)}})
		if err != nil {
			t.Fatal(err)
		}
		srv, err := sockeye.New(sockeye.Config{Adapter: a, Loops: 1, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		addr, err := srv.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New("http://"+addr.String(), client.Config{Transports: []string{"websocket"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		got := make(chan string, 1000)
		c.OnAny(func(e *client.Event) {
			values, _ := e.Args.Values()
			if e.Name == "ask" {
				_ = e.Ack("one", 2, map[string]any{"three": values})
			}
			if e.Name == "ask for binary" {
				_ = e.Ack([]byte{1})
			}
			got <- e.Name + adaptertest.Text(values)
		})
		c.OnDisconnect(func(reason string) { got <- "disconnect: " + reason })
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.adapters[i], w.servers[i], w.clients[i], w.got[i] = a, srv, c, got
	}
	for i := range w.servers { // until what one sends reaches the other
		other := w.clients[1-i].ID()
		adaptertest.Eventually(t, "they know of each other", func() bool {
			_ = w.servers[i].To(other).Emit("ready")
			select {
			case <-w.got[1-i]:
				return true
			case <-time.After(20 * time.Millisecond):
				return false
			}
		})
	}
	for i := range w.servers {
		_ = w.servers[i].To(w.clients[1-i].ID()).Emit("begin")
		for w.next(t, 1-i) != "begin[]" {
		}
	}
	return w
}

// next is what comes next to a client.
func (w *world) next(t *testing.T, i int) string {
	t.Helper()
	select {
	case s := <-w.got[i]:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("nothing comes")
		return ""
	}
}

// publish publishes anything.
func (w *world) publish(t *testing.T, text string) {
	t.Helper()
	if err := w.redis.Client(t).Publish(t.Context(), "flask-socketio", text).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestCall: one socket of another server answers, with all arguments.
func TestCall(t *testing.T) {
	w := newWorld(t)
	for i, srv := range w.servers {
		answers, err := srv.To(w.clients[1-i].ID()).Call(t.Context(), "ask", 1)
		if err != nil || len(answers) != 1 {
			t.Fatalf("%d answers, %v", len(answers), err)
		}
		var a, b, c any
		err = answers[0].Args.Decode(&a, &b, &c)
		if got := fmt.Sprintf("%v %v %v", a, b, c); err != nil || got != "one 2 map[three:[1]]" {
			t.Errorf("%s, %v", got, err)
		}
		answers, err = srv.To(w.clients[i].ID()).Call(t.Context(), "ask", 1) // its own
		if err != nil || len(answers) != 1 {
			t.Errorf("%d answers, %v", len(answers), err)
		}
		for _, event := range []string{"nothing", "ask for binary"} {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			answers, err = srv.To(w.clients[1-i].ID()).Call(ctx, event)
			cancel()
			if missing := new(sockeye.MissingError); len(answers) != 0 || !errors.Is(err, sockeye.ErrAckTimeout) || !errors.As(err, &missing) || missing.Asked != 1 {
				t.Errorf("%d answers, %v", len(answers), err)
			}
		}
	}
}

// TestCallWhileDown: a question is not kept for when Redis is back.
func TestCallWhileDown(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close() // nobody is there
	c := goredis.NewClient(&goredis.Options{Addr: ln.Addr().String(), MaxRetries: -1, DialerRetries: 1})
	defer c.Close()
	a, err := pyredis.New(c, pyredis.Options{Options: cluster.Options{QueueWhileDown: true, Logger: slog.New(slog.DiscardHandler)}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(t.Context())
	r, err := a.Join(&adaptertest.Record{ID: "server"})
	if err != nil {
		t.Fatal(err)
	}
	p := broadcast.Payload{JSON: []byte(`["x"]`)}
	adaptertest.Eventually(t, "it is down", func() bool {
		if err := r.Broadcast(p, broadcast.Target{}); err != nil {
			t.Fatal(err)
		}
		return a.Stats().Down
	})
	queued := a.Stats().Queued
	err = r.Call(t.Context(), p, broadcast.Target{Rooms: []string{"12345678901234567890"}}, func(broadcast.Payload) {})
	if s := a.Stats(); !errors.Is(err, broadcast.ErrUnavailable) || s.Queued != queued || s.Refused != 1 {
		t.Errorf("%v, %+v", err, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = a.Close(ctx)
}

// TestUnsupported: what the format cannot express is an error, and is done here.
func TestUnsupported(t *testing.T) {
	w := newWorld(t)
	srv, here, there := w.servers[0], w.clients[0].ID(), w.clients[1].ID()
	for name, err := range map[string]error{
		"except a room": srv.Except("room").Emit("all but room"),
		"join all":      srv.All().Join("x"),
		"join a room":   srv.To("room").Join("x"),
		"leave":         srv.To("room").Leave("x"),
		"leave but":     srv.To("room").Except(there).Leave("room"),
		"close":         srv.To(there).CloseSession(),
		"disconnect":    srv.To("room").Disconnect(),
		"servers":       srv.ServerSideEmit("x"),
		"fetch":         second(srv.FetchSockets(t.Context())),
		"count":         second(srv.Servers(t.Context())),
		"ask servers":   second(srv.CallServers(t.Context(), "x")),
		"ask a room":    second(srv.To("room").Call(t.Context(), "x")),
		"claim":         srv.Socket(here).Claim(t.Context(), "key"),
		"presence":      presenceErr(srv),
	} {
		if !errors.Is(err, broadcast.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := srv.Socket(here).Rooms(); !slices.Contains(got, "x") {
		t.Errorf("%q", got)
	}
	_ = srv.Emit("end")
	if got := w.next(t, 0); got != "all but room[]" {
		t.Error(got)
	}
	if got := w.next(t, 1); got != "end[]" {
		t.Error(got)
	}
}

func presenceErr(srv *sockeye.Server) error {
	p := srv.Presence("room", nil)
	defer p.Close()
	return p.Err()
}

func second[T any](_ T, err error) error { return err }

// TestChanges: one socket of another server joins, leaves and is disconnected; a room is
// closed. A room with a socket's name is none.
func TestChanges(t *testing.T) {
	w := newWorld(t)
	in := func(i int) []string { return w.servers[i].Socket(w.clients[i].ID()).Rooms() }
	has := func(i int, room string, want bool) {
		t.Helper()
		adaptertest.Eventually(t, fmt.Sprint(i, " ", room, " ", want), func() bool { return slices.Contains(in(i), room) == want })
	}
	srv, there := w.servers[0], w.clients[1].ID()
	_ = srv.To(w.clients[0].ID(), there).Join("a", "b", "c")
	for i := range 2 {
		has(i, "c", true)
	}
	_ = srv.To(there).Leave("b")
	has(1, "b", false)
	_ = srv.CloseRoom("a")
	has(1, "a", false)
	has(0, "a", false)
	has(1, "c", true)
	fake := w.servers[1].Socket(there).ID()[:6] + "34567890123456" // an ID, but nobody's
	w.publish(t, `{"method":"enter_room","sid":"`+fake+`","room":"wrong","namespace":"/","host_id":"x"}`)
	w.publish(t, `{"method":"enter_room","sid":"c","room":"wrong","namespace":"/","host_id":"x"}`)
	w.publish(t, `{"method":"disconnect","sid":"c","namespace":"/","host_id":"x"}`)
	w.publish(t, `{"method":"close_room","room":"`+there+`","namespace":"/","host_id":"x"}`)
	w.publish(t, `{"method":"enter_room","sid":"`+there+`","room":"right","namespace":"/","host_id":"x"}`)
	has(1, "right", true)
	if got := in(1); slices.Contains(got, "wrong") || !slices.Contains(got, there) {
		t.Errorf("%q", got)
	}
	_ = srv.To(there).Disconnect()
	if got := w.next(t, 1); got != "disconnect: io server disconnect" {
		t.Error(got)
	}
}

// TestGarbage is counted and ignored.
func TestGarbage(t *testing.T) {
	w := newWorld(t)
	garbage := []string{"", "\x80\x04\x95}\x94.", "{", "[]", `{"method":[]}`, strings.Repeat("[", 100_000), `{"method":"emit","data":` + strings.Repeat("[", 100_000), "\xff\xff\xff\xff"}
	before := w.adapters[0].Stats()
	for _, text := range garbage {
		w.publish(t, text)
	}
	w.publish(t, `{"method":"emit","event":"e","data":[],"namespace":"/","host_id":"x"}`)
	if got := w.next(t, 0); got != "e[]" {
		t.Error(got)
	}
	if s := w.adapters[0].Stats(); s.Ignored-before.Ignored != uint64(len(garbage)) || s.Received-before.Received != 1 {
		t.Errorf("%+v", s)
	}
}

// TestEmitter: a process without a server reaches sockets.
func TestEmitter(t *testing.T) {
	w := newWorld(t)
	e := pyredis.NewEmitter(w.redis.Client(t), pyredis.Options{Channel: "flask-socketio"})
	ids := []string{w.clients[0].ID(), w.clients[1].ID()}
	ctx := t.Context()
	for _, err := range []error{
		e.Emit(ctx, "all", 1, []byte("binary")),
		e.Except(ids[1]).Emit(ctx, "but 1"),
		e.To(ids...).Join(ctx, "room"),
		e.To("room").Emit(ctx, "room"),
		e.To(ids[0]).Leave(ctx, "room"),
		e.To("room").Emit(ctx, "1 alone"),
		e.CloseRoom(ctx, "room"),
		e.To("room").Emit(ctx, "nobody"),
		e.Of("/none").Emit(ctx, "nobody"),
		e.To(ids[1]).Disconnect(ctx),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := e.To("room").Disconnect(ctx); !errors.Is(err, broadcast.ErrUnsupported) {
		t.Error(err)
	}
	binary := "[1 " + fmt.Sprint([]byte("binary")) + "]"
	for i, list := range [][]string{
		{"all" + binary, "but 1[]", "room[]"},
		{"all" + binary, "room[]", "1 alone[]", "disconnect: io server disconnect"},
	} {
		for _, want := range list {
			if got := w.next(t, i); got != want {
				t.Errorf("%d: %q, not %q", i, got, want)
			}
		}
	}
}
