package broadcast

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

const (
	// chunk is how many members are served before other sockets have their turn:
	// at some 3 us a write, 0.2 ms.
	chunk = 64

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

// Broadcast sends msg, sealed, to the members that o selects, in the order of the calls.
// It takes references of its own. It waits when the loops of members addressed are far
// behind and the caller is not one of them. With an error, which is ErrClosed or
// o.Context's, nobody gets msg.
func (r *Rooms) Broadcast(msg *engine.Message, o Options) error {
	var places [8]*shard
	reserved := places[:0]
	if !o.NoWait && !netpoll.OnLoop() {
		for _, sh := range r.shards {
			ok, err := sh.reserve(&o)
			if err != nil {
				for _, sh := range reserved {
					sh.unreserve()
				}
				return err
			}
			if ok {
				reserved = append(reserved, sh)
			}
		}
	}
	var err error
	for _, sh := range r.shards {
		has := len(reserved) > 0 && reserved[0] == sh
		if has {
			reserved = reserved[1:]
		}
		if !sh.send(msg, &o, has) {
			err = ErrClosed
		}
	}
	return err
}

// WaitForSpace waits until the loops of members that o selects are not far behind
// with earlier broadcasts, unless the caller is a loop. Its error is Broadcast's.
func (r *Rooms) WaitForSpace(o Options) error {
	if netpoll.OnLoop() {
		return nil
	}
	for _, sh := range r.shards {
		if sh.hasSpace(&o) {
			continue
		}
		ok, err := sh.reserve(&o)
		if ok {
			sh.unreserve()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reserve waits for one of the places for fan-outs that are not done, and takes it;
// false if nobody is addressed here.
func (sh *shard) reserve(o *Options) (ok bool, err error) {
	ctx := o.Context
	if ctx == nil {
		ctx = context.Background()
	}
	sh.mu.Lock()
	addressed := sh.addressed(o)
	sh.mu.Unlock()
	if addressed {
		if err := sh.loop.WaitForSpace(ctx); err != nil {
			return false, err
		}
	}
	if ok, err := sh.tryReserve(o); ok || err != nil || !addressed {
		return ok, err
	}
	over := false // ctx is; it is asked without the lock, as it may be anybody's
	defer context.AfterFunc(ctx, func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		over = true
		sh.done.Broadcast()
	})()
	sh.mu.Lock()
	for sh.pending >= maxPending && !sh.closed && sh.addressed(o) && !over {
		sh.done.Wait()
	}
	late := false
	switch {
	case sh.closed:
		err = ErrClosed
	case !sh.addressed(o):
		sh.done.Signal() // it may have been for another
	case sh.pending < maxPending:
		sh.pending++
		ok = true
	default:
		late = true
		sh.done.Signal()
	}
	sh.mu.Unlock()
	if late {
		err = ctx.Err()
	}
	return ok, err
}

// hasSpace tells whether nobody has to wait.
func (sh *shard) hasSpace(o *Options) bool {
	sh.mu.Lock()
	free, addressed := !sh.closed && sh.pending < maxPending, sh.addressed(o)
	sh.mu.Unlock()
	return free && (!addressed || sh.loop.HasSpace())
}

// tryReserve is reserve without waiting.
func (sh *shard) tryReserve(o *Options) (ok bool, err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case sh.closed:
		return false, ErrClosed
	case sh.pending >= maxPending || !sh.addressed(o):
		return false, nil
	}
	sh.pending++
	return true, nil
}

func (sh *shard) unreserve() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.pending--
	sh.done.Signal()
}

// addressed tells whether o selects somebody here, exceptions aside. mu is held.
func (sh *shard) addressed(o *Options) bool {
	switch {
	case o.Member != nil:
		return sh.rooms.shard(o.Member) == sh && o.Member.all > 0
	case len(o.Rooms) == 0:
		return len(sh.all.members) > 0
	}
	for _, name := range o.Rooms {
		if sh.byName[name] != nil || sh.byID.Get(name) != nil {
			return true
		}
	}
	return false
}

// send takes the snapshot and posts it, as one step: who leaves later is settled
// later. It returns false if the adapter is closed.
func (sh *shard) send(msg *engine.Message, o *Options, reserved bool) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !reserved {
		sh.pending++
	}
	if !sh.closed {
		if f := sh.prepare(o); f != nil {
			f.msg = msg.Retain()
			if !sh.loop.PostNow(startFanoutOnLoop, f, nil, msg.Size()) {
				f.free()
			}
			return true
		}
	}
	sh.pending--
	sh.done.Signal()
	return !sh.closed
}

// prepare takes the snapshot for a fan-out; nil if nobody is addressed. mu is held.
func (sh *shard) prepare(o *Options) *fanout {
	if !sh.addressed(o) {
		return nil
	}
	f := fanouts.Get().(*fanout)
	switch {
	case o.Member != nil:
		f.targets = append(f.targets, snapshot{members: []*Member{o.Member}})
	case len(o.Rooms) == 0:
		f.targets = sh.all.snapshot(f.targets)
	default:
		for _, name := range o.Rooms {
			f.targets = sh.snapshot(name, f.targets)
		}
	}
	for _, name := range o.Except {
		f.except = sh.snapshot(name, f.except)
	}
	if o.ExceptMember != nil {
		f.exclude = sh.now(o.ExceptMember)
	}
	f.shard, f.volatile = sh, o.Volatile
	return f
}

func (sh *shard) snapshot(name string, to []snapshot) []snapshot {
	if rm := sh.byName[name]; rm != nil {
		to = rm.snapshot(to)
	}
	if m := sh.byID.Get(name); m != nil {
		to = append(to, snapshot{members: []*Member{m}})
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

func startFanoutOnLoop(a, _ any) {
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
	if f.size() <= chunk {
		sh.serveAtOnce(f)
		return
	}
	sh.active = append(sh.active, f)
	for len(sh.active) > maxPending {
		if sh.lap == 0 {
			sh.beginLap()
		}
		sh.step(math.MaxInt) // no yielding any more
	}
	sh.goOn()
}

// size is the number of members in f's snapshot, each as often as it is there.
func (f *fanout) size() (n int) {
	for _, s := range f.targets {
		n += len(s.members)
	}
	return n
}

// serveAtOnce serves a small fan-out, whose members get first what larger ones
// still have for them: they do not have to wait until everybody has it.
func (sh *shard) serveAtOnce(f *fanout) {
	for _, s := range f.targets {
		for _, m := range s.members {
			if sh.settle(m); m.settled < f.seq {
				m.settled = f.seq
				sh.rooms.deliver(m, f.msg, f.volatile)
			}
		}
	}
	f.release()
}

// exclude settles the coming fan-out for m without delivering it.
func (sh *shard) exclude(m *Member) {
	sh.settle(m)
	m.settled = sh.seq + 1
}

// Fan-outs are served in laps: those that are there when a lap begins go around
// the members together, so that a member gets all of their messages in one
// write. What comes meanwhile waits for the next lap.
//
// A write costs the same for one message as for several. So, when broadcasts
// come back to back, the next lap waits for as many as have been seen together,
// for a short part of the time that the last lap took.

const (
	gatherPart = 2 // of a lap's time
	gatherMin  = 500 * time.Microsecond
	gatherMax  = 25 * time.Millisecond
)

// goOn serves the next chunk now if nothing is under way yet, else in the next
// turn.
func (sh *shard) goOn() {
	if sh.queued || !sh.inLap() {
		return
	}
	sh.step(chunk)
	if sh.inLap() {
		sh.queued = true
		sh.loop.Post(continueFanoutsOnLoop, sh, nil, 0)
	}
}

func continueFanoutsOnLoop(a, _ any) {
	sh := a.(*shard)
	sh.queued = false
	sh.goOn()
}

// inLap tells whether a lap is under way, or begins now.
func (sh *shard) inLap() bool {
	switch n := len(sh.active); {
	case sh.lap > 0:
		return true
	case n == 0:
		return false
	case n < sh.together && sh.loop.Now() < sh.gather:
		if !sh.timer.Armed() {
			sh.loop.Arm(&sh.timer, sh, sh.gather-sh.loop.Now())
		}
		return false
	}
	sh.beginLap()
	return true
}

func (sh *shard) beginLap() {
	sh.loop.Stop(&sh.timer)
	sh.lap = len(sh.active)
	sh.together, sh.began = sh.lap, sh.loop.Now()
}

// endLap decides how long the next lap may wait.
func (sh *shard) endLap() {
	sh.together += len(sh.active)
	sh.gather = 0
	if wait := (sh.loop.Now() - sh.began) / gatherPart; sh.together > 1 && wait >= gatherMin {
		sh.gather = sh.loop.Now() + min(wait, gatherMax)
	}
}

// Expire is for the loop's timers only: the next lap has waited enough.
func (sh *shard) Expire(*netpoll.Timer) { sh.goOn() }

// step serves up to n members of the lap's oldest fan-outs.
func (sh *shard) step(n int) {
	for n > 0 && sh.lap > 0 {
		f := sh.active[0]
		if n = sh.walk(f, n); f.t < len(f.targets) {
			return
		}
		sh.active[0] = nil
		sh.active = sh.active[1:]
		f.release()
		if sh.lap--; sh.lap == 0 {
			sh.endLap()
		}
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
			for _, g := range sh.active[1:sh.lap] {
				if !g.joinAt(m, f.t, i) {
					break // m's order: nothing newer before g is settled
				}
			}
		}
	}
	return n
}

// joinAt settles the fan-out g for m, too, if m is member i of target t in g's snapshot.
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
		if m.leaving == 0 && (at == nil || int(*at) > len(s.members)) {
			continue // settleLeftOnLoop has run, or it has joined later: places only come down
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

// settleLeftOnLoop settles a member that has just left a room.
func settleLeftOnLoop(a, b any) {
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
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f.free()
}

// free gives the fan-out back, and its place. mu is held.
func (f *fanout) free() {
	sh := f.shard
	f.msg.Release()
	clear(f.targets)
	clear(f.except)
	*f = fanout{targets: f.targets[:0], except: f.except[:0]}
	fanouts.Put(f)
	sh.pending--
	sh.done.Signal()
}
