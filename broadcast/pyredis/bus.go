package pyredis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/ratelog"
)

// bus is one channel of Redis. One goroutine reads it, subscribes again when the connection
// has ended, and gives everything to the adapter in its order.
type bus struct {
	// Immutable after Open.
	client redis.UniversalClient
	owner  *Adapter
	host   string // names this server on the channel
	tail   string // that all its messages but callbacks end with
	log    *slog.Logger
	warn   *ratelog.Log
	a      *cluster.Adapter

	ctx  context.Context //nolint:containedctx // of the reading goroutine
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
}

const (
	idleTime   = 10 * time.Second // without anything from Redis it is asked, and asked twice it is dead
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

func newBus(client redis.UniversalClient, owner *Adapter) *bus {
	b := &bus{client: client, owner: owner, host: newHost(), done: make(chan struct{})}
	b.tail = string(appendHost(nil, b.host))
	b.log = cmp.Or(owner.o.Logger, slog.Default())
	b.warn = ratelog.New(b.log)
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// newHost is a host_id: 128 random bits as 32 hexadecimal digits.
func newHost() string { return cluster.NewID() + cluster.NewID() }

func (b *bus) Open(a *cluster.Adapter) error {
	b.a = a
	go b.run()
	return nil
}

func (b *bus) run() {
	defer close(b.done)
	backoff, away := minBackoff, false
	for b.ctx.Err() == nil {
		was, err := b.read(func() {
			if away {
				b.log.Info("pyredis: subscribed again", "channel", b.owner.o.Channel)
			}
			away = false
		})
		if b.ctx.Err() != nil {
			return
		}
		if was {
			backoff = minBackoff
		}
		if !away {
			away = true
			b.log.Error("pyredis: the subscription has ended; what other servers send is lost until it is made again", "channel", b.owner.o.Channel, "error", err)
		}
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2+1)):
		case <-b.ctx.Done():
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// read subscribes, and takes what comes until the connection ends. It does not use the
// client's channels, which drop what is not taken in time.
func (b *bus) read(subscribed func()) (was bool, err error) {
	ps := b.client.Subscribe(b.ctx, b.owner.o.Channel)
	defer context.AfterFunc(b.ctx, func() { _ = ps.Close() })()
	defer func() { _ = ps.Close() }()
	asked := false
	for {
		v, err := ps.ReceiveTimeout(b.ctx, idleTime)
		if err != nil {
			var timeout net.Error
			if asked || !errors.As(err, &timeout) || !timeout.Timeout() {
				return was, err
			}
			if err := ps.Ping(b.ctx); err != nil {
				return was, err
			}
			asked = true
			continue
		}
		asked = false
		switch v := v.(type) {
		case *redis.Message:
			b.receive(v.Payload)
		case *redis.Subscription:
			if was {
				return was, errors.New("pyredis: the client has connected again by itself")
			}
			was = true
			subscribed()
		}
	}
}

// receive takes what comes.
func (b *bus) receive(payload string) {
	if strings.HasSuffix(payload, b.tail) {
		return // this server's own
	}
	d, err := decode([]byte(payload))
	switch {
	case err != nil:
		b.a.Ignore(b.owner.o.Channel, err)
	case d == nil:
	case d.m == nil:
		if d.host == b.host {
			b.a.Receive(&cluster.Message{Type: cluster.Heartbeat, Namespace: d.namespace}, len(payload)) // counts it
			b.owner.answered(d)
		}
	case d.host != b.host:
		if d.sid != "" {
			local := b.owner.local(d.namespace)
			if local == nil || !isOwn(local, d.sid) {
				return // it is another server's
			}
		}
		if d.m.RequestID != "" {
			d.m.Timeout = b.owner.o.CallbackTimeout
		}
		b.a.Receive(d.m, len(payload))
	}
}

// Join, Leave and Room have nothing to do: all come by one channel.

func (b *bus) Join(string)               {}
func (b *bus) Leave(string)              {}
func (b *bus) Room(string, string, bool) {}

func (b *bus) Encode(m *cluster.Message) (f cluster.Frame, err error) {
	f.Channel = b.owner.o.Channel
	f.Data, err = encode(b.host, m)
	if err != nil && m.Type == cluster.BroadcastAck {
		b.warn.Warn("answer", "pyredis: an answer cannot be sent", "error", err)
	}
	return f, err
}

// AllArguments: callbacks have them all.
func (b *bus) AllArguments() {}

// once is a command that the client does not repeat when it may have been executed.
type once struct{ *redis.IntCmd }

// NoRetry says so.
func (once) NoRetry() bool { return true }

func publish(ctx context.Context, f *cluster.Frame) once {
	return once{redis.NewIntCmd(ctx, "publish", f.Channel, f.Data)}
}

func (b *bus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	pipe := b.client.Pipeline()
	cmds := make([]once, len(frames))
	for i := range frames {
		cmds[i] = publish(ctx, &frames[i])
		_ = pipe.Process(ctx, cmds[i])
	}
	if _, err = pipe.Exec(ctx); err == nil {
		return len(frames), 0, nil
	}
	rejected := 0
	for i := range cmds {
		e := cmds[i].Err()
		var answer redis.Error
		switch {
		case errors.As(e, &answer) && !notNow(e):
			rejected++
			sent++
			continue
		case e == nil && !isUnsent(err):
			sent++
			continue
		case errors.As(e, &answer), isUnsent(cmp.Or(e, err)):
		default:
			lost = len(cmds) - i
		}
		break
	}
	if rejected > 0 {
		b.a.Reject(rejected)
		b.warn.Warn("refused", "pyredis: messages are refused", "messages", rejected, "error", err)
	}
	if sent == len(frames) {
		err = nil
	}
	return sent, lost, err
}

// isUnsent tells whether an error means that nothing has been written.
func isUnsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}

// notNow tells whether a server's answer means that the same may work soon.
func notNow(err error) bool {
	for _, prefix := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "MOVED", "ASK", "max number of clients", "ERR max number of clients"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

func (b *bus) Ping(ctx context.Context) error { return b.client.Ping(ctx).Err() }

// Others is not told.
func (b *bus) Others(context.Context, string) (int, error) { return 0, broadcast.ErrUnsupported }

// Close ends the subscription. The client is the caller's.
func (b *bus) Close() error {
	b.stop()
	<-b.done
	return nil
}
