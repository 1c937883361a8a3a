package bench

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// BenchmarkIdleMemory reports the bytes of heap and stacks that an idle
// WebSocket costs that has joined a room. The connections are held by a child
// process, so that only the server's side is counted.
func BenchmarkIdleMemory(b *testing.B) {
	const n = 5_000
	addr, srv := serve(b, sockeye.Config{})
	hold(b, addr, 100) // pools and tables have their first size
	var start, end runtime.MemStats
	before := inUse()
	runtime.ReadMemStats(&start)
	hold(b, addr, n)
	runtime.ReadMemStats(&end)
	if got := srv.Of("/").Len(); got != n+100 {
		b.Fatalf("%d sockets, want %d", got, n+100)
	}
	per := float64(inUse()-before) / n
	for b.Loop() {
	}
	b.ReportMetric(per, "B/conn")
	b.ReportMetric(float64(end.TotalAlloc-start.TotalAlloc)/n, "B-allocated/conn")
	b.ReportMetric(float64(end.Mallocs-start.Mallocs)/n, "allocs/conn")
	b.ReportMetric(0, "ns/op")
}

func inUse() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// hold has a child process open n connections and hold them until the
// test ends.
func hold(b testing.TB, addr string, n int) {
	b.Helper()
	_, out := child(b, "TestHold", "SOCKEYE_HOLD="+addr, "SOCKEYE_HOLD_N="+strconv.Itoa(n))
	waitHeld(b, out)
}

// TestHold is the child process of hold.
func TestHold(t *testing.T) {
	addr := os.Getenv("SOCKEYE_HOLD")
	if addr == "" {
		return // not a test of its own
	}
	n, _ := strconv.Atoi(os.Getenv("SOCKEYE_HOLD_N"))
	for range n {
		wiretest.Connect(t, addr)
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent ends
}
