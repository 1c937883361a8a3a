package sockeye_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

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

func TestHandlerForms(t *testing.T) {
	contexts := make(chan context.Context, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("plain", func(a, b int) int { return a * b })
		srv.On("none", func() string { return "nothing needed" })
		srv.On("context", func(ctx context.Context, s *sockeye.Socket, x string) string { contexts <- ctx; return x })
		srv.On("only context", func(ctx context.Context) bool { return ctx.Err() == nil })
		srv.On("reader", func(r io.Reader) (int, error) { b, err := io.ReadAll(r); return len(b), err })
		srv.On("list", func(v []map[string]any) int { return len(v) })
		srv.On("rest", func(s *sockeye.Socket, rest ...any) string { return fmt.Sprint(rest) })
	})
	w := wiretest.Connect(t, addr)
	for _, c := range [][2]string{
		{`420["plain",6,7]`, `430[42]`},
		{`421["none"]`, `431["nothing needed"]`},
		{`422["context","x"]`, `432["x"]`},
		{`423["only context"]`, `433[true]`},
		{`424["list",[{},{"a":1}]]`, `434[2]`},
		{`425["rest",1,"a",null]`, `435["[1 a \u003cnil\u003e]"]`},
	} {
		w.Write(c[0])
		if got := w.Expect("43*"); !sameJSON(t, got[3:], c[1][3:]) || got[:3] != c[1][:3] {
			t.Errorf("%s: %s", c[0], got)
		}
	}
	w.Write(`451-6["reader",{"_placeholder":true,"num":0}]`)
	w.WriteBinary(make([]byte, 1000))
	w.Expect(`436[1000]`)
	ctx := within(t, contexts)
	w.Conn.Close()
	within(t, ctx.Done())
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

func TestOnceAndOff(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.Once("once", func() int { return 1 })
		srv.On("gone", func() int { return 1 })
		srv.On("probe", func() int { return 1 })
		srv.OnUnhandled(func(s *sockeye.Socket, e *sockeye.Event) error { return e.Ack("unhandled", e.Name()) })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`420["once"]`)
	w.Expect(`430[1]`)
	w.Write(`421["once"]`)
	w.Expect(`431["unhandled","once"]`)
	srv.Off("gone")
	w.Write(`422["gone"]`)
	w.Expect(`432["unhandled","gone"]`)

	// A socket's own come first.
	s := srv.Sockets()[0]
	s.On("probe", func() int { return 2 })
	s.Once("extra", func() int { return 3 })
	for _, c := range [][2]string{
		{`423["probe"]`, `433[2]`},
		{`424["extra"]`, `434[3]`},
		{`425["extra"]`, `435["unhandled","extra"]`},
	} {
		w.Write(c[0])
		w.Expect(c[1])
	}
	s.Off("probe")
	w.Write(`426["probe"]`)
	w.Expect(`436[1]`)
	other := wiretest.Connect(t, addr)
	other.Write(`420["extra"]`)
	other.Expect(`430["unhandled","extra"]`)
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

// Socket.IO: a middleware's emits come before the connect answer, OnConnect's
// behind it.
func TestEmitInAMiddleware(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.Use(func(s *sockeye.Socket) error { return s.Emit("early", s.ID()) })
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Emit("late") })
	})
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	w.Write("40")
	id := strings.TrimSuffix(strings.TrimPrefix(w.Expect(`42["early",*`), `42["early","`), `"]`)
	w.Expect(`40{"sid":"` + id + `"}`)
	w.Expect(`42["late"]`)
}

type lobby struct{ seen *notes }

func (l *lobby) OnConnect(s *sockeye.Socket) error {
	l.seen.add("connect")
	return s.Join("room")
}

func (l *lobby) OnDisconnecting(s *sockeye.Socket, r sockeye.Reason) {
	l.seen.add("disconnecting from %d rooms", len(s.Rooms()))
}

func (l *lobby) OnDisconnect(s *sockeye.Socket, r sockeye.Reason) {
	l.seen.add("disconnect %s %d", r, len(s.Rooms()))
}
func (l *lobby) OnChatMessage(s *sockeye.Socket, text string) string { return text + "!" }
func (l *lobby) OnSpecial() string                                   { return "special" }
func (l *lobby) EventNames() map[string]string {
	return map[string]string{"OnSpecial": "very special"}
}
func (l *lobby) Helper() {}

func TestRegister(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) { srv.Of("/lobby").Register(&lobby{&seen}) })
	w := wiretest.Connect(t, addr)
	w.Write(`40/lobby,`)
	w.Expect(`40/lobby,{*`)
	w.Write(`42/lobby,1["chatMessage","hi"]`)
	w.Expect(`43/lobby,1["hi!"]`)
	w.Write(`42/lobby,2["very special"]`)
	w.Expect(`43/lobby,2["special"]`)
	w.Write(`41/lobby,`)
	seen.expect(t, "connect", "disconnecting from 2 rooms", "disconnect client namespace disconnect 0")
	for name, v := range map[string]any{"no methods": struct{}{}, "a wrong one": wrongLobby{}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			srv.Register(v)
		}()
	}
}

type wrongLobby struct{}

func (wrongLobby) OnConnect(string) {}

func TestParentNamespaces(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{CleanupEmptyChildNamespaces: true, MaxDynamicNamespaces: 3}, func(srv *sockeye.Server) {
		srv.OnNamespace(func(ns *sockeye.Namespace) { seen.add("new %s", ns.Name()) })
		rooms := srv.OfPattern(regexp.MustCompile(`/room-\d+`))
		rooms.On("who", func(s *sockeye.Socket) string { return s.Namespace().Name() })
		srv.OfFunc(func(name string, auth json.RawMessage) bool { return strings.Contains(string(auth), name[1:]) })
	})
	parent := srv.OfPattern(regexp.MustCompile(`/x/.*`))
	a, b := wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	a.Write(`40/room-1,`)
	a.Expect(`40/room-1,{*`)
	a.Write(`42/room-1,0["who"]`)
	a.Expect(`43/room-1,0["/room-1"]`)
	a.Write(`40/xroom-12,`)
	a.Expect(`44/xroom-12,{"message":"Invalid namespace"}`)
	a.Write(`40/key,{"token":"key"}`)
	a.Expect(`40/key,{*`)
	a.Write(`40/key2,{"token":"other"}`)
	a.Expect(`44/key2,{"message":"Invalid namespace"}`)
	b.Write(`40/x/1,`)
	b.Expect(`40/x/1,{*`)
	seen.expect(t, "new /room-1", "new /key", "new /x/1")
	b.Write(`40/room-2,`) // over the bound
	b.Expect(`44/room-2,{"message":"Invalid namespace"}`)
	_ = parent.Emit("to children", 1)
	b.Expect(`42/x/1,["to children",1]`)
	if got := len(parent.Children()); got != 1 {
		t.Errorf("%d children", got)
	}
	child := parent.Children()[0]
	a.Write(`41/room-1,`)
	b.Write(`41/x/1,`)
	eventually(t, func() bool { return len(parent.Children()) == 0 })
	if err := child.Emit("to nobody", 1); err != nil {
		t.Errorf("a broadcast to a child that is no more: %v", err)
	}
	eventually(t, func() bool {
		b.Write(`40/room-3,`)
		return !strings.HasPrefix(b.Expect(`4*`), "44")
	})
	for n := range 4 { // the application is not bounded
		if srv.Of(fmt.Sprint("/x/by-hand-", n)); len(parent.Children()) != n+1 {
			t.Error("Of makes no child")
		}
	}
}

func TestBroadcastWithAck(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("join", func(s *sockeye.Socket) error { return s.Join("r") })
	})
	a, b := wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	wiretest.Connect(t, addr) // is in no room
	for _, w := range []*wiretest.WS{a, b} {
		w.Write(`420["join"]`)
		w.Expect(`430[]`)
	}
	type result struct {
		answers []sockeye.Answer
		err     error
	}
	results := make(chan result, 1)
	ask := func(ctx context.Context) {
		go func() {
			answers, err := srv.To("r").Call(ctx, "ask", "?")
			results <- result{answers, err}
		}()
	}
	ask(context.Background())
	for i, w := range []*wiretest.WS{a, b} {
		id := ackID(t, w.Expect(`42*`))
		w.Write(`43` + id + fmt.Sprintf(`["answer %d"]`, i))
	}
	r := within(t, results)
	var texts []string
	for _, x := range r.answers {
		var s string
		if err := x.Args.Decode(&s); err != nil || srv.Socket(x.SocketID) == nil {
			t.Error(err, x.SocketID)
		}
		texts = append(texts, s)
	}
	if slices.Sort(texts); r.err != nil || !slices.Equal(texts, []string{"answer 0", "answer 1"}) {
		t.Errorf("%q, %v", texts, r.err)
	}

	// Some answer, in time.
	ctx, cancel := context.WithCancel(context.Background())
	ask(ctx)
	a.Write(`43` + ackID(t, a.Expect(`42*`)) + `[1]`)
	late := ackID(t, b.Expect(`42*`))
	a.Write(`420["join"]`) // handled after the answer
	a.Expect(`430[]`)
	cancel()
	if r = within(t, results); len(r.answers) != 1 || !errors.Is(r.err, sockeye.ErrAckTimeout) {
		t.Errorf("%d answers, %v", len(r.answers), r.err)
	}
	b.Write(`43` + late + `[2]`) // ignored

	// One goes.
	ask(context.Background())
	a.Write(`43` + ackID(t, a.Expect(`42*`)) + `[1]`)
	b.Expect(`42*`)
	b.Conn.Close()
	if r = within(t, results); len(r.answers) != 1 || !errors.Is(r.err, sockeye.ErrAckTimeout) {
		t.Errorf("%d answers, %v", len(r.answers), r.err)
	}

	// Nobody is there; and with a function.
	if answers, err := srv.To("nobody").Call(context.Background(), "ask"); len(answers) != 0 || err != nil {
		t.Errorf("%v, %v", answers, err)
	}
	done := make(chan error, 1)
	srv.To(srv.Sockets()[0].ID()).Timeout(time.Millisecond).EmitWithAck(func(answers []sockeye.Answer, err error) { done <- err }, "ask")
	if err := within(t, done); !errors.Is(err, sockeye.ErrAckTimeout) {
		t.Error(err)
	}
	if _, err := srv.All().Call(context.Background(), "connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
		t.Error(err)
	}
}

// ackID is the id in an event packet.
func ackID(t *testing.T, packet string) string {
	t.Helper()
	id, _, ok := strings.Cut(packet[2:], "[")
	if !ok || id == "" {
		t.Fatalf("no id in %q", packet)
	}
	return id
}

func TestAckTimeout(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	got := make(chan error, 1)
	_ = srv.Sockets()[0].Timeout(time.Millisecond).EmitWithAck(func(_ sockeye.Args, err error) { got <- err }, "ask")
	if err := within(t, got); !errors.Is(err, sockeye.ErrAckTimeout) {
		t.Error(err)
	}
	w.Write(`43` + ackID(t, w.Expect(`42*`)) + `[]`) // late: ignored
	w.Write(`2`)
	w.ExpectClosed() // a ping from a client of version 4 ends it, so the late answer was read
}

func TestSocketData(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	wiretest.Connect(t, addr)
	s := srv.Sockets()[0]
	if s.Data() != nil || len(s.Session()) != 0 {
		t.Error("not empty at first")
	}
	s.SetData(42)
	s.SaveSession(map[string]any{"user": "ann"})
	s.WithSession(func(m map[string]any) { m["n"] = 1 })
	s.Session()["x"] = "a copy's"
	if got := fmt.Sprint(s.Data(), s.Session()); got != "42 map[n:1 user:ann]" {
		t.Error(got)
	}
}

func TestHandshake(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&token=a%20b")
	w.Expect("0{*")
	w.Write(`40{"key":"v"}`)
	w.Expect(`40{*`)
	h := srv.Sockets()[0].Handshake()
	if h.Query.Get("token") != "a b" || h.Address != "127.0.0.1" || h.Secure || h.XDomain || string(h.Auth) != `{"key":"v"}` ||
		h.Headers.Get("Upgrade") == "" || !strings.HasPrefix(h.URL, "/socket.io/?") || time.Since(h.Time) > time.Minute {
		t.Errorf("%+v", h)
	}
}

func TestRoomEvents(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnRoom(func(e broadcast.RoomEvent) { seen.add("%s %s %v", e.Kind, e.Room, e.ID != "") })
	})
	a, b := wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	sockets := srv.Sockets()
	_ = sockets[0].Join("r", "r")
	_ = sockets[1].Join("r")
	seen.expect(t, "create-room r false", "join-room r true", "join-room r true")
	sockets[0].Leave("r")
	sockets[0].Leave("r")
	seen.expect(t, "leave-room r true")
	a.Conn.Close()
	b.Conn.Close()
	seen.expect(t, "leave-room r true", "delete-room r false")
	wiretest.Connect(t, addr)
	eventually(t, func() bool { return srv.Len() == 1 })
	_ = srv.Sockets()[0].Join("again")
	seen.expect(t, "create-room again false", "join-room again true")
	srv.CloseRoom("again")
	seen.expect(t, "leave-room again true", "delete-room again false")
}

func TestOnUpgrade(t *testing.T) {
	upgraded := make(chan string, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnUpgrade(func(s *sockeye.Socket) { upgraded <- s.Transport() })
	})
	p := wiretest.ConnectPoll(t, addr)
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&sid="+p.SID)
	w.Write("2probe")
	w.Expect("3probe")
	w.Write("5")
	if got := within(t, upgraded); got != "websocket" {
		t.Error(got)
	}
}

// recoverable makes a server with connection state recovery and joins it.
func recoverable(t *testing.T, cfg sockeye.Recovery) (addr string, srv *sockeye.Server, join func(auth string) (w *wiretest.WS, before []string, sid, pid string)) {
	addr, srv = serve(t, sockeye.Config{Recovery: &cfg}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error {
			if s.Recovered() {
				return s.Emit("welcome back", s.Data(), len(s.Rooms()))
			}
			s.SetData("data of " + s.ID()[:1])
			return s.Join("r")
		})
	})
	join = func(auth string) (w *wiretest.WS, before []string, sid, pid string) {
		w = wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40" + auth)
		for {
			got := w.Expect("4*")
			if got[1] == '2' || got[1] == '5' {
				if before = append(before, got); got[1] == '5' {
					w.ExpectBinary([]byte{7})
				}
				continue
			}
			var answer struct{ SID, PID string }
			if err := json.Unmarshal([]byte(got[2:]), &answer); err != nil {
				t.Fatalf("%q: %v", got, err)
			}
			return w, before, answer.SID, answer.PID
		}
	}
	return addr, srv, join
}

// offsetOf is the last argument of an event.
func offsetOf(t *testing.T, packet string) string {
	t.Helper()
	var args []any
	if err := json.Unmarshal([]byte(packet[2:]), &args); err != nil {
		t.Fatal(err)
	}
	return args[len(args)-1].(string)
}

// Socket.IO v5, "Connection state recovery".
func TestRecovery(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, sid, pid := join("")
	other, _, otherID, _ := join("")
	_ = srv.Emit("first")
	offset := offsetOf(t, w.Expect(`42["first",*`))
	other.Expect(`42["first",*`)
	w.Conn.Close()
	eventually(t, func() bool { return srv.Socket(sid) == nil })
	_ = srv.Emit("to all", 1)
	_ = srv.To("r").Emit("to the room", []byte{7})
	_ = srv.To(sid).Emit("to it")
	_ = srv.To(otherID).Emit("to the other")
	_ = srv.Except("r").Emit("but not the room")
	_ = srv.Socket(otherID).Broadcast().Emit("by the other")
	_ = srv.Volatile().Emit("volatile")

	w, before, sid2, pid2 := join(`{"pid":"` + pid + `","offset":"` + offset + `"}`)
	if sid2 != sid || pid2 != pid {
		t.Errorf("came back as %s, %s, was %s, %s", sid2, pid2, sid, pid)
	}
	want := []string{`42["to all",1,"`, `451-["to the room",{"_placeholder":true,"num":0},"`, `42["to it","`, `42["by the other","`}
	if len(before) != len(want) {
		t.Fatalf("missed %q", before)
	}
	for i := range want {
		if !strings.HasPrefix(before[i], want[i]) {
			t.Errorf("missed %q, want %s...", before[i], want[i])
		}
	}
	w.Expect(`42["welcome back","data of ` + sid[:1] + `",2,*`)
}

func TestRecoveryInOrder(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, sid, pid := join("")
	_ = srv.Socket(sid).Emit("own")
	offset := offsetOf(t, w.Expect(`42["own",*`))
	for range 3 { // several times
		w.Conn.Close()
		eventually(t, func() bool { return srv.Socket(sid) == nil })
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprintf(`42["n",%d,"`, i))
			_ = srv.To("r").Emit("n", i)
		}
		var before []string
		w, before, _, _ = join(`{"pid":"` + pid + `","offset":"` + offset + `"}`)
		if len(before) != len(want) {
			t.Fatalf("missed %q", before)
		}
		for i := range want {
			if !strings.HasPrefix(before[i], want[i]) {
				t.Errorf("missed %q, want %s...", before[i], want[i])
			}
		}
		got := w.Expect(`42["welcome back","data of ` + sid[:1] + `",2,*`)
		offset = offsetOf(t, got)
	}
	if s := srv.RecoveryStats(); s.Recovered != 3 || s.Missed != 0 || s.Sockets != 0 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
}

func TestNotRecovered(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{MaxBytes: 2000, MaxSockets: 2})
	w, _, sid, pid := join("")
	_ = srv.Emit("x")
	offset := offsetOf(t, w.Expect(`42["x",*`))

	// Still here; asks for nothing; makes something up.
	for _, auth := range []string{
		`{"pid":"` + pid + `","offset":"` + offset + `"}`, `{"pid":"` + pid + `"}`, `{"pid":"x","offset":"` + offset + `"}`, `{"pid":1}`,
	} {
		if _, _, again, _ := join(auth); again == sid {
			t.Errorf("%s: recovered", auth)
		}
	}
	// Went on its own.
	w2, _, sid2, pid2 := join("")
	w2.Write("41")
	eventually(t, func() bool { return srv.Socket(sid2) == nil })
	if _, _, again, _ := join(`{"pid":"` + pid2 + `","offset":"` + offset + `"}`); again == sid2 {
		t.Error("recovered after it had left")
	}
	// Too much was sent meanwhile.
	w.Conn.Close()
	eventually(t, func() bool { return srv.Socket(sid) == nil })
	for range 20 {
		_ = srv.Emit("much", strings.Repeat("x", 200))
	}
	if b := srv.RecoveryStats().Bytes; b > 2000 {
		t.Errorf("%d bytes are kept", b)
	}
	if _, before, again, _ := join(`{"pid":"` + pid + `","offset":"` + offset + `"}`); again == sid || len(before) > 0 {
		t.Errorf("recovered with a gap: %q", before)
	}
	// Too many have gone.
	for range 3 {
		w, _, sid, _ := join("")
		w.Conn.Close()
		eventually(t, func() bool { return srv.Socket(sid) == nil })
	}
	if s := srv.RecoveryStats(); s.Sockets > 2 || s.Expired == 0 {
		t.Errorf("%+v", s)
	}
}

// TestOffsetWithNewline: base64 decoders skip newlines, so such an offset is shorter
// than it looks.
func TestOffsetWithNewline(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, _, _ := join("")
	_ = srv.Emit("x")
	offset := offsetOf(t, w.Expect(`42["x",*`))
	for _, newlines := range []int{1, 2, 8} {
		forged := offset[:len(offset)-newlines] + strings.Repeat(`\n`, newlines)
		if _, before, _, _ := join(`{"pid":"x","offset":"` + forged + `"}`); len(before) > 0 {
			t.Errorf("%s: %q", forged, before)
		}
	}
}

func TestRecoveryExpires(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{MaxDisconnection: 20 * time.Millisecond})
	w, _, sid, pid := join("")
	_ = srv.Emit("x")
	offset := offsetOf(t, w.Expect(`42["x",*`))
	w.Conn.Close()
	eventually(t, func() bool { return srv.Socket(sid) == nil })
	eventually(t, func() bool { s := srv.RecoveryStats(); return s.Bytes == 0 && s.Sockets == 0 && s.Expired == 1 })
	if _, _, again, _ := join(`{"pid":"` + pid + `","offset":"` + offset + `"}`); again == sid {
		t.Error("recovered too late")
	}
}

// TestForgedOffsets: nobody gets what was sent before it came, or before it joined the
// room, whatever it claims to have seen last.
func TestForgedOffsets(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{}}, func(srv *sockeye.Server) {
		srv.On("join", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	})
	_ = srv.To("vip").Emit("secret", 1)
	_ = srv.Emit("to all", 2)
	join := func(auth string) (w *wiretest.WS, pid string, events []string) {
		w = wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40" + auth)
		got := w.Expect("4*")
		for ; got[1] == '2'; got = w.Expect("4*") {
			events = append(events, got)
		}
		var answer struct{ PID string }
		if err := json.Unmarshal([]byte(got[2:]), &answer); err != nil {
			t.Fatal(err)
		}
		return w, answer.PID, events
	}
	w, pid, _ := join("")
	_ = srv.To("vip").Emit("secret", 3) // it is in the namespace, and not in the room
	w.Write(`420["join","vip"]`)
	w.Expect("430[]")
	_ = srv.To("vip").Emit("for it", 4)
	offset := offsetOf(t, w.Expect(`42["for it",4,*`))
	_ = w.Conn.Close()
	eventually(t, func() bool { return srv.Len() == 0 })
	_ = srv.To("vip").Emit("missed", 5)
	_ = srv.To("others").Emit("secret", 6)
	for _, forged := range []string{offset[:4] + "AAAAAAAA", "", "nonsense", offset[:4] + "AAAAAAAE", offset[:4] + "________"} {
		again, got, events := join(fmt.Sprintf(`{"pid":%q,"offset":%q}`, pid, forged))
		if got != pid || strings.Contains(strings.Join(events, " "), "secret") ||
			strings.HasPrefix(forged, offset[:4]+"A") && (len(events) == 0 || !strings.Contains(events[len(events)-1], `"missed"`)) {
			t.Errorf("offset %q: recovered %v, it gets %q", forged, got == pid, events)
		}
		_ = again.Conn.Close()
		eventually(t, func() bool { return srv.Len() == 0 && srv.RecoveryStats().Sockets == 1 })
	}
}

// TestQuietSocketsComeBack: those that have got nothing, only volatile events, or
// nothing for longer than events are kept.
func TestQuietSocketsComeBack(t *testing.T) {
	addr, srv, join := recoverable(t, sockeye.Recovery{MaxDisconnection: 300 * time.Millisecond})
	_ = addr
	w, _, _, pid := join("")
	_ = w.Conn.Close()
	eventually(t, func() bool { return srv.Len() == 0 })
	_ = srv.To("r").Emit("missed", 1)
	w, before, _, got := join(fmt.Sprintf(`{"pid":%q}`, pid))
	if got != pid || len(before) == 0 {
		t.Fatalf("without an event: recovered %v, gets %q", got == pid, before)
	}
	w.Expect(`42["welcome back",*`)
	offset := offsetOf(t, before[len(before)-1])
	_ = srv.All().Volatile().Emit("status", "connected")
	status := offsetOf(t, w.Expect(`42["status","connected",*`))
	if status < offset || len(status) != len(offset) {
		t.Errorf("the offset of a volatile event is %q, after %q", status, offset)
	}
	// The namespace is busy, and this socket gets nothing for as long as events live.
	for begun := time.Now(); time.Since(begun) < 700*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		_ = srv.To("others").Emit("busy")
	}
	_ = w.Conn.Close()
	eventually(t, func() bool { return srv.Len() == 0 })
	_ = srv.To("r").Emit("missed", 2)
	_, before, _, got = join(fmt.Sprintf(`{"pid":%q,"offset":%q}`, pid, status))
	if got != pid || len(before) != 1 || !strings.HasPrefix(before[0], `42["missed",2,`) {
		t.Errorf("after a long silence: recovered %v, gets %q", got == pid, before)
	}
}

// TestEmitWhileEntering: what others emit to a socket while it enters its namespace
// arrives, in order.
func TestEmitWhileEntering(t *testing.T) {
	const events = 50
	addr, _ := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{}}, func(srv *sockeye.Server) {
		srv.Use(func(s *sockeye.Socket) error {
			begun := make(chan struct{})
			go func() {
				for i := range events {
					if err := s.Emit("n", i); err != nil {
						t.Error(err)
					}
					if i == 5 {
						close(begun)
					}
				}
			}()
			<-begun
			return nil
		})
	})
	for range 100 {
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40")
		for i := 0; i < events; {
			if got := w.Expect("4*"); got[1] == '2' {
				if want := fmt.Sprintf(`42["n",%d,`, i); !strings.HasPrefix(got, want) {
					t.Fatalf("%s, want %s", got, want)
				}
				i++
			}
		}
		_ = w.Conn.Close()
	}
}

// TestEmitWhileAway: a socket that is held keeps what is emitted to it until its peer
// is back, and is of use then; after Disconnect it is not.
func TestEmitWhileAway(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, sid, pid := join("")
	s := srv.Socket(sid)
	_ = w.Conn.Close()
	eventually(t, func() bool { return !s.Connected() && srv.RecoveryStats().Sockets == 1 })
	if err := s.Emit("while away", 1); err != nil {
		t.Error(err)
	}
	w, before, _, got := join(fmt.Sprintf(`{"pid":%q}`, pid))
	if got != pid || len(before) != 1 || !strings.HasPrefix(before[0], `42["while away",1,`) {
		t.Fatalf("recovered %v, gets %q", got == pid, before)
	}
	w.Expect(`42["welcome back",*`)
	if err := s.Emit("by the old one", 2); err != nil {
		t.Error(err)
	}
	w.Expect(`42["by the old one",2,*`)
	back := srv.Socket(sid)
	back.Disconnect()
	w.Expect("41")
	if err := back.Emit("late"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Errorf("after Disconnect: %v", err)
	}
}
