package redis

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// subscriber keeps subscriptions as they are wanted: it makes them again when a connection
// has ended, and where another node of a Redis Cluster has their slots.
//
//	want -> dirty -> one goroutine finds each channel's node -> a session for each node
//	session: one connection; one goroutine writes commands, one reads what comes
//
// A subscription is made at once, and ended some time after nobody wants it: what comes and
// goes often costs nothing then.
type subscriber struct {
	// Immutable after start.
	nodes   nodes
	sharded bool
	receive func(channel, pattern, payload string) // called by one goroutine of each session
	log     *slog.Logger
	stop    context.CancelFunc
	ctx     context.Context //nolint:containedctx // of all its goroutines
	wake    chan struct{}
	all     sync.WaitGroup

	// Guarded by mu.
	mu       sync.Mutex
	subs     map[string]*subscription // by channel; patterns with a mark in front
	dirty    map[*subscription]struct{}
	sessions map[string]*session // by the node's address
	away     map[string]*away    // by address; "" where a node cannot be found
	err      error               // of the session that has ended last; nil once one works
	since    time.Time           // when a session was last made to work
	changed  chan struct{}       // closed when a subscription or err changes
}

const (
	// linger is how long a subscription is kept that nobody wants.
	linger = 500 * time.Millisecond

	idle        = 3 * time.Second  // from when on a connection is tried with a PING
	dead        = 10 * time.Second // from when on a connection that says nothing is given up
	minBackoff  = 50 * time.Millisecond
	maxBackoff  = time.Second
	maxChannels = 1000 // in one command
)

// away is a node that cannot be reached.
type away struct {
	tries int
	until time.Time // when it is tried again
}

// patternMark begins the key of a pattern.
const patternMark = "\x00pattern "

// subscription is a channel or a pattern.
type subscription struct {
	// Immutable.
	key     string
	name    string // of the channel, or the pattern
	pattern bool

	// Guarded by the subscriber's mu.
	wanted    int       // by how many
	unwanted  time.Time // since when nobody wants it
	session   *session  // nil: it is nowhere
	sent      bool      // the session has written the command
	confirmed bool      // and the server has answered
}

func newSubscriber(n nodes, sharded bool, log *slog.Logger, receive func(channel, pattern, payload string)) *subscriber {
	s := &subscriber{
		nodes: n, sharded: sharded, receive: receive, log: log,
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
		subs: map[string]*subscription{}, dirty: map[*subscription]struct{}{}, sessions: map[string]*session{}, away: map[string]*away{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.all.Go(s.run)
	return s
}

// close ends it; nothing is received afterwards.
func (s *subscriber) close() {
	s.stop()
	s.all.Wait()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// want subscribes to channels, one time more for each, or one time less.
func (s *subscriber) want(more bool, channels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range channels {
		s.wantOne(more, c, c, false)
	}
	signal(s.wake)
}

// wantPattern is want for a pattern.
func (s *subscriber) wantPattern(more bool, pattern string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wantOne(more, patternMark+pattern, pattern, true)
	signal(s.wake)
}

func (s *subscriber) wantOne(more bool, key, name string, pattern bool) {
	u := s.subs[key]
	if u == nil {
		if !more {
			return
		}
		u = &subscription{key: key, name: name, pattern: pattern}
		s.subs[key] = u
	}
	if more {
		u.wanted++
	} else if u.wanted--; u.wanted == 0 {
		u.unwanted = time.Now()
	}
	s.dirty[u] = struct{}{}
}

// tell wakes those who wait for a change. mu is held.
func (s *subscriber) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// confirmed waits until a channel is subscribed to. It does not wait while no session can
// be had.
func (s *subscriber) confirmed(ctx context.Context, channel string) error {
	for {
		s.mu.Lock()
		u, err, changed := s.subs[channel], s.err, s.changed
		ok := u != nil && u.confirmed
		s.mu.Unlock()
		switch {
		case ok:
			return nil
		case u == nil:
			return errors.New("redis: not subscribed")
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle is when others that have lost their subscriptions together with this server have
// theirs again.
const settle = 2 * maxBackoff

// settled is an error while the others may not have subscribed again.
func (s *subscriber) settled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && time.Since(s.since) < settle {
		return errSettling
	}
	return s.err
}

var errSettling = errors.New("redis: the other servers may not have subscribed again")

// run gives subscriptions to sessions.
func (s *subscriber) run() {
	for {
		var timer <-chan time.Time
		if d, ok := s.assign(); ok {
			timer = time.After(d)
		}
		select {
		case <-s.wake:
		case <-timer:
		case <-s.ctx.Done():
			return
		}
	}
}

// assign looks at what is dirty; it returns when to look again.
func (s *subscriber) assign() (again time.Duration, ok bool) {
	now := time.Now()
	later := func(d time.Duration) {
		if d = max(d, time.Millisecond); !ok || d < again {
			again, ok = d, true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dirty := s.dirty
	s.dirty = make(map[*subscription]struct{}, min(len(dirty), 64))
	for u := range dirty {
		switch {
		case u.wanted > 0 && u.session == nil:
			c, wait := s.sessionOf(u)
			if c == nil {
				s.dirty[u] = struct{}{}
				later(wait)
				break
			}
			u.session = c
			c.todo[u] = struct{}{}
			signal(c.wake)
		case u.wanted > 0 && u.sent:
		case u.wanted > 0: // it was unwanted when the session looked
			u.session.todo[u] = struct{}{}
			signal(u.session.wake)
		case u.session == nil:
			if s.subs[u.key] == u {
				delete(s.subs, u.key)
			}
		default:
			if d := linger - now.Sub(u.unwanted); d > 0 {
				s.dirty[u] = struct{}{}
				later(d)
				break
			}
			u.session.todo[u] = struct{}{}
			signal(u.session.wake)
		}
	}
	return again, ok
}

// sessionOf is the session for a subscription; nil if there is none for some time. mu is
// held, but for the looking up.
func (s *subscriber) sessionOf(u *subscription) (*session, time.Duration) {
	if a := s.away[""]; a != nil && time.Until(a.until) > 0 {
		return nil, time.Until(a.until)
	}
	s.mu.Unlock()
	var client *redis.Client
	var err error
	if s.sharded {
		client, err = s.nodes.owner(s.ctx, u.name)
	} else {
		client, err = s.nodes.home(s.ctx)
	}
	s.mu.Lock()
	if err != nil {
		return nil, s.failed("", err)
	}
	delete(s.away, "")
	if s.ctx.Err() != nil || u.session != nil || u.wanted <= 0 {
		return nil, 0 // meanwhile
	}
	addr := client.Options().Addr
	if a := s.away[addr]; a != nil && time.Until(a.until) > 0 {
		return nil, time.Until(a.until)
	}
	c := s.sessions[addr]
	if c == nil {
		c = &session{s: s, client: client, addr: addr, wake: make(chan struct{}, 1), todo: map[*subscription]struct{}{}}
		s.sessions[addr] = c
		s.all.Go(c.run)
	}
	return c, 0
}

// failed notes that a node cannot be reached; it returns for how long it is left alone. mu
// is held.
func (s *subscriber) failed(addr string, err error) time.Duration {
	if s.err == nil && s.ctx.Err() == nil {
		s.log.Error("redis: nothing comes from the other servers for now", "node", addr, "error", err)
	}
	s.err = err
	a := s.away[addr]
	if a == nil {
		a = new(away)
		s.away[addr] = a
	}
	wait := min(minBackoff<<min(a.tries, 10), maxBackoff)
	wait = wait/2 + rand.N(wait/2+1)
	a.tries++
	a.until = time.Now().Add(wait)
	s.tell()
	return wait
}

// session is one connection with subscriptions.
type session struct {
	// Immutable.
	s      *subscriber
	client *redis.Client
	addr   string
	wake   chan struct{}

	// Any goroutine (atomic).
	heard atomic.Int64 // when something last came, in UnixNano
	busy  atomic.Bool  // what has come is being acted upon

	// Guarded by the subscriber's mu.
	todo map[*subscription]struct{}
}

// run writes commands, until the connection ends.
func (c *session) run() {
	s := c.s
	ctx, cancel := context.WithCancel(s.ctx)
	ps := c.client.Subscribe(ctx) // no connection yet
	ended := make(chan error, 1)
	var reader sync.WaitGroup
	tick := time.NewTicker(idle / 3)
	defer tick.Stop()
	err := func() error {
		reading := false
		for {
			wrote, err := c.apply(ctx, ps)
			if err != nil {
				return err
			}
			if wrote && !reading { // there is a connection
				reading = true
				c.heard.Store(time.Now().UnixNano())
				reader.Go(func() { ended <- c.read(ctx, ps) })
			}
			select {
			case <-c.wake:
			case err := <-ended:
				return err
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				silent := time.Since(time.Unix(0, c.heard.Load()))
				if !reading || c.busy.Load() || silent < idle {
					continue
				}
				if silent > dead {
					return errors.New("redis: the server says nothing any more")
				}
				if err := ps.Ping(ctx); err != nil {
					return err
				}
			}
		}
	}()
	cancel() // the client would connect again
	_ = ps.Close()
	reader.Wait()
	s.nodes.changed(context.WithoutCancel(ctx))
	c.over(err)
}

// over gives the subscriptions back.
func (c *session) over(err error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[c.addr] == c {
		delete(s.sessions, c.addr)
	}
	for _, u := range s.subs {
		if u.session == c {
			u.session, u.sent, u.confirmed = nil, false, false
			s.dirty[u] = struct{}{}
		}
	}
	s.failed(c.addr, err)
	signal(s.wake)
}

// apply writes what there is to do.
func (c *session) apply(ctx context.Context, ps *redis.PubSub) (wrote bool, err error) {
	s := c.s
	lists := map[command][]string{}
	now := time.Now()
	s.mu.Lock()
	for u := range c.todo {
		delete(c.todo, u)
		if u.session != c {
			continue
		}
		cmd := command{pattern: u.pattern}
		if s.sharded {
			cmd.slot = s.nodes.slot(u.name)
		}
		switch {
		case u.wanted > 0 && !u.sent:
			lists[cmd] = append(lists[cmd], u.name)
			u.sent = true
		case u.wanted == 0 && now.Sub(u.unwanted) >= linger:
			if cmd.end = true; u.sent {
				lists[cmd] = append(lists[cmd], u.name)
			}
			u.session, u.sent, u.confirmed = nil, false, false
			if s.subs[u.key] == u {
				delete(s.subs, u.key)
			}
		}
	}
	s.mu.Unlock()
	for cmd, names := range lists {
		for len(names) > 0 {
			n := min(len(names), maxChannels)
			if err := cmd.write(ctx, ps, s.sharded, names[:n]); err != nil {
				return wrote, err
			}
			wrote = true
			names = names[n:]
		}
	}
	return wrote, nil
}

// command is what is written for several subscriptions at once.
type command struct {
	end, pattern bool
	slot         int // of a Redis Cluster; one command has channels of one slot
}

func (cmd command) write(ctx context.Context, ps *redis.PubSub, sharded bool, names []string) error {
	switch {
	case sharded && cmd.end:
		return ps.SUnsubscribe(ctx, names...)
	case sharded:
		return ps.SSubscribe(ctx, names...)
	case cmd.pattern && cmd.end:
		return ps.PUnsubscribe(ctx, names...)
	case cmd.pattern:
		return ps.PSubscribe(ctx, names...)
	case cmd.end:
		return ps.Unsubscribe(ctx, names...)
	}
	return ps.Subscribe(ctx, names...)
}

// read takes what comes, until the connection ends. It does not use the client's channels,
// which drop what is not taken in time.
func (c *session) read(ctx context.Context, ps *redis.PubSub) error {
	for {
		v, err := ps.Receive(ctx)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.heard.Store(time.Now().UnixNano())
		switch v := v.(type) {
		case *redis.Message:
			c.busy.Store(true)
			c.s.receive(v.Channel, v.Pattern, v.Payload)
			c.heard.Store(time.Now().UnixNano())
			c.busy.Store(false)
		case *redis.Subscription:
			if err := c.subscribed(v); err != nil {
				return err
			}
		}
	}
}

// subscribed notes an answer to a command.
func (c *session) subscribed(v *redis.Subscription) error {
	s := c.s
	key := v.Channel
	if strings.HasPrefix(v.Kind, "p") {
		key = patternMark + key
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.subs[key]
	mine := u != nil && u.session == c
	if strings.HasSuffix(v.Kind, "unsubscribe") {
		if mine && u.confirmed {
			return errors.New("redis: the channel's slot has moved") // nobody has asked for it
		}
		return nil
	}
	if mine && !u.confirmed {
		u.confirmed = true
		if s.err != nil || s.since.IsZero() {
			if s.err != nil {
				s.log.Info("redis: subscribed again")
			}
			s.since = time.Now()
		}
		s.err = nil
		delete(s.away, c.addr)
		s.tell()
	}
	return nil
}
