package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// receiver takes the events of a peer, one after the other.
type receiver interface{ Expect(text string) string }

// polls takes events by long-polling.
type polls struct {
	*wiretest.Poll
	records []string
}

func (p *polls) Expect(text string) string {
	p.T.Helper()
	for len(p.records) == 0 {
		status, body := p.Get()
		if status != 200 {
			p.T.Fatalf("a poll is answered %d %q", status, body)
		}
		for _, r := range strings.Split(body, "\x1e") {
			if r != "2" && r != "6" {
				p.records = append(p.records, r)
			}
		}
	}
	got := p.records[0]
	p.records = p.records[1:]
	if prefix, _ := strings.CutSuffix(text, "*"); !strings.HasPrefix(got, prefix) {
		p.T.Fatalf("got %.60q, want %q", got, text)
	}
	return got
}

// TestBurstArrivesWhole: what a server sends in one go, to one peer or to all, to a
// peer that reads, arrives whole and in order, by either transport.
func TestBurstArrivesWhole(t *testing.T) {
	for _, c := range []struct {
		name        string
		count, size int
		broadcast   bool
	}{
		{"100 x 64 KiB to one", 100, 64 << 10, false},
		{"1,000 x 10 kB to one", 1000, 10_000, false},
		{"1,000 x 10 kB to all", 1000, 10_000, true},
		{"20,000 x 10 B to all", 20_000, 10, true},
	} {
		for _, transport := range []string{"websocket", "polling"} {
			for _, inline := range []bool{false, true} {
				t.Run(fmt.Sprint(c.name, " ", transport, " inline ", inline), func(t *testing.T) {
					text := strings.Repeat("x", c.size)
					addr, srv := serve(t, sockeye.Config{Inline: inline}, func(srv *sockeye.Server) {
						srv.On("burst", func(s *sockeye.Socket) {
							emit := s.Emit
							if c.broadcast {
								emit = s.Server().Emit
							}
							for i := range c.count {
								if err := emit("n", i, text); err != nil {
									t.Errorf("Emit %d: %v", i, err)
									return
								}
							}
						})
					})
					var peer receiver
					if transport == "websocket" {
						w := wiretest.Connect(t, addr)
						w.Write(`42["burst"]`)
						peer = w
					} else {
						p := &polls{Poll: wiretest.ConnectPoll(t, addr)}
						p.Post(`42["burst"]`, 200, "ok")
						peer = p
					}
					for i := range c.count {
						peer.Expect(fmt.Sprintf(`42["n",%d,*`, i))
					}
					if s := srv.Stats(); s.Net.SlowConsumers+s.Engine.SlowConsumers > 0 {
						t.Error("a peer that reads is taken for slow")
					}
				})
			}
		}
	}
}

// TestEmitWaits while the peer does not read, for as long as it is told; the others
// do not wait, and Flush tells when all has been taken.
func TestEmitWaits(t *testing.T) {
	sockets := make(chan *sockeye.Socket, 2)
	addr, srv := serve(t, sockeye.Config{
		EmitTimeout: 100 * time.Millisecond, SlowTimeout: -1, Loops: 1,
	}, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		srv.On("echo", func(n int) int { return n })
	})
	w := &polls{Poll: wiretest.ConnectPoll(t, addr)}
	s := within(t, sockets)
	text := strings.Repeat("x", 100_000)
	sent := 0
	var err error
	for ; sent < 100; sent++ {
		if err = s.Emit("n", sent, text); err != nil {
			break
		}
	}
	if !errors.Is(err, sockeye.ErrQueueFull) || sent < 9 || sent > 20 {
		t.Errorf("%d are queued, then %v", sent, err)
	}
	if n := s.QueuedBytes(); n < 1<<20 || n > 3<<20 {
		t.Errorf("%d bytes wait", n)
	}
	if err := s.Timeout(time.Millisecond).Emit("n", sent, text); !errors.Is(err, sockeye.ErrQueueFull) {
		t.Errorf("with a timeout: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.WithContext(ctx).Emit("n", sent, text); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context: %v", err)
	}
	if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush: %v", err)
	}
	if err := s.Volatile().Emit("n", -1); err != nil {
		t.Errorf("volatile: %v", err)
	}
	if srv.Stats().EmitTimeouts != 2 {
		t.Errorf("%d timeouts are counted", srv.Stats().EmitTimeouts)
	}
	other := wiretest.Connect(t, addr)
	other.Write(`420["echo",1]`)
	other.Expect(`430[1]`)
	flushed := make(chan error, 2)
	go func() { flushed <- s.WithContext(t.Context()).Timeout(time.Minute).Emit("n", sent, text) }()
	for i := range sent + 1 {
		w.Expect(fmt.Sprintf(`42["n",%d,*`, i))
	}
	if err := within(t, flushed); err != nil {
		t.Errorf("once the peer reads: %v", err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Errorf("Flush: %v", err)
	}
	// A peer that goes ends the wait.
	for err = nil; err == nil || s.QueuedBytes() < 1<<20; { // no slow loop alone
		err = s.Timeout(time.Millisecond).Emit("n", 0, text)
	}
	go func() { flushed <- s.Timeout(time.Minute).Emit("n", 0, text) }()
	go func() { flushed <- s.Flush(context.Background()) }()
	w.Post("41", 200, "ok")
	for range 2 {
		if err := within(t, flushed); !errors.Is(err, sockeye.ErrDisconnected) {
			t.Errorf("when the peer has gone: %v", err)
		}
	}
}

// TestMuchBeforeTheAnswer: what OnConnect emits waits for the answer, is charged, and
// has a bound that is told.
func TestMuchBeforeTheAnswer(t *testing.T) {
	for _, size := range []int{1, 10_000} {
		emitted := make(chan int, 1)
		failed := make(chan error, 1)
		goOn := make(chan struct{})
		addr, srv := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
			srv.OnConnect(func(s *sockeye.Socket) error {
				n := 0
				var err error
				for ; err == nil; n++ {
					err = s.Emit("n", n, strings.Repeat("x", size))
				}
				failed <- err
				emitted <- n - 1
				<-goOn
				return nil
			})
		})
		w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
		w.Expect("0{*")
		w.Write("40")
		if err := within(t, failed); !errors.Is(err, sockeye.ErrConnecting) {
			t.Errorf("Emit: %v", err)
		}
		n := within(t, emitted)
		eventually(t, func() bool { return srv.Stats().Net.MemoryBytes > 200_000 })
		if charged := srv.Stats().Net.MemoryBytes; charged > 2<<20 {
			t.Errorf("%d bytes are charged for %d events", charged, n)
		}
		close(goOn)
		w.Expect("40{*")
		for i := range n {
			w.Expect(fmt.Sprintf(`42["n",%d,*`, i))
		}
		eventually(t, func() bool { return srv.Stats().Net.MemoryBytes < 10_000 })
	}
}
