package sockeye_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// stressTime is 10 s, or what SOCKEYE_STRESS says.
func stressTime(t *testing.T) time.Duration {
	if s := os.Getenv("SOCKEYE_STRESS"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if testing.Short() {
		return time.Second
	}
	return 10 * time.Second // for each number of loops
}

// TestNoLostWakeUp: in each round goroutines emit and broadcast at random
// moments to idle sockets; then everybody is silent until all has arrived. A
// lost wake-up would leave its message lying for good, since nothing else wakes
// the loop. Every message arrives, in order for each emitter, within 100 ms.
func TestNoLostWakeUp(t *testing.T) {
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) { stressWakeUps(t, loops, stressTime(t)) })
	}
}

func stressWakeUps(t *testing.T, loops int, d time.Duration) {
	const sockets, emitters = 20, 6
	addr, srv := serve(t, sockeye.Config{Loops: loops}, nil)
	all := make([]*wiretest.WS, sockets)
	for i := range all {
		all[i] = wiretest.Connect(t, addr)
	}
	members := srv.Sockets()
	arrived := make(chan struct{}, sockets*emitters*8)
	failed := make(chan error, sockets)
	for i, w := range all {
		go func() {
			var next [emitters]int
			for {
				data, _, err := w.Read()
				var e, n int
				if err == nil {
					_, err = fmt.Sscanf(string(data), `42["n",%d,%d]`, &e, &n)
				}
				if err == nil && n != next[e] {
					err = fmt.Errorf("emitter %d: got %d, want %d", e, n, next[e])
				}
				if err != nil {
					failed <- fmt.Errorf("socket %d: %q: %w", i, data, err)
					return
				}
				next[e]++
				arrived <- struct{}{}
			}
		}()
	}
	var n [emitters]int
	var slowest time.Duration
	rounds, messages := 0, 0
	for start := time.Now(); time.Since(start) < d; rounds++ {
		var emitting sync.WaitGroup
		var emitted atomic.Int64
		for e := range emitters {
			emitting.Go(func() {
				r := rand.New(rand.NewPCG(uint64(e), uint64(rounds)))
				for range r.IntN(4) {
					for spin := r.IntN(20_000); spin > 0; spin-- {
						_ = r // random moments, finer than a sleep
					}
					if r.IntN(2) == 0 {
						_ = srv.Emit("n", e, n[e])
					} else {
						for _, m := range members {
							_ = m.Emit("n", e, n[e])
						}
					}
					n[e]++
					emitted.Add(sockets)
				}
			})
		}
		emitting.Wait()
		silent := time.Now()
		lost := time.After(5 * time.Second)
		for range emitted.Load() {
			select {
			case <-arrived:
			case err := <-failed:
				t.Fatal(err)
			case <-lost:
				t.Fatalf("round %d: messages did not arrive", rounds)
			}
		}
		messages += int(emitted.Load())
		slowest = max(slowest, time.Since(silent))
	}
	t.Logf("%d rounds, %d messages, the slowest round was complete after %v", rounds, messages, slowest)
	// Longer than a busy machine stalls, and shorter than until something else would
	// wake the loop. (The race detector's own stalls are longer.)
	if slowest > time.Second && !raceEnabled {
		t.Errorf("a message waited %v", slowest)
	}
}

// TestNoGoroutinePerConnection: 5,000 idle WebSockets and 1,000 waiting polls
// do not add goroutines.
func TestNoGoroutinePerConnection(t *testing.T) {
	if os.Getenv("SOCKEYE_BRIDGE") != "" {
		t.Skip("the bridge has goroutines")
	}
	webSockets, polls := 5_000, 1_000
	if testing.Short() {
		webSockets, polls = 500, 100
	}
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("room") })
	})
	_ = wiretest.Connect(t, addr)
	before := runtime.NumGoroutine()
	for range webSockets {
		_ = wiretest.Connect(t, addr)
	}
	conns := 0
	for range polls {
		sid := pollHandshake(t, addr)
		c := wiretest.Dial(t, addr)
		if _, err := fmt.Fprintf(c, "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: h\r\n\r\n", sid); err != nil {
			t.Fatal(err)
		}
		conns++
	}
	want := webSockets + polls + 1
	deadline := time.Now().Add(wiretest.Limit)
	for srv.Stats().Engine.Sessions < want && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if got := srv.Stats().Engine.Sessions; got != want {
		t.Fatalf("%d sessions, want %d", got, want)
	}
	if grown := runtime.NumGoroutine() - before; grown > 16 {
		t.Errorf("%s more goroutines for %d connections", strconv.Itoa(grown), webSockets+polls)
	}
}

// pollHandshake opens a polling session over a connection of its own, without
// net/http's goroutines.
func pollHandshake(t *testing.T, addr string) (sid string) {
	t.Helper()
	c := wiretest.Dial(t, addr)
	defer c.Close()
	if _, err := fmt.Fprint(c, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	_ = c.SetReadDeadline(time.Now().Add(wiretest.Limit))
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	answer := string(b[:n])
	i := len(`"sid":"`)
	for j := range answer {
		if len(answer) > j+i+20 && answer[j:j+i] == `"sid":"` {
			return answer[j+i : j+i+20]
		}
	}
	t.Fatalf("no sid in %q", answer)
	return ""
}
