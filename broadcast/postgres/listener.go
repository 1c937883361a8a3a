package postgres

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	minBackoff   = 50 * time.Millisecond
	maxBackoff   = 2 * time.Second
	closeTimeout = time.Second
	maxChanges   = 500 // of LISTEN and UNLISTEN in one go
)

// listener holds the connection that listens. One goroutine waits on it; who wants
// another channel interrupts that.
type listener struct {
	// Immutable.
	b *bus

	// Guarded by mu.
	mu        sync.Mutex
	wanted    map[string]string // namespaces, by channel
	asked     int               // how often something has been wanted
	done      int               // what of that PostgreSQL knows
	up        bool
	err       error              // why not; nil before the first attempt
	interrupt context.CancelFunc // nil: nobody waits
	changed   chan struct{}      // closed when done, up or err changes

	// run's own.
	since time.Time // when the connection went; zero: it is up, or was not yet
}

func (l *listener) init(b *bus) {
	l.b = b
	l.wanted, l.changed = map[string]string{}, make(chan struct{})
}

// want notes what is wanted. It does not wait.
func (l *listener) want(channel, namespace string, wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wanted {
		l.wanted[channel] = namespace
	} else if l.wanted[channel] == namespace {
		delete(l.wanted, channel)
	}
	l.asked++
	if l.interrupt != nil {
		l.interrupt()
	}
}

// namespace is whose channel one is.
func (l *listener) namespace(channel string) (name string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, ok = l.wanted[channel]
	return name, ok
}

// ready waits until PostgreSQL knows what is wanted now.
func (l *listener) ready(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.asked
	for l.done < asked || !l.up {
		if !l.up && l.err != nil {
			return l.err
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// set notes what has become of the connection.
func (l *listener) set(up bool, err error, done int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.err, l.done = up, err, done
	close(l.changed)
	l.changed = make(chan struct{})
}

// run keeps a connection that listens, until the bus is closed.
func (l *listener) run() {
	log := l.b.o.Logger
	for backoff := minBackoff; ; {
		began := time.Now()
		err := l.listen()
		if l.b.ctx.Err() != nil {
			return
		}
		l.set(false, err, 0)
		if l.since.IsZero() {
			l.since = time.Now()
			log.Error("postgres: no connection that listens", "error", err)
		}
		if time.Since(began) > maxBackoff {
			backoff = minBackoff
		}
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2+1)):
		case <-l.b.ctx.Done():
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// listen is a connection from its beginning to its end.
func (l *listener) listen() error {
	ctx, cancel := context.WithTimeout(l.b.ctx, l.b.o.SendTimeout)
	defer cancel()
	pooled, err := l.b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	c := pooled.Hijack() // it is no longer among those that others wait for
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = c.Close(ctx)
	}()
	if err := l.b.makeTable(ctx); err != nil {
		l.b.o.Logger.Error("postgres: the table cannot be made", "table", l.b.table, "error", err)
	}
	on := map[string]bool{}
	for first := true; ; first = false {
		done, err := l.follow(c, on)
		if err != nil {
			return err
		}
		l.set(true, nil, done)
		if first && !l.since.IsZero() {
			l.b.o.Logger.Warn("postgres: a connection listens again; what others sent meanwhile is lost", "away", time.Since(l.since).Round(time.Millisecond))
			l.since = time.Time{}
			go l.b.a.Hello()
		}
		if err := l.wait(c, done); err != nil {
			return err
		}
	}
}

// follow listens to what is wanted, and to nothing else.
func (l *listener) follow(c *pgx.Conn, on map[string]bool) (done int, err error) {
	for {
		var sql strings.Builder
		n := 0
		changes := map[string]bool{}
		l.mu.Lock()
		done = l.asked
		for channel := range l.wanted {
			if n < maxChanges && !on[channel] {
				n++
				changes[channel] = true
				sql.WriteString("LISTEN " + quote(channel) + ";")
			}
		}
		for channel := range on {
			if _, ok := l.wanted[channel]; n < maxChanges && !ok {
				n++
				changes[channel] = false
				sql.WriteString("UNLISTEN " + quote(channel) + ";")
			}
		}
		l.mu.Unlock()
		if n == 0 {
			return done, nil
		}
		ctx, cancel := context.WithTimeout(l.b.ctx, l.b.o.SendTimeout)
		_, err := c.PgConn().Exec(ctx, sql.String()).ReadAll()
		cancel()
		if err != nil {
			return 0, err
		}
		for channel, listens := range changes {
			if listens {
				on[channel] = true
			} else {
				delete(on, channel)
			}
		}
	}
}

// wait hands on what comes until something else is wanted.
func (l *listener) wait(c *pgx.Conn, done int) error {
	ctx, cancel := context.WithCancel(l.b.ctx)
	defer cancel()
	l.mu.Lock()
	l.interrupt = cancel
	if l.asked != done {
		cancel()
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.interrupt = nil
		l.mu.Unlock()
	}()
	for {
		// This server's own heartbeats come, too. Where not even they do, the
		// connection may be dead.
		silence, end := context.WithTimeout(ctx, l.b.o.HeartbeatTimeout)
		n, err := c.WaitForNotification(silence)
		end()
		if n != nil {
			l.b.receive(n)
		}
		switch {
		case c.IsClosed():
			return err
		case l.b.ctx.Err() != nil:
			return l.b.ctx.Err()
		case ctx.Err() != nil:
			return nil
		case err != nil:
			ping, end := context.WithTimeout(l.b.ctx, l.b.o.SendTimeout)
			err := c.Ping(ping)
			end()
			if err != nil {
				return err
			}
		}
	}
}
