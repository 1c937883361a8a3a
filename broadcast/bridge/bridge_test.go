package bridge_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

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

// TestConformance: the cases hold where one server is on one hub, the next on another, and
// the third is the bridge, or one that has nothing else to do.
func TestConformance(t *testing.T) {
	adaptertest.Run(t, adaptertest.Bridged(adaptertest.InMemory(quiet), adaptertest.InMemory(quiet), func(t testing.TB, a, b broadcast.Adapter) broadcast.Adapter {
		return newBridge(t, a, b)
	}))
}
