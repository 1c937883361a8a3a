package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/heaptest"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// These tests fill what docs/limits.md bounds, and measure the heap: it may be
// twice what the row says, and ownBytes of a session itself.
const ownBytes = 1536

// opened opens sessions by polling, each connection as many as it may, with heads of
// their own, and returns the heap that they take.
func (w *crowd) opened(sessions int, head func(i int) string) (heap int, peers []*netpolltest.Peer) {
	before := heaptest.InUse()
	var p *netpolltest.Peer
	for i := range sessions {
		if i%100 == 0 {
			p = w.net.Dial(0)
			peers = append(peers, p)
		}
		p.Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n" + head(i) + "\r\n"))
		w.net.Run()
		p.Read()
	}
	if len(w.sessions) != sessions {
		w.t.Fatalf("%d sessions of %d", len(w.sessions), sessions)
	}
	return heaptest.InUse() - before, peers
}

// TestSessionsThatJoinNothing, and what a session keeps of a head, which is as large
// as it may be: 10,000 of them.
func TestSessionsThatJoinNothing(t *testing.T) {
	sessions := 10_000
	if heaptest.Race {
		sessions = 1_000
	}
	for _, c := range []struct {
		name string
		head func(i int) string
		row  int
	}{
		{"small heads", func(int) string { return "" }, 0},
		{"a large field", func(i int) string { return fmt.Sprintf("Cookie: %d%s\r\n", i, strings.Repeat("c", 15_000)) }, 2 << 10},
		{"many fields", func(i int) string {
			return strings.Repeat(fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("x", 140)), 90)
		}, 2 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newCrowd(t, Config{})
			held, peers := w.opened(sessions, c.head)
			t.Logf("%d bytes of heap for each session", held/sessions)
			if held > sessions*(2*c.row+ownBytes) {
				t.Errorf("%d bytes of heap for each session, whose head has %d", held/sessions, c.row)
			}
			// No connection opens more than its hundred.
			w.expect(peers[0], 3, 0, 3)
		})
	}
}

// TestQueuesOfSessionsThatDoNotPoll: what waits for them takes what the row says,
// whatever the size of the messages, and if there is more, and they do not ask for
// it, they are closed.
func TestQueuesOfSessionsThatDoNotPoll(t *testing.T) {
	const row = 1 << 20
	sessions := 10
	if heaptest.Race {
		sessions = 1
	}
	for _, size := range []int{1, 100, 3000, 60_000, 900_000} {
		for _, binary := range []bool{false, true} {
			t.Run(fmt.Sprint(size, " ", binary), func(t *testing.T) {
				w := newCrowd(t, Config{})
				w.opened(sessions, func(int) string { return "" })
				before := heaptest.InUse()
				memory := w.net.Group.Memory()
				data := make([]byte, size)
				for i := range data {
					data[i] = 'x'
				}
				send := func(s *Session) {
					m := message(binary, data)
					s.Send(m)
					m.Release()
				}
				for _, s := range w.sessions {
					w.onLoop(s, func() {
						for send(s); s.poll.queue.held+2*size+64<<10 < row; {
							send(s)
						}
					})
				}
				held, charged := heaptest.InUse()-before, int(memory.Used())
				t.Logf("%d bytes of heap, %d charged for each", held/sessions, charged/sessions)
				if held > sessions*(2*row+ownBytes) || charged > sessions*2*row || charged < sessions*size {
					t.Errorf("%d bytes of heap, %d charged for each", held/sessions, charged/sessions)
				}
				for _, s := range w.sessions {
					if !s.Open() {
						t.Fatal("closed before its queue was full")
					}
					w.onLoop(s, func() {
						for n := 0; s.Open() && n < 2*row; n += size {
							send(s)
						}
					})
				}
				w.net.Advance(10*time.Second + time.Millisecond)
				if got := w.engine.Stats(); got.SlowConsumers != uint64(sessions) {
					t.Errorf("%d were closed as too slow", got.SlowConsumers)
				}
			})
		}
	}
}
