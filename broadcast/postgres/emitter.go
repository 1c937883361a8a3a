package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// NewEmitter makes an Emitter: it tells servers what to do, from a process that has none, as
// @socket.io/postgres-emitter does. The table is there if a server is. Of the options,
// Prefix, Table and PayloadThreshold count.
//
// Messages name their namespace, which @socket.io/postgres-emitter 0.1.1 leaves out:
// servers with @socket.io/postgres-adapter 0.5.0 take no message without it. Sockeye's do.
func NewEmitter(pool *pgxpool.Pool, o Options) (cluster.Emitter, error) {
	f, err := newFormat(pool, o)
	if err != nil {
		return cluster.Emitter{}, err
	}
	return cluster.NewEmitter(func(ctx context.Context, m *cluster.Message) error {
		frame, err := f.encode(m)
		if err != nil {
			return err
		}
		c, err := f.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Release()
		_, err = f.send(ctx, c, m.UID, []cluster.Frame{frame})
		return err
	}), nil
}
