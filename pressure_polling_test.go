package sockeye_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/heaptest"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestSmallAnswersToPolling: the same for polling sessions, all by one connection,
// that post and never poll.
func TestSmallAnswersToPolling(t *testing.T) {
	sessions, each, limit := 5, 40_000, 1<<20 // the default
	if raceEnabled {
		sessions, each, limit = 2, 8_000, 1<<18
	}
	events := 5 * each
	var handled atomic.Int64
	addr, srv := serve(t, sockeye.Config{MaxQueuedBytes: limit}, func(srv *sockeye.Server) {
		srv.On("ask", func(*sockeye.Socket) string { handled.Add(1); return "a" })
	})
	var polls []*wiretest.Poll
	for range sessions {
		polls = append(polls, wiretest.ConnectPoll(t, addr))
	}
	body := strings.TrimSuffix(strings.Repeat("420[\"ask\"]\x1e", each), "\x1e")
	var c net.Conn
	var answers *bufio.Reader
	dial := func() {
		c = wiretest.Dial(t, addr)
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		answers = bufio.NewReader(c)
	}
	dial()
	posted := 0
	// post sends one body for each session and counts those that are taken.
	post := func() (taken int) {
		for _, p := range polls {
			_, target, _ := strings.Cut(p.URL, addr)
			if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode == http.StatusOK {
				taken++
			}
			if resp.Close { // a session has ended before its POST had come
				_ = c.Close()
				dial()
			}
		}
		posted += taken * each
		return taken
	}
	before := heaptest.InUse()
	for range 2 { // within what may wait
		if n := post(); n != sessions {
			t.Fatalf("%d of %d are open", n, sessions)
		}
	}
	within60 := time.Now().Add(60 * time.Second)
	for handled.Load() < int64(posted) || srv.Stats().ActiveSockets > 0 {
		if time.Now().After(within60) {
			t.Fatalf("%d of %d events are handled", handled.Load(), posted)
		}
		time.Sleep(time.Millisecond)
	}
	s := srv.Stats()
	if per := (heaptest.InUse() - before) / sessions; per > 2*limit {
		t.Errorf("%d bytes of heap for each of %d sessions", per, sessions)
	}
	if got := s.Net.MemoryBytes / int64(sessions); got > int64(limit) || got < int64(2*each*5) {
		t.Errorf("%d bytes are charged for each of %d sessions", got, sessions)
	}
	for n := sessions; n > 0 && posted < sessions*events; { // beyond it
		n = post()
	}
	eventually(t, func() bool {
		s := srv.Stats()
		return s.Engine.Sessions == 0 && s.Net.MemoryBytes == 0 && s.ActiveSockets == 0
	})
	if got := srv.Stats().Engine.SlowConsumers; got != uint64(sessions) {
		t.Errorf("%d sessions of %d have been closed as too slow", got, sessions)
	}
}
