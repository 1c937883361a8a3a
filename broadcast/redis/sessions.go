package redis

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

var _ cluster.Keeper = (*streamsBus)(nil)

// mark makes a stream exist, so that everybody's offset is behind something in it.
func (b *streamsBus) mark(key string) (id string, err error) {
	c, err := b.nodes.owner(b.ctx, key)
	if err != nil {
		return "", err
	}
	return c.XAdd(b.ctx, &redis.XAddArgs{Stream: key, Values: []any{"uid", b.a.UID(), "nsp", "", "type", "0"}}).Result()
}

// reached notes what has been taken.
func (b *streamsBus) reached(keys, last []string) {
	b.positionsMu.Lock()
	defer b.positionsMu.Unlock()
	for i, key := range keys {
		if b.positions[key] == "" {
			close(b.looked[key])
		}
		b.positions[key] = last[i]
	}
}

// Position is the last entry that has been taken.
func (b *streamsBus) Position(namespace string) string {
	b.positionsMu.Lock()
	defer b.positionsMu.Unlock()
	return b.positions[b.o.stream(namespace)]
}

var entryID = regexp.MustCompile(`^[0-9]{1,20}-[0-9]{1,20}$`)

// Compare compares the IDs of entries.
func (b *streamsBus) Compare(x, y string) (order int, ok bool) {
	if !entryID.MatchString(x) || !entryID.MatchString(y) {
		return 0, false
	}
	switch {
	case idLess(x, y):
		return -1, true
	case idLess(y, x):
		return 1, true
	}
	return 0, true
}

// ReadKept reads entries. Redis before 6.2 has no exclusive ranges: the first may be the
// one at after.
func (b *streamsBus) ReadKept(ctx context.Context, namespace, after, upto string, _ []string) (list []*cluster.Message, next string, err error) {
	key := b.o.stream(namespace)
	c, err := b.nodes.owner(ctx, key)
	if err != nil {
		return nil, after, err
	}
	var first, some *redis.XMessageSliceCmd
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		first = p.XRangeN(ctx, key, "-", "+", 1)
		some = p.XRangeN(ctx, key, after, upto, b.o.ReadCount+1)
		return nil
	})
	if err != nil {
		b.nodes.changed(ctx)
		return nil, after, err
	}
	if f := first.Val(); len(f) == 0 || idLess(after, f[0].ID) {
		return nil, after, broadcast.ErrTrimmed
	}
	entries := some.Val()
	next = upto
	if int64(len(entries)) > b.o.ReadCount {
		next = entries[len(entries)-1].ID
	}
	for _, e := range entries {
		if !idLess(after, e.ID) || e.Values["nsp"] != namespace {
			continue
		}
		if m, _, err := decodeEntry(e); err == nil && m.Type == cluster.Broadcast { // else it was ignored when it came
			list = append(list, m)
		}
	}
	return list, next, nil
}

// A session is a hash: o is its owner, d what is known of it. Without d it is over.
const (
	takeSession = `local s = redis.call("HMGET", KEYS[1], "o", "d")
if not s[2] then return false end
redis.call("HSET", KEYS[1], "o", ARGV[1])
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return s`
	putSession = `local o = redis.call("HGET", KEYS[1], "o")
if o and o ~= ARGV[1] then return 0 end
redis.call("HSET", KEYS[1], "o", ARGV[1], "d", ARGV[3])
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return 1`
	dropSession = `local o = redis.call("HGET", KEYS[1], "o")
if o and o ~= ARGV[1] then return 0 end
redis.call("HSET", KEYS[1], "o", "")
redis.call("HDEL", KEYS[1], "d")
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return 1`
)

// maxPID bounds what is asked for.
const maxPID = 64

// TakeSession changes a session's owner.
func (b *streamsBus) TakeSession(ctx context.Context, pid, owner string, lease time.Duration) (data []byte, was string, err error) {
	if len(pid) > maxPID {
		return nil, "", nil
	}
	s, err := b.client.Eval(ctx, takeSession, []string{b.o.SessionKeyPrefix + pid}, owner, lease.Milliseconds()).StringSlice()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, "", nil
	case err != nil:
		return nil, "", err
	case len(s) != 2:
		return nil, "", errFormat
	}
	return []byte(s[1]), s[0], nil
}

// PutSessions writes sessions.
func (b *streamsBus) PutSessions(ctx context.Context, list []broadcast.StoredSession) (lost []int, err error) {
	results := make([]*redis.Cmd, len(list))
	_, err = b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, s := range list {
			key := []string{b.o.SessionKeyPrefix + s.PID}
			if s.Data == nil {
				results[i] = p.Eval(ctx, dropSession, key, s.Owner, s.Lease.Milliseconds())
			} else {
				results[i] = p.Eval(ctx, putSession, key, s.Owner, s.Lease.Milliseconds(), s.Data)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, r := range results {
		if n, err := r.Int(); err == nil && n == 0 {
			lost = append(lost, i)
		}
	}
	return lost, nil
}
