package postgres_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/postgres"
	"github.com/sockeye-io/sockeye/broadcast/postgres/pgtest"
)

// quick are options for tests.
func quick() postgres.Options {
	return postgres.Options{Options: cluster.Options{
		HeartbeatInterval: 200 * time.Millisecond, HeartbeatTimeout: 2 * time.Second, SendTimeout: 5 * time.Second, Logger: logger(),
	}}
}

// logger writes if SOCKEYE_TEST_LOG is set.
func logger() *slog.Logger {
	if os.Getenv("SOCKEYE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.Default()
}

func newAdapter(t testing.TB, s *pgtest.Server, addr string, o postgres.Options) *cluster.Adapter {
	t.Helper()
	a, err := postgres.New(s.Pool(t, addr), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestConformance: all cases.
func TestConformance(t *testing.T) {
	adaptertest.Run(t, newBus(t))
}

// TestBridged: a bridge joins PostgreSQL and another bus.
func TestBridged(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	adaptertest.Run(t, adaptertest.Bridged(newBus(t), adaptertest.InMemory(log), func(t testing.TB, a, b broadcast.Adapter) broadcast.Adapter {
		br, err := bridge.New(a, b, bridge.Options{Lease: 200 * time.Millisecond, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		return br
	}))
}

// TestFaults: what PostgreSQL does to servers, and what it can do to nobody.
func TestFaults(t *testing.T) {
	adaptertest.RunFaults(t, func(t testing.TB) adaptertest.Faulty {
		s, o := pgtest.Start(t), quick()
		o.HeartbeatTimeout = 10 * time.Second // who cannot be reached is missing, not gone
		return adaptertest.Faulty{
			Addr: s.Addr, Kill: s.Kill, Restart: s.Restart, Unknown: -1,
			Adapter: func(t testing.TB, addr string) broadcast.Adapter { return newAdapter(t, s, addr, o) },
		}
	})
}

// newBus is a PostgreSQL server's.
func newBus(t *testing.T) adaptertest.Bus {
	t.Helper()
	s := pgtest.Start(t)
	return adaptertest.Bus{
		Adapter: func(t testing.TB) broadcast.Adapter { return newAdapter(t, s, "", quick()) },
		Cut:     s.Cut,
	}
}
