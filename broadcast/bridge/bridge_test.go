package bridge_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const lease = 200 * time.Millisecond

func newBridge(t testing.TB, a, b broadcast.Adapter) *bridge.Bridge {
	t.Helper()
	br, err := bridge.New(a, b, bridge.Options{Lease: lease, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return br
}

// serve starts a server that has every namespace that is asked for, as the others have.
func serve(t testing.TB, a broadcast.Adapter) *sockeye.Server {
	t.Helper()
	srv, err := sockeye.New(sockeye.Config{Adapter: a, Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	if _, err := srv.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return srv
}

// TestConformance: the cases hold where one server is on one hub, the next on another, and
// the third is the bridge, or one that has nothing else to do.
func TestConformance(t *testing.T) {
	var a, b *adaptertest.Hub
	next, servers := 0, 0
	o := cluster.Options{Logger: quiet}
	adaptertest.Run(t, adaptertest.Bus{
		Bridged: true,
		World: func(t testing.TB, n int) {
			a, b, next, servers = new(adaptertest.Hub), new(adaptertest.Hub), 0, n
			if n == 2 {
				srv := serve(t, newBridge(t, a.Adapter(t, o), b.Adapter(t, o)))
				for _, name := range adaptertest.Names {
					if name != "new\nline" && name != "a,b" && name != "?" { // the protocol's own bounds
						srv.Of("/" + name)
					}
				}
			}
		},
		Adapter: func(t testing.TB) broadcast.Adapter {
			next++
			switch {
			case next == 1:
				return a.Adapter(t, o)
			case next == 2:
				return b.Adapter(t, o)
			case next == 3 && servers == 3:
				return newBridge(t, a.Adapter(t, o), b.Adapter(t, o))
			}
			t.Fatal("too many servers")
			return nil
		},
		Cut: func(_ testing.TB, down bool) {
			a.Cut(down)
			b.Cut(down)
		},
	})
}
