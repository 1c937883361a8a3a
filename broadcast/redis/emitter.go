package redis

import (
	"cmp"
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Emitter emits to the sockets of all servers from a process that has no server.
type Emitter = cluster.Emitter

// NewEmitter makes an Emitter for servers with New's adapter, or with @socket.io/redis-adapter.
// It publishes what @socket.io/redis-emitter 5 does. Of o, Key counts.
//
// Its methods return when Redis has what is sent. With an error it has arrived perhaps, and
// is not sent again, or not at all; if it has certainly not, the error is
// broadcast.ErrUnavailable.
func NewEmitter(client redis.UniversalClient, o Options) (Emitter, error) {
	prefix := cmp.Or(o.Key, "socket.io")
	return newEmitter(client, prefix, func(m *cluster.Message) (cluster.Frame, string, error) {
		if m.Type != cluster.Broadcast && m.Type != cluster.ServerSideEmit {
			m.UID = "" // as the reference
		}
		f, err := encodeClassic(prefix, m, false)
		return f, "", err
	}, func(f *cluster.Frame) []any { return []any{"publish", f.Channel, f.Data} })
}

// NewShardedEmitter is NewEmitter for servers with NewSharded's adapter. Of o, ChannelPrefix
// and SubscriptionMode count.
func NewShardedEmitter(client redis.UniversalClient, o ShardedOptions) (Emitter, error) {
	prefix, mode := cmp.Or(o.ChannelPrefix, "socket.io"), cmp.Or(o.SubscriptionMode, Dynamic)
	return newEmitter(client, prefix, func(m *cluster.Message) (cluster.Frame, string, error) {
		f, err := encodeSharded(prefix, m, mode)
		return f, f.Channel, err
	}, func(f *cluster.Frame) []any { return []any{"spublish", f.Channel, f.Data} })
}

// NewStreamsEmitter is NewEmitter for servers with NewStreams's adapter. Of o, StreamName,
// StreamCount, MaxLen, ChannelPrefix, UseShardedPubSub and OnlyPlaintext count.
func NewStreamsEmitter(client redis.UniversalClient, o StreamsOptions) (Emitter, error) {
	o.setDefaults()
	return newEmitter(client, o.ChannelPrefix, func(m *cluster.Message) (cluster.Frame, string, error) {
		f, err := encodeStreams(&o, o.ChannelPrefix, m)
		key, _ := o.route(&f)
		return f, key, err
	}, func(f *cluster.Frame) []any {
		_, command := o.route(f)
		return command
	})
}

// newEmitter makes an Emitter of an encoding, which returns what a frame's slot depends on,
// too, and of commands.
func newEmitter(client redis.UniversalClient, prefix string, encode func(m *cluster.Message) (cluster.Frame, string, error), command func(f *cluster.Frame) []any) (Emitter, error) {
	nodes, err := newNodes(client, prefix)
	if err != nil {
		return Emitter{}, err
	}
	return cluster.NewEmitter(nil, func(ctx context.Context, m *cluster.Message) error {
		f, key, err := encode(m)
		if err != nil {
			return err
		}
		for try := 0; ; try++ {
			c, err := nodes.owner(ctx, cmp.Or(key, prefix))
			if err != nil {
				return unavailable(err)
			}
			all, err := run(ctx, c, []once{{redis.NewCmd(ctx, command(&f)...)}})
			switch {
			case err == nil:
				return nil
			case all[0] < notNow:
				return err
			case all[0] == unsent || nodes.cluster == nil || try == maxMoves:
				return unavailable(err)
			}
			nodes.changed(ctx)
			if !pause(ctx, moveWait) {
				return unavailable(ctx.Err())
			}
		}
	}), nil
}

func unavailable(err error) error { return &unavailableError{err} }

// unavailableError is broadcast.ErrUnavailable, and why.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string {
	return broadcast.ErrUnavailable.Error() + ": " + e.err.Error()
}
func (e *unavailableError) Unwrap() []error { return []error{broadcast.ErrUnavailable, e.err} }
