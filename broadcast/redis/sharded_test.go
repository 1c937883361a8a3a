package redis_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
)

// TestSharded: the cases hold over one server.
func TestSharded(t *testing.T) {
	t.Parallel()
	for _, mode := range []redis.SubscriptionMode{redis.Dynamic, redis.DynamicPrivate} {
		t.Run(string(mode), func(t *testing.T) {
			srv := redistest.Start(t)
			adaptertest.Run(t, adaptertest.Bus{
				Adapter: func(t testing.TB) broadcast.Adapter {
					a, err := redis.NewSharded(srv.Client(t), redis.ShardedOptions{SubscriptionMode: mode})
					if err != nil {
						t.Fatal(err)
					}
					return a
				},
				Cut: srv.Cut,
			})
		})
	}
}

// TestShardedInCluster: and in a Redis Cluster, where each channel is on one of three nodes;
// with a hash tag all are on one.
func TestShardedInCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	for _, prefix := range []string{"", "{socket.io}"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			adaptertest.Run(t, adaptertest.Bus{
				Adapter: func(t testing.TB) broadcast.Adapter {
					a, err := redis.NewSharded(c.Client(t), redis.ShardedOptions{ChannelPrefix: prefix})
					if err != nil {
						t.Fatal(err)
					}
					return a
				},
				OrderByRoom: prefix == "",
			})
		})
	}
}
