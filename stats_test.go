package sockeye_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// TestStatsOfTraffic: what comes and goes is counted, once.
func TestStatsOfTraffic(t *testing.T) {
	srv, connect := inMemory(t, sockeye.Config{})
	srv.OnConnect(func(s *sockeye.Socket) error {
		if s.Namespace().Name() == "/no" {
			return &sockeye.ConnectError{Message: "no"}
		}
		return s.Join("room", "room of "+s.ID())
	})
	srv.Of("/no").OnConnect(func(*sockeye.Socket) error { return &sockeye.ConnectError{Message: "no"} })
	srv.On("echo", func(x int) int { return x })
	a, b, c := connect(), connect(), connect()
	before := srv.Stats()
	if before.Connects != 3 || before.Engine.WebSocketSessions != 3 || before.Engine.PollingSessions != 0 || before.Net.ConnLimit == 0 || before.Net.MemoryLimit == 0 {
		t.Errorf("%+v", before)
	}
	a.Call("echo", 1)
	_ = srv.To("room").Emit("e", 1)
	b.Answer(func(sockeyetest.Event) []any { return nil })
	_ = b.Socket().EmitWithAck(func(sockeye.Args, error) {}, "ask")
	_ = c.Socket().Emit("own")
	srv.Settle()
	b.Received() // it answers
	c.Disconnect()
	a.Break()
	_, err := srv.Dial(t, sockeyetest.Options{Namespace: "no"})
	_, err2 := srv.Dial(t, sockeyetest.Options{Namespace: "nowhere"})
	srv.Settle()
	if err == nil || err2 == nil {
		t.Error("not refused")
	}
	s := srv.Stats()
	for name, n := range map[string][2]uint64{
		"EventsIn": {s.EventsIn, 1}, "AcksOut": {s.AcksOut, 1}, "Broadcasts": {s.Broadcasts, 1}, "Deliveries": {s.Deliveries, 3},
		"EventsOut": {s.EventsOut, 2}, "AcksIn": {s.AcksIn, 1}, "Connects": {s.Connects, 3},
		"client namespace disconnect": {s.DisconnectedBy[sockeye.ClientNamespaceDisconnect], 1},
		"transport error":             {s.DisconnectedBy[sockeye.TransportError], 1},
		"APPLICATION":                 {s.RefusedNamespacesBy["APPLICATION"], 1},
		"INVALID_NAMESPACE":           {s.RefusedNamespacesBy["INVALID_NAMESPACE"], 1},
		"RefusedNamespaces":           {s.RefusedNamespaces, 2},
		"AUTH_TOO_LARGE":              {s.RefusedNamespacesBy["AUTH_TOO_LARGE"], 0},
	} {
		if n[0] != n[1] {
			t.Errorf("%s is %d, want %d", name, n[0], n[1])
		}
	}
	// In: 3 CONNECTs, an event, an answer, a DISCONNECT, 2 CONNECTs. Out: 5 handshakes, 3 CONNECTs,
	// 3 deliveries, 2 events, an answer, 2 refusals.
	if s.Engine.PacketsIn != 8 || s.Engine.PacketsOut != 16 {
		t.Errorf("%d packets in, %d out", s.Engine.PacketsIn, s.Engine.PacketsOut)
	}
	var in, out, batches uint64
	conns := 0
	for _, l := range s.Net.Loops {
		in, out, batches, conns = in+l.BytesIn, out+l.BytesOut, batches+l.Batches, conns+l.Conns
	}
	if in != s.Net.BytesIn || out != s.Net.BytesOut || in < 1000 || out < 1000 || batches < 10 || conns != s.Net.Open || conns != 3 {
		t.Errorf("%d, %d bytes, %d batches, %d connections: %+v", in, out, batches, conns, s.Net)
	}
	ns := srv.NamespaceStats()
	if want := []sockeye.NamespaceStats{{"/", 1, 2}, {"/no", 0, 0}}; !slices.Equal(ns, want) {
		t.Errorf("%+v", ns)
	}
}

// TestStatsByTransport: sessions count for the transport that they have.
func TestStatsByTransport(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, func(*sockeye.Server) {})
	sessions := func() [3]int {
		s := srv.Stats().Engine
		return [3]int{s.Sessions, s.PollingSessions, s.WebSocketSessions}
	}
	sid := wiretest.OpenPoll(t, addr).SID
	if got := sessions(); got != [3]int{1, 1, 0} {
		t.Error(got)
	}
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&sid="+sid)
	w.Write("2probe")
	w.Expect("3probe")
	w.Write("5")
	eventually(t, func() bool { return sessions() == [3]int{1, 0, 1} })
	_ = w.Conn.Close()
	eventually(t, func() bool { return sessions() == [3]int{} })
}

// TestRefusedBy has a counter for each reason, and no other.
func TestRefusedBy(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{MaxSessions: 1}, func(*sockeye.Server) {})
	want := map[string]uint64{}
	for name := range srv.Stats().Engine.RefusedBy {
		want[name] = 0
	}
	if len(want) != 18 {
		t.Errorf("%d reasons: %v", len(want), want)
	}
	wiretest.OpenPoll(t, addr)
	for query, reason := range map[string]string{
		"EIO=4&transport=polling":           "MAX_SESSIONS",
		"EIO=4&transport=smoke":             "UNKNOWN_TRANSPORT",
		"EIO=4&transport=polling&sid=x":     "UNKNOWN_SID",
		"EIO=4&transport=websocket":         "TRANSPORT_HANDSHAKE_ERROR",
		"EIO=4&transport=polling&sid=other": "UNKNOWN_SID",
	} {
		resp, err := http.Get("http://" + addr + "/socket.io/?" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		want[reason]++
	}
	if s := srv.Stats().Engine; !maps.Equal(s.RefusedBy, want) || s.Refused != 4 || s.RefusedSessions != 1 {
		t.Errorf("%v", s.RefusedBy)
	}
}

// TestLag: a loop that a handler holds up says so, meanwhile and for half a minute
// after.
func TestLag(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	addr, srv := serve(t, sockeye.Config{Inline: true, Loops: 1}, func(srv *sockeye.Server) {
		srv.On("block", func() { close(enter); <-leave })
	})
	w := wiretest.Connect(t, addr)
	if l := srv.Stats().Net.Loops[0]; l.Busy > time.Second || l.Lag > time.Second {
		t.Errorf("%+v", l)
	}
	w.Write(`420["block"]`)
	<-enter
	eventually(t, func() bool {
		l := srv.Stats().Net.Loops[0]
		return l.Busy > 50*time.Millisecond && l.Lag >= l.Busy && l.MaxLag >= l.Busy
	})
	close(leave)
	w.Expect("430[]")
	eventually(t, func() bool {
		l := srv.Stats().Net.Loops[0]
		return l.Busy == 0 && l.Lag > 50*time.Millisecond && l.MaxLag >= l.Lag
	})
}
