package sockeye_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestMuchMissed: who comes back gets all that it has missed by one connection, though
// it is many times what may wait for a peer.
func TestMuchMissed(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, sid, pid := join("")
	_ = w.Conn.Close()
	eventually(t, func() bool { return srv.Socket(sid) == nil })
	const n = 1000
	text := strings.Repeat("x", 10_000)
	for i := range n {
		if err := srv.To("r").Emit("n", i, text); err != nil {
			t.Fatal(err)
		}
	}
	w, before, again, _ := join(fmt.Sprintf(`{"pid":%q}`, pid))
	if again != sid {
		t.Fatal("not recovered")
	}
	for i := range n {
		var got string
		if i < len(before) {
			got = before[i]
		} else {
			got = w.Expect("42*")
		}
		if want := fmt.Sprintf(`42["n",%d,`, i); !strings.HasPrefix(got, want) {
			t.Fatalf("missed %.40q, want %s...", got, want)
		}
	}
	w.Expect(`42["welcome back",*`)
	if s := srv.Stats().Net; s.SlowConsumers > 0 {
		t.Error("a peer that reads is taken for slow")
	}
}

// TestRoomNamedLikeAnID: what is for a socket alone does not reach who is in a room of
// that name, at once or when it comes back; what is for the name reaches both.
func TestRoomNamedLikeAnID(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	owner, _, id, _ := join("")
	joiner, _, joinerID, pid := join("")
	s := srv.Socket(id)
	if err := srv.Socket(joinerID).Join(id); err != nil {
		t.Fatal(err)
	}
	emit := func(n int) {
		t.Helper()
		for _, err := range []error{
			srv.To(id).Emit("to the name", n), s.Emit("to it", n), s.Volatile().Emit("to it", n), srv.To(id).Emit("end", n),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, event := range []string{"to the name", "to it", "to it", "end"} {
			owner.Expect(fmt.Sprintf(`42["%s",%d,*`, event, n))
		}
	}
	emit(1)
	joiner.Expect(`42["to the name",1,*`)
	offset := offsetOf(t, joiner.Expect(`42["end",1,*`))
	_ = joiner.Conn.Close()
	eventually(t, func() bool { return srv.Socket(joinerID) == nil })
	emit(2)
	_, before, _, _ := join(fmt.Sprintf(`{"pid":%q,"offset":%q}`, pid, offset))
	if len(before) != 2 || !strings.HasPrefix(before[0], `42["to the name",2,`) || !strings.HasPrefix(before[1], `42["end",2,`) {
		t.Errorf("who has joined the name missed %q", before)
	}
}

// TestOffsetOfASessionBefore: an offset of a session before does not bring back what
// was sent between the two.
func TestOffsetOfASessionBefore(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, sid, _ := join("")
	_ = srv.To("r").Emit("x")
	offset := offsetOf(t, w.Expect(`42["x",*`))
	w.Write("41") // on purpose
	eventually(t, func() bool { return srv.Socket(sid) == nil })
	_ = srv.To("r").Emit("between")
	_ = srv.Emit("between")
	w, _, sid, pid := join("")
	_ = srv.Emit("second")
	w.Expect(`42["second",*`)
	_ = w.Conn.Close()
	eventually(t, func() bool { return srv.Socket(sid) == nil })
	_ = srv.To("r").Emit("missed")
	_, before, again, _ := join(fmt.Sprintf(`{"pid":%q,"offset":%q}`, pid, offset))
	if len(before) > 0 && strings.HasPrefix(before[0], `42["second",`) {
		before = before[1:] // the offset says that it has not come
	}
	if again != sid || len(before) != 1 || !strings.HasPrefix(before[0], `42["missed",`) {
		t.Errorf("recovered %v, missed %q", again == sid, before)
	}
}

// TestEveryEventHasAnOffset that asks for no answer: clients take any text at the end of
// one for an offset, and could not come back with another.
func TestEveryEventHasAnOffset(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{}}, func(srv *sockeye.Server) {
		srv.Use(func(s *sockeye.Socket) error { return s.Emit("in a middleware", "text") })
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Emit("in OnConnect", "text") })
		srv.OnConnection(func(s *sockeye.Socket) {
			for _, emit := range []func(string, ...any) error{
				s.Emit, s.Volatile().Emit, s.Compress(false).Emit, srv.Emit, srv.Volatile().Emit, srv.To(s.ID()).Emit,
				srv.To(s.ID()).Volatile().Emit,
			} {
				if err := emit("e", "text"); err != nil {
					t.Error(err)
				}
			}
			_ = s.Send("text")
			_ = s.EmitWithAck(func(sockeye.Args, error) {}, "asks", "text")
		})
	})
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	w.Write("40")
	last := ""
	next := func(event string) {
		t.Helper()
		got := w.Expect(fmt.Sprintf(`42["%s","text",*`, event))
		if offset := offsetOf(t, got); len(offset) != 12 || offset < last {
			t.Errorf("%s: the offset is %q, after %q", event, offset, last)
		} else {
			last = offset
		}
	}
	next("in a middleware")
	w.Expect("40{*")
	next("in OnConnect")
	for range 7 {
		next("e")
	}
	next("message")
	if got := w.Expect("42*"); !strings.HasSuffix(got, `["asks","text"]`) {
		t.Errorf("a question is %s", got)
	}
	if srv.RecoveryStats().Bytes == 0 {
		t.Error("nothing is kept")
	}
}

// TestMissedIsPinned: what a socket that is back has still to get is kept for it when
// the history has no place for it any more, counts as memory, and is given back as the
// peer reads, or goes.
func TestMissedIsPinned(t *testing.T) {
	const limit = 64 << 10
	cfg := sockeye.Config{Recovery: &sockeye.Recovery{MaxBytes: limit}, MaxQueuedBytes: 8 << 10}
	addr, srv := serve(t, cfg, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("r") })
	})
	text := strings.Repeat("x", 1000)
	turn := func() { // the history over
		for i := range 2 * limit / 1000 {
			if err := srv.To("others").Emit("n", i, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	// behind is a peer that is back and has read nothing yet.
	behind := func() (p *wiretest.Poll, missed int) {
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40")
		var answer struct{ SID, PID string }
		if err := json.Unmarshal([]byte(w.Expect("40{*")[2:]), &answer); err != nil {
			t.Fatal(err)
		}
		_ = w.Conn.Close()
		eventually(t, func() bool { return srv.Socket(answer.SID) == nil })
		for missed = 0; missed < 40; missed++ {
			if err := srv.To("r").Emit("n", missed, text); err != nil {
				t.Fatal(err)
			}
		}
		p = wiretest.OpenPoll(t, addr)
		p.Post(fmt.Sprintf(`40{"pid":%q}`, answer.PID), 200, "ok")
		eventually(t, func() bool { s := srv.Socket(answer.SID); return s != nil && s.QueuedBytes() > 0 })
		turn()
		return p, missed
	}
	bytes := func() int { return srv.RecoveryStats().Bytes }

	p, missed := behind()
	if n := bytes(); n < limit+20_000 {
		t.Errorf("%d bytes are counted beside a history of %d", n, limit)
	}
	for next := 0; next < missed; {
		_, body := p.Get()
		for _, packet := range strings.Split(body, "\x1e") {
			if want := fmt.Sprintf(`42["n",%d,"xx`, next); strings.HasPrefix(packet, want) {
				next++
			} else if next < missed {
				t.Fatalf("%.60q, want %s", packet, want)
			}
		}
	}
	eventually(t, func() bool { return bytes() <= limit })

	p, _ = behind()
	p.Post("1", 200, "ok")
	eventually(t, func() bool { return bytes() <= limit })
	turn()
	if n := bytes(); n > limit {
		t.Errorf("%d bytes", n)
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

// TestOfWithoutRecovery: a namespace that keeps nothing, beside one that does.
func TestOfWithoutRecovery(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	feed := srv.OfWithoutRecovery("feed")
	if srv.Of("/feed") != feed || srv.OfWithoutRecovery("/") != srv.Namespace {
		t.Error("a namespace is made anew")
	}
	feed.OnConnect(func(s *sockeye.Socket) error { return s.Join("r") })
	w, _, _, _ := join("")
	enter := func(auth string) (id string) {
		t.Helper()
		w.Write("40/feed," + auth)
		answer := strings.TrimPrefix(w.Expect("40/feed,*"), "40/feed,")
		var got struct{ SID, PID string }
		if err := json.Unmarshal([]byte(answer), &got); err != nil || got.PID != "" {
			t.Errorf("%s: %v", answer, err)
		}
		return got.SID
	}
	id := enter("")
	s := feed.Socket(id)
	for _, err := range []error{feed.Emit("all", 1), feed.To("r").Emit("room", 2), s.Emit("one", 3), feed.Volatile().Emit("volatile", 4), srv.Emit("kept")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`["all",1]`, `["room",2]`, `["one",3]`, `["volatile",4]`} {
		w.Expect("42/feed," + want) // no offset
	}
	offset := offsetOf(t, w.Expect(`42["kept",*`))
	_ = w.Conn.Close()
	eventually(t, func() bool { return feed.Len() == 0 && srv.Len() == 0 })
	if err := s.Emit("away"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Error(err)
	}
	if stats := feed.RecoveryStats(); stats != (sockeye.RecoveryStats{}) {
		t.Errorf("kept: %+v", stats)
	}
	if stats := srv.RecoveryStats(); stats.Sockets != 1 || stats.Bytes == 0 {
		t.Errorf("the other namespace keeps nothing: %+v", stats)
	}
	w, _, _, _ = join("")
	if again := enter(fmt.Sprintf(`{"pid":"x","offset":%q}`, offset)); again == id {
		t.Error("it has come back")
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
	told := 0
	remove := srv.OnAnyOutgoing(func(*sockeye.Socket, string, []any) { told++ })
	if err := s.Emit("by the old one", 2); err != nil {
		t.Error(err)
	}
	if remove(); told != 1 {
		t.Errorf("OnAnyOutgoing was told %d times", told)
	}
	w.Expect(`42["by the old one",2,*`)
	back := srv.Socket(sid)
	back.Disconnect()
	w.Expect("41")
	if err := back.Emit("late"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Errorf("after Disconnect: %v", err)
	}
}

// TestRightsOfThePast: what is called of a socket whose peer has come back as another
// does not change what that one may see.
func TestRightsOfThePast(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, sid, pid := join("")
	_ = srv.Emit("first")
	offset := offsetOf(t, w.Expect(`42["first",*`))
	_ = srv.To("late").Emit("secret")
	old := srv.Socket(sid)
	_ = old.Join("late")
	back := func() {
		t.Helper()
		was := srv.Socket(sid)
		_ = w.Conn.Close()
		eventually(t, func() bool { return !was.Connected() && srv.RecoveryStats().Sockets == 1 })
		var before []string
		if w, before, _, _ = join(fmt.Sprintf(`{"pid":%q,"offset":%q}`, pid, offset)); strings.Contains(fmt.Sprint(before), "secret") {
			t.Fatalf("it gets %q", before)
		}
		w.Expect(`42["welcome back","data of ` + sid[:1] + `",3,*`)
	}
	back()
	old.Leave("late")
	if err := old.Join("other"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Errorf("Join: %v", err)
	}
	back()
}

// TestRoomsOfOneThatGoes: a socket whose connection breaks at any moment of its coming
// back is seen in all of its rooms, until its OnDisconnecting functions have run, and
// comes back to all of them.
func TestRoomsOfOneThatGoes(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	in := make(chan struct{}, 1)
	seen := func(s *sockeye.Socket) {
		if rooms := s.Rooms(); len(rooms) != 4 {
			t.Errorf("it is in %q", rooms)
		}
	}
	addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{}}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error {
			if !s.Recovered() {
				return s.Join("a", "b", "c")
			}
			seen(s)
			select {
			case in <- struct{}{}:
			default: // of the one before
			}
			for s.Context().Err() == nil {
				seen(s)
				runtime.Gosched()
			}
			seen(s)
			return nil
		})
		srv.OnDisconnecting(func(s *sockeye.Socket, _ sockeye.Reason) { seen(s) })
	})
	away := func() bool { return srv.Stats().Engine.Sessions == 0 && srv.RecoveryStats().Sockets == 1 }
	dial := func(auth string) *wiretest.WS {
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40" + auth)
		return w
	}
	w := dial("")
	var answer struct{ PID string }
	if err := json.Unmarshal([]byte(w.Expect("40*")[2:]), &answer); err != nil {
		t.Fatal(err)
	}
	for i := range rounds {
		_ = w.Conn.Close()
		eventually(t, away)
		if t.Failed() {
			return
		}
		if w = dial(fmt.Sprintf(`{"pid":%q}`, answer.PID)); i%2 == 0 {
			<-in // or the connection breaks while it comes back
		}
	}
}

// TestEmitWhileItGoes: an emit that waits for a slow peer, which goes meanwhile, is for it
// when it comes back.
func TestEmitWhileItGoes(t *testing.T) {
	const events = 50
	addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{}, MaxQueuedBytes: 8 << 10}, nil)
	p := wiretest.OpenPoll(t, addr)
	p.Post("40", 200, "ok")
	_, body := p.Get()
	var answer struct{ SID, PID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "40")), &answer); err != nil {
		t.Fatal(body, err)
	}
	s := srv.Socket(answer.SID)
	emitted := make(chan error, 1)
	go func() {
		for i := range events {
			if err := s.Emit("n", i, strings.Repeat("x", 1000)); err != nil {
				emitted <- fmt.Errorf("event %d: %w", i, err)
				return
			}
		}
		emitted <- nil
	}()
	eventually(t, func() bool { return s.QueuedBytes() > 8<<10 })
	p.Post("1", 200, "ok")
	if err := <-emitted; err != nil {
		t.Error(err)
	}
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	w.Write(fmt.Sprintf(`40{"pid":%q}`, answer.PID))
	for i := 0; i < events; {
		if got := w.Expect("4*"); got[1] == '2' {
			if want := fmt.Sprintf(`42["n",%d,`, i); !strings.HasPrefix(got, want) {
				t.Fatalf("%.40s, want %s", got, want)
			}
			i++
		}
	}
}

// TestRoomsOfAMiddleware: a socket is never in its namespace without the rooms that a
// middleware has joined for it, also while Join has to wait.
func TestRoomsOfAMiddleware(t *testing.T) {
	for _, recovery := range []*sockeye.Recovery{nil, {}} {
		told, block := make(chan struct{}, 1), make(chan struct{})
		addr, srv := serve(t, sockeye.Config{Recovery: recovery}, func(srv *sockeye.Server) {
			srv.Use(func(s *sockeye.Socket) error { return s.Join("guests") })
			srv.OnRoom(func(sockeye.RoomEvent) {
				select {
				case told <- struct{}{}:
				default:
				}
				<-block
			})
		})
		wiretest.Connect(t, addr)
		<-told
		var rooms []string
		for i := range 5000 { // the events of which are not told
			rooms = append(rooms, fmt.Sprint("room ", i))
		}
		if err := srv.Sockets()[0].Join(rooms...); err != nil {
			t.Fatal(err)
		}
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40")
		in := func() bool {
			for _, s := range srv.Sockets() {
				if len(s.Rooms()) < 2 {
					t.Error("it is in its namespace without its rooms")
				}
			}
			return srv.Len() == 2 || t.Failed()
		}
		eventually(t, func() bool { return in() || srv.Stats().ActiveSockets == 1 })
		for range 1000 {
			in()
		}
		close(block)
		eventually(t, in)
		if got := len(srv.To("guests").Sockets()); got != 2 {
			t.Errorf("%d are guests", got)
		}
		if t.Failed() {
			return
		}
	}
}

// slowValue is encoded when it may be.
type slowValue struct{ begun, goOn chan struct{} }

func (v slowValue) MarshalJSON() ([]byte, error) {
	v.begun <- struct{}{}
	<-v.goOn
	return []byte(`"slow"`), nil
}

// TestEmitWhileItComesBack: an emit whose arguments are still being encoded when the peer
// goes, and comes back, is for who it is then.
func TestEmitWhileItComesBack(t *testing.T) {
	_, srv, join := recoverable(t, sockeye.Recovery{})
	w, _, sid, pid := join("")
	s := srv.Socket(sid)
	v := slowValue{make(chan struct{}), make(chan struct{})}
	emitted := make(chan error, 1)
	go func() { emitted <- s.Emit("n", v) }()
	<-v.begun
	_ = w.Conn.Close()
	eventually(t, func() bool { return srv.RecoveryStats().Sockets == 1 })
	w, _, again, _ := join(fmt.Sprintf(`{"pid":%q}`, pid))
	if again != sid {
		t.Fatal("not recovered")
	}
	w.Expect(`42["welcome back",*`)
	go func() { // it is encoded again
		close(v.goOn)
		<-v.begun
	}()
	if err := <-emitted; err != nil {
		t.Fatal(err)
	}
	w.Expect(`42["n","slow",*`)
}

// TestCutAgainTooLate: who is cut again before it has got what it had missed, and that is not
// kept any more, is a new socket.
func TestCutAgainTooLate(t *testing.T) {
	for _, asks := range []bool{false, true} {
		const limit = 64 << 10
		waits, release := make(chan struct{}, 1), make(chan struct{})
		wait := func(s *sockeye.Socket) error {
			if s.Recovered() {
				select {
				case waits <- struct{}{}:
				default:
				}
				<-release
			}
			return nil
		}
		addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{MaxBytes: limit, AskMiddlewares: asks}}, func(srv *sockeye.Server) {
			if asks {
				srv.Use(wait)
			} else {
				srv.OnConnect(wait)
			}
		})
		dial := func(auth string) *wiretest.WS {
			w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
			w.Expect("0{*")
			w.Write("40" + auth)
			return w
		}
		cut := func(w *wiretest.WS) {
			_ = w.Conn.Close()
			eventually(t, func() bool { return srv.RecoveryStats().Sockets == 1 && srv.Stats().Engine.Sessions == 0 })
		}
		w := dial("")
		var answer struct{ SID, PID string }
		if err := json.Unmarshal([]byte(w.Expect("40{*")[2:]), &answer); err != nil {
			t.Fatal(err)
		}
		_ = srv.Emit("first")
		auth := fmt.Sprintf(`{"pid":%q,"offset":%q}`, answer.PID, offsetOf(t, w.Expect(`42["first",*`)))
		cut(w)
		_ = srv.Emit("missed")
		w = dial(auth)
		<-waits
		for range 2 * limit / 1000 {
			_ = srv.To("others").Emit("n", strings.Repeat("x", 1000))
		}
		cut(w)
		close(release)
		w = dial(auth)
		if got := w.Expect("4*"); !strings.HasPrefix(got, "40{") || strings.Contains(got, answer.SID) {
			t.Errorf("asks %v: it comes back: %s", asks, got)
		}
	}
}
