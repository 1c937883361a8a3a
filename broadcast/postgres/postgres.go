package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Options configure an adapter. In each field 0 means the default. Prefix and Table must be
// the same on all servers.
type Options struct {
	cluster.Options

	// Prefix begins the names of channels, in 38 bytes at most. Default "socket.io".
	Prefix string
	// Table is where large messages are: small letters, digits and _, perhaps after a
	// schema and a dot. Default "socket_io_attachments".
	Table string
	// PayloadThreshold is from how many bytes on a message goes into the table, at most
	// 8000. Default 8000.
	PayloadThreshold int
	// CleanupInterval is how often rows are deleted that are older than that; negative:
	// never. Default 30 s.
	CleanupInterval time.Duration
	// MaxMessageBytes bounds what is read from the table. Default 16 MiB.
	MaxMessageBytes int
}

// Errors of New.
var (
	errNoPool    = errors.New("postgres: no pool is given")
	errNotifies  = errors.New("postgres: the pool's connections have an OnNotification of their own, which would take what is sent")
	errPrefix    = fmt.Errorf("postgres: a prefix has %d bytes at most, and no zero bytes", maxPrefix)
	errTable     = errors.New("postgres: a table's name has small letters, digits and _, and perhaps a schema and a dot before it")
	errThreshold = fmt.Errorf("postgres: the threshold is between 1 and %d bytes", maxNotify)
)

// New makes an adapter on a pool, which stays the user's. It does not wait for PostgreSQL.
func New(pool *pgxpool.Pool, o Options) (*cluster.Adapter, error) {
	f, err := newFormat(pool, o)
	if err != nil {
		return nil, err
	}
	if pool.Config().ConnConfig.OnNotification != nil {
		return nil, errNotifies
	}
	o.NamespaceHeartbeats = true // servers count each other so
	o.HeartbeatTimeout = cmp.Or(o.HeartbeatTimeout, 10*time.Second)
	o.SendTimeout = cmp.Or(o.SendTimeout, 10*time.Second)
	o.CleanupInterval = cmp.Or(o.CleanupInterval, 30*time.Second)
	o.MaxMessageBytes = cmp.Or(o.MaxMessageBytes, 16<<20)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return cluster.New(newBus(f, o), o.Options)
}

// newFormat checks what adapters and emitters have in common.
func newFormat(pool *pgxpool.Pool, o Options) (f format, err error) {
	f = format{pool: pool, prefix: cmp.Or(o.Prefix, "socket.io"), table: cmp.Or(o.Table, "socket_io_attachments"), threshold: cmp.Or(o.PayloadThreshold, maxNotify)}
	switch {
	case pool == nil:
		return f, errNoPool
	case len(f.prefix) > maxPrefix || !isText(f.prefix):
		return f, fmt.Errorf("%w: %q", errPrefix, f.prefix)
	case f.threshold < 1 || f.threshold > maxNotify:
		return f, errThreshold
	}
	parts := strings.Split(f.table, ".")
	for _, p := range parts {
		if len(parts) > 2 || p == "" || len(p) > maxName || p[0] >= '0' && p[0] <= '9' || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return f, fmt.Errorf("%w: %q", errTable, f.table)
		}
	}
	return f, nil
}
