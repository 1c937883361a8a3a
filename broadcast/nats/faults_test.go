package nats_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/nats"
)

// side is a server without sockets.
type side struct {
	broadcast.Remote
	Record *adaptertest.Record
	a      *cluster.Adapter
}

func (s *side) Expect(t *testing.T, want ...string) {
	t.Helper()
	s.Record.Expect(t, want...)
}

func (s *side) Got() []string { return s.Record.Got() }

func newSide(t testing.TB, addr, id string, o nats.Options) *side {
	t.Helper()
	s := &side{Record: &adaptertest.Record{ID: id}, a: newAdapter(t, addr, o)}
	var err error
	if s.Remote, err = s.a.Join(s.Record); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Record.Hold(false)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.a.Close(ctx)
	})
	return s
}

// silent has no heartbeats, which tests that count would count.
func silent(o *nats.Options) {
	o.HeartbeatInterval, o.HeartbeatTimeout = time.Hour, 2*time.Hour
}

// bothWays runs a test with and without JetStream.
func bothWays(t *testing.T, f func(t *testing.T, s *natsServer, o nats.Options)) {
	t.Run("core", func(t *testing.T) { f(t, startServer(t, false), quick(silent)) })
	t.Run("JetStream", func(t *testing.T) { f(t, startServer(t, true), quick(silent, withStream)) })
}

// allWays is bothWays and with recovery.
func allWays(t *testing.T, f func(t *testing.T, s *natsServer, o nats.Options)) {
	bothWays(t, f)
	t.Run("recovery", func(t *testing.T) { f(t, startServer(t, true), quick(silent, withRecovery)) })
}

// whole tells whether servers get what is for all rooms.
func whole(o nats.Options) bool { return o.JetStream != nil && o.JetStream.Recovery }

// TestRooms: what is for one room, or one socket, comes to servers that have it, and costs
// the others no byte.
func TestRooms(t *testing.T) {
	bothWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		proxy := adaptertest.NewProxy(t, s.addr())
		a, b, c := newSide(t, s.addr(), "AAAAAA", o), newSide(t, s.addr(), "BBBBBB", o), newSide(t, proxy.Addr(), "CCCCCC", o)
		b.Room("red", true)
		b.Room("12345678901234567890", true)
		long := strings.Repeat("x", 5000) // longer than NATS's line
		b.Room(long, true)
		b.Room("BBBBBB90123456789012", true) // begins as its sockets
		c.Room("blue", true)
		for _, room := range []string{"", "red", "12345678901234567890", "BBBBBB90123456789012", long} {
			adaptertest.Meet(t, a, b.Record, slices.DeleteFunc([]string{room}, func(s string) bool { return s == "" })...)
		}
		adaptertest.Meet(t, a, c.Record)
		adaptertest.Meet(t, a, c.Record, "blue")
		b.Record.Forget()
		before, _ := proxy.Bytes()
		adaptertest.Emit(t, a, `[1]`, "red")
		adaptertest.Emit(t, a, `[2]`, "12345678901234567890")
		adaptertest.Emit(t, a, `[3]`, "BBBBBB90123456789012")
		adaptertest.Emit(t, a, `[4]`, long)
		adaptertest.Emit(t, a, `[5]`, "nobody's")
		for range 100 {
			adaptertest.Emit(t, a, `["not for c"]`, "nobody's")
			adaptertest.Emit(t, a, `["not for c"]`, "AAAAAA90123456789012")
		}
		adaptertest.Emit(t, a, `[6]`, "red")
		b.Expect(t, `red[1]`, `12345678901234567890[2]`, `BBBBBB90123456789012[3]`, long+`[4]`, `red[6]`)
		if after, _ := proxy.Bytes(); after != before {
			t.Errorf("%d bytes for a server without these rooms", after-before)
		}
		c.Room("blue", false)
		adaptertest.Eventually(t, "blue is no longer subscribed to", func() bool {
			before, _ := proxy.Bytes()
			adaptertest.Emit(t, a, `[7]`, "blue")
			adaptertest.Emit(t, a, `[8]`, "red")
			n := len(b.Got())
			adaptertest.Eventually(t, "a round trip", func() bool { return len(b.Got()) > n || a.a.Stats().Queued == 0 })
			time.Sleep(5 * time.Millisecond)
			after, _ := proxy.Bytes()
			return after == before
		})
	})
}

// TestFlapping: a room that comes and goes costs bounded work.
func TestFlapping(t *testing.T) {
	s := startServer(t, false)
	proxy := adaptertest.NewProxy(t, s.addr())
	a, b := newSide(t, s.addr(), "AAAAAA", quick(silent)), newSide(t, proxy.Addr(), "BBBBBB", quick(silent))
	adaptertest.Meet(t, a, b.Record)
	_, before := proxy.Bytes()
	began := time.Now()
	for range 100_000 {
		b.Room("red", true)
		b.Room("red", false)
	}
	b.Room("red", true)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	adaptertest.Meet(t, a, b.Record, "red")
	if _, after := proxy.Bytes(); after-before > 2000 {
		t.Errorf("%d bytes went to NATS", after-before)
	}
}

// TestTooLarge: what NATS does not take is refused, and nothing else is harmed.
func TestTooLarge(t *testing.T) {
	allWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		a, b := newSide(t, s.addr(), "AAAAAA", o), newSide(t, s.addr(), "BBBBBB", o)
		adaptertest.Meet(t, a, b.Record)
		err := a.Broadcast(broadcast.Payload{JSON: []byte(`["` + strings.Repeat("x", 1<<20) + `"]`)}, broadcast.Target{})
		if !errors.Is(err, nats.ErrTooLarge) {
			t.Errorf("%v", err)
		}
		adaptertest.Emit(t, a, `["end"]`)
		b.Expect(t, `["end"]`)
		if st := a.a.Stats(); st.Lost != 0 || st.Down {
			t.Errorf("%+v", st)
		}
	})
}

// TestGarbage: whatever comes on whichever subject is counted and ignored.
func TestGarbage(t *testing.T) {
	allWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		a, b := newSide(t, s.addr(), "AAAAAA", o), newSide(t, s.addr(), "BBBBBB", o)
		adaptertest.Meet(t, a, b.Record)
		nc := connect(t, s.addr())
		random := make([]byte, 1000)
		_, _ = rand.Read(random)
		list := [][]byte{
			nil, []byte("{"), []byte("x"), []byte("[]"), []byte("null"), random, []byte("\x80\x04\x95pickle"),
			[]byte(`{"type":99,"uid":"x","nsp":"/"}`), []byte(`{"type":-1}`), []byte(`{"type":3}`), []byte(`{"type":3,"data":{"packet":{"data":7},"opts":{}}}`),
			{0xdf, 0xff, 0xff, 0xff, 0xff},
			{0xdd, 0xff, 0xff, 0xff, 0xff},
			{0xc6, 0xff, 0xff, 0xff, 0xff, 1},
		}
		before := b.a.Stats().Ignored
		subjects := []string{"sio.Lw.all", "sio.Lw.beat", "sio.Lw.node." + b.a.UID(), "sio.Lw.sock." + "QkJCQkJC" + ".x"}
		stream := uint64(0)
		if o.JetStream != nil {
			subjects = append(subjects, "sio-kept.sio.Lw.all")
			for _, n := range []string{"", "x", "0", "-1", "18446744073709551615", "99999999999999999999"} {
				m := natsgo.NewMsg("sio-kept.sio.Lw.all")
				m.Header.Set("Nats-Stream", "sockeye")
				m.Header.Set("Nats-Sequence", n)
				m.Data = []byte(`{"type":3,"data":{"packet":{"data":["forged"]},"opts":{}},"uid":"x","nsp":"/"}`)
				if err := nc.PublishMsg(m); err != nil {
					t.Fatal(err)
				}
				stream++
			}
		}
		for _, s := range subjects {
			for _, data := range list {
				if err := nc.Publish(s, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		want := uint64(len(subjects)*len(list)) + stream
		adaptertest.Eventually(t, "all is ignored", func() bool { return b.a.Stats().Ignored-before >= want })
		if n := b.a.Stats().Ignored - before; n != want {
			t.Errorf("%d are ignored, not %d", n, want)
		}
		adaptertest.Emit(t, a, `["end"]`)
		b.Expect(t, `["end"]`)
	})
}

// TestPoison: what the library does not hand out is passed over.
func TestPoison(t *testing.T) {
	s := startServer(t, true)
	o := quick(silent, withStream)
	proxy := adaptertest.NewProxy(t, s.addr())
	a, b := newSide(t, s.addr(), "AAAAAA", o), newSide(t, proxy.Addr(), "BBBBBB", o)
	adaptertest.Meet(t, a, b.Record)
	proxy.Cut(true)
	adaptertest.Emit(t, a, `[1]`)
	adaptertest.Eventually(t, "it is sent", func() bool { return a.a.Stats().Queued == 0 })
	nc := connect(t, s.addr())
	for _, status := range []string{"404", "408", "100", "409", "x"} {
		m := natsgo.NewMsg("sio.Lw.all")
		m.Header.Set("Status", status)
		if _, err := nc.RequestMsg(m, 5*time.Second); err != nil { // the answer: it is stored
			t.Fatal(err)
		}
	}
	adaptertest.Emit(t, a, `[2]`)
	adaptertest.Eventually(t, "it is sent", func() bool { return a.a.Stats().Queued == 0 })
	proxy.Cut(false)
	b.Expect(t, `[1]`, `[2]`)
	adaptertest.Emit(t, a, `[3]`)
	b.Expect(t, `[1]`, `[2]`, `[3]`)
	if st := b.a.Stats(); st.Lost+st.Ignored < 5 {
		t.Errorf("%+v", st)
	}
}

// TestSlow: what comes faster than it is handled is bounded. It is lost and counted, or,
// with JetStream, comes later.
func TestSlow(t *testing.T) {
	allWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		const n = 2000
		a := newSide(t, s.addr(), "AAAAAA", o)
		o.MaxReceived = 64 << 10
		b := newSide(t, s.addr(), "BBBBBB", o)
		adaptertest.Meet(t, a, b.Record)
		b.Record.Hold(true)
		var want []string
		for i := range n {
			adaptertest.Emit(t, a, fmt.Sprintf(`["n",%d]`, i))
			want = append(want, fmt.Sprintf(`["n",%d]`, i))
		}
		adaptertest.Eventually(t, "all is sent", func() bool { return a.a.Stats().Queued == 0 })
		if o.JetStream != nil {
			b.Record.Hold(false)
			b.Expect(t, want...)
			if lost := b.a.Stats().Lost; lost != 0 {
				t.Errorf("%d are lost", lost)
			}
			return
		}
		adaptertest.Eventually(t, "some are lost", func() bool { return b.a.Stats().Lost > n/2 })
		b.Record.Hold(false)
		adaptertest.Eventually(t, "each has come or is lost", func() bool { return len(b.Got())+int(b.a.Stats().Lost) == n })
		last := -1
		for _, g := range b.Got() {
			i := slices.Index(want, g)
			if i <= last {
				t.Fatalf("%d comes after %d", i, last)
			}
			last = i
		}
		b.Record.Forget()
		adaptertest.Emit(t, a, `["end"]`)
		b.Expect(t, `["end"]`)
	})
}

// TestCutOff: a server that was cut off from NATS, many times, gets what it has missed, in
// order, each once, with JetStream; without, what comes comes in order, once.
func TestCutOff(t *testing.T) {
	allWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		const cuts, each = 20, 50
		proxy := adaptertest.NewProxy(t, s.addr())
		a, b := newSide(t, s.addr(), "AAAAAA", o), newSide(t, proxy.Addr(), "BBBBBB", o)
		b.Room("red", true)
		adaptertest.Meet(t, a, b.Record)
		adaptertest.Meet(t, a, b.Record, "red")
		var want []string
		n := 0
		emit := func() {
			for range each {
				n++
				if n%2 == 0 {
					adaptertest.Emit(t, a, fmt.Sprintf(`["n",%d]`, n), "red")
					want = append(want, fmt.Sprintf(`red["n",%d]`, n))
				} else {
					adaptertest.Emit(t, a, fmt.Sprintf(`["n",%d]`, n))
					want = append(want, fmt.Sprintf(`["n",%d]`, n))
				}
			}
			if !whole(o) {
				adaptertest.Emit(t, a, `["not for b"]`, "blue")
			}
		}
		for i := range cuts {
			emit()
			if i%3 == 0 {
				proxy.Reset()
				emit()
			} else {
				proxy.Cut(true)
				emit()
				if i%3 == 1 {
					adaptertest.Eventually(t, "all is sent", func() bool { return a.a.Stats().Queued == 0 })
				}
				proxy.Cut(false)
			}
			if i%2 == 0 {
				b.Room("new "+fmt.Sprint(i), true)
			}
		}
		if o.JetStream != nil {
			b.Expect(t, want...)
			return
		}
		adaptertest.Eventually(t, "it is back", func() bool {
			_ = a.Broadcast(broadcast.Payload{JSON: []byte(`["end"]`)}, broadcast.Target{})
			return slices.Contains(b.Got(), `["end"]`)
		})
		last := 0
		for _, g := range b.Got() {
			var k int
			if _, err := fmt.Sscanf(g[strings.Index(g, "["):], `["n",%d]`, &k); err == nil {
				if k <= last {
					t.Fatalf("%d comes after %d", k, last)
				}
				last = k
			}
		}
	})
}

// TestSender: the connection of a server that sends is reset again and again: callers
// know what has certainly not been sent, and nothing is doubled or out of order.
func TestSender(t *testing.T) {
	allWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		proxy := adaptertest.NewProxy(t, s.addr())
		a, b := newSide(t, proxy.Addr(), "AAAAAA", o), newSide(t, s.addr(), "BBBBBB", o)
		adaptertest.Meet(t, a, b.Record)
		const beats = 50 // and probes, at most, that are sent besides
		refused := map[int]bool{}
		adaptertest.Eventually(t, "nothing waits", func() bool { return a.a.Stats().Queued == 0 })
		sent := a.a.Stats().Sent
		for i := 1; i <= 3000; i++ {
			switch err := a.Broadcast(broadcast.Payload{JSON: fmt.Appendf(nil, `["n",%d]`, i)}, broadcast.Target{}); {
			case err == nil:
			case errors.Is(err, broadcast.ErrUnavailable):
				refused[i] = true
			default:
				t.Fatal(err)
			}
			if i%300 == 0 {
				proxy.Reset()
				adaptertest.Eventually(t, "it is back", func() bool {
					return a.Broadcast(broadcast.Payload{JSON: []byte(`["back"]`)}, broadcast.Target{}) == nil
				})
			}
		}
		adaptertest.Eventually(t, "the end comes", func() bool {
			_ = a.Broadcast(broadcast.Payload{JSON: []byte(`["end"]`)}, broadcast.Target{})
			return slices.Contains(b.Got(), `["end"]`)
		})
		adaptertest.Eventually(t, "nothing waits", func() bool { return a.a.Stats().Queued == 0 })
		last, came := 0, 0
		for _, g := range b.Got() {
			var k int
			if _, err := fmt.Sscanf(g, `["n",%d]`, &k); err != nil {
				continue
			}
			if came++; k <= last {
				t.Fatalf("%d comes after %d", k, last)
			}
			if refused[k] {
				t.Fatalf("%d has come although it was refused", k)
			}
			last = k
		}
		st := a.a.Stats()
		if st.Down || int(st.Refused) < len(refused) || came < int(st.Sent-sent)-beats {
			t.Errorf("%+v: %d have come of %d", st, came, st.Sent-sent)
		}
		t.Logf("%d refused, %d lost, %d sent, %d came", st.Refused, st.Lost, st.Sent-sent, came)
	})
}

// TestKilled: NATS is killed and comes back after some time: what was sent meanwhile is
// refused, or waits if that is wanted, and goes on by itself.
func TestKilled(t *testing.T) {
	allWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		o.QueueWhileDown = true
		a, b := newSide(t, s.addr(), "AAAAAA", o), newSide(t, s.addr(), "BBBBBB", o)
		adaptertest.Meet(t, a, b.Record)
		s.kill()
		adaptertest.Eventually(t, "it is known", func() bool {
			_ = a.Broadcast(broadcast.Payload{JSON: []byte(`["lost"]`)}, broadcast.Target{})
			return a.a.Stats().Down
		})
		for i := range 100 {
			adaptertest.Emit(t, a, fmt.Sprintf(`["n",%d]`, i))
		}
		s.start(t)
		adaptertest.Eventually(t, "all has come", func() bool { return slices.Contains(b.Got(), `["n",99]`) })
		var got []string
		for _, g := range b.Got() {
			if g != `["lost"]` {
				got = append(got, g)
			}
		}
		for i, g := range got {
			if g != fmt.Sprintf(`["n",%d]`, i) {
				t.Fatalf("%q is number %d", g, i)
			}
		}
		adaptertest.Eventually(t, "nothing waits", func() bool { st := a.a.Stats(); return !st.Down && st.Queued == 0 })
	})
}

// TestEmitter: a process without a server tells servers what to do.
func TestEmitter(t *testing.T) {
	allWays(t, func(t *testing.T, s *natsServer, o nats.Options) {
		a, b := newSide(t, s.addr(), "AAAAAA", o), newSide(t, s.addr(), "BBBBBB", o)
		adaptertest.Meet(t, a, b.Record)
		e, err := nats.NewEmitter(connect(t, s.addr()), "")
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		for _, err := range []error{
			e.Emit(ctx, "all", []byte("abc")), e.To("red").Join(ctx, "blue"), e.To("BBBBBB90123456789012").Emit(ctx, "one"),
			e.ServerSideEmit(ctx, "servers", 1), e.To("red").Disconnect(ctx), e.To("red", "blue").Emit(ctx, "end"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		all := []string{`["all",{"_placeholder":true,"num":0}] 3`, `red join ["blue"]`, `BBBBBB90123456789012["one"]`, `server["servers",1]`, `red disconnect false`, `red,blue["end"]`}
		b.Expect(t, all...)
		if !whole(o) {
			all = slices.Delete(all, 2, 3)
		}
		a.Expect(t, all...)
	})
}

// TestConfig: what cannot work is refused at once.
func TestConfig(t *testing.T) {
	s := startServer(t, false)
	nc := connect(t, s.addr())
	for _, c := range []struct {
		nc *natsgo.Conn
		o  nats.Options
	}{
		{nil, nats.Options{}},
		{nc, nats.Options{Prefix: "a..b"}},
		{nc, nats.Options{Prefix: "a*"}},
		{nc, nats.Options{JetStream: &nats.JetStream{Stream: "a b"}}},
		{nc, nats.Options{JetStream: &nats.JetStream{}}}, // this server has none
	} {
		if a, err := nats.New(c.nc, c.o); err == nil {
			t.Errorf("%+v is taken", c.o)
			_ = a.Close(t.Context())
		}
	}
	if _, err := nats.NewEmitter(nil, ""); err == nil {
		t.Error("an emitter without a connection")
	}
}
