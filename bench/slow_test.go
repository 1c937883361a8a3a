package bench

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// BenchmarkSlowReaders is a broadcast of 4 kB every 20 ms to 1,000 readers in a
// child process, of whom none, or 100, have stopped reading: what the others
// notice, what is queued for the stopped ones, and their end. An op is a
// broadcast.
func BenchmarkSlowReaders(b *testing.B) {
	for _, stopped := range []int{0, 100} {
		b.Run(fmt.Sprint(stopped, "stopped"), func(b *testing.B) {
			addr, srv := serve(b, sockeye.Config{MaxQueuedBytes: 64 << 10})
			in, answers := child(b, "TestSlowReaders", "SOCKEYE_SLOW="+addr, "SOCKEYE_SLOW_STOPPED="+strconv.Itoa(stopped))
			waitHeld(b, answers)
			before := inUse()
			peak := before
			padding := strings.Repeat("x", 4000)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			sent := 0
			for b.Loop() {
				<-tick.C
				_ = srv.To("all").Emit("t", time.Now().UnixNano(), padding)
				if sent++; sent%100 == 0 {
					peak = max(peak, inUse())
				}
			}
			_ = srv.To("all").Emit("end")
			line, err := answers.ReadString('\n')
			var p50, p99 time.Duration
			var got int
			if _, err2 := fmt.Sscan(line, &got, &p50, &p99); err != nil || err2 != nil {
				b.Fatalf("child: %q, %v, %v", line, err, err2)
			}
			_ = in.Close()
			if want := (1000 - stopped) * sent; got != want {
				b.Errorf("%d messages arrived, want %d", got, want)
			}
			b.ReportMetric(float64(p50.Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(peak-before)/1024, "queued-kB")
			b.ReportMetric(float64(srv.Stats().Net.SlowConsumers), "closed")
		})
	}
}

// TestSlowReaders is the child process of BenchmarkSlowReaders.
func TestSlowReaders(t *testing.T) {
	addr := os.Getenv("SOCKEYE_SLOW")
	if addr == "" {
		return // not a test of its own
	}
	stopped, _ := strconv.Atoi(os.Getenv("SOCKEYE_SLOW_STOPPED"))
	results := make(chan []time.Duration)
	var idle []*wiretest.WS
	for i := range 1000 {
		w := wiretest.Connect(t, addr)
		if i < stopped {
			_ = w.Conn.(*net.TCPConn).SetReadBuffer(4096)
			idle = append(idle, w)
			continue
		}
		go func() {
			var late []time.Duration
			for {
				data, _, err := w.Read()
				text, ok := strings.CutPrefix(string(data), `42["t",`)
				if err != nil || !ok {
					break
				}
				sent, _, _ := strings.Cut(text, ",")
				ns, _ := strconv.ParseInt(sent, 10, 64)
				late = append(late, time.Since(time.Unix(0, ns)))
			}
			results <- late
		}()
	}
	fmt.Println("held")
	var all []time.Duration
	for range 1000 - stopped {
		all = append(all, <-results...)
	}
	slices.Sort(all)
	fmt.Println(len(all), int64(all[len(all)/2]), int64(all[len(all)*99/100]))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends
	_ = idle
}
