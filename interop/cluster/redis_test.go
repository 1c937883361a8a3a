// Package cluster_test runs Sockeye beside the reference's servers on one bus.
package cluster_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/interop/cluster/far"
)

var write = flag.Bool("write", false, "write the tables of what has been found into docs")

// need skips a test if the reference's servers are not installed; with CI or SOCKEYE_INTEROP
// set it fails.
func need(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("node_modules/socket.io"); err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("SOCKEYE_INTEROP") != "" {
			t.Fatal("run ci/cluster.sh first")
		}
		t.Skip("ci/cluster.sh installs what this needs")
	}
}

// node starts one of the reference's servers.
func node(t testing.TB, adapter, bus string, options map[string]any) *far.Process {
	t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	return far.Start(t, "Node", "node", "node.mjs", adapter, bus, string(text))
}

type variant struct {
	title, adapter string
	options        map[string]any
	make           func(c goredis.UniversalClient) (broadcast.Adapter, error)
	emitter        func(c goredis.UniversalClient) (redis.Emitter, error) // nil: it is another variant's
}

var variants = []variant{
	{"classic", "classic", nil, func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.New(c, redis.Options{})
	}, func(c goredis.UniversalClient) (redis.Emitter, error) {
		return redis.NewEmitter(c, redis.Options{})
	}},
	{"classic, answers to the asker", "classic", map[string]any{"publishOnSpecificResponseChannel": true, "key": "my*app"}, func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.New(c, redis.Options{PublishOnSpecificResponseChannel: true, Key: "my*app"})
	}, nil},
	{"sharded", "sharded", nil, func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewSharded(c, redis.ShardedOptions{})
	}, func(c goredis.UniversalClient) (redis.Emitter, error) {
		return redis.NewShardedEmitter(c, redis.ShardedOptions{})
	}},
	{"sharded, private", "sharded", map[string]any{"subscriptionMode": "dynamic-private"}, func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewSharded(c, redis.ShardedOptions{SubscriptionMode: redis.DynamicPrivate})
	}, nil},
	{"sharded, static", "sharded", map[string]any{"subscriptionMode": "static"}, func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewSharded(c, redis.ShardedOptions{SubscriptionMode: redis.Static})
	}, nil},
	{"streams", "streams", nil, func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewStreams(c, redis.StreamsOptions{})
	}, func(c goredis.UniversalClient) (redis.Emitter, error) {
		return redis.NewStreamsEmitter(c, redis.StreamsOptions{})
	}},
	{"streams, four", "streams", map[string]any{"streamCount": 4, "useShardedPubSub": true}, func(c goredis.UniversalClient) (broadcast.Adapter, error) {
		return redis.NewStreams(c, redis.StreamsOptions{StreamCount: 4, UseShardedPubSub: true})
	}, func(c goredis.UniversalClient) (redis.Emitter, error) {
		return redis.NewStreamsEmitter(c, redis.StreamsOptions{StreamCount: 4, UseShardedPubSub: true})
	}},
}

// TestRedis: each server does to the other's sockets, and to the other, what it does to its
// own kind's.
func TestRedis(t *testing.T) {
	need(t)
	results := far.Results{Known: func(row, title string, _, to far.Server) string {
		if row == far.Brackets && strings.HasPrefix(title, "classic") && to.Name() == "Node" {
			return "Node does not hear itself, either: its pattern is not escaped"
		}
		return ""
	}}
	for _, v := range variants {
		srv := redistest.Start(t)
		a, err := v.make(srv.Client(t))
		if err != nil {
			t.Fatal(err)
		}
		near, other := far.NewNear(t, "Go", a), node(t, v.adapter, "redis://"+srv.Addr, v.options)
		results.Run(t, v.title, near, other)
		results.Run(t, v.title, other, near)
		if v.emitter == nil {
			continue
		}
		e, err := v.emitter(srv.Client(t))
		if err != nil {
			t.Fatal(err)
		}
		results.Run(t, v.title, far.GoEmitter(near, e), other)
		results.Run(t, v.title, far.GoEmitter(other, e), near)
		if v.adapter == "classic" {
			results.Run(t, v.title, other.NodeEmitter("redis-emitter"), near)
		}
	}
	t.Logf("\n%s", results.Table())
	if *write {
		results.Write(t, "../../docs/cluster-matrix.md", "redis")
	}
}
