package sockeye_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wire"
)

// TestSmallAnswersToPolling: the same for polling sessions, all by one connection,
// that post and never poll.
func TestSmallAnswersToPolling(t *testing.T) {
	sessions, events := 5, 200_000
	if raceEnabled {
		sessions = 2
	}
	var handled atomic.Int64
	addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("ask", func(*sockeye.Socket) string { handled.Add(1); return "a" })
	})
	var polls []*wire.Poll
	for range sessions {
		polls = append(polls, wire.ConnectPoll(t, addr))
	}
	const each = 40_000 // 440 kB
	body := strings.TrimSuffix(strings.Repeat("420[\"ask\"]\x1e", each), "\x1e")
	before := heapInUse()
	most := peak(func() {
		c := wire.Dial(t, addr)
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		go func() {
			for _, p := range polls {
				for range events / each {
					_, target, _ := strings.Cut(p.URL, addr)
					_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
				}
			}
		}()
		var answers bytes.Buffer
		b := make([]byte, 4096)
		for strings.Count(answers.String(), "HTTP/1.1 ") < sessions*events/each {
			n, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			answers.Write(b[:n])
		}
		eventually(t, func() bool { return srv.Stats().ActiveSockets == 0 })
	})
	s := srv.Stats()
	if per := (most - before) / sessions; per > mostPerPeer {
		t.Errorf("%d bytes of heap for each of %d sessions", per, sessions)
	}
	if got := s.Net.MemoryBytes; got > int64(sessions)*mostPerPeer {
		t.Errorf("%d bytes are charged for %d sessions", got, sessions)
	}
	if handled.Load() == 0 || s.Engine.SlowConsumers == 0 {
		t.Errorf("%d events were handled, %d sessions closed as too slow: it asks nothing", handled.Load(), s.Engine.SlowConsumers)
	}
}
