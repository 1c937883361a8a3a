package adminui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/heaptest"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
)

// loopStore tells whether a login was decided on an event loop.
type loopStore struct {
	*memory
	onLoop, saved atomic.Bool
}

func (s *loopStore) Save(ctx context.Context, id string, lifetime time.Duration) error {
	s.onLoop.Store(netpoll.OnLoop())
	s.saved.Store(true)
	return s.memory.Save(ctx, id, lifetime)
}

// TestInlineLogin: bcrypt holds up no loop.
func TestInlineLogin(t *testing.T) {
	store := &loopStore{memory: newMemory()}
	_, _, url := serveBy(t, sockeye.Config{Inline: true}, Options{Auth: Basic("admin", hash(t, "x")), Store: store, Logger: quiet})
	if got := refused(t, url, map[string]string{"username": "admin", "password": "x"}); got != "" {
		t.Fatal(got)
	}
	if !store.saved.Load() || store.onLoop.Load() {
		t.Error("a login is decided on an event loop")
	}
}

// TestAdminsAtOnce: MaxAdmins holds for those who come at one time, too.
func TestAdminsAtOnce(t *testing.T) {
	_, admin, url := serve(t, Options{MaxAdmins: 2})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := client.New(url+"/admin", client.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			_ = c.Connect(ctx) // most are refused
			t.Cleanup(func() { _ = c.Close() })
		})
	}
	wg.Wait()
	await(t, "too many admins are in", func() bool { return len(admin.viewers()) <= 2 && admin.ns.Len() <= 2 })
	if n := len(admin.viewers()); n == 0 {
		t.Error("none is in")
	}
}

// TestBurst: MaxSockets holds for sockets that come faster than they are counted; one that
// goes makes room for another.
func TestBurst(t *testing.T) {
	_, admin, url := serve(t, Options{Mode: Development, MaxSockets: 5})
	_, s := watchAs(t, url, nil) // itself is one of them
	s.await(t, "all_sockets", nil)
	var all []*client.Client
	for range 20 {
		all = append(all, dial(t, url, client.Config{}))
	}
	shown := func() int {
		return s.count("socket_connected", func(args []any) bool { return args[0].(map[string]any)["nsp"] == "/" })
	}
	await(t, "four are not shown", func() bool { return shown() >= 4 })
	if err := admin.srv.Emit("settled"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "event_sent", func(args []any) bool { return args[2].([]any)[0] == "settled" })
	if n := shown(); n != 4 {
		t.Errorf("%d are shown beside the admin", n)
	}
	rooms := s.count("room_joined", func(args []any) bool { return args[0] == "/" })
	if rooms != 4 {
		t.Errorf("%d rooms are shown", rooms)
	}
	for _, c := range all {
		_ = c.Close()
	}
	await(t, "they do not go", func() bool { return s.count("socket_disconnected", func([]any) bool { return true }) == 20 })
	dial(t, url, client.Config{})
	await(t, "a later one is not shown", func() bool { return shown() == 5 })
}

// TestQueueIsBoundedInBytes: what waits for the teller is no more than maxQueuedBytes.
func TestQueueIsBoundedInBytes(t *testing.T) {
	a := &Admin{opts: Options{MaxEventBytes: 4096}, queue: make(chan message, maxQueued)}
	deep := a.plainJSON([]byte(strings.Repeat("[", 20) + strings.Repeat("1,", 2000) + "1" + strings.Repeat("]", 20)))
	args := make([]any, maxShownArgs)
	for i := range args {
		args[i] = deep
	}
	for range maxQueued + 1 {
		a.tell("event_received", "/", "id", args, timestamp())
	}
	if n := len(a.queue); n < 10 || n > 100 || a.lost.Load() != uint64(maxQueued+1-n) {
		t.Errorf("%d wait, %d are lost", n, a.lost.Load())
	}
	for len(a.queue) > 0 {
		a.take(<-a.queue)
	}
	if n := a.queued.Load(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	if a.tell("x", "short"); len(a.queue) != 1 {
		t.Error("there is no room again")
	}
}

// TestFloodOfLogins: what peers do does not fill the log.
func TestFloodOfLogins(t *testing.T) {
	var lines wiretest.Output
	_, _, url := serveBy(t, sockeye.Config{}, Options{Auth: Basic("admin", hash(t, "x")), Logger: slog.New(slog.NewTextHandler(&lines, nil))})
	for range 60 {
		if refused(t, url, map[string]string{"username": "admin", "password": "wrong"}) == "" {
			t.Fatal("it is let in")
		}
	}
	if n := strings.Count(lines.String(), "\n"); n > 40 || !strings.Contains(lines.String(), "too many logins") {
		t.Errorf("%d lines for 60 logins", n)
	}
}

// TestManyBigSockets: an admin is shown sockets with long headers, and is not cut for it.
func TestManyBigSockets(t *testing.T) {
	srv, _, url := serve(t, Options{Mode: Development})
	header := map[string][]string{}
	for i := range 3 {
		header[fmt.Sprintf("X-Long-%d", i)] = []string{strings.Repeat("<b>", 1000)}
	}
	for range 300 {
		dial(t, url, client.Config{Header: header, Transports: []string{"websocket"}})
	}
	c, s := watchAs(t, url, nil)
	if n := len(s.await(t, "all_sockets", nil)[0].([]any)); n != 301 {
		t.Errorf("%d are shown", n)
	}
	if err := srv.Emit("still"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "event_sent", func(args []any) bool { return args[2].([]any)[0] == "still" })
	if !c.Connected() {
		t.Error("it is cut")
	}
}

// TestProductionIsFree: while an admin looks, an event costs in production mode what it costs
// without this package; in development mode it costs more, so that this test can tell.
func TestProductionIsFree(t *testing.T) {
	if heaptest.Race {
		t.Skip("pools lose what they hold now and then, with the race detector")
	}
	in, out := allocations(t, "")
	production, productionOut := allocations(t, Production)
	if production > in+0.5 || productionOut > out+0.5 {
		t.Errorf("in production mode %.2f allocations for an event in, %.2f out; without %.2f, %.2f", production, productionOut, in, out)
	}
	if development, developmentOut := allocations(t, Development); development < in+1 || developmentOut < out+1 {
		t.Errorf("in development mode %.2f and %.2f, without %.2f and %.2f: it does not look", development, developmentOut, in, out)
	}
}

// allocations of an event that comes in, and of one that goes out, while an admin looks.
func allocations(t *testing.T, mode Mode) (in, out float64) {
	srv, err := sockeye.New(sockeye.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if mode != "" {
		admin, err := Instrument(srv, Options{Auth: NoAuth, Mode: mode, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
	}
	defer func() { _ = srv.Close() }()
	var handled atomic.Int64
	srv.On("e", func(*sockeye.Socket, *sockeye.Event) error { handled.Add(1); return nil })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// Peers that take no memory themselves.
	connect := func(namespace string) net.Conn {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := fmt.Fprintf(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s", frame("40/"+namespace+",")); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(limit))
		for got := []byte{}; !bytes.Contains(got, []byte(strings.TrimSuffix("40/"+namespace+",", "/,")+`{"sid"`)); {
			var some [512]byte
			n, err := c.Read(some[:])
			if err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			got = append(got, some[:n]...)
		}
		_ = c.SetReadDeadline(time.Time{})
		go func() { _, _ = io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{c}, make([]byte, 64<<10)) }()
		return c
	}
	srv.Of("/admin")
	connect("admin")
	c := connect("")
	const events = 1000
	burst := []byte(strings.Repeat(frame(`42["e","text"]`), events))
	least := func(f func()) float64 { // server_stats come now and then
		n := math.Inf(1)
		for range 8 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f()
			runtime.ReadMemStats(&after)
			n = min(n, float64(after.Mallocs-before.Mallocs)/events)
		}
		return n
	}
	in = least(func() {
		want := handled.Load() + events
		if _, err := c.Write(burst); err != nil {
			t.Fatal(err)
		}
		await(t, "they are not handled", func() bool { return handled.Load() == want })
	})
	out = least(func() {
		for range events {
			_ = srv.Emit("e", "text")
		}
	})
	return in, out
}

// frame is a text as a peer's WebSocket has it, masked by zeros.
func frame(text string) string {
	return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
}

// With no more methods, io.CopyBuffer uses its buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// TestManyAreShown: each admin that comes may be shown other sockets than those before. When
// they are too many together, all admins are shown the same ones anew.
func TestManyAreShown(t *testing.T) {
	t.Parallel()
	srv, _, url := serve(t, Options{Mode: Development, MaxSockets: 3})
	_, first := watchAs(t, url, nil)
	first.await(t, "all_sockets", nil)
	for i := range 10 { // their order is another one each time
		nsp := fmt.Sprintf("/n%d", i)
		srv.Of(nsp)
		dial(t, url+nsp, client.Config{})
		dial(t, url+nsp, client.Config{})
	}
	for range 10 {
		_, s := watchAs(t, url, nil)
		if n := len(s.await(t, "all_sockets", nil)[0].([]any)); n != 3 {
			t.Errorf("%d are shown", n)
		}
	}
	await(t, "the first one is not shown all anew", func() bool { return first.count("all_sockets", func([]any) bool { return true }) > 1 })
}

// TestNothingIsKept: what admins are told is not kept with Config.Recovery: who comes back is
// shown all sockets anew.
func TestNothingIsKept(t *testing.T) {
	for name, adapter := range map[string]sockeye.Adapter{"alone": nil, "with a bus that keeps": new(adaptertest.Hub).KeepingAdapter(t, cluster.Options{})} {
		t.Run(name, func(t *testing.T) {
			srv, _, url := serveBy(t, sockeye.Config{Recovery: &sockeye.Recovery{}, Adapter: adapter}, Options{Auth: NoAuth, Mode: Development, Logger: quiet})
			_, s := watchAs(t, url, nil)
			s.await(t, "all_sockets", nil)
			other := dial(t, url, client.Config{})
			s.await(t, "socket_connected", func(args []any) bool { return args[0].(map[string]any)["id"] == other.ID() })
			if args := s.await(t, "server_stats", nil); len(args) != 1 {
				t.Errorf("server_stats has an offset: %d arguments", len(args))
			}
			if kept := srv.Of("/admin").RecoveryStats(); kept != (sockeye.RecoveryStats{}) {
				t.Errorf("kept: %+v", kept)
			}
			if err := srv.Emit("the application's"); err != nil {
				t.Fatal(err)
			}
			if adapter == nil && srv.Of("/").RecoveryStats().Bytes == 0 {
				t.Error("the application's own events are not kept")
			}
		})
	}
}
