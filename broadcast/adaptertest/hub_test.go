package adaptertest_test

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// TestHub: the cases hold where the bus counts servers, and where they count each other.
func TestHub(t *testing.T) {
	run := func(t *testing.T, hub *adaptertest.Hub, o cluster.Options) {
		adaptertest.Run(t, adaptertest.Bus{
			Adapter: func(t testing.TB) broadcast.Adapter { return hub.Adapter(t, o) },
			Cut:     func(_ testing.TB, down bool) { hub.Cut(down) },
		})
	}
	t.Run("counted", func(t *testing.T) { run(t, new(adaptertest.Hub), cluster.Options{}) })
	t.Run("heard of", func(t *testing.T) {
		run(t, &adaptertest.Hub{Uncounted: true}, cluster.Options{HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: time.Second, NamespaceHeartbeats: true})
	})
}

// TestHubRecovery: sockets come back on other servers, by a hub that keeps events.
func TestHubRecovery(t *testing.T) {
	var hub *adaptertest.Hub
	adaptertest.RunRecovery(t, adaptertest.Bus{
		World:   func(testing.TB, int) { hub = new(adaptertest.Hub) },
		Adapter: func(t testing.TB) broadcast.Adapter { return hub.KeepingAdapter(t, cluster.Options{}) },
		Trim:    func(_ testing.TB, left int) { hub.Trim(left) },
	})
}
