package cluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// fakeBus keeps what is sent.
type fakeBus struct {
	mu     sync.Mutex
	down   bool
	frames []Frame
}

func (b *fakeBus) Open(*Adapter) error       { return nil }
func (b *fakeBus) Join(string)               {}
func (b *fakeBus) Leave(string)              {}
func (b *fakeBus) Room(string, string, bool) {}
func (b *fakeBus) Close() error              { return nil }
func (b *fakeBus) Encode(m *Message) (Frame, error) {
	return Frame{Channel: m.Namespace, Data: AppendJSON(nil, m)}, nil
}

func (b *fakeBus) Send(_ context.Context, frames []Frame) (int, int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return 0, 0, io.ErrClosedPipe
	}
	b.frames = append(b.frames, frames...)
	return len(frames), 0, nil
}

func (b *fakeBus) Ping(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return io.ErrClosedPipe
	}
	return nil
}

func (b *fakeBus) Others(context.Context, string) (int, error) {
	return 0, broadcast.ErrUnsupported
}

// sent takes the types of what has been sent.
func (b *fakeBus) sent(t *testing.T) (types []Type) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		m, err := Decode(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, m.Type)
	}
	b.frames = nil
	return types
}

func (b *fakeBus) cut(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// nobody is a namespace without sockets.
type nobody struct{ broadcast.Local }

func (nobody) Name() string   { return "/" }
func (nobody) Server() string { return "SERVER" }

// TestBack: when the bus is back, the server says so at once, and asks who is there.
func TestBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(fakeBus)
		a, err := New(bus, Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.Join(nobody{})
		if err != nil {
			t.Fatal(err)
		}
		if a.Server() != "SERVER" {
			t.Errorf("the server is %q", a.Server())
		}
		synctest.Wait()
		if got := bus.sent(t); !slices.Equal(got, []Type{InitialHeartbeat}) {
			t.Errorf("%v has been sent", got)
		}
		bus.cut(true)
		_ = r.ServerEvent(broadcast.Payload{JSON: []byte(`["lost"]`)})
		time.Sleep(20 * time.Second)
		if err := r.ServerEvent(broadcast.Payload{JSON: []byte(`["refused"]`)}); !errors.Is(err, broadcast.ErrUnavailable) {
			t.Errorf("while the bus is away: %v", err)
		}
		bus.cut(false)
		time.Sleep(maxBackoff)
		synctest.Wait()
		if got := bus.sent(t); !slices.Equal(got, []Type{InitialHeartbeat}) {
			t.Errorf("%v has been sent after it was back", got)
		}
		a.Miss(3, "channel", io.EOF)
		if s := a.Stats(); s.Lost != 4 || s.Refused != 1 || s.Down {
			t.Errorf("%+v", s)
		}
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLateLook: a server that was stopped for any time, and has read the first of what has come
// meanwhile, takes nobody for gone; who stays silent has gone all the same.
func TestLateLook(t *testing.T) {
	for _, echoes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a, err := New(new(fakeBus), Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close(t.Context())
			tick := a.o.HeartbeatInterval / 5
			for age := time.Duration(0); age <= a.o.HeartbeatInterval+tick; age += tick {
				for stop := tick; stop < 3*a.o.HeartbeatTimeout; stop += tick / 10 {
					a.hears(echoes)
					a.heard("b")
					for range age / tick {
						time.Sleep(tick)
						a.hears(echoes)
						a.gone(time.Now())
					}
					time.Sleep(stop)
					a.hears(false)
					a.heard("c")
					if gone := a.gone(time.Now()); len(gone) > 0 {
						t.Fatalf("echoes %v, heard of %v before, stopped for %v: %q have gone", echoes, age, stop, gone)
					}
				}
			}
			var gone []string
			for range 2 * a.o.HeartbeatTimeout / tick {
				time.Sleep(tick)
				a.hears(echoes)
				gone = append(gone, a.gone(time.Now())...)
			}
			if slices.Sort(gone); !slices.Equal(gone, []string{"b", "c"}) {
				t.Errorf("echoes %v: %q have gone", echoes, gone)
			}
		})
	}
}

// TestSilence: a server that is not heard of has gone, unless nothing could be heard of it:
// while the bus is away, or hands nothing on any more, nobody has gone, and callers are told
// that others cannot be asked.
func TestSilence(t *testing.T) {
	for _, echoes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			bus := new(fakeBus)
			a, err := New(bus, Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			r, err := a.Join(nobody{})
			if err != nil {
				t.Fatal(err)
			}
			hears := func(uid string) { a.Receive(&Message{Type: Heartbeat, UID: uid, Namespace: "/"}, 1) }
			pass := func(d time.Duration, uids ...string) { // while these are heard
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
					for _, uid := range uids {
						hears(uid)
					}
				}
			}
			servers := func(when string, want int, why error) {
				t.Helper()
				if n, err := r.Servers(t.Context()); n != want || !errors.Is(err, why) {
					t.Errorf("echo %v, %s: %d servers, %v", echoes, when, n, err)
				}
				if want == 0 {
					if _, err := r.Sockets(t.Context(), broadcast.Target{}); (err == nil) != (why == nil) {
						t.Errorf("echo %v, %s: %v", echoes, when, err)
					}
				}
			}
			own := []string{a.UID()}
			if !echoes {
				own = nil
			}
			pass(time.Second, append(own, "other")...)
			servers("both are heard", 1, nil)

			bus.cut(true)
			_ = r.ServerEvent(broadcast.Payload{JSON: []byte(`["lost"]`)})
			pass(time.Minute)
			servers("the bus is away", 0, broadcast.ErrUnavailable)
			bus.cut(false)
			pass(5*time.Second, own...)
			servers("the bus is back", 1, nil)
			if echoes {
				pass(time.Minute)
				servers("nothing is handed on", 0, broadcast.ErrUnavailable)
				pass(5*time.Second, own...)
				servers("it is handed on again", 1, nil)
			}
			pass(time.Minute, own...)
			servers("the other is not heard", 0, nil)
			if err := a.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOwn: what is certainly one's own, and nothing else.
func TestOwn(t *testing.T) {
	a, err := New(new(fakeBus), Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(new(fakeBus), Options{})
	if err != nil {
		t.Fatal(err)
	}
	encode := func(a *Adapter, namespace, args string) []byte {
		return AppendJSON(nil, &Message{Type: Broadcast, UID: a.uid, Namespace: namespace, Payload: broadcast.Payload{JSON: []byte(args)}})
	}
	inside := `["x",{"a":1,"uid":"` + a.uid + `","nsp":"/"}]`
	for _, c := range []struct {
		data []byte
		want bool
	}{
		{encode(a, "/", `["x"]`), true},
		{encode(a, "/chat", inside), true},
		{append(encode(a, "/", `["x"]`), "   "...), true},
		{encode(a, `/"`, `["x"]`), false}, // not certain
		{encode(b, "/", `["x"]`), false},
		{encode(b, "/", inside), false},
		{encode(b, `/,"uid":"`+a.uid+`","nsp":"/`, inside), false},
		{nil, false},
	} {
		if got := a.Own(c.data); got != c.want {
			t.Errorf("%s: %v", c.data, got)
		}
	}
}

// TestEmitter: what it sends is what servers read.
func TestEmitter(t *testing.T) {
	var got *Message
	e := NewEmitter(func(_ context.Context, m *Message) (err error) {
		data := AppendJSON(nil, m)
		if len(m.Payload.Attachments) > 0 {
			if data, err = AppendMsgpack(nil, m); err != nil {
				return err
			}
		}
		got, err = Decode(data)
		return err
	})
	ctx := t.Context()
	if err := e.Of("chat").To("a").To("b", "c").Except("d").Volatile().Compress(false).Emit(ctx, "hi", 1, []byte{2}); err != nil {
		t.Fatal(err)
	}
	to := got.Target
	if got.UID != EmitterUID || got.Namespace != "/chat" || !slices.Equal(to.Rooms, []string{"a", "b", "c"}) || !slices.Equal(to.Except, []string{"d"}) || !to.Volatile || !to.NoCompress {
		t.Errorf("%+v", got)
	}
	if string(got.Payload.JSON) != `["hi",1,{"_placeholder":true,"num":0}]` || got.Payload.Attachments[0][0] != 2 {
		t.Errorf("%s, %v", got.Payload.JSON, got.Payload.Attachments)
	}
	if err := e.To("a").Join(ctx, "x"); err != nil || got.Type != SocketsJoin || !slices.Equal(got.Rooms, []string{"x"}) || got.Namespace != "/" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := e.Leave(ctx, "x"); err != nil || got.Type != SocketsLeave || len(got.Target.Rooms) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := e.Disconnect(ctx); err != nil || got.Type != DisconnectSockets || got.Close {
		t.Errorf("%+v, %v", got, err)
	}
	if err := e.CloseSession(ctx); err != nil || !got.Close {
		t.Errorf("%+v, %v", got, err)
	}
	if err := e.To("a").ServerSideEmit(ctx, "s", "v"); err != nil || got.Type != ServerSideEmit || string(got.Payload.JSON) != `["s","v"]` {
		t.Errorf("%+v, %v", got, err)
	}
	got = nil
	if err := e.ServerSideEmit(ctx, "sockeye:claim", "k"); !errors.Is(err, ErrReservedEvent) || got != nil {
		t.Errorf("%v", err)
	}
	if err := e.Emit(ctx, "connect"); !errors.Is(err, ErrReservedEvent) || got != nil {
		t.Errorf("%v", err)
	}
	if err := e.Emit(ctx, "f", func() {}); err == nil || got != nil {
		t.Errorf("a function is sent: %+v", got)
	}
}

// TestMadeUpServers: who makes servers up, many, or with long names, does not fill the memory.
func TestMadeUpServers(t *testing.T) {
	a, r := joined(t, new(fakeBus), Options{}, nobody{})
	defer a.Close(t.Context())
	long := strings.Repeat("x", maxUID)
	for i := range 2 * maxServers {
		a.Receive(&Message{Type: Heartbeat, UID: long + strconv.Itoa(i), Namespace: "/"}, 1)
	}
	a.seenMu.Lock()
	known := len(a.servers)
	a.seenMu.Unlock()
	if n, _ := r.Servers(t.Context()); known != 0 || n != 0 {
		t.Errorf("%d servers with long names are known, %d in the namespace", known, n)
	}
	for i := range 2 * maxServers {
		a.Receive(&Message{Type: Heartbeat, UID: strconv.Itoa(i), Namespace: "/"}, 1)
	}
	if n, _ := r.Servers(t.Context()); n != maxServers {
		t.Errorf("%d servers are known", n)
	}
}
