package redis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/ratelog"
)

// Adapter is a broadcast.Adapter by Redis.
type Adapter struct {
	*cluster.Adapter
	enter   func(local broadcast.Local)
	private bool
}

var _ broadcast.Adapter = (*Adapter)(nil)

// Join joins a namespace; see broadcast.Adapter.
func (a *Adapter) Join(local broadcast.Local) (broadcast.Remote, error) {
	a.enter(local)
	return a.Adapter.Join(local)
}

// PrivateRooms tells the server whether Remote.Room is to be told of its own sockets, too.
func (a *Adapter) PrivateRooms() bool { return a.private }

// base is what the three have in common.
type base struct {
	// Immutable after Open.
	nodes  nodes
	queues bool   // what waits while Redis is away is wanted afterwards
	prefix string // of all channels
	log    *slog.Logger
	warn   *ratelog.Log
	a      *cluster.Adapter
	sub    *subscriber

	// The sending goroutine's.
	away awayNodes

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
	b.prefix, b.log, b.spaces, b.away = prefix, o.Logger, map[string]*space{}, awayNodes{}
	b.warn = ratelog.New(o.Logger)
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

// joined tells whether a namespace has been joined; if not, not is called before it is.
func (b *base) joined(namespace string, not func()) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if s := b.spaces[namespace]; s != nil && s.joined {
		return true
	}
	not()
	return false
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
	type result struct {
		n   int
		err error
	}
	c := make(chan result, 1)
	go func() { // the client does not look at ctx everywhere
		n, err := b.nodes.count(ctx, channel, sharded)
		c <- result{n, err}
	}()
	select {
	case r := <-c:
		return max(r.n-1, 0), r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// publish sends frames by one node, in order.
func (b *base) publish(ctx context.Context, frames []cluster.Frame) (sent, lost int, err error) {
	c, err := b.nodes.home(ctx)
	if err != nil {
		return 0, 0, err
	}
	cmds := make([]once, len(frames))
	for i := range frames {
		cmds[i] = once{redis.NewCmd(ctx, "publish", frames[i].Channel, frames[i].Data)}
	}
	all, err := run(ctx, c, cmds)
	if err == nil {
		return len(frames), 0, nil
	}
	tried := len(all) // what is behind that has certainly not been executed
	for tried > 0 && all[tried-1] >= notNow {
		tried--
	}
	rejected := 0
	for _, o := range all[:tried] {
		switch o {
		case done:
			sent++
		case refused:
			sent++
			rejected++
		default:
			lost++
		}
	}
	b.reject(rejected, err)
	if sent == len(frames) {
		return sent, 0, nil
	}
	b.nodes.changed(ctx)
	return sent, lost, err
}

// publishByNode sends each frame to the node that has its slot: in order for each node, to
// all nodes at the same time. As long as one node takes something, what others do not take
// is lost: it does not hold up the rest. route returns what a frame's slot depends on, "" for
// the home, and its command.
func (b *base) publishByNode(ctx context.Context, frames []cluster.Frame, route func(f *cluster.Frame) (key string, command []any)) (sent, lost int, err error) {
	type part struct {
		client *redis.Client
		frames []*cluster.Frame
		cmds   []once
		all    []outcome
		err    error
	}
	left := make([]*cluster.Frame, len(frames))
	for i := range frames {
		left[i] = &frames[i]
	}
	rejected := 0
	for try := 0; ; try++ {
		byClient := map[*redis.Client]*part{}
		for _, f := range left {
			key, command := route(f)
			c, e := b.nodes.owner(ctx, cmp.Or(key, b.nodes.key))
			if e != nil {
				return sent, lost + len(left)*min(sent, 1), e // nothing of it has been sent
			}
			p := byClient[c]
			if p == nil {
				p = &part{client: c}
				byClient[c] = p
			}
			p.frames = append(p.frames, f)
			p.cmds = append(p.cmds, once{redis.NewCmd(ctx, command...)})
		}
		var waits sync.WaitGroup
		for _, p := range byClient {
			if until, away := b.away[p.client]; away && len(byClient) > 1 && time.Now().Before(until) {
				p.all, p.err = slices.Repeat([]outcome{unsent}, len(p.cmds)), errAway
				continue
			}
			waits.Go(func() { p.all, p.err = run(ctx, p.client, p.cmds) })
		}
		waits.Wait()
		left = left[:0:0]
		again := false
		for _, p := range byClient {
			delete(b.away, p.client)
			if p.err != nil {
				err = p.err
			}
			for i, o := range p.all {
				switch o {
				case done:
					sent++
				case refused:
					sent++
					rejected++
				case unknown:
					lost++
				default:
					left = append(left, p.frames[i])
					again = again || o == notNow
				}
				if o == unknown || o == unsent {
					b.away[p.client] = time.Now().Add(awayFor)
				}
			}
		}
		if err != nil {
			b.nodes.changed(ctx)
		}
		// The slots are read again meanwhile.
		if !again || b.nodes.cluster == nil || try == maxMoves || !pause(ctx, moveWait) {
			break
		}
	}
	b.reject(rejected, err)
	switch {
	case sent == len(frames):
		return sent, 0, nil
	case sent == 0:
		return 0, lost, err
	}
	lost += len(left)
	b.warn.Warn("lost", "redis: a node of several takes nothing, and messages are lost", "messages", lost, "error", err)
	return sent, lost, nil
}

// reject counts frames that Redis has answered with an error.
func (b *base) reject(n int, err error) {
	if n > 0 {
		b.a.Reject(n)
		b.warn.Warn("refused", "redis: messages are refused", "messages", n, "error", err)
	}
}

const (
	maxMoves = 5
	moveWait = 50 * time.Millisecond
)

var errAway = errors.New("redis: a node cannot be reached")

// Ping tells whether Redis answers, and, if something has been queued for the others,
// whether they hear it.
func (b *base) Ping(ctx context.Context) error {
	return b.heard(b.ping(ctx))
}

// heard is err, or, if something has been queued, why the others may not hear it.
func (b *base) heard(err error) error {
	if err == nil && b.queues {
		err = b.sub.settled()
	}
	return err
}

func (b *base) ping(ctx context.Context) error {
	c, err := b.nodes.home(ctx)
	if err == nil {
		err = ping(ctx, c)
	}
	if err != nil {
		b.nodes.changed(ctx)
	}
	return err
}

// pingAny is Ping for all nodes: whether one answers.
func (b *base) pingAny(ctx context.Context) error {
	if b.nodes.cluster == nil {
		return b.Ping(ctx)
	}
	var answer atomic.Bool
	err := b.nodes.cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		err := ping(ctx, c)
		if err == nil {
			answer.Store(true)
		}
		return err
	})
	if err != nil {
		b.nodes.changed(ctx)
	}
	if answer.Load() {
		err = nil
	}
	return b.heard(err)
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
