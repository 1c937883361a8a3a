package nats_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/nats"
)

// quick are options for tests.
func quick(more ...func(o *nats.Options)) nats.Options {
	o := nats.Options{Options: cluster.Options{
		HeartbeatInterval: 200 * time.Millisecond, HeartbeatTimeout: 2 * time.Second, SendTimeout: 2 * time.Second,
		Logger: logger(),
	}}
	for _, f := range more {
		f(&o)
	}
	return o
}

func withStream(o *nats.Options) { o.JetStream = &nats.JetStream{} }

func newAdapter(t testing.TB, addr string, o nats.Options) *cluster.Adapter {
	t.Helper()
	a, err := nats.New(connect(t, addr), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestConformance: all cases, with and without JetStream, and with recovery.
func TestConformance(t *testing.T) {
	t.Run("recovery", func(t *testing.T) { adaptertest.Run(t, newBus(t, quick(withRecovery))) })
	t.Run("core", func(t *testing.T) { adaptertest.Run(t, newBus(t, quick())) })
	t.Run("JetStream", func(t *testing.T) { adaptertest.Run(t, newBus(t, quick(withStream))) })
}

// TestBridged: a bridge joins NATS and another bus.
func TestBridged(t *testing.T) {
	join := func(t testing.TB, a, b broadcast.Adapter) broadcast.Adapter {
		br, err := bridge.New(a, b, bridge.Options{Lease: 200 * time.Millisecond, Logger: logger()})
		if err != nil {
			t.Fatal(err)
		}
		return br
	}
	t.Run("core", func(t *testing.T) {
		adaptertest.Run(t, adaptertest.Bridged(adaptertest.InMemory(logger()), newBus(t, quick()), join))
	})
	t.Run("JetStream", func(t *testing.T) {
		adaptertest.Run(t, adaptertest.Bridged(newBus(t, quick(withStream)), adaptertest.InMemory(logger()), join))
	})
}

// TestFaults: what NATS does to servers, and what it can do to nobody.
func TestFaults(t *testing.T) {
	run := func(o nats.Options) func(t *testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			adaptertest.RunFaults(t, func(t testing.TB) adaptertest.Faulty {
				s := startServer(t, o.JetStream != nil)
				f := adaptertest.Faulty{
					Addr: s.addr(), Kill: s.kill, Restart: s.start, Unknown: -1,
					Adapter: func(t testing.TB, addr string) broadcast.Adapter { return newAdapter(t, addr, o) },
				}
				if o.JetStream != nil {
					f.Unknown = 0
				}
				return f
			})
		}
	}
	slow := func(o *nats.Options) { o.HeartbeatTimeout = 10 * time.Second } // who cannot be reached is missing, not gone
	t.Run("core", run(quick(slow)))
	t.Run("JetStream", run(quick(slow, withStream)))
	t.Run("recovery", run(quick(slow, withRecovery)))
}

// newBus is a NATS server's.
func newBus(t *testing.T, o nats.Options) adaptertest.Bus {
	t.Helper()
	s := startServer(t, o.JetStream != nil)
	return adaptertest.Bus{
		Adapter: func(t testing.TB) broadcast.Adapter { return newAdapter(t, s.addr(), o) },
		Cut: func(t testing.TB, down bool) {
			if down {
				s.kill()
			} else {
				s.start(t)
			}
		},
	}
}

// logger writes if SOCKEYE_TEST_LOG is set.
func logger() *slog.Logger {
	if os.Getenv("SOCKEYE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.Default()
}
