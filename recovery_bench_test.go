package sockeye

import (
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// recoveryServer is a server with n members of the room "r", who read and throw away;
// recovery is nil for none.
func recoveryServer(t testing.TB, recovery *Recovery, n int) *Server {
	t.Helper()
	srv, err := New(Config{Recovery: recovery})
	if err != nil {
		t.Fatal(err)
	}
	srv.OnConnect(func(s *Socket) error { return s.Join("r") })
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	for range n {
		w := wiretest.Connect(t, addr.String())
		_ = w.Conn.SetReadDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, w.Conn) }()
	}
	return srv
}

// fillHistory emits to nobody until the history takes bytes.
func fillHistory(t testing.TB, srv *Server, bytes int) {
	t.Helper()
	text := strings.Repeat("x", 100)
	for i := 0; srv.RecoveryStats().Bytes < bytes; i++ {
		if err := srv.To(fmt.Sprint("others", i%100)).Emit("e", text); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkEmitRecovery is an emit with and without recovery, by how much the history
// holds already: nothing, half of MaxBytes, all of it. cpu-ns/op is the CPU time of
// the whole process, the members included.
func BenchmarkEmitRecovery(b *testing.B) {
	const limit = 16 << 20 // the default of MaxBytes
	text := strings.Repeat("x", 100)
	for _, to := range []struct {
		name    string
		members int
		emit    func(srv *Server, s *Socket) error
	}{
		{"room of 1", 1, func(srv *Server, _ *Socket) error { return srv.To("r").Emit("e", text) }},
		{"room of 100", 100, func(srv *Server, _ *Socket) error { return srv.To("r").Emit("e", text) }},
		{"socket", 1, func(_ *Server, s *Socket) error { return s.Emit("e", text) }},
	} {
		for _, fill := range []struct {
			name  string
			bytes int // kept at most, while it is measured
		}{{"off", -1}, {"empty", 0}, {"half", limit / 2}, {"full", limit}} {
			b.Run(strings.ReplaceAll(to.name, " ", "-")+"/"+fill.name, func(b *testing.B) {
				var cfg *Recovery
				if fill.bytes >= 0 {
					cfg = &Recovery{}
				}
				srv := recoveryServer(b, cfg, to.members)
				if cfg != nil {
					fillHistory(b, srv, min(fill.bytes, limit-1000))
				}
				s := srv.Sockets()[0]
				b.ReportAllocs()
				began := cpuTime()
				for i := 0; b.Loop(); i++ {
					if err := to.emit(srv, s); err != nil {
						b.Fatal(err)
					}
					if fill.bytes >= 0 && fill.bytes < limit && i%256 == 255 {
						h := srv.history
						h.mu.Lock()
						for h.bytes > fill.bytes {
							h.drop()
						}
						h.mu.Unlock()
					}
				}
				b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// awayWith makes a server without members, whose history has others events for others
// and, in their midst, 10 for a socket that is away, by two of its rooms; first is the
// offset of the first of them.
func awayWith(t testing.TB, others int) (h *history, saved *savedSocket, first uint64) {
	t.Helper()
	srv := recoveryServer(t, &Recovery{MaxBytes: 1 << 30}, 0)
	h = srv.history
	saved = &savedSocket{id: "a", pid: "p", rooms: []string{"mine", "ours"}, rights: rights{since: 1, joined: map[string]uint64{"mine": 1, "ours": 1}}}
	emit := func(room string, n int) {
		for range n {
			if err := srv.To(room).Emit("e", "text"); err != nil {
				t.Fatal(err)
			}
		}
	}
	emit("others", others/2)
	first = h.end()
	for range 5 {
		emit("mine", 1)
		emit("ours", 1)
	}
	emit("others", others-others/2)
	return h, saved, first
}

// comeBack has the socket go, having got nothing of these, and come back.
func comeBack(t testing.TB, h *history, saved *savedSocket, first uint64) {
	t.Helper()
	saved.last = first - 1
	h.mu.Lock()
	h.save(saved)
	h.mu.Unlock()
	var offset engine.Message
	offset.B = []byte(noOffset)
	h.setOffset(&offset, first-1)
	back := h.restore(fmt.Appendf(nil, `{"pid":"p","offset":%q}`, offset.B), json.Unmarshal)
	if back != saved {
		t.Fatalf("it comes back as %+v", back)
	}
	missed := 0
	for _, run := range back.missed.runs {
		missed += bits.OnesCount64(run.set)
	}
	if missed != 10 {
		t.Fatalf("it has missed %d", missed)
	}
}

// BenchmarkRecoveryReturn is what a socket costs that goes and comes back, and has
// missed 10 events, by how many the history has for others.
func BenchmarkRecoveryReturn(b *testing.B) {
	for _, others := range []int{0, 1_000, 100_000} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			h, saved, first := awayWith(b, others)
			b.ReportAllocs()
			for b.Loop() {
				comeBack(b, h, saved, first)
				saved.missed.drop()
			}
		})
	}
}

// TestRecoveryLooksAtNothingElse: neither an emit nor a socket that goes, or comes
// back, looks at what others have in the history: it is not there.
func TestRecoveryLooksAtNothingElse(t *testing.T) {
	h, saved, first := awayWith(t, 10_000)
	blocks := h.events.blocks.All()                // from the first block on
	for i := 1; i < h.events.blocks.Len()-1; i++ { // the first is what is dropped next
		if from := uint64(i*blockEvents) + h.first; from > first+10 || from+uint64(blockEvents) <= first {
			blocks[i] = nil
		}
	}
	delete(h.logs, "others")
	comeBack(t, h, saved, first)
	saved.missed.drop()
	if err := h.ns.To("mine").Emit("e"); err != nil {
		t.Error(err)
	}
	h.cfg.MaxBytes = h.bytes // the next one is over it
	before := h.first
	if err := h.ns.To("mine").Emit("e"); err != nil {
		t.Error(err)
	}
	if h.first == before || h.first > before+2 {
		t.Errorf("%d events are dropped for one", h.first-before)
	}
	h.events, h.toAll, h.bytes = pastEvents{}, log{}, 0 // or Close would look
	clear(h.logs)
}

// TestRecoveryKeepsWhatIsMissed: what a socket that is back still has to get stays as it
// is, whatever the history forgets and takes its place for.
func TestRecoveryKeepsWhatIsMissed(t *testing.T) {
	h, saved, first := awayWith(t, 0)
	comeBack(t, h, saved, first)
	h.cfg.MaxBytes = 1000
	for range 5 * chunkBytes / 50 {
		if err := h.ns.To("others").Emit("other", "another text, which takes its place"); err != nil {
			t.Fatal(err)
		}
	}
	missed := 0
	for msg := saved.missed.next(); msg != nil; msg = saved.missed.next() {
		if data, _, _ := msg.Payload(); !strings.HasPrefix(string(data), `2["e","text",`) {
			t.Fatalf("it has become %s", data)
		}
		msg.Release()
		missed++
	}
	if missed != 10 {
		t.Errorf("%d are left", missed)
	}
}
