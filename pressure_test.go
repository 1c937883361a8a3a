package sockeye_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/heaptest"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// mostPerPeer is what a peer that does not read may take, in bytes of heap: 1 MiB
// waits for it at most, and the rest is room.
const mostPerPeer = 2 << 20

// peak runs f, and returns the largest heap that was seen meanwhile and behind it.
func peak(f func()) int {
	done := make(chan struct{})
	most := make(chan int)
	go func() {
		n := 0
		for {
			n = max(n, heaptest.InUse())
			select {
			case <-done:
				most <- max(n, heaptest.InUse())
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	return <-most
}

// TestSmallAnswersToWebSockets: peers that send events without end, and never read the
// answers, take what is promised for each, or are closed.
func TestSmallAnswersToWebSockets(t *testing.T) {
	peers, events := 20, 140_000
	if raceEnabled {
		peers, events = 2, 70_000
	}
	var handled atomic.Int64
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("ask", func(*sockeye.Socket) string { handled.Add(1); return "a" })
	})
	var conns []net.Conn
	for range peers {
		conns = append(conns, wiretest.Connect(t, addr).Conn)
	}
	const each = 1000
	burst := bytes.Repeat(gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewTextFrame([]byte(`420["ask"]`)))), each)
	before := heaptest.InUse()
	most := peak(func() {
		var senders sync.WaitGroup
		for _, c := range conns {
			senders.Go(func() {
				_ = c.SetDeadline(time.Now().Add(60 * time.Second))
				for range events / each {
					if _, err := c.Write(burst); err != nil {
						return // closed: its peer reads too slowly
					}
				}
			})
		}
		senders.Wait()
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
			s := srv.Stats()
			if handled.Load() >= int64(s.Net.Open)*int64(events) && s.ActiveSockets == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d events are handled, %d connections open", handled.Load(), s.Net.Open)
			}
		}
	})
	s := srv.Stats()
	if per := (most - before) / peers; per > mostPerPeer {
		t.Errorf("%d bytes of heap for each of %d peers", per, peers)
	}
	if got := s.Net.MemoryBytes; got > int64(peers)*mostPerPeer || s.Net.Open > 0 && got == 0 {
		t.Errorf("%d bytes are charged for %d peers", got, s.Net.Open)
	}
	if s.Net.Open+int(s.Net.SlowConsumers) != peers {
		t.Errorf("%d are open, %d have been closed as too slow; want %d together", s.Net.Open, s.Net.SlowConsumers, peers)
	}
}
