package redis

import (
	"context"
	"errors"
	"strings"
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

// Compare compares the IDs of entries.
func (b *streamsBus) Compare(x, y string) (order int, ok bool) {
	if !isEntryID(x) || !isEntryID(y) {
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

// isEntryID tells whether a text is two numbers of at most 20 digits, with a '-' between.
func isEntryID(text string) bool {
	isNumber := func(digits string) bool {
		return 0 < len(digits) && len(digits) <= 20 && strings.Trim(digits, "0123456789") == ""
	}
	ms, number, ok := strings.Cut(text, "-")
	return ok && isNumber(ms) && isNumber(number)
}

// readKept reads entries of a namespace, behind one, until there are enough bytes of them.
// It returns the first entry's ID, how far it has looked, and the entries.
// Redis before 6.2 has no exclusive ranges: the first may be the one before.
const readKept = `local first = redis.call("XRANGE", KEYS[1], "-", "+", "COUNT", 1)
if not first[1] then return {"", "", {}} end
local found, bytes, last = {}, 0, ""
local list = redis.call("XRANGE", KEYS[1], ARGV[1], ARGV[2], "COUNT", ARGV[3])
for _, e in ipairs(list) do
  local own = false
  if e[1] ~= ARGV[1] then
    local size = 0
    for i = 1, #e[2] - 1, 2 do
      size = size + #e[2][i + 1]
      if e[2][i] == "nsp" and e[2][i + 1] == ARGV[4] then own = true end
    end
    if own then
      bytes = bytes + size
      if bytes > tonumber(ARGV[5]) and #found > 0 then return {first[1][1], last, found} end
      found[#found + 1] = e
    end
  end
  last = e[1]
end
if #list < tonumber(ARGV[3]) then last = ARGV[2] end
return {first[1][1], last, found}`

// ReadKept reads entries.
func (b *streamsBus) ReadKept(ctx context.Context, namespace, after, upto string, _ []string, maxBytes int) (list []*cluster.Message, next string, err error) {
	key := b.o.stream(namespace)
	c, err := b.nodes.owner(ctx, key)
	if err != nil {
		return nil, after, err
	}
	got, err := c.Eval(ctx, readKept, []string{key}, after, upto, b.o.ReadCount+1, namespace, maxBytes).Slice()
	if err != nil {
		b.nodes.changed(ctx)
		return nil, after, err
	}
	first, last, entries, err := keptEntries(got)
	switch {
	case err != nil:
		return nil, after, err
	case first == "" || idLess(after, first):
		return nil, after, broadcast.ErrTrimmed
	case !idLess(after, last): // there is nothing more
		return nil, upto, nil
	}
	for _, e := range entries {
		if m, _, err := decodeEntry(e); err == nil && m.Type == cluster.Broadcast { // else it was ignored when it came
			list = append(list, m)
		}
	}
	return list, last, nil
}

// keptEntries reads what readKept returns.
func keptEntries(got []any) (first, last string, entries []redis.XMessage, err error) {
	if len(got) != 3 {
		return "", "", nil, errFormat
	}
	first, ok1 := got[0].(string)
	last, ok2 := got[1].(string)
	list, ok3 := got[2].([]any)
	if !ok1 || !ok2 || !ok3 {
		return "", "", nil, errFormat
	}
	for _, v := range list {
		pair, _ := v.([]any)
		if len(pair) != 2 {
			return "", "", nil, errFormat
		}
		id, _ := pair[0].(string)
		fields, _ := pair[1].([]any)
		e := redis.XMessage{ID: id, Values: map[string]any{}}
		for i := 0; i+1 < len(fields); i += 2 {
			name, _ := fields[i].(string)
			e.Values[name] = fields[i+1]
		}
		entries = append(entries, e)
	}
	return first, last, entries, nil
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

// TakeSession changes a session's owner.
func (b *streamsBus) TakeSession(ctx context.Context, pid, owner string, lease time.Duration) (data []byte, was string, err error) {
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
