package cluster_test

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/bridge"
	"github.com/sockeye-io/sockeye/broadcast/pyredis"
	"github.com/sockeye-io/sockeye/broadcast/redis"
	"github.com/sockeye-io/sockeye/broadcast/redis/redistest"
	"github.com/sockeye-io/sockeye/interop/cluster/far"
)

// TestBridge: a server of Go's joins a cluster of Node's and one of Python's.
func TestBridge(t *testing.T) {
	need(t)
	var results far.Results
	for _, v := range []struct {
		title, adapter, kind string
		options              map[string]any
		make                 func(t testing.TB, srv *redistest.Server) (broadcast.Adapter, error)
	}{
		{"classic and python-socketio", "classic", "socketio", nil, func(t testing.TB, srv *redistest.Server) (broadcast.Adapter, error) {
			return redis.New(srv.Client(t), redis.Options{})
		}},
		{"streams and Flask-SocketIO", "streams", "flask", nil, func(t testing.TB, srv *redistest.Server) (broadcast.Adapter, error) {
			return redis.NewStreams(srv.Client(t), redis.StreamsOptions{})
		}},
		{"sharded, static and python-socketio, asyncio", "sharded", "asyncio", map[string]any{"subscriptionMode": "static"}, func(t testing.TB, srv *redistest.Server) (broadcast.Adapter, error) {
			return redis.NewSharded(srv.Client(t), redis.ShardedOptions{SubscriptionMode: redis.Static})
		}},
	} {
		srv := redistest.Start(t)
		js, py := node(t, v.adapter, "redis://"+srv.Addr, v.options), python(t, v.kind, "redis://"+srv.Addr)
		a, err := v.make(t, srv)
		if err != nil {
			t.Fatal(err)
		}
		b, err := pyredis.New(srv.Client(t), pyredis.Options{Channel: channels[v.kind]})
		if err != nil {
			t.Fatal(err)
		}
		br, err := bridge.New(a, b, bridge.Options{Names: [2]string{"node", "python"}, Lease: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		near := far.NewNear(t, "Go", br)
		adaptertest.Eventually(t, "the bridge is at work", br.AtWork)
		for _, d := range [][2]far.Server{{js, py}, {py, js}, {near, js}, {js, near}, {near, py}, {py, near}} {
			runPython(t, &results, v.title, d[0], d[1], near)
		}
		if s := br.Stats(); s.Ignored != 0 || s.Lost != 0 || s.Refused != 0 {
			t.Errorf("%+v", s)
		}
	}
	t.Logf("\n%s", results.Table())
	if *write {
		results.Write(t, "../../docs/cluster-matrix.md", "bridge")
	}
}
