package redis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/client"
)

// node is a server on the bus, and what it speaks to Redis with.
type node struct {
	*sockeye.Server
	client  *goredis.Client
	adapter broadcast.Adapter
	url     string
}

// makers are the adapters, by name.
var makers = map[string]func(c goredis.UniversalClient) (broadcast.Adapter, error){
	"classic": func(c goredis.UniversalClient) (broadcast.Adapter, error) { return redis.New(c, redis.Options{}) },
	"sharded": func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewSharded(c, redis.ShardedOptions{})
	},
	"streams": func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewStreams(c, redis.StreamsOptions{})
	},
	"classic, queueing": func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.New(c, redis.Options{Options: cluster.Options{QueueWhileDown: true}})
	},
	"streams, queueing": func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewStreams(c, redis.StreamsOptions{MaxLen: 100_000, Options: cluster.Options{QueueWhileDown: true}})
	},
	"private": func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewSharded(c, redis.ShardedOptions{SubscriptionMode: redis.DynamicPrivate})
	},
	"bridge": func(c goredis.UniversalClient) (broadcast.Adapter, error) { // of the classic one and streams
		a, err := redis.New(c, redis.Options{})
		if err != nil {
			return nil, err
		}
		b, err := redis.NewStreams(c, redis.StreamsOptions{})
		if err != nil {
			return nil, err
		}
		return bridge.New(a, b, bridge.Options{Lease: 400 * time.Millisecond})
	},
}

func newNode(t testing.TB, addr, kind string) *node {
	t.Helper()
	n, err := makeNode(addr, kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = n.Shutdown(ctx)
		_ = n.client.Close()
	})
	return n
}

func makeNode(addr, kind string) (*node, error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	n, err := makeNodeOn(c, kind)
	if err == nil {
		n.client = c
	}
	return n, err
}

func makeNodeOn(c goredis.UniversalClient, kind string) (*node, error) {
	n := new(node)
	a, err := makers[kind](c)
	if err != nil {
		return nil, err
	}
	n.adapter = a
	if n.Server, err = sockeye.New(sockeye.Config{Adapter: a, Loops: 1}); err != nil {
		return nil, err
	}
	n.On("join", func(s *sockeye.Socket, room string) { _ = s.Join(room) })
	l, err := n.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.url = "http://" + l.String()
	return n, nil
}

// serveChild makes the server of a child.
func serveChild(addr, kind string) (string, error) {
	if name, ok := strings.CutPrefix(kind, "roaming "); ok {
		a, err := makers["streams"](goredis.NewClient(&goredis.Options{Addr: addr}))
		if err != nil {
			return "", err
		}
		url, err := adaptertest.ServeRoaming(a, name)
		return url + " none", err
	}
	n, err := makeNode(addr, kind)
	if err != nil {
		return "", err
	}
	uid := "none"
	if a, ok := n.adapter.(*redis.Adapter); ok {
		uid = a.UID()
	}
	return n.url + " " + uid, nil
}

// connect connects a client, which joins rooms.
func (n *node) connect(t testing.TB, rooms ...string) *client.Client {
	t.Helper()
	c, err := client.New(n.url, client.Config{Transports: []string{"websocket"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		if _, err := c.Call(ctx, "join", room); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// together waits until nodes know of each other.
func together(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		adaptertest.Eventually(t, "the servers know of each other", func() bool {
			k, err := n.Servers(t.Context())
			return err == nil && k == len(nodes)
		})
	}
}

// subscribers is how many are subscribed to a channel.
func subscribers(t testing.TB, c *goredis.Client, kind, channel string) int64 {
	t.Helper()
	cmd := "numsub"
	if kind != "classic" {
		cmd = "shardnumsub"
	}
	list, err := c.Do(t.Context(), "pubsub", cmd, channel).Slice()
	if err != nil {
		if m, ok := c.Do(t.Context(), "pubsub", cmd, channel).Val().(map[any]any); ok {
			n, _ := m[channel].(int64)
			return n
		}
		t.Fatal(err)
	}
	n, _ := list[1].(int64)
	return n
}

// TestNothingForOthers: a server that nobody is in a room of gets no byte of what is for it,
// neither does it for a socket of another server; counted by the server and by Redis.
func TestNothingForOthers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "sharded", "private"} {
		t.Run(kind, func(t *testing.T) {
			srv := redistest.Start(t)
			from, with, without := newNode(t, srv.Addr, kind), newNode(t, srv.Addr, kind), newNode(t, srv.Addr, kind)
			together(t, from, with, without)
			got := make(chan string, 1000)
			c := with.connect(t, "red")
			c.On("r", func(e *client.Event) {
				var i int
				_ = e.Args.Decode(&i)
				got <- fmt.Sprint("r", i)
			})
			without.connect(t, "blue")
			admin := srv.Client(t)
			adaptertest.Eventually(t, "red is subscribed to", func() bool { return subscribers(t, admin, kind, "socket.io#/#red#") == 1 })
			adaptertest.Eventually(t, "blue is subscribed to", func() bool { return subscribers(t, admin, kind, "socket.io#/#blue#") == 1 })
			ids := []string{"red"}
			if kind != "sharded" { // its format has all servers get what is for a socket
				ids = append(ids, c.ID())
			}
			if kind == "private" {
				adaptertest.Eventually(t, "the socket is subscribed to", func() bool { return subscribers(t, admin, kind, "socket.io#/#"+c.ID()+"#") == 1 })
			}
			// Heartbeats and answers to what the servers asked come, too: a message is more than they.
			const n, size = 100, 10_000
			before := without.adapter.Stats()
			beforeAll := admin.Info(t.Context(), "stats").Val()
			for i := range n {
				if err := from.To(ids[i%len(ids)]).Emit("r", i, make([]byte, size)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range n {
				select {
				case s := <-got:
					if s != fmt.Sprint("r", i) {
						t.Fatalf("%s has come, not r%d", s, i)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("r%d does not come", i)
				}
			}
			after := without.adapter.Stats()
			if d := after.ReceivedBytes - before.ReceivedBytes; d >= size {
				t.Errorf("%d bytes have come to the server without the room", d)
			}
			out := infoInt(t, admin.Info(t.Context(), "stats").Val(), "total_net_output_bytes") - infoInt(t, beforeAll, "total_net_output_bytes")
			if out > n*size*3/2 { // to two servers it would be twice as much
				t.Errorf("Redis has sent %d bytes for %d of messages", out, n*size)
			}
		})
	}
}

func infoInt(t testing.TB, info, field string) (n int) {
	t.Helper()
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			if _, err := fmt.Sscan(v, &n); err == nil {
				return n
			}
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// TestSubscriptions: a server has one subscription of what it is counted by, whatever its
// clients do, and after Redis has cut its connections; and none of rooms that nobody is in.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	for kind, counted := range map[string]string{"classic": "socket.io-request#/#", "sharded": "socket.io#/#", "private": "socket.io#/#"} {
		t.Run(kind, func(t *testing.T) {
			srv := redistest.Start(t)
			a, b := newNode(t, srv.Addr, kind), newNode(t, srv.Addr, kind)
			together(t, a, b)
			admin := srv.Client(t)
			for round := range 3 {
				c := a.connect(t, "red", "#", "a*b")
				for _, room := range []string{"red", "#", "a*b"} {
					adaptertest.Eventually(t, room+" is subscribed to", func() bool { return subscribers(t, admin, kind, "socket.io#/#"+room+"#") == 1 })
				}
				_ = c.Close()
				for _, room := range []string{"red", "#", "a*b"} {
					adaptertest.Eventually(t, room+" is no longer subscribed to", func() bool { return subscribers(t, admin, kind, "socket.io#/#"+room+"#") == 0 })
				}
				if n := subscribers(t, admin, kind, counted); n != 2 {
					t.Errorf("two servers have %d subscriptions", n)
				}
				if round < 2 {
					if err := admin.Do(t.Context(), "client", "kill", "type", "pubsub").Err(); err != nil {
						t.Fatal(err)
					}
					adaptertest.Eventually(t, "they are subscribed again", func() bool { return subscribers(t, admin, kind, counted) == 2 })
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := a.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			adaptertest.Eventually(t, "one is left", func() bool { return subscribers(t, admin, kind, counted) == 1 })
		})
	}
}

// TestRoomsThatComeAndGo: a room that comes and goes all the time costs few commands.
func TestRoomsThatComeAndGo(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "sharded"} {
		t.Run(kind, func(t *testing.T) {
			srv := redistest.Start(t)
			a := newNode(t, srv.Addr, kind)
			together(t, a)
			c := a.connect(t)
			s := a.Socket(c.ID())
			admin := srv.Client(t)
			adaptertest.Eventually(t, "it is subscribed to", func() bool {
				return subscribers(t, admin, kind, "socket.io#/#") == 1
			})
			before := infoInt(t, admin.Info(t.Context(), "stats").Val(), "total_commands_processed")
			const n = 20_000
			for range n {
				if err := s.Join("revolving"); err != nil {
					t.Fatal(err)
				}
				s.Leave("revolving")
			}
			_ = s.Join("revolving")
			adaptertest.Eventually(t, "it is subscribed to", func() bool {
				return subscribers(t, admin, kind, "socket.io#/#revolving#") == 1
			})
			if d := infoInt(t, admin.Info(t.Context(), "stats").Val(), "total_commands_processed") - before; d > 200 {
				t.Errorf("%d times in and out cost %d commands", n, d)
			}
		})
	}
}

// TestNamesThatAreOthers: what the names of a namespace and a room make together may be the
// channel of another namespace; nothing comes twice, and nothing to the wrong one.
func TestNamesThatAreOthers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "sharded", "private"} {
		t.Run(kind, func(t *testing.T) {
			srv := redistest.Start(t)
			a, b := newNode(t, srv.Addr, kind), newNode(t, srv.Addr, kind)
			c := b.connect(t)
			id := c.ID()[:6] // of the server
			together(t, a, b)
			names := []string{"/", "/#x", "/#" + id + "y"}
			rooms := []string{"x", id + "y", "x#z", id + "#"}
			got := make(chan string, 100)
			for _, n := range []*node{a, b} {
				for _, name := range names {
					n.Of(name).OnConnect(func(s *sockeye.Socket) error { return s.Join(rooms...) })
				}
			}
			base := b.connect(t)
			for _, name := range names {
				p := base
				if name != "/" {
					var err error
					if p, err = base.Share(name); err != nil {
						t.Fatal(err)
					}
				}
				p.OnAny(func(e *client.Event) {
					v, _ := e.Args.Values()
					got <- fmt.Sprint(name, " ", e.Name, v)
				})
				if name != "/" {
					if err := p.Connect(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			admin := srv.Client(t)
			for _, name := range names {
				for _, room := range rooms {
					if kind == "classic" && strings.HasPrefix(room, id) {
						continue // by the pattern
					}
					adaptertest.Eventually(t, "subscribed", func() bool { return subscribers(t, admin, kind, "socket.io#"+name+"#"+room+"#") >= 1 })
				}
			}
			var want []string
			for _, name := range names {
				for _, room := range append(rooms, "") {
					op := a.Of(name).All()
					if room != "" {
						op = a.Of(name).To(room)
					}
					if err := op.Emit("e", room); err != nil {
						t.Fatal(err)
					}
					want = append(want, fmt.Sprintf("%s e[%s]", name, room))
				}
			}
			for _, name := range names {
				_ = a.Of(name).Emit("end")
				want = append(want, name+" end[]")
			}
			var all []string
			for range want {
				select {
				case s := <-got:
					all = append(all, s)
				case <-time.After(5 * time.Second):
				}
			}
			if len(got) > 0 {
				t.Errorf("%d more have come", len(got))
			}
			slices.Sort(all)
			slices.Sort(want)
			if !slices.Equal(all, want) {
				t.Errorf("%q\nhas come, not\n%q", all, want)
			}
		})
	}
}

// TestHostile: what cannot be read is counted, and harms nobody.
func TestHostile(t *testing.T) {
	t.Parallel()
	garbage := []string{
		"", "{", "[]", "null", "\x93\xa1a\x80\x80", "\xdd\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", strings.Repeat("\x91", 100_000), strings.Repeat("[", 100_000),
		`{"type":2}`, `{"type":3,"data":{"packet":{"data":"x"}},"uid":"evil","nsp":"/"}`, `{"type":99,"requestId":"x"}`, "\x80\x04\x95.",
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			a, b := newNode(t, srv.Addr, kind), newNode(t, srv.Addr, kind)
			together(t, a, b)
			got := make(chan string, 10)
			b.connect(t, "red").OnAny(func(e *client.Event) { got <- e.Name })
			admin := srv.Client(t)
			adaptertest.Eventually(t, "an event arrives", func() bool {
				_ = a.To("red").Emit("first")
				select {
				case <-got:
					return true
				case <-time.After(50 * time.Millisecond):
					return false
				}
			})
			channels := []string{"socket.io#/#", "socket.io#/#red#", "socket.io-request#/#", "socket.io-response#/#"}
			sent := 0
			for _, text := range garbage {
				for _, channel := range channels {
					cmd := "publish"
					if kind == "sharded" {
						cmd = "spublish"
					}
					n, err := admin.Do(t.Context(), cmd, channel, text).Int()
					if err != nil {
						t.Fatal(err)
					}
					sent += n
				}
				if kind == "streams" {
					for _, field := range []string{"type", "nsp", "data"} {
						if err := admin.XAdd(t.Context(), &goredis.XAddArgs{Stream: "socket.io", Values: []string{"uid", "evil", field, text}}).Err(); err != nil {
							t.Fatal(err)
						}
						sent += 2
					}
				}
			}
			adaptertest.Eventually(t, "it is counted", func() bool {
				n := a.adapter.Stats().Ignored + b.adapter.Stats().Ignored
				return n > 0 && int(n) <= sent && int(n) >= sent/2
			})
			for len(got) > 0 {
				<-got
			}
			if err := a.To("red").Emit("last"); err != nil {
				t.Fatal(err)
			}
			select {
			case e := <-got:
				if e != "last" {
					t.Errorf("%q has come", e)
				}
			case <-time.After(20 * time.Second):
				t.Error("nothing comes any more")
			}
		})
	}
}
