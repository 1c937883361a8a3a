package sockeye

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/wire"
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
		w := wire.Connect(t, addr.String())
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

// cpuTime is that of this process.
func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
