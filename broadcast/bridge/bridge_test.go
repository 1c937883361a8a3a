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
	adaptertest.Run(t, adaptertest.Bridged(adaptertest.InMemory(quiet), adaptertest.InMemory(quiet), func(t testing.TB, a, b broadcast.Adapter) broadcast.Adapter {
		return newBridge(t, a, b)
	}))
}
