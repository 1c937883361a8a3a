package redis

import (
	"cmp"
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// SubscriptionMode says which rooms have channels of their own. All servers have the same.
type SubscriptionMode string

// The modes of the reference.
const (
	Dynamic        SubscriptionMode = "dynamic"         // rooms, but not the sockets' own
	DynamicPrivate SubscriptionMode = "dynamic-private" // all, the sockets' own included
	Static         SubscriptionMode = "static"          // none
)

// ShardedOptions are NewSharded's. In each field the zero value means the default.
type ShardedOptions struct {
	cluster.Options
	// ChannelPrefix begins the names of all channels. Default "socket.io". With a hash tag,
	// "{socket.io}", one node of a Redis Cluster has all channels: then the order of what is
	// sent to different rooms is kept, and nothing is spread.
	ChannelPrefix string
	// SubscriptionMode is Dynamic by default.
	SubscriptionMode SubscriptionMode
}

// NewSharded joins servers by sharded publish and subscribe, of Redis 7, as createShardedAdapter
// of @socket.io/redis-adapter 8 does. Each channel belongs to one node of a Redis Cluster, by
// its name, and only that node has work with it. What goes to different rooms then goes by
// different nodes: only what goes to the same room, or to the same several rooms, keeps its
// order, unless ChannelPrefix has a hash tag. While one of several nodes cannot be reached,
// what is for its channels is lost, and counted so, without an error.
func NewSharded(client redis.UniversalClient, o ShardedOptions) (*Adapter, error) {
	b := &shardedBus{mode: cmp.Or(o.SubscriptionMode, Dynamic)}
	b.queues = o.QueueWhileDown
	switch b.mode {
	case Dynamic, DynamicPrivate, Static:
	default:
		return nil, fmt.Errorf("redis: SubscriptionMode is %q", b.mode)
	}
	if err := b.init(client, cmp.Or(o.ChannelPrefix, "socket.io"), &o.Options); err != nil {
		return nil, err
	}
	a, err := cluster.New(b, o.Options)
	if err != nil {
		return nil, err
	}
	return &Adapter{Adapter: a, enter: b.enter, private: b.mode == DynamicPrivate}, nil
}

// shardedBus speaks the format of createShardedAdapter.
//
//	prefix#nsp#       everything but answers and what is for one room
//	prefix#nsp#room#  broadcasts to one room
//	prefix#nsp#uid#   answers to one server
type shardedBus struct {
	base
	mode SubscriptionMode
}

func (b *shardedBus) Open(a *cluster.Adapter) error {
	b.a = a
	b.sub = newSubscriber(b.nodes, true, b.log, b.receive)
	return nil
}

func (b *shardedBus) Join(namespace string) {
	if s := b.join(namespace); s != nil {
		b.sub.want(true, s.all, s.all+b.a.UID()+"#")
	}
}

func (b *shardedBus) Leave(namespace string) {
	if s, rooms := b.leave(namespace); s != nil {
		b.sub.want(false, append(rooms, s.all, s.all+b.a.UID()+"#")...)
	}
}

func (b *shardedBus) Room(namespace, room string, exists bool) {
	if b.mode != Static {
		b.setRoom(namespace, room, exists)
	}
}

func (b *shardedBus) Others(ctx context.Context, namespace string) (int, error) {
	s := b.space(namespace)
	if s == nil {
		return 0, nil
	}
	return b.others(ctx, s.all, true)
}

func (b *shardedBus) Encode(m *cluster.Message) (f cluster.Frame, err error) {
	return encodeSharded(b.prefix, m, b.mode)
}

func encodeSharded(prefix string, m *cluster.Message, mode SubscriptionMode) (f cluster.Frame, err error) {
	switch {
	case mode == Static && m.To == "":
		f.Channel = prefix + "#" + m.Namespace + "#"
	default:
		f.Channel = cluster.Channel(prefix, m, mode == DynamicPrivate)
	}
	if len(m.Payload.Attachments) > 0 {
		f.Data, err = cluster.AppendMsgpack(nil, m)
	} else {
		f.Data = cluster.AppendJSON(nil, m)
	}
	return f, err
}

func (b *shardedBus) receive(channel, _, payload string) {
	data := []byte(payload)
	m, err := cluster.Decode(data)
	if err != nil {
		b.a.Ignore(channel, err)
		return
	}
	if s := b.space(m.Namespace); s != nil && b.wants(s, m, channel) {
		b.a.Receive(m, len(data))
	}
}

// wants tells whether a message has come by a channel on which it belongs here: see
// classicBus.wants.
func (b *shardedBus) wants(s *space, m *cluster.Message, channel string) bool {
	if channel == s.all || channel == s.all+b.a.UID()+"#" {
		return true
	}
	room, ok := roomOf(s.all, channel)
	return ok && m.Type == cluster.Broadcast && m.RequestID == "" && len(m.Target.Rooms) == 1 && m.Target.Rooms[0] == room && s.local.HasRoom(room)
}

func (b *shardedBus) Send(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	return b.publishByNode(ctx, frames, func(f *cluster.Frame) (string, []any) {
		return f.Channel, []any{"spublish", f.Channel, f.Data}
	})
}

// Ping tells whether a node answers; see base.Ping.
func (b *shardedBus) Ping(ctx context.Context) error { return b.pingAny(ctx) }
