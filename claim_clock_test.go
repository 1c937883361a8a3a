package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// claimer is a server whose sockets claim.
type claimer struct {
	*sockeye.Server
	addr    string
	sockets chan *sockeye.Socket
}

func newClaimer(t *testing.T, a sockeye.Adapter) *claimer {
	t.Helper()
	c := &claimer{sockets: make(chan *sockeye.Socket, 100)}
	c.addr, c.Server = serve(t, sockeye.Config{Adapter: a, Logger: slog.New(slog.DiscardHandler)}, func(srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { c.sockets <- s })
	})
	return c
}

func (c *claimer) connect(t *testing.T) *sockeye.Socket {
	t.Helper()
	wiretest.Connect(t, c.addr)
	return within(t, c.sockets)
}

// wins: a new socket of c claims the key, and keeps it; old, if there is one, goes.
func (c *claimer) wins(t *testing.T, what, key string, old *sockeye.Socket) *sockeye.Socket {
	t.Helper()
	s := c.connect(t)
	if err := s.Claim(t.Context(), key); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if old != nil {
		adaptertest.Eventually(t, what+": the older one goes", func() bool { return !old.Connected() })
	}
	if !s.Connected() {
		t.Fatalf("%s: nobody is left", what)
	}
	return s
}

// answering is a Local without sockets that answers all servers.
type answering struct {
	*adaptertest.Record
	text string
}

func (a answering) ServerEvent(_ broadcast.Payload, answer func(broadcast.Payload)) {
	if answer != nil {
		answer(broadcast.Payload{JSON: []byte(a.text)})
	}
}

// TestClaimGarbage: claims from a time that cannot be are ignored, counted and answered; and
// whatever times others claim at, the next claims win, also on a server that comes later.
func TestClaimGarbage(t *testing.T) {
	hub := new(adaptertest.Hub)
	servers := []*claimer{newClaimer(t, hub.Adapter(t, cluster.Options{})), newClaimer(t, hub.Adapter(t, cluster.Options{}))}
	hostile := hub.Adapter(t, cluster.Options{})
	defer hostile.Close(t.Context())
	r, err := hostile.Join(answering{&adaptertest.Record{ID: "foreig"}, `["older"]`})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixNano()
	ignored := uint64(0)
	for i, c := range []struct {
		at      string
		garbage bool
	}{
		{fmt.Sprint(int64(math.MaxInt64)), true},
		{fmt.Sprint(int64(math.MaxInt64 - 1)), true},
		{fmt.Sprint(int64(math.MinInt64)), false},
		{fmt.Sprint(now + int64(25*time.Hour)), true},
		{fmt.Sprint(now + int64(23*time.Hour)), false},
		{"9223372036854775808", true},
		{`"now"`, true},
	} {
		key := fmt.Sprint("key ", i)
		holder := servers[0].wins(t, c.at, key, nil)
		claim := fmt.Sprintf(`["sockeye:claim",%q,%s,"zzzzzzzzzzzzzzzzzzzz"]`, key, c.at)
		if err := r.ServerEvent(broadcast.Payload{JSON: []byte(claim)}); err != nil {
			t.Fatal(err)
		}
		if c.garbage {
			ignored++
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // what is no claim is not answered
		answers, _ := r.CallServers(ctx, broadcast.Payload{JSON: []byte(claim)})
		cancel()
		for _, a := range answers {
			if got := string(a.JSON) == `["garbage"]`; got != c.garbage {
				t.Errorf("at %s: %s", c.at, a.JSON)
			}
		}
		if c.garbage {
			ignored++
		}
		for i, srv := range servers {
			if n := srv.Stats().Cluster.Ignored; n != ignored {
				t.Errorf("at %s: server %d has ignored %d, not %d", c.at, i, n, ignored)
			}
		}
		if c.garbage && !holder.Connected() {
			t.Errorf("at %s: the holder has gone", c.at)
		}
		second := servers[1].wins(t, c.at, key, holder)
		third := servers[0].wins(t, c.at, key, second)
		later := newClaimer(t, hub.Adapter(t, cluster.Options{}))
		fourth := later.wins(t, c.at, key, third)
		servers[1].wins(t, c.at, key, fourth)
		_ = later.Close()
	}
}

// TestClaimClocks: the newest claim wins wherever the clocks are, on a server that has just
// come, too; and one whose own clock was wrong gives up what it had claimed then.
func TestClaimClocks(t *testing.T) {
	for _, ahead := range []time.Duration{-23 * time.Hour, 0, time.Millisecond, time.Hour, 23 * time.Hour, 25 * time.Hour, 100 * 365 * 24 * time.Hour} {
		hub := new(adaptertest.Hub)
		first := newClaimer(t, hub.Adapter(t, cluster.Options{}))
		what := "ahead by " + ahead.String()
		s := first.wins(t, what, "key", nil)
		first.SetClaimed("key", time.Now().Add(ahead))
		second := newClaimer(t, hub.Adapter(t, cluster.Options{}))
		s = second.wins(t, what+", on a new one", "key", s)
		s = first.wins(t, what+", on the first", "key", s)
		s = first.wins(t, what+", on the same", "key", s)
		second.wins(t, what+", on the second", "key", s)
	}
}

// TestClaimClocksApart: of a server whose clock is more than a day away the claim is told, and
// who has claimed here stays.
func TestClaimClocksApart(t *testing.T) {
	for _, c := range []struct {
		answer string
		apart  bool
	}{
		{`["garbage"]`, true},
		{fmt.Sprintf(`[%d]`, time.Now().Add(25*time.Hour).UnixNano()), true},
		{fmt.Sprintf(`[%d]`, int64(math.MaxInt64)), true},
		{`[null]`, false},
		{`["what?"]`, false},
		{`[]`, false},
		{`[-1]`, false},
	} {
		hub := new(adaptertest.Hub)
		srv := newClaimer(t, hub.Adapter(t, cluster.Options{}))
		other := hub.Adapter(t, cluster.Options{})
		if _, err := other.Join(answering{&adaptertest.Record{ID: "foreig"}, c.answer}); err != nil {
			t.Fatal(err)
		}
		s := srv.connect(t)
		err := s.Claim(t.Context(), "key")
		if c.apart != (err != nil && strings.Contains(err.Error(), "clock")) || !s.Connected() {
			t.Errorf("%s: %v", c.answer, err)
		}
		_ = other.Close(t.Context())
	}
}

// TestClaimAlwaysNewer: a server that always knows of a newer claim is asked twice, not for ever.
func TestClaimAlwaysNewer(t *testing.T) {
	hub := new(adaptertest.Hub)
	srv := newClaimer(t, hub.Adapter(t, cluster.Options{}))
	other := hub.Adapter(t, cluster.Options{})
	defer other.Close(t.Context())
	if _, err := other.Join(answering{&adaptertest.Record{ID: "foreig"}, fmt.Sprintf(`[%d]`, time.Now().Add(time.Hour).UnixNano())}); err != nil {
		t.Fatal(err)
	}
	s := srv.connect(t)
	if err := s.Claim(t.Context(), "key"); !errors.Is(err, sockeye.ErrReplaced) {
		t.Error(err)
	}
	adaptertest.Eventually(t, "it has gone", func() bool { return !s.Connected() })
}

// TestClaimsAtOneInstant: of two claims of one key with the same time, on two servers, one wins.
func TestClaimsAtOneInstant(t *testing.T) {
	hub := new(adaptertest.Hub)
	for round := range 10 {
		open := make(chan struct{})
		servers := []*claimer{
			newClaimer(t, gated{hub.Adapter(t, cluster.Options{}), open}),
			newClaimer(t, gated{hub.Adapter(t, cluster.Options{}), open}),
		}
		list := []*sockeye.Socket{servers[0].connect(t), servers[1].connect(t)}
		ends := make(chan error, 2)
		instant := time.Now().Add(time.Hour)
		for i, s := range list {
			servers[i].SetClaimClock(instant)
			go func() { ends <- s.Claim(t.Context(), "key") }()
		}
		for _, srv := range servers {
			adaptertest.Eventually(t, "both have claimed at one instant", func() bool { return srv.Claimed("key") == instant.UnixNano()+1 })
		}
		close(open)
		lost := 0
		for range list {
			if err := within(t, ends); errors.Is(err, sockeye.ErrReplaced) {
				lost++
			} else if err != nil {
				t.Error(err)
			}
		}
		adaptertest.Eventually(t, "one is left", func() bool { return list[0].Connected() != list[1].Connected() })
		if holds := (servers[0].Claimed("key") != 0) != (servers[1].Claimed("key") != 0); !holds || lost > 1 {
			t.Errorf("round %d: %d have lost, held by one: %v", round, lost, holds)
		}
		for _, srv := range servers {
			_ = srv.Close()
		}
	}
}

// TestClaimUnmet: a claim on a server that does not know of any other yet replaces who holds the
// key; and if that one is newer, it is replaced.
func TestClaimUnmet(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour} {
		hub := &adaptertest.Hub{Uncounted: true}
		open := make(chan struct{})
		first := newClaimer(t, gated{hub.Adapter(t, cluster.Options{}), open})
		holder := first.wins(t, "alone", "key", nil)
		first.SetClaimed("key", time.Now().Add(ahead))
		other := hub.Adapter(t, cluster.Options{})
		defer other.Close(t.Context())
		r, err := other.Join(answering{&adaptertest.Record{ID: "foreig"}, `["older"]`})
		if err != nil {
			t.Fatal(err)
		}
		adaptertest.Eventually(t, "the first has greeted", func() bool {
			n, err := r.Servers(t.Context())
			return err == nil && n == 1
		})
		if err := r.ServerEvent(broadcast.Payload{JSON: []byte(`["x"]`)}); err != nil { // it reads no further
			t.Fatal(err)
		}
		if err := other.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := newClaimer(t, hub.Adapter(t, cluster.Options{}))
		s := second.connect(t)
		if err := s.Claim(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
		close(open)
		older, newer := holder, s
		if ahead > 0 {
			older, newer = s, holder
		}
		adaptertest.Eventually(t, "one is left", func() bool { return !older.Connected() && newer.Connected() })
	}
}

// TestClaimOfGone: who has gone takes the key from nobody.
func TestClaimOfGone(t *testing.T) {
	srv := newClaimer(t, new(adaptertest.Hub).Adapter(t, cluster.Options{}))
	old := srv.wins(t, "first", "key", nil)
	s := srv.wins(t, "second", "key", old)
	if err := old.Claim(t.Context(), "key"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Error(err)
	}
	if !s.Connected() || srv.Claimed("key") == 0 {
		t.Error("the holder has gone")
	}
}
