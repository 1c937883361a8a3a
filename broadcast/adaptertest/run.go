package adaptertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/client"
)

// Bus is what Run runs on.
type Bus struct {
	// Adapter makes an adapter for one more server on the same bus.
	Adapter func(t testing.TB) broadcast.Adapter

	// Cut, if not nil, has the bus fail for all servers, or work again.
	Cut func(t testing.TB, down bool)

	// NoAnswers: the format has no questions to servers: FetchSockets, Call, CallServers
	// and Servers are ErrUnsupported.
	NoAnswers bool
	// NoExcept: exceptions are sockets' IDs alone.
	NoExcept bool
	// NoTargets: Join, Leave and Disconnect address single sockets alone.
	NoTargets bool

	// World, if not nil, is called before n servers are made, which have Adapter's next n
	// adapters.
	World func(t testing.TB, n int)
	// Bridged: the servers are joined by a bridge, and each counts and asks those of its own
	// bus.
	Bridged bool

	// OrderByRoom: only what is sent to the same rooms keeps its order.
	OrderByRoom bool

	// Link, if not nil, is the way of the i-th adapter of a world to its bus: for RunRecovery.
	Link func(i int) *Proxy
	// Trim, if not nil, has the bus forget all but the last events that it keeps: likewise.
	Trim func(t testing.TB, left int)

	// Settings for the servers, or nil.
	Config func(cfg *sockeye.Config)
}

// Names are rooms and namespaces that formats and buses have trouble with.
var Names = []string{
	"#", "a#b", "room#", "*", "a*b", "?", "[abc]", "\\", " ", "two words", "ü", "部屋", "🐟", "\"quoted\"", "new\nline", "a.b", ".", ">", "a,b", "%s", "{x}", "0", "12345678901234567890", "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
}

const limit = 20 * time.Second

// world are some servers on one bus, with clients.
type world struct {
	t       *testing.T
	bus     Bus
	servers []*sockeye.Server
	urls    []string

	recovers bool // events have offsets
}

// peer is a client, and what has come to it.
type peer struct {
	*client.Client
	w  *world
	in int // its server

	mu     sync.Mutex
	got    []string
	answer func(e *client.Event) []any
}

func newWorld(t *testing.T, bus Bus, n int) *world {
	w := &world{t: t, bus: bus}
	return w.start(n)
}

func (w *world) start(n int) *world {
	t, bus := w.t, w.bus
	if bus.World != nil {
		bus.World(t, n)
	}
	for range n {
		w.addServer()
	}
	w.settle()
	return w
}

func (w *world) addServer() int {
	w.t.Helper()
	cfg := sockeye.Config{Adapter: w.bus.Adapter(w.t), Loops: 2, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if w.bus.Config != nil {
		w.bus.Config(&cfg)
	}
	srv, err := sockeye.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = srv.Close() })
	srv.On("join", func(s *sockeye.Socket, room string) { _ = s.Join(room) })
	srv.OfFunc(func(string, json.RawMessage) bool { return true }).On("join", func(s *sockeye.Socket, room string) { _ = s.Join(room) })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.servers = append(w.servers, srv)
	w.urls = append(w.urls, "http://"+addr.String())
	return len(w.servers) - 1
}

// settle waits until all servers know of each other.
func (w *world) settle() {
	w.t.Helper()
	for _, srv := range w.servers {
		if w.bus.NoAnswers || w.bus.Bridged {
			continue
		}
		Eventually(w.t, "the servers know of each other", func() bool {
			n, err := srv.Servers(w.t.Context())
			return err == nil && n == len(w.servers)
		})
	}
	// An event that all get is certain proof.
	for i, srv := range w.servers {
		w.reach(fmt.Sprint("probe ", i), srv.Namespace, "", w.serversBut(i)...)
	}
}

// serversBut are all servers but one.
func (w *world) serversBut(i int) (list []int) {
	for j := range w.servers {
		if j != i {
			list = append(list, j)
		}
	}
	return list
}

// reach emits to a room until sockets of servers, made for that, get it.
func (w *world) reach(event string, from *sockeye.Namespace, room string, servers ...int) {
	w.t.Helper()
	for _, i := range servers {
		p := w.connect(i, from.Name(), room)
		w.untilReached(event, from, room, p)
		_ = p.Close()
	}
}

// untilReached emits to a room, or to p alone, until p gets it.
func (w *world) untilReached(event string, from *sockeye.Namespace, room string, p *peer) {
	w.t.Helper()
	Eventually(w.t, fmt.Sprintf("%q reaches %q on server %d", event, room, p.in), func() bool {
		op := from.To(p.ID())
		if room != "" {
			op = from.To(room)
		}
		if err := op.Emit(event); err != nil && !errors.Is(err, sockeye.ErrUnavailable) {
			w.t.Fatal(err)
		}
		return p.waits(50*time.Millisecond, func(got []string) bool { return slices.Contains(got, event+"[]") })
	})
}

// connect connects a client to a server, in a namespace, and has it join rooms; "" is none.
func (w *world) connect(server int, namespace string, rooms ...string) *peer {
	w.t.Helper()
	p := &peer{w: w, in: server}
	base, err := client.New(w.urls[server], client.Config{Transports: []string{"websocket"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = base.Close() })
	p.Client = base
	if namespace != "/" {
		if p.Client, err = base.Share(namespace); err != nil {
			w.t.Fatal(err)
		}
	}
	p.OnAny(p.take)
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	if err := p.Connect(ctx); err != nil {
		w.t.Fatal(err)
	}
	for _, room := range rooms {
		if room == "" {
			continue
		}
		if _, err := p.Call(ctx, "join", room); err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

// joined is connect, and waits until all servers reach each of the rooms.
func (w *world) joined(server int, namespace string, rooms ...string) *peer {
	w.t.Helper()
	p := w.connect(server, namespace, rooms...)
	for _, i := range w.serversBut(server) {
		for _, room := range append([]string{""}, rooms...) {
			w.untilReached(fmt.Sprint("ready ", i, room), w.servers[i].Of(namespace), room, p)
		}
	}
	p.Forget()
	return p
}

func (p *peer) take(e *client.Event) {
	values, err := e.Args.Values()
	if err != nil {
		p.w.t.Error(err)
	}
	if p.w.recovers && !e.HasAck() && len(values) > 0 {
		values = values[:len(values)-1] // the offset
	}
	text := e.Name + Text(values)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, text)
	if p.answer != nil {
		if answer := p.answer(e); answer != nil {
			_ = e.Ack(answer...)
		}
	}
}

// Text is values as a text to be compared; a long one is cut, with a checksum.
func Text(values []any) string {
	if len(values) == 0 {
		return "[]"
	}
	text := fmt.Sprintf("%v", values)
	if len(text) > 200 {
		text = fmt.Sprintf("%q… %d, %08x", text[:50], len(text), crc32.ChecksumIEEE([]byte(text)))
	}
	return text
}

// events are what has come but probes, of which more may be on their way.
func events(got []string) (list []string) {
	for _, g := range got {
		if !strings.HasPrefix(g, "ready") && !strings.HasPrefix(g, "probe") {
			list = append(list, g)
		}
	}
	return list
}

// Forget forgets what has come.
func (p *peer) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = nil
}

// waits waits until cond holds for what has come; false if it does not in d.
func (p *peer) waits(d time.Duration, cond func(got []string) bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		ok := cond(p.got)
		p.mu.Unlock()
		if ok || time.Now().After(end) {
			return ok
		}
	}
}

// expects waits until exactly want has come, in this order, other than probes.
func (p *peer) expects(want ...string) {
	p.w.t.Helper()
	var last []string
	if p.w.bus.OrderByRoom {
		want = slices.Sorted(slices.Values(want))
	}
	if !p.waits(limit, func(got []string) bool {
		last = events(got)
		if p.w.bus.OrderByRoom {
			slices.Sort(last)
		}
		return slices.Equal(last, want)
	}) {
		p.w.t.Errorf("server %d's socket got\n%.2000q, not\n%.2000q", p.in, last, want)
	}
}

// Eventually waits until cond holds, and ends the test if it does not.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
