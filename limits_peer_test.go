package sockeye_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/heaptest"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestRecoveryHistoryOfSmallEvents: Recovery.MaxBytes counts content, and each event
// beyond it moves all that are kept.
func TestRecoveryHistoryOfSmallEvents(t *testing.T) {
	const row, size = 2 << 20, 1
	addr, srv := serve(t, sockeye.Config{Recovery: &sockeye.Recovery{MaxBytes: row}}, nil)
	wiretest.Connect(t, addr)
	before := heaptest.InUse()
	emit := func() time.Duration {
		begun := time.Now()
		for range row / (size + 29) / 4 {
			if err := srv.To("nobody").Emit("e", "x"); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(begun)
	}
	first := emit()
	for range 4 {
		emit()
	}
	if last := emit(); last > 10*first {
		t.Errorf("as many events as have taken %v take %v once the history is full", first, last)
	}
	if held := heaptest.InUse() - before; held > 2*row+roomBytes {
		t.Errorf("%d bytes of heap for %d", held, row)
	}
}

// mostWithMore is what one peer can take that does everything at once: a full queue
// and what is on its way there, a full mailbox, a packet without its last attachment, an
// unfinished message, and an answer that waits for room.
const mostWithMore = 8 << 20

// TestOnePeerWithMore: what together, or large, is above 2 MiB.
func TestOnePeerWithMore(t *testing.T) {
	unfinished := gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewFrame(gobwas.OpBinary, false, make([]byte, 999_000))))
	binary := event(10, 10, 90_000)
	missing := binary[:len(binary)-90_000-14]
	auths := []byte{}
	for i := range 20 {
		auths = append(auths, masked(gobwas.OpText, fmt.Appendf(nil, `40/n%d,{"x":"%s"}`, i, strings.Repeat("x", 900_000)))...)
	}
	asks := bytes.Repeat(masked(gobwas.OpText, []byte(`420["ask"]`)), 60_000)
	for _, c := range []struct {
		name  string
		input []byte
		times int
		kept  bool
	}{
		{"binary echoes", binary, 10, false},
		{"answers, attachments, an unfinished message", append(append(bytes.Clone(asks), missing...), unfinished...), 1, false},
		{"auth objects of 20 namespaces", auths, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const peers = 5
			addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
				srv.On("ask", func(*sockeye.Socket) string { return "a" })
				srv.On("block", func(s *sockeye.Socket, e *sockeye.Event) error { return s.Emit("echo", e.Arguments()...) })
				for i := range 20 {
					srv.Of(fmt.Sprintf("/n%d", i))
				}
			})
			var all []net.Conn
			for range peers {
				all = append(all, wiretest.Connect(t, addr).Conn)
			}
			before := heaptest.InUse()
			var senders sync.WaitGroup
			most := peak(func() {
				for _, conn := range all {
					senders.Go(func() {
						_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
						for range c.times {
							if _, err := conn.Write(c.input); err != nil {
								return
							}
						}
					})
				}
				senders.Wait()
				settled(t, srv)
			})
			if c.kept {
				most = heaptest.InUse() // without what has only passed through
			}
			s := srv.Stats()
			t.Logf("at most %d bytes of heap for each, %d charged, %d of %d open", (most-before)/peers, s.Net.MemoryBytes/peers, s.Net.Open, peers)
			if per := (most - before - roomBytes) / peers; per > mostWithMore {
				t.Errorf("%d bytes of heap for each of %d peers", per, peers)
			}
		})
	}
}
