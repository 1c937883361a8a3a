// Package postgres joins servers by PostgreSQL: by NOTIFY, in the format of
// @socket.io/postgres-adapter 0.5.0, so that Node's servers with that adapter are in the
// same rooms.
//
//	pool, err := pgxpool.New(ctx, url)
//	adapter, err := postgres.New(pool, postgres.Options{})
//	srv, err := sockeye.New(sockeye.Config{Adapter: adapter})
//
// A namespace has one channel, socket.io#/chat, on which every server listens. A message is
// JSON. What has binary in it, or 8000 bytes and more, which NOTIFY does not take, goes as
// MessagePack into a table, and its id over the channel; old rows are deleted.
//
//	queue -> one transaction of up to 256 messages -> NOTIFY
//	LISTEN -> one connection, which waits -> the table, if need be -> Adapter.Receive
//
// The adapter takes one connection out of the pool, for LISTEN, and borrows others. LISTEN
// does not work through PgBouncer's transaction mode. The table is made if it is missing and
// the user may do that:
//
//	CREATE TABLE socket_io_attachments (
//		id         bigserial UNIQUE,
//		created_at timestamptz DEFAULT NOW(),
//		payload    bytea
//	);
//
// PostgreSQL's names have 63 bytes. Where that of a channel would be longer, or is no text
// for PostgreSQL, it is socket.io#~ and a hash: Sockeye's servers then reach each other, but
// none of Node's, whose adapter cannot send there at all.
//
// NOTIFY keeps nothing: what others send while a server has no connection to PostgreSQL
// does not reach it.
package postgres
