package redis_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
)

// TestClassic: the cases hold over one server.
func TestClassic(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	adaptertest.Run(t, adaptertest.Bus{
		Adapter: func(t testing.TB) broadcast.Adapter {
			a, err := redis.New(srv.Client(t), redis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Cut: srv.Cut,
	})
}

// TestClassicInCluster: and in a Redis Cluster.
func TestClassicInCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	adaptertest.Run(t, adaptertest.Bus{
		Adapter: func(t testing.TB) broadcast.Adapter {
			a, err := redis.New(c.Client(t), redis.Options{PublishOnSpecificResponseChannel: true})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
	})
}
