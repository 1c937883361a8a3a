package redis_test

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
)

// TestStreams: the cases hold with one stream and with several.
func TestStreams(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redis.StreamsOptions{
		"one":              {},
		"four":             {StreamCount: 4},
		"sharded channels": {UseShardedPubSub: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.Start(t)
			adaptertest.Run(t, adaptertest.Bus{
				Adapter: func(t testing.TB) broadcast.Adapter {
					a, err := redis.NewStreams(srv.Client(t), o)
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

// TestStreamsInCluster: and in a Redis Cluster.
func TestStreamsInCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	adaptertest.Run(t, adaptertest.Bus{
		Adapter: func(t testing.TB) broadcast.Adapter {
			a, err := redis.NewStreams(c.Client(t), redis.StreamsOptions{StreamCount: 3, UseShardedPubSub: true})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
	})
}

// TestStreamsRecovery: sockets come back on other servers. It is not parallel: on a machine
// with too much to do 2 s may not be enough for that.
func TestStreamsRecovery(t *testing.T) {
	srv := redistest.Start(t)
	var links []*adaptertest.Proxy
	adaptertest.RunRecovery(t, adaptertest.Bus{
		World: func(testing.TB, int) { links = nil },
		Adapter: func(t testing.TB) broadcast.Adapter {
			p := adaptertest.NewProxy(t, srv.Addr)
			links = append(links, p)
			c := goredis.NewClient(&goredis.Options{Addr: p.Addr()})
			t.Cleanup(func() { _ = c.Close() })
			a, err := redis.NewStreams(c, redis.StreamsOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Link: func(i int) *adaptertest.Proxy { return links[i] },
		Trim: func(t testing.TB, left int) {
			if err := srv.Client(t).XTrimMaxLen(t.Context(), "socket.io", int64(left)).Err(); err != nil {
				t.Fatal(err)
			}
		},
	})
}
