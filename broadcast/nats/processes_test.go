package nats_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/nats"
	"github.com/sockeye-io/sockeye/client"
)

// rivalEnv has this program be a rival, by NATS at an address.
const rivalEnv = "SOCKEYE_TEST_RIVAL"

// rivalLease is theirs.
const rivalLease = 1200 * time.Millisecond

// rival is a server whose sockets claim keys, and are present in "red".
type rival struct {
	url string

	mu   sync.Mutex
	seen []string // who came and went, in order
}

func newRival(a broadcast.Adapter) (*rival, func() error, error) {
	srv, err := sockeye.New(sockeye.Config{Adapter: a, Loops: 1, PresenceLease: rivalLease, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	r := &rival{url: "http://" + addr.String()}
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("red") })
	srv.On("claim", func(s *sockeye.Socket, ms int) string { // at most for ms
		ctx, cancel := context.WithTimeout(s.Context(), time.Duration(ms)*time.Millisecond)
		defer cancel()
		switch err := s.Claim(ctx, "key"); {
		case err == nil:
			return "held"
		case errors.As(err, new(*sockeye.MissingError)):
			return "missing"
		default:
			return err.Error()
		}
	})
	srv.On("seen", func(*sockeye.Socket) []string {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Clone(r.seen)
	})
	srv.Presence("red", func(e sockeye.PresenceEvent) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, map[bool]string{true: "+", false: "-"}[e.Joined]+e.ID)
	})
	return r, srv.Close, nil
}

// serveRival is one in a process of its own, until its standard input ends.
func serveRival(addr string) int {
	nc, err := natsgo.Connect("nats://"+addr, natsgo.MaxReconnects(-1))
	if err == nil {
		a, e := nats.New(nc, quick())
		if err = e; err == nil {
			var r *rival
			if r, _, err = newRival(a); err == nil {
				fmt.Println(r.url)
				_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
				return 0
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// near is one in this process.
func near(t *testing.T, addr string) *rival {
	t.Helper()
	r, end, err := newRival(newAdapter(t, addr, quick()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end() })
	return r
}

// seat is a client of a rival.
type seat struct{ *client.Client }

func sit(t *testing.T, url string) seat {
	t.Helper()
	c, err := client.New(url, client.Config{Transports: []string{"websocket"}, NoReconnect: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return seat{c}
}

// claim claims the key; "" if the server does not answer.
func (s seat) claim(t *testing.T, d time.Duration) (result string) {
	args, err := s.Call(t.Context(), "claim", d.Milliseconds())
	if err == nil {
		err = args.Decode(&result)
	}
	if err != nil && s.Connected() {
		t.Error(err)
	}
	return result
}

// sees is who its server has seen come and go.
func (s seat) sees(t *testing.T) (seen []string) {
	t.Helper()
	args, err := s.Call(t.Context(), "seen")
	if err == nil {
		err = args.Decode(&seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// TestClaimKilled: a server that is killed after it has claimed a key, or while another claims
// it, holds it no longer: the next claim waits for it no longer than it may, and wins.
func TestClaimKilled(t *testing.T) {
	s := startServer(t, false)
	one, two := near(t, s.addr()), near(t, s.addr())
	url, p := process(t, rivalEnv+"="+s.addr())
	first, dead := sit(t, one.url), sit(t, url)
	adaptertest.Eventually(t, "they know of each other", func() bool { return len(dead.sees(t)) == 2 })
	if got := first.claim(t, 10*time.Second); got != "held" {
		t.Fatal(got)
	}
	go dead.claim(t, 10*time.Second)
	adaptertest.Eventually(t, "the first is replaced", func() bool { return !first.Connected() })
	_ = p.Kill() // it may not know yet that it holds the key
	began := time.Now()
	second := sit(t, two.url)
	if got := second.claim(t, 300*time.Millisecond); got != "missing" { // it is not known yet that it has gone
		t.Fatalf("%q after %v", got, time.Since(began))
	}
	if !second.Connected() {
		t.Error("nobody is left")
	}
	if got := second.claim(t, 20*time.Second); got != "held" {
		t.Errorf("again: %q after %v", got, time.Since(began))
	}

	url, p = process(t, rivalEnv+"="+s.addr())
	third := sit(t, url)
	if got := third.claim(t, 10*time.Second); got != "held" {
		t.Fatal(got)
	}
	adaptertest.Eventually(t, "the second is replaced", func() bool { return !second.Connected() })
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	fourth := sit(t, one.url)
	result := make(chan string, 1)
	began = time.Now()
	go func() { result <- fourth.claim(t, 20*time.Second) }()
	time.Sleep(300 * time.Millisecond) // it is waited for
	_ = p.Kill()
	if got, d := <-result, time.Since(began); got != "held" || d > 10*time.Second {
		t.Errorf("%q after %v", got, d)
	}
	fifth := sit(t, two.url)
	if got := fifth.claim(t, 10*time.Second); got != "held" {
		t.Error(got)
	}
	adaptertest.Eventually(t, "it holds the key alone", func() bool { return !fourth.Connected() && fifth.Connected() })
}

// TestPresenceStopped: a process that is stopped for less than a lease, for one, or for longer,
// is seen to go once and come back once, or not at all. It sees nobody else go.
func TestPresenceStopped(t *testing.T) {
	s := startServer(t, false)
	here := near(t, s.addr())
	url, p := process(t, rivalEnv+"="+s.addr())
	a, b := sit(t, here.url), sit(t, url)
	both := func(seen []string) bool { return len(seen) == 2 }
	adaptertest.Eventually(t, "they see each other", func() bool { return both(a.sees(t)) && both(b.sees(t)) })
	here.mu.Lock()
	here.seen = nil
	here.mu.Unlock()
	for _, stop := range []time.Duration{rivalLease / 4, rivalLease * 9 / 10, rivalLease, 2 * rivalLease} {
		began := time.Now()
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(stop)
		if err := p.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		stopped := time.Since(began)
		if seen := b.sees(t); !both(seen) {
			t.Fatalf("stopped for %v, it has seen %q", stop, seen)
		}
		time.Sleep(rivalLease * 3 / 2) // for what must not happen, and for it to come back
		gone := a.sees(t)
		here.mu.Lock()
		here.seen = nil
		here.mu.Unlock()
		away := slices.Equal(gone, []string{"-" + b.ID(), "+" + b.ID()})
		switch {
		case len(gone) > 0 && !away:
			t.Errorf("stopped for %v, it has been seen to %q", stop, gone)
		case away && stopped < rivalLease/3, !away && stop > rivalLease*3/2:
			t.Errorf("stopped for %v: away %v", stop, away)
		}
		if seen := b.sees(t); !both(seen) {
			t.Errorf("stopped for %v, it has seen %q", stop, seen)
		}
		t.Logf("stopped for %v: away %v", stop, away)
	}
}
