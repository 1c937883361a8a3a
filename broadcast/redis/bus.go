package redis

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Adapter is a broadcast.Adapter by Redis.
type Adapter struct {
	*cluster.Adapter
	enter func(local broadcast.Local)
}

var _ broadcast.Adapter = (*Adapter)(nil)

// Join joins a namespace; see broadcast.Adapter.
func (a *Adapter) Join(local broadcast.Local) (broadcast.Remote, error) {
	a.enter(local)
	return a.Adapter.Join(local)
}

// base is what the three have in common.
type base struct {
	// Immutable after Open.
	nodes  nodes
	prefix string // of all channels
	log    *slog.Logger
	a      *cluster.Adapter
	sub    *subscriber

	// Guarded by mu.
	mu     sync.RWMutex
	spaces map[string]*space
}

// space is a namespace.
type space struct {
	// Immutable.
	local broadcast.Local
	all   string // the channel's name for everybody: what those of rooms begin with

	// Guarded by base.mu.
	joined bool
	rooms  map[string]struct{} // that are subscribed to
}

func (b *base) init(client redis.UniversalClient, prefix string, o *cluster.Options) (err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	b.prefix, b.log, b.spaces = prefix, o.Logger, map[string]*space{}
	b.nodes, err = newNodes(client, prefix)
	return err
}

// enter notes a namespace that is about to be joined.
func (b *base) enter(local broadcast.Local) {
	name := local.Name()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spaces[name] = &space{local: local, all: b.prefix + "#" + name + "#", rooms: map[string]struct{}{}}
}

// space returns a namespace, nil if it is not joined.
func (b *base) space(namespace string) *space {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.spaces[namespace]
}

// leave forgets a namespace.
func (b *base) leave(namespace string) (s *space, rooms []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s = b.spaces[namespace]; s == nil || !s.joined {
		return nil, nil
	}
	delete(b.spaces, namespace)
	for room := range s.rooms {
		rooms = append(rooms, s.all+room+"#")
	}
	return s, rooms
}

// join marks a namespace as joined.
func (b *base) join(namespace string) *space {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.spaces[namespace]
	if s != nil {
		s.joined = true
	}
	return s
}

// setRoom subscribes to a room's channel, or no longer.
func (b *base) setRoom(namespace, room string, exists bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.spaces[namespace]
	if s == nil {
		return
	}
	if _, has := s.rooms[room]; has == exists {
		return
	}
	if exists {
		s.rooms[room] = struct{}{}
	} else {
		delete(s.rooms, room)
	}
	b.sub.want(exists, s.all+room+"#")
}

// others is how many other servers are subscribed to a channel, to which this one is, too.
func (b *base) others(ctx context.Context, channel string, sharded bool) (int, error) {
	if err := b.sub.confirmed(ctx, channel); err != nil {
		return 0, err
	}
	n, err := b.nodes.count(ctx, channel, sharded)
	return max(n-1, 0), err
}

// publish sends frames by one node, in order.
func (b *base) publish(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	c, err := b.nodes.home(ctx)
	if err != nil {
		return 0, 0, err
	}
	cmds := make([]once, len(frames))
	for i, f := range frames {
		cmds[i] = once{redis.NewCmd(ctx, "publish", f.Channel, f.Data)}
	}
	ok, refused, lost, err := run(ctx, c, cmds)
	if err != nil && ok < len(cmds) {
		b.nodes.changed(ctx)
		return ok, lost, err
	}
	b.refused(refused, err)
	return ok, lost, nil
}

// refused tells of what Redis does not allow.
func (b *base) refused(n int, err error) {
	if n > 0 {
		b.a.Reject(n, err)
	}
}

// Ping tells whether Redis answers.
func (b *base) Ping(ctx context.Context) error {
	c, err := b.nodes.home(ctx)
	if err == nil {
		err = ping(ctx, c)
	}
	if err != nil {
		b.nodes.changed(ctx)
	}
	return err
}

// Close ends the subscriptions. The client is the caller's.
func (b *base) Close() error {
	b.sub.close()
	return nil
}

// roomOf is the room whose channel begins with all; ok is false if it is not a room's.
func roomOf(all, channel string) (room string, ok bool) {
	rest, ok := strings.CutPrefix(channel, all)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "#")
}
