package adaptertest

import (
	"log/slog"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// InMemory is a Hub, a new one for each world.
func InMemory(log *slog.Logger) Bus {
	var h *Hub
	return Bus{
		World:   func(testing.TB, int) { h = new(Hub) },
		Adapter: func(t testing.TB) broadcast.Adapter { return h.Adapter(t, cluster.Options{Logger: log}) },
		Cut:     func(_ testing.TB, down bool) { h.Cut(down) },
	}
}

// Bridged are two buses as one: a has the first server, b the second, and join makes the
// bridge between them, which is the third server, or one that has nothing else to do.
func Bridged(a, b Bus, join func(t testing.TB, a, b broadcast.Adapter) broadcast.Adapter) Bus {
	next, servers := 0, 0
	bridge := func(t testing.TB) broadcast.Adapter { return join(t, a.Adapter(t), b.Adapter(t)) }
	all := a
	all.Bridged = true
	all.World = func(t testing.TB, n int) {
		for _, bus := range []Bus{a, b} {
			if bus.World != nil {
				bus.World(t, n)
			}
		}
		if next, servers = 0, n; n == 2 {
			serveNames(t, bridge(t))
		}
	}
	all.Adapter = func(t testing.TB) broadcast.Adapter {
		next++
		switch {
		case next == 1:
			return a.Adapter(t)
		case next == 2:
			return b.Adapter(t)
		case next == 3 && servers == 3:
			return bridge(t)
		}
		t.Fatal("too many servers")
		return nil
	}
	all.Cut = func(t testing.TB, down bool) {
		a.Cut(t, down)
		b.Cut(t, down)
	}
	return all
}

// serveNames starts a server that has all namespaces that the cases use, as the others have.
func serveNames(t testing.TB, a broadcast.Adapter) {
	t.Helper()
	srv, err := sockeye.New(sockeye.Config{Adapter: a, Loops: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	if _, err := srv.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	for _, name := range Names {
		if name != "new\nline" && name != "a,b" && name != "?" { // the protocol's own bounds
			srv.Of("/" + name)
		}
	}
}
