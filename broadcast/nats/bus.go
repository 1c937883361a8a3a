package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// bus is a cluster.Bus by NATS.
//
//	NATS -> the connection's reader -> in -> take -> inbox -> deliver -> Adapter.Receive
//
// All subscriptions share the channel in: what comes stays in its order, and a room costs
// no goroutine. take empties it at once.
type bus struct {
	// Immutable after New.
	nc   *nats.Conn
	o    Options
	kept *kept // nil without JetStream
	a    *cluster.Adapter

	topics topics
	in     chan *nats.Msg
	status chan nats.Status
	inbox  *inbox
	ends   sync.WaitGroup // goroutines
	done   chan struct{}

	// Any goroutine (atomic).
	maxPayload atomic.Int64 // of NATS; 0: not known

	// take's own.
	since   time.Time // when the connection went; zero: it is up
	dropped int       // by the library, as far as they are counted
}

// inLen is how many messages the connection's reader may be ahead of take.
const inLen = 1 << 16

func newBus(nc *nats.Conn, o Options) *bus {
	b := &bus{nc: nc, o: o, in: make(chan *nats.Msg, inLen), inbox: newInbox(o.MaxReceived), done: make(chan struct{})}
	b.topics.init(o.Linger)
	return b
}

// Open begins to receive.
func (b *bus) Open(a *cluster.Adapter) error {
	b.a = a
	b.status = b.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	if b.nc.IsConnected() {
		b.maxPayload.Store(b.nc.MaxPayload())
	}
	b.ends.Go(b.take)
	b.ends.Go(b.tend)
	b.ends.Go(b.deliver)
	if b.kept != nil {
		b.ends.Go(b.kept.deliver)
	}
	if b.whole() {
		b.topics.want("", b.kept.prefix+">", true)
		b.ends.Go(b.kept.watch)
	}
	return nil
}

// whole tells whether this server gets all that the stream hands on, by one subscription.
func (b *bus) whole() bool { return b.kept != nil && b.kept.o.Recovery }

// at is where what this server gets of a namespace is published.
func (b *bus) at(space, subject string) string {
	if b.kept != nil && !passes(space, subject) {
		return b.kept.prefix + subject
	}
	return subject
}

// passes tells whether a subject has what a stream does not keep.
func passes(space, subject string) bool {
	rest := subject[len(space):]
	return strings.HasPrefix(rest, ".beat") || strings.HasPrefix(rest, ".node.")
}

// Join subscribes to what concerns a namespace.
func (b *bus) Join(namespace string) {
	at := space(b.o.Prefix, namespace)
	for _, s := range []string{".beat", ".node." + b.a.UID()} {
		b.topics.want(at, at+s, true)
	}
	if b.whole() {
		return
	}
	b.topics.want(at, b.at(at, at+".all"), true)
	b.topics.wantRoom(at, b.at(at, at+".sock."+token(b.a.Server())+".>"), true)
}

// AllRooms subscribes to all rooms at once.
func (b *bus) AllRooms(namespace string) error {
	if b.whole() {
		return nil
	}
	at := space(b.o.Prefix, namespace)
	b.topics.wantAll(at, b.at(at, at+".room.>"), b.at(at, at+".sock.>"))
	return nil
}

// Leave ends that.
func (b *bus) Leave(namespace string) { b.topics.forget(space(b.o.Prefix, namespace)) }

// Room subscribes to a room, or ends that.
func (b *bus) Room(namespace, room string, exists bool) {
	if b.whole() || len(room) == idLen && room[:serverLen] == b.a.Server() {
		return // all of those are subscribed to
	}
	at := space(b.o.Prefix, namespace)
	b.topics.wantRoom(at, b.at(at, roomSubject(at, room)), exists)
}

// Encode makes a frame of a message.
func (b *bus) Encode(m *cluster.Message) (cluster.Frame, error) {
	f, err := encode(b.o.Prefix, m)
	limit := b.maxPayload.Load()
	if b.kept != nil && f.Kind == keep {
		limit = least(limit, b.kept.maxMessage.Load())
	}
	if err == nil && limit > 0 && int64(len(f.Data)) > limit {
		err = fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(f.Data), limit)
	}
	return f, err
}

// least is the least of two limits, of which 0 is none.
func least(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Send hands frames to NATS, and waits until it has them.
func (b *bus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	if !b.nc.IsConnected() { // the library would keep them for later
		return 0, 0, errOffline
	}
	// Who has just joined gets the answers to its first words.
	if _, err := b.topics.tend(b.subscribe); err != nil {
		return 0, 0, err
	}
	b.kept.readFirst(ctx)
	before := b.nc.Stats().Reconnects
	acks := b.kept.begin(len(frames))
	defer func() { acks.end(err) }()
	n := 0
	for _, f := range frames {
		if b.kept != nil && f.Kind == keep {
			err = acks.publish(f, n)
		} else {
			err = b.nc.Publish(f.Channel, f.Data)
		}
		if err != nil {
			break
		}
		n++
	}
	var refused int // the next one is lost, and those behind it may be sent
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrMaxPayload):
		b.maxPayload.Store(b.nc.MaxPayload())
		refused, err = 1, nil
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return 0, n, err
	default:
		return 0, n + 1, err
	}
	if n > 0 {
		if err := b.nc.FlushWithContext(ctx); err != nil {
			return 0, n + refused, err
		}
		if b.nc.Stats().Reconnects != before {
			return 0, n + refused, errReset // what NATS has flushed may be the rest of it
		}
		if done, none, err := acks.wait(ctx, n); err != nil {
			if none {
				return done, 0, err
			}
			return done, n - done + refused, err
		}
	}
	return n, refused, nil
}

// Ping tells whether NATS, and the stream, can be reached.
func (b *bus) Ping(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return errOffline
	}
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if b.kept != nil {
		_, err := b.kept.ensure(ctx)
		return err
	}
	return nil
}

// Others: NATS does not tell.
func (b *bus) Others(context.Context, string) (int, error) { return 0, broadcast.ErrUnsupported }

// Close ends it.
func (b *bus) Close() error {
	close(b.done)
	b.inbox.close()
	if b.kept != nil {
		b.kept.close()
	}
	ended := make(chan struct{})
	go func() { // the connection may be stuck
		b.topics.close()
		if b.kept != nil {
			b.kept.js.CleanupPublisher()
		}
		b.nc.RemoveStatusListener(b.status)
		b.ends.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
	return nil
}

func (b *bus) subscribe(subject string) (*nats.Subscription, error) {
	return b.nc.ChanSubscribe(subject, b.in)
}

// tend subscribes to what is wanted while Send does not.
func (b *bus) tend() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait, err := b.topics.tend(b.subscribe)
		switch {
		case err != nil: // the connection is closed
			wait = time.Second
		case wait == 0:
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-b.topics.kick:
		case <-timer.C:
		case <-b.done:
			return
		}
	}
}

// take moves what comes into the inboxes.
func (b *bus) take() {
	for {
		select {
		case s, ok := <-b.status:
			if !ok {
				return
			}
			b.changed(s)
		case m := <-b.in:
			b.note()
			if len(b.in) >= cap(b.in)-1 {
				b.countDropped()
			}
			b.keep(m)
		case <-b.done:
			return
		}
	}
}

// note takes what has become of the connection before the message at hand came: that was
// told before the connection was made again.
func (b *bus) note() {
	for {
		select {
		case s, ok := <-b.status:
			if !ok {
				return
			}
			b.changed(s)
		default:
			return
		}
	}
}

// changed notes what has become of the connection.
func (b *bus) changed(s nats.Status) {
	if b.kept != nil && s != nats.CONNECTED {
		b.kept.x.lost()
	}
	switch s {
	case nats.CONNECTED:
		b.gap()
		if limit := b.nc.MaxPayload(); limit > 0 {
			b.maxPayload.Store(limit)
		}
		if since := b.since; !since.IsZero() {
			b.since = time.Time{}
			b.o.Logger.Warn("nats: the connection is back", "away", time.Since(since).Round(time.Millisecond), "missed", map[bool]string{true: "is read from the stream", false: "is lost"}[b.kept != nil])
			go b.a.Hello()
		}
	case nats.CLOSED:
		b.o.Logger.Error("nats: the connection is closed: this server is alone")
	default:
		b.gap()
		if b.since.IsZero() {
			b.since = time.Now()
			b.o.Logger.Error("nats: the connection is gone", "error", b.nc.LastError())
		}
	}
}

// gap notes that messages may be missing.
func (b *bus) gap() {
	if b.kept != nil {
		b.kept.inbox.gap()
	}
}

var errSlow = errors.New("they come faster than they are handled")

// countDropped counts what the library has dropped because take was behind.
func (b *bus) countDropped() {
	n := b.topics.dropped()
	if n > b.dropped {
		if b.kept == nil {
			b.a.Miss(n-b.dropped, b.o.Prefix, errSlow)
		}
		b.gap()
	}
	b.dropped = n
}

// keep puts a message where it waits.
func (b *bus) keep(m *nats.Msg) {
	if b.kept != nil && strings.HasPrefix(m.Subject, b.kept.prefix) {
		b.kept.inbox.push(m) // or it is read again
		return
	}
	if !b.inbox.push(m) {
		b.a.Miss(1, m.Subject, errSlow)
	}
}

// deliver hands on what is in the inbox.
func (b *bus) deliver() {
	epoch := uint64(0)
	for {
		m, ok := b.inbox.pop(epoch)
		if !ok {
			return
		}
		epoch = m.epoch
		if m.Msg != nil {
			b.receive(m.Subject, m.Data)
		}
	}
}

// receive hands on a message.
func (b *bus) receive(subject string, data []byte) {
	if b.a.Own(data) {
		return
	}
	m, err := cluster.Decode(data)
	if err != nil {
		b.a.Ignore(subject, err)
		return
	}
	b.a.Receive(m, len(data))
}
