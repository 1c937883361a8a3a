package nats_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
)

func session(pid, owner, data string, lease time.Duration) broadcast.StoredSession {
	s := broadcast.StoredSession{PID: pid, Owner: owner, Lease: lease}
	if data != "" {
		s.Data = []byte(data)
	}
	return s
}

// puts writes sessions, and expects which of them others own.
func (k *keeper) puts(t *testing.T, lost string, list ...broadcast.StoredSession) {
	t.Helper()
	got, err := k.h.PutSessions(t.Context(), list)
	if err != nil || fmt.Sprint(got) != lost {
		t.Errorf("lost are %v, %v, not %s", got, err, lost)
	}
}

func (k *keeper) takes(t *testing.T, pid, owner, data, was string) {
	t.Helper()
	d, w, err := k.h.TakeSession(t.Context(), pid, owner, time.Minute)
	if err != nil || string(d) != data || w != was {
		t.Errorf("%s takes %s: %q of %q, %v, not %q of %q", owner, pid, d, w, err, data, was)
	}
}

// TestSessions: a session is written by its owner alone, and who takes it is told whose it
// was.
func TestSessions(t *testing.T) {
	s := startServer(t, true)
	a, b := newKeeper(t, s.addr()), newKeeper(t, s.addr())
	minute := func(pid, owner, data string) broadcast.StoredSession {
		return session(pid, owner, data, time.Minute)
	}
	a.takes(t, "p", "a", "", "")
	a.puts(t, "[]", minute("p", "a", "1"))
	a.puts(t, "[]", minute("p", "a", "2"))
	b.puts(t, "[0]", minute("p", "b", "3"))
	b.takes(t, "p", "b", "2", "a")
	b.takes(t, "p", "b", "2", "a") // as if the answer had been lost
	a.puts(t, "[1]", minute("q", "a", "4"), minute("p", "a", "5"), minute("r", "a", "6"))
	b.puts(t, "[]", minute("p", "b", "7\n\n"))
	a.takes(t, "p", "a", "7\n\n", "b")
	b.puts(t, "[0]", minute("p", "b", ""))
	a.puts(t, "[]", minute("p", "a", ""))
	a.puts(t, "[0]", minute("p", "a", "8"))
	b.takes(t, "p", "b", "", "")
	b.takes(t, "q", "b", "4", "a")
	// One batch with the one who had it, and the one who has it.
	a.puts(t, "[1]", minute("q", "b", "9"), minute("q", "a", "10"))
	a.puts(t, "[]")
	b.takes(t, "q", "c", "9", "b")

	big := strings.Repeat("x", 1<<20)
	a.puts(t, "[]", minute("big", "a", "small"), minute("r", "a", "11"))
	a.puts(t, "[]", minute("big", "a", big), minute("r", "a", "12"))
	b.takes(t, "big", "b", "", "")
	b.takes(t, "r", "b", "12", "a")
	a.puts(t, "[]", minute("big", "a", "small again"))
	b.takes(t, "big", "b", "small again", "a")

	var many []broadcast.StoredSession
	for i := range 600 {
		many = append(many, minute(fmt.Sprint("many", i), "a", fmt.Sprint(i)))
	}
	for range 2 {
		a.puts(t, "[]", many...)
	}
	b.takes(t, "many599", "b", "599", "a")
	a.puts(t, "[599]", many...)
}

// TestSessionsAtOnce: of many who take a session at once each follows another.
func TestSessionsAtOnce(t *testing.T) {
	s := startServer(t, true)
	a, b := newKeeper(t, s.addr()), newKeeper(t, s.addr())
	a.puts(t, "[]", session("p", "first", "data", time.Minute))
	var all sync.WaitGroup
	var mu sync.Mutex
	after := map[string]string{}
	for i := range 12 {
		all.Go(func() {
			k, owner := []*keeper{a, b}[i%2], fmt.Sprint("owner ", i)
			data, was, err := k.h.TakeSession(t.Context(), "p", owner, time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || string(data) != "data" || after[was] != "" {
				t.Errorf("%q of %q, %v; %q has it, too", data, was, err, after[was])
			}
			after[was] = owner
		})
	}
	all.Wait()
	n := 0
	for at := "first"; after[at] != ""; at = after[at] {
		n++
	}
	if n != 12 {
		t.Errorf("%d follow one another: %v", n, after)
	}
}

// TestSessionsExpire: a session is there as long as its lease, which who takes it has anew.
func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	kv, err := streams(t, s.addr()).KeyValue(t.Context(), "sockeye-sessions")
	if err != nil {
		t.Fatal(err)
	}
	a.puts(t, "[]", session("short", "a", "1", 10*time.Millisecond), session("taken", "a", "2", time.Second), session("over", "a", "", time.Second), session("long", "a", "3", time.Minute))
	a.takes(t, "taken", "b", "2", "a")
	gone := func(pid string) bool {
		_, err := kv.Get(t.Context(), base64.RawURLEncoding.EncodeToString([]byte(pid)))
		return errors.Is(err, jetstream.ErrKeyNotFound)
	}
	if gone("short") || gone("over") {
		t.Error("a second has not gone by")
	}
	adaptertest.Eventually(t, "they expire", func() bool { return gone("short") && gone("over") })
	a.takes(t, "short", "b", "", "")
	a.puts(t, "[]", session("short", "c", "4", time.Minute), session("over", "c", "5", time.Minute))
	a.takes(t, "short", "b", "4", "c")
	a.takes(t, "taken", "c", "2", "b")
	a.takes(t, "long", "c", "3", "a")
}

// TestSessionsGarbage: what cannot be read in the bucket is counted, and is no session.
func TestSessionsGarbage(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	kv, err := streams(t, s.addr()).KeyValue(t.Context(), "sockeye-sessions")
	if err != nil {
		t.Fatal(err)
	}
	key := base64.RawURLEncoding.EncodeToString([]byte("p"))
	for _, garbage := range []string{"x", "\n", strings.Repeat("x", 10_000) + "\n\n{}", "\xff\xfe"} {
		if _, err := kv.Put(t.Context(), key, []byte(garbage)); err != nil {
			t.Fatal(err)
		}
		before := a.a.Stats().Ignored
		a.takes(t, "p", "a", "", "")
		if n := a.a.Stats().Ignored - before; n != 1 {
			t.Errorf("%q: %d are ignored", garbage, n)
		}
		a.puts(t, "[]", session("p", "a", "1", time.Minute))
		a.takes(t, "p", "b", "1", "a")
		a.puts(t, "[]", session("p", "b", "", time.Minute))
	}
	if err := kv.Delete(t.Context(), key); err != nil { // an operator
		t.Fatal(err)
	}
	a.takes(t, "p", "a", "", "")
	a.puts(t, "[]", session("p", "a", "2", time.Minute))
	a.takes(t, "p", "b", "2", "a")
}

// TestStuck: who asks while the connection is stuck in a write waits as long as it wants.
func TestStuck(t *testing.T) {
	s := startServer(t, true)
	p := adaptertest.NewProxy(t, s.addr())
	a := newKeeper(t, p.Addr())
	a.puts(t, "[]", session("p", "a", "1", time.Minute))
	p.Stall(true)
	defer p.Stall(false)
	big := broadcast.Payload{JSON: []byte(`["` + strings.Repeat("x", 500_000) + `"]`)}
	for i := range 30 {
		_ = a.h.Append(big, broadcast.Target{}, uint64(i+1))
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began := time.Now()
		if _, _, err := a.h.TakeSession(ctx, "p", "b", time.Minute); err == nil {
			t.Error("it is taken")
		}
		if _, err := a.h.PutSessions(ctx, []broadcast.StoredSession{session("q", "a", "1", time.Minute)}); err == nil {
			t.Error("it is written")
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
		cancel()
	}
}

// TestBucketDeleted: a bucket that an operator has deleted is made again, also while events
// come all the time.
func TestBucketDeleted(t *testing.T) {
	t.Parallel()
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	a.puts(t, "[]", session("p", "a", "1", time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() {
		for n := uint64(1); ctx.Err() == nil; n++ {
			_ = a.h.Append(broadcast.Payload{JSON: []byte(`["e"]`)}, broadcast.Target{}, n)
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err := streams(t, s.addr()).DeleteStream(t.Context(), "KV_sockeye-sessions"); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, "sessions are written", func() bool {
		_, err := a.h.PutSessions(t.Context(), []broadcast.StoredSession{session("p", "a", "2", time.Minute)})
		return err == nil
	})
	a.takes(t, "p", "b", "2", "a")
}

// TestLargestSession: what is said to fit fits, and comes back.
func TestLargestSession(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	data := strings.Repeat("x", 1<<20-512)
	a.puts(t, "[]", session(strings.Repeat("p", 1000), strings.Repeat("a", 200), data, time.Minute))
	a.takes(t, strings.Repeat("p", 1000), strings.Repeat("b", 200), data, strings.Repeat("a", 200))
}

// TestSessionsThroughResets: while connections are reset all the time, sessions are written
// and taken, by one after another, and whoever asks gets an answer in time.
func TestSessionsThroughResets(t *testing.T) {
	s := startServer(t, true)
	p, q := adaptertest.NewProxy(t, s.addr()), adaptertest.NewProxy(t, s.addr())
	a, b := newKeeper(t, p.Addr()), newKeeper(t, q.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, p := range []*adaptertest.Proxy{p, q} {
		all.Go(func() {
			for ctx.Err() == nil {
				p.Reset()
				time.Sleep(time.Duration(10+rand.N(60)) * time.Millisecond)
			}
		})
	}
	const limit = 2 * time.Second
	try := func(what string, f func(ctx context.Context) error) {
		for n := 0; ; n++ {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			err := f(ctx)
			cancel()
			if d := time.Since(began); d > limit+time.Second {
				t.Fatalf("%s took %v", what, d)
			}
			if err == nil {
				return
			}
			if n > 1000 {
				t.Fatalf("%s: %v", what, err)
			}
			time.Sleep(5 * time.Millisecond) // as who asks again does
		}
	}
	owner := "first"
	for n := range 100 {
		data := fmt.Sprint("data ", n)
		try("writing", func(ctx context.Context) error {
			lost, err := a.h.PutSessions(ctx, []broadcast.StoredSession{session("p", owner, data, time.Minute), session("q", "a", data, time.Minute)})
			if err == nil && len(lost) > 0 {
				t.Errorf("%s has lost %v", owner, lost)
			}
			return err
		})
		next := fmt.Sprint("owner ", n)
		try("taking", func(ctx context.Context) error {
			d, was, err := b.h.TakeSession(ctx, "p", next, time.Minute)
			if err == nil && (string(d) != data || was != owner) {
				t.Fatalf("%q of %q, not %q of %q", d, was, data, owner)
			}
			return err
		})
		owner = next
	}
}
