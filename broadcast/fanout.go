package broadcast

import (
	"math"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/engine"
)

const (
	// chunk is how many members a fan-out serves before other sockets have
	// their turn: at some 5 us a write, under a millisecond.
	chunk = 128

	// maxPending bounds the fan-outs of a shard that are not done: Broadcast
	// waits, or, called by a loop, has the oldest finished without yielding.
	maxPending = 256
)

// fanout is one message on its way to the members of one shard.
type fanout struct {
	shard    *shard
	msg      *engine.Message
	targets  []snapshot
	except   []snapshot
	exclude  *Member
	volatile bool

	seq  uint64
	t, i int // the next member: targets[t].members[i]
}

// snapshot is a room's members as of the call of Broadcast.
type snapshot struct {
	room    *room // nil for a member addressed by its ID
	members []*Member
}

var fanouts = sync.Pool{New: func() any { return new(fanout) }}

// Broadcast sends msg to the members that o selects, in the order of the
// calls. See Adapter.
func (r *Rooms) Broadcast(msg *engine.Message, o Options) {
	for _, sh := range r.shards {
		if f := sh.prepare(o); f != nil {
			f.msg = msg.Retain()
			posted := false
			if o.NoWait {
				posted = sh.loop.PostNow(startFanout, f, nil, msg.Size())
			} else {
				posted = sh.loop.Post(startFanout, f, nil, msg.Size())
			}
			if !posted {
				f.release()
			}
		}
	}
}

// WaitForRoom waits until no loop is far behind with earlier broadcasts, unless
// the caller is one.
func (r *Rooms) WaitForRoom() {
	if r.shards[0].loop.Group().OnLoop() {
		return
	}
	for _, sh := range r.shards {
		sh.loop.WaitForRoom()
		sh.mu.Lock()
		for sh.pending >= maxPending && !sh.closed {
			sh.done.Wait()
		}
		sh.mu.Unlock()
	}
}

// prepare takes the snapshot for a fan-out; nil if nobody is addressed.
func (sh *shard) prepare(o Options) *fanout {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.pending >= maxPending && !o.NoWait && !sh.loop.Group().OnLoop() {
		for sh.pending >= maxPending && !sh.closed {
			sh.done.Wait()
		}
	}
	f := fanouts.Get().(*fanout)
	if len(o.Rooms) == 0 {
		f.targets = sh.all.snapshot(f.targets)
	}
	for _, name := range o.Rooms {
		f.targets = sh.snapshot(name, f.targets)
	}
	if len(f.targets) == 0 {
		fanouts.Put(f)
		return nil
	}
	for _, name := range o.Except {
		f.except = sh.snapshot(name, f.except)
	}
	if o.ExceptMember != nil && sh.rooms.shard(o.ExceptMember) == sh {
		f.exclude = o.ExceptMember
	}
	f.shard, f.volatile = sh, o.Volatile
	sh.pending++
	return f
}

func (sh *shard) snapshot(name string, to []snapshot) []snapshot {
	if rm := sh.byName[name]; rm != nil {
		return rm.snapshot(to)
	}
	if m := sh.byID.Get(name); m != nil {
		return append(to, snapshot{members: []*Member{m}})
	}
	return to
}

func (rm *room) snapshot(to []snapshot) []snapshot {
	if len(rm.members) == 0 {
		return to
	}
	rm.shared = true
	return append(to, snapshot{rm, rm.members[:len(rm.members):len(rm.members)]})
}

// --- on the loop ---

func startFanout(a, _ any) {
	f := a.(*fanout)
	sh := f.shard
	if f.exclude != nil {
		sh.exclude(f.exclude)
	}
	for _, s := range f.except {
		for _, m := range s.members {
			sh.exclude(m)
		}
	}
	sh.seq++
	f.seq = sh.seq
	sh.active = append(sh.active, f)
	for len(sh.active) > maxPending {
		sh.walk(sh.active[0], math.MaxInt) // no yielding any more
		sh.step(1)
	}
	sh.goOn()
}

// exclude settles the coming fan-out for m without delivering it.
func (sh *shard) exclude(m *Member) {
	sh.settle(m)
	m.settled = sh.seq + 1
}

// goOn serves the next chunk now if nothing is under way yet, or sees to it
// that the next turn does.
func (sh *shard) goOn() {
	if sh.queued {
		return
	}
	sh.step(chunk)
	if len(sh.active) > 0 {
		sh.queued = true
		sh.loop.Post(continueFanouts, sh, nil, 0)
	}
}

func continueFanouts(a, _ any) {
	sh := a.(*shard)
	sh.queued = false
	sh.goOn()
}

// step serves up to n members of the oldest fan-outs. What later ones have for
// the same members goes with it, so that it shares their write.
func (sh *shard) step(n int) {
	for n > 0 && len(sh.active) > 0 {
		f := sh.active[0]
		if n = sh.walk(f, n); f.t < len(f.targets) {
			return
		}
		sh.active[0] = nil
		sh.active = sh.active[1:]
		f.release()
	}
}

// walk serves up to n members of f, the oldest fan-out, and returns what is
// left of n.
func (sh *shard) walk(f *fanout, n int) int {
	for ; f.t < len(f.targets); f.t, f.i = f.t+1, 0 {
		members := f.targets[f.t].members
		for f.i < len(members) {
			if n == 0 {
				return 0
			}
			m, i := members[f.i], f.i
			f.i++
			if m.settled >= f.seq {
				continue
			}
			m.settled = f.seq
			sh.rooms.deliver(m, f.msg, f.volatile)
			n--
			for _, g := range sh.active[1:] {
				if !g.joinAt(m, f.t, i) {
					break // m's order: nothing newer before g is settled
				}
			}
		}
	}
	return n
}

// joinAt settles g for m too if m stands at the same place of its snapshot.
func (g *fanout) joinAt(m *Member, t, i int) bool {
	if m.settled >= g.seq {
		return true // excluded
	}
	if t >= len(g.targets) || i >= len(g.targets[t].members) || g.targets[t].members[i] != m {
		return false
	}
	m.settled = g.seq
	g.shard.rooms.deliver(m, g.msg, g.volatile)
	if g.t == t && g.i == i {
		g.i++
	}
	return true
}

// Settle delivers to m what has been broadcast to it before: called before
// anything else is sent to m. It is on the member's loop.
func (r *Rooms) Settle(m *Member) {
	if sh := r.shard(m); len(sh.active) > 0 {
		sh.settle(m)
	}
}

func (sh *shard) settle(m *Member) {
	for _, f := range sh.active {
		if m.settled < f.seq && f.addresses(m) {
			m.settled = f.seq
			sh.rooms.deliver(m, f.msg, f.volatile)
		}
	}
}

// addresses tells whether m, which is not settled, is in the snapshot. Only a
// member that has just left, or been moved, has to be looked for.
func (f *fanout) addresses(m *Member) bool {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	for _, s := range f.targets {
		if s.room == nil {
			if s.members[0] == m {
				return true
			}
			continue
		}
		at := m.index(s.room)
		if at == nil && m.leaving == 0 {
			continue // settleLeft has run
		}
		if at != nil && int(*at) <= len(s.members) && s.members[*at-1] == m {
			return true
		}
		if slices.Contains(s.members, m) {
			return true
		}
	}
	return false
}

// settleLeft settles a member that has just left a room.
func settleLeft(a, b any) {
	sh, m := a.(*shard), b.(*Member)
	sh.mu.Lock()
	m.leaving--
	sh.mu.Unlock()
	for _, f := range sh.active {
		if m.settled >= f.seq {
			continue
		}
		for _, s := range f.targets {
			if slices.Contains(s.members, m) {
				m.settled = f.seq
				sh.rooms.deliver(m, f.msg, f.volatile)
				break
			}
		}
	}
}

func (f *fanout) release() {
	sh := f.shard
	f.msg.Release()
	clear(f.targets)
	clear(f.except)
	*f = fanout{targets: f.targets[:0], except: f.except[:0]}
	fanouts.Put(f)
	sh.mu.Lock()
	sh.pending--
	sh.mu.Unlock()
	sh.done.Signal()
}
