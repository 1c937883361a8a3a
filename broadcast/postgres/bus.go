package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// bus is a cluster.Bus by PostgreSQL.
type bus struct {
	// Immutable after New.
	format
	o      Options
	a      *cluster.Adapter
	l      listener
	ctx    context.Context //nolint:containedctx // until Close
	cancel context.CancelFunc
	ends   sync.WaitGroup // goroutines

	// Send's. See settle.
	doubt     uint32 // the process; 0 if there is no doubt
	doubtEnds time.Time
}

func newBus(f format, o Options) *bus {
	b := &bus{format: f, o: o}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.l.init(b)
	return b
}

// Open begins to receive.
func (b *bus) Open(a *cluster.Adapter) error {
	b.a = a
	b.ends.Go(b.l.run)
	if b.o.CleanupInterval > 0 {
		b.ends.Go(b.cleanUp)
	}
	return nil
}

// Join listens to a namespace.
func (b *bus) Join(namespace string) { b.l.want(b.channel(namespace), namespace, true) }

// Leave ends that.
func (b *bus) Leave(namespace string) { b.l.want(b.channel(namespace), namespace, false) }

// Room does nothing: a namespace has one channel.
func (b *bus) Room(string, string, bool) {}

// AllRooms: they come all the same.
func (b *bus) AllRooms(string) error { return nil }

// Encode makes a frame of a message.
func (b *bus) Encode(m *cluster.Message) (cluster.Frame, error) { return b.encode(m) }

// Send sends frames, in one transaction.
func (b *bus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	// Who has just joined hears the answers to its first words.
	if err := b.l.ready(ctx); err != nil {
		return 0, 0, err
	}
	for sent < len(frames) {
		next := frames[sent:]
		next = next[:fits(next)]
		sure, err := b.send(ctx, next)
		if code, ok := isFrames(err); ok && sure {
			return b.sendSingly(ctx, code, sent, next)
		}
		switch {
		case err == nil:
			sent += len(next)
		case sure:
			return sent, 0, err
		default:
			return sent, len(next), err
		}
	}
	return sent, 0, nil
}

// send sends frames in one transaction, behind what was sent before.
func (b *bus) send(ctx context.Context, frames []cluster.Frame) (sure bool, err error) {
	c, err := b.pool.Acquire(ctx)
	if err != nil {
		return true, err
	}
	defer c.Release()
	if err := b.settle(ctx, c); err != nil {
		return true, err
	}
	process := c.Conn().PgConn().PID()
	if sure, err = b.format.send(ctx, c, b.a.UID(), frames); err != nil && !sure {
		b.doubt, b.doubtEnds = process, time.Now().Add(maxDoubt)
	}
	return sure, err
}

// maxDoubt is how long a process may take to find out that its connection is over.
const maxDoubt = 5 * time.Second

// settle waits for the end of PostgreSQL's process that may still send what is not known to
// have been sent: it would come behind what is sent from now on.
func (b *bus) settle(ctx context.Context, c *pgxpool.Conn) error {
	for b.doubt != 0 {
		var there bool
		if err := c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)`, b.doubt).Scan(&there); err != nil {
			return err
		}
		if !there || time.Now().After(b.doubtEnds) {
			b.doubt = 0
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// codeNoTable is the error that there is no such table.
const codeNoTable = "42P01"

// sendSingly finds out which of the frames PostgreSQL does not take, and loses that.
func (b *bus) sendSingly(ctx context.Context, code string, sent int, frames []cluster.Frame) (int, int, error) {
	if code == codeNoTable {
		if err := b.makeTable(ctx); err != nil {
			b.o.Logger.Error("postgres: the table cannot be made", "table", b.table, "error", err)
		}
	}
	for i := range frames {
		sure, err := b.send(ctx, frames[i:i+1])
		switch _, ok := isFrames(err); {
		case err == nil:
			sent++
		case ok && sure:
			b.o.Logger.Error("postgres: a message is lost: PostgreSQL refuses it", "channel", frames[i].Channel, "bytes", len(frames[i].Data), "error", err)
			return sent, 1, nil
		case sure:
			return sent, 0, err
		default:
			return sent, 1, err
		}
	}
	return sent, 0, nil
}

// Ping tells whether PostgreSQL can be reached, both ways.
func (b *bus) Ping(ctx context.Context) error {
	if err := b.l.ready(ctx); err != nil {
		return err
	}
	return b.pool.Ping(ctx)
}

// Others: PostgreSQL does not tell.
func (b *bus) Others(context.Context, string) (int, error) { return 0, broadcast.ErrUnsupported }

// Close ends it.
func (b *bus) Close() error {
	b.cancel()
	ended := make(chan struct{})
	go func() {
		b.ends.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
	}
	return nil
}

// makeTable makes the table if it is missing.
func (b *bus) makeTable(ctx context.Context) error {
	var there bool
	if err := b.pool.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, b.table).Scan(&there); err != nil || there {
		return err
	}
	_, err := b.pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS `+b.table+` (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)`)
	if e := new(pgconn.PgError); errors.As(err, &e) && (e.Code == "23505" || e.Code == "42P07") {
		return nil // another server has made it at the same time
	}
	return err
}

// cleanUp deletes old rows.
func (b *bus) cleanUp() {
	t := time.NewTicker(b.o.CleanupInterval)
	defer t.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-t.C:
		}
		ctx, cancel := context.WithTimeout(b.ctx, b.o.SendTimeout)
		_, err := b.pool.Exec(ctx, `DELETE FROM `+b.table+` WHERE created_at < now() - make_interval(secs => $1)`, b.o.CleanupInterval.Seconds())
		cancel()
		if err != nil && b.ctx.Err() == nil {
			if code, _ := isFrames(err); code != codeNoTable {
				b.o.Logger.Warn("postgres: old rows cannot be deleted", "table", b.table, "error", err)
			}
		}
	}
}

// receive takes a notification.
func (b *bus) receive(n *pgconn.Notification) {
	namespace, ok := b.l.namespace(n.Channel)
	payload := []byte(n.Payload)
	if !ok || b.a.Own(payload) {
		return
	}
	h, attached, err := readHeader(payload)
	if err != nil {
		b.a.Ignore(n.Channel, err)
		return
	}
	if attached {
		if h.UID == b.a.UID() {
			return
		}
		if payload = b.attachment(n.Channel, h.AttachmentID.n); payload == nil {
			return
		}
	}
	m, err := cluster.Decode(payload)
	if err != nil {
		b.a.Ignore(n.Channel, err)
		return
	}
	m.Namespace = namespace // @socket.io/postgres-emitter does not write it
	b.a.Receive(m, len(payload))
}

// attachment reads a message from the table. It is nil, and counted, if that cannot be done.
func (b *bus) attachment(channel string, id int64) (payload []byte) {
	const tries = 3
	for i := 1; ; i++ {
		ctx, cancel := context.WithTimeout(b.ctx, b.o.SendTimeout)
		var size int
		err := b.pool.QueryRow(ctx, `SELECT coalesce(octet_length(payload), 0), CASE WHEN octet_length(payload) <= $2 THEN payload END FROM `+b.table+` WHERE id = $1`, id, b.o.MaxMessageBytes).Scan(&size, &payload)
		cancel()
		_, ours := isFrames(err)
		switch {
		case err == nil && payload != nil:
			return payload
		case err == nil:
			b.a.Ignore(channel, fmt.Errorf("a message of %d bytes is refused", size))
			return nil
		case errors.Is(err, pgx.ErrNoRows):
			b.a.Miss(1, channel, fmt.Errorf("row %d of %s is no longer there", id, b.table))
			return nil
		case b.ctx.Err() != nil:
			return nil
		case i == tries || ours:
			b.a.Miss(1, channel, err)
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-b.ctx.Done():
			return nil
		}
	}
}
