package cluster_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/broadcast/postgres"
	"github.com/sockeye-io/sockeye/broadcast/postgres/pgtest"
	"github.com/sockeye-io/sockeye/interop/cluster/far"
)

// TestPostgres: the same by PostgreSQL.
func TestPostgres(t *testing.T) {
	need(t)
	// Node publishes by several connections at once, and reads the table while it goes on.
	results := far.Results{Mixed: func(from, to far.Server) bool { return from.Name() != "Go" || to.Name() != "Go" }}
	const title = "PostgreSQL"
	srv := pgtest.Start(t)
	a, err := postgres.New(srv.Pool(t, ""), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	near, other := far.NewNear(t, "Go", a), node(t, "postgres", srv.URL(), nil)
	results.Run(t, title, near, other)
	results.Run(t, title, other, near)
	e, err := postgres.NewEmitter(srv.Pool(t, ""), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	results.Run(t, title, far.GoEmitter(near, e), other)
	results.Run(t, title, far.GoEmitter(other, e), near)

	// Node's servers do not hear Node's emitter: it stands beside one of Go's.
	srv = pgtest.Start(t)
	var pair [2]far.Server
	for i := range pair {
		if a, err = postgres.New(srv.Pool(t, ""), postgres.Options{}); err != nil {
			t.Fatal(err)
		}
		pair[i] = far.NewNear(t, "Go", a)
	}
	emitter := node(t, "postgres", srv.URL(), map[string]any{"channelPrefix": "elsewhere"}).NodeEmitter("postgres-emitter")
	emitter.Server = pair[0]
	results.Run(t, title, emitter, pair[1])
	t.Logf("\n%s", results.Table())
	if *write {
		results.Write(t, "../../docs/cluster-matrix.md", "postgres")
	}
}
