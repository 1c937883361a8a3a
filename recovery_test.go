package sockeye_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

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
