package adaptertest_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

func TestHub(t *testing.T) {
	for name, o := range map[string]cluster.Options{"counted": {}} {
		t.Run(name, func(t *testing.T) {
			var hub *adaptertest.Hub
			_ = hub
			h := new(adaptertest.Hub)
			adaptertest.Run(t, adaptertest.Bus{
				Adapter: func(t testing.TB) broadcast.Adapter { return h.Adapter(t, o) },
				Cut:     func(_ testing.TB, down bool) { h.Cut(down) },
			})
		})
	}
}
