package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// clustered are servers on one hub.
func clustered(t *testing.T, hub *adaptertest.Hub, n int, cfg sockeye.Config, setup func(i int, srv *sockeye.Server)) (servers []*sockeye.Server, addrs []string) {
	t.Helper()
	for i := range n {
		cfg.Adapter = hub.Adapter(t, cluster.Options{})
		addr, srv := serve(t, cfg, func(srv *sockeye.Server) {
			if setup != nil {
				setup(i, srv)
			}
		})
		servers, addrs = append(servers, srv), append(addrs, addr)
	}
	for _, srv := range servers {
		adaptertest.Eventually(t, "the servers know of each other", func() bool {
			k, err := srv.Servers(t.Context())
			return err == nil && k == n
		})
	}
	return servers, addrs
}

// TestClaim: the newest socket replaces the older ones, on every server, with a reason of
// its own.
func TestClaim(t *testing.T) {
	type end struct {
		id     string
		reason sockeye.Reason
		cause  sockeye.Cause
	}
	sockets, ends := make(chan *sockeye.Socket, 10), make(chan end, 10)
	servers, addrs := clustered(t, new(adaptertest.Hub), 2, sockeye.Config{}, func(_ int, srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		srv.OnDisconnect(func(s *sockeye.Socket, r sockeye.Reason) { ends <- end{s.ID(), r, s.DisconnectDetail().Cause} })
	})
	connect := func(i int) (*wiretest.WS, *sockeye.Socket) {
		t.Helper()
		return wiretest.Connect(t, addrs[i]), within(t, sockets)
	}
	claim := func(s *sockeye.Socket, key string) {
		t.Helper()
		if err := s.Claim(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	w1, first := connect(0)
	_, other := connect(0)
	claim(first, "ann")
	claim(first, "ann") // again
	claim(other, "bob")
	w2, second := connect(0) // on the same server
	claim(second, "ann")
	w1.Expect("41")
	if e := within(t, ends); e != (end{first.ID(), sockeye.Replaced, sockeye.CauseReplaced}) {
		t.Errorf("%+v", e)
	}
	if err := first.Claim(t.Context(), "ann"); !errors.Is(err, sockeye.ErrDisconnected) {
		t.Errorf("who has gone claims: %v", err)
	}
	_, third := connect(1) // on another one
	claim(third, "ann")
	w2.Expect("41")
	if e := within(t, ends); e != (end{second.ID(), sockeye.Replaced, sockeye.CauseReplaced}) {
		t.Errorf("%+v", e)
	}
	third.Disconnect()
	within(t, ends)
	_, fourth := connect(0)
	claim(fourth, "ann") // nobody holds it
	if !fourth.Connected() || !other.Connected() {
		t.Error("who holds a key alone has gone")
	}
	if n := servers[0].Stats().DisconnectedBy[sockeye.Replaced]; n != 2 {
		t.Errorf("%d were replaced", n)
	}
}

// TestClaimsAtOnce: of many who claim at the same time one is left, whatever the moment, and
// wherever their servers' clocks are.
func TestClaimsAtOnce(t *testing.T) {
	const servers, rounds, each = 3, 20, 4
	sockets := make(chan *sockeye.Socket, servers*each)
	all, addrs := clustered(t, new(adaptertest.Hub), servers, sockeye.Config{}, func(_ int, srv *sockeye.Server) {
		srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
	})
	for round := range rounds {
		var list []*sockeye.Socket
		for i := range servers * each {
			wiretest.Connect(t, addrs[i%servers])
			list = append(list, within(t, sockets))
		}
		if round%2 == 1 {
			for _, srv := range all {
				srv.SetClaimClock(time.Now().Add(rand.N(10 * time.Hour)))
			}
		}
		key := fmt.Sprint("key ", round)
		var crowd sync.WaitGroup
		for i, s := range list {
			crowd.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := s.Claim(ctx, key)
				if err != nil && !errors.Is(err, sockeye.ErrReplaced) && !errors.Is(err, sockeye.ErrDisconnected) {
					t.Errorf("socket %d: %v", i, err)
				}
			})
		}
		crowd.Wait()
		left := 0
		for _, s := range list {
			if s.Connected() {
				left++
			}
		}
		if left != 1 {
			t.Fatalf("round %d: %d hold the key", round, left)
		}
		for _, srv := range all {
			_ = srv.All().Local().CloseSession()
		}
	}
}

// TestClaimsAndEnds: of two that claim a key at once, on two servers, one of which is shut down
// meanwhile, one is left at most, and whoever claims the key afterwards holds it alone.
func TestClaimsAndEnds(t *testing.T) {
	for round := range 12 {
		sockets := make(chan *sockeye.Socket, 3)
		servers, addrs := clustered(t, new(adaptertest.Hub), 3, sockeye.Config{}, func(_ int, srv *sockeye.Server) {
			srv.OnConnection(func(s *sockeye.Socket) { sockets <- s })
		})
		var list []*sockeye.Socket
		for _, addr := range addrs {
			wiretest.Connect(t, addr)
			list = append(list, within(t, sockets))
		}
		claim := func(s *sockeye.Socket) error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return s.Claim(ctx, "key")
		}
		var crowd sync.WaitGroup
		errs := make([]error, 2)
		for i, s := range list[:2] {
			crowd.Go(func() { errs[i] = claim(s) })
		}
		crowd.Go(func() {
			time.Sleep(time.Duration(round) * 100 * time.Microsecond) // any moment
			_ = servers[1].Close()
		})
		began := time.Now()
		crowd.Wait()
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("a server that has gone was waited for: %v", d)
		}
		if list[1].Connected() {
			t.Error("its server is closed")
		}
		if err := claim(list[2]); err != nil {
			t.Errorf("round %d: %v, after %v", round, err, errs)
		}
		adaptertest.Eventually(t, "it holds the key alone", func() bool { return !list[0].Connected() })
		if !list[2].Connected() {
			t.Error("nobody is left")
		}
	}
}
