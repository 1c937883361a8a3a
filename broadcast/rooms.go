package broadcast

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/idtable"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Member is one socket's place in the rooms of its namespace. It is embedded
// by value in what it belongs to.
type Member struct {
	// Immutable after Add.

	// ID is unique in the namespace.
	ID string
	// Session carries what is sent to the member.
	Session *engine.Session
	// Owner is what the member belongs to.
	Owner any

	// Guarded by the shard's mu.
	room    membership    // the first; its room is nil if there is none
	more    *[]membership // further ones; nil if there are none
	all     int32         // index among all members, from 1; 0 before Add, removed after Remove
	leaving int32         // calls of Leave whose settleLeftOnLoop has not run yet

	// Loop-owned.
	settled uint64 // the last fan-out that is settled for the member
}

const removed = -1

func (m *Member) id() string { return m.ID }

type membership struct {
	room *room
	at   int32 // index in room.members, from 1
}

// room is one room's members on one loop.
type room struct {
	// Guarded by the shard's mu.
	name    string
	members []*Member
	shared  bool // a fan-out has a snapshot of members: copy before removing

	// Immutable after New.
	everyone bool // it is the room of all members
}

// Rooms is the index of one namespace's members on this server. Its methods may be
// called from any goroutine unless they say otherwise.
type Rooms struct {
	// Immutable after New.
	shards  []*shard
	deliver func(m *Member, msg *engine.Message, volatile bool)

	observer observer
}

// shard is the part of the index that belongs to one loop.
type shard struct {
	// Immutable after New.
	loop  *netpoll.Loop
	rooms *Rooms

	// Guarded by mu.
	mu      sync.Mutex
	all     room
	byName  map[string]*room
	byID    idtable.Table[*Member]
	pending int       // fan-outs that are not done
	done    sync.Cond // signalled when one is done; who takes no place hands it on
	closed  bool

	// Loop-owned.
	seq      uint64
	active   []*fanout     // in the order of seq
	lap      int           // active[:lap] go around together; the others wait
	queued   bool          // a job that goes on with the lap is posted
	together int           // how many fan-outs were in the last lap or came during it
	began    time.Duration // when the lap began
	gather   time.Duration // until when the next lap waits for more fan-outs
	timer    netpoll.Timer // when it waits no longer
}

// New makes an empty index over the loops of g. deliver is called on a
// member's loop with each message for it; it must not keep msg without a
// reference of its own.
func New(g *netpoll.Group, deliver func(m *Member, msg *engine.Message, volatile bool)) *Rooms {
	r := &Rooms{deliver: deliver}
	for i := range g.Len() {
		sh := &shard{loop: g.Loop(i), rooms: r, all: room{everyone: true}, byName: map[string]*room{}, byID: idtable.New((*Member).id)}
		sh.done.L = &sh.mu
		r.shards = append(r.shards, sh)
	}
	return r
}

func (r *Rooms) shard(m *Member) *shard { return r.shards[m.Session.Loop().Index()] }

// Add enters a member that is in no room yet, and into rooms, in one step; once: after
// Remove it does nothing, and returns false. It never waits.
func (r *Rooms) Add(m *Member, names ...string) bool {
	sh := r.shard(m)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m.all != 0 {
		return false
	}
	sh.byID.Add(m)
	sh.all.add(m)
	r.observer.entered(m.ID)
	sh.join(m, names)
	return true
}

// Remove takes a member out of everything, for good, whether it was added or not, and
// returns the rooms that it was in; ok tells whether it was a member. It is called on the
// member's loop; what was broadcast to it before, and is not settled, is lost.
func (r *Rooms) Remove(m *Member) (names []string, ok bool) {
	sh := r.shard(m)
	sh.loop.Check()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if ok = m.all > 0; ok {
		names = m.rooms()
		sh.byID.Remove(m)
		for m.room.room != nil {
			sh.leave(m, m.room.room)
		}
		sh.leave(m, &sh.all)
		r.observer.gone(m.ID)
	}
	m.all = removed
	return names, ok
}

// Join puts a member into rooms; false if it is no member, or not any more. Joining a room
// twice does nothing, nor does joining one that is named like the member's ID. It never
// waits, since callers may hold a lock: they call WaitToJoin before.
func (r *Rooms) Join(m *Member, names ...string) bool {
	sh := r.shard(m)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m.all <= 0 {
		return false
	}
	sh.join(m, names)
	return true
}

// join puts a member into rooms. mu is held.
func (sh *shard) join(m *Member, names []string) {
	for _, name := range names {
		if name == m.ID {
			continue // it is there
		}
		rm := sh.byName[name]
		if rm == nil {
			rm = &room{name: name}
			sh.byName[name] = rm
		} else if m.index(rm) != nil {
			continue
		}
		rm.add(m)
		sh.rooms.observer.joined(name, m.ID)
	}
}

// Leave takes a member out of a room, and tells whether it was there. It never waits, since
// callers may hold a lock: they call the WaitForSpace of the member's loop before.
func (r *Rooms) Leave(m *Member, name string) bool {
	sh := r.shard(m)
	sh.mu.Lock()
	rm := sh.byName[name]
	left := rm != nil && sh.leave(m, rm)
	if left {
		m.leaving++
	}
	sh.mu.Unlock()
	if left {
		// What was broadcast to the room before still reaches the member, if the loop has not ended.
		_ = sh.loop.PostNow(settleLeftOnLoop, sh, m, 0)
	}
	return left
}

// In returns the names of the rooms that a member is in; ok tells whether it is one.
func (r *Rooms) In(m *Member) (names []string, ok bool) {
	sh := r.shard(m)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return m.rooms(), m.all > 0
}

// rooms are the names of those that it is in. Its shard's mu is held.
func (m *Member) rooms() []string {
	if m.room.room == nil {
		return nil
	}
	names := []string{m.room.room.name}
	if m.more != nil {
		for _, ms := range *m.more {
			names = append(names, ms.room.name)
		}
	}
	return names
}

// Lookup finds a member by its ID; nil if there is none.
func (r *Rooms) Lookup(id string) *Member {
	for _, sh := range r.shards {
		sh.mu.Lock()
		m := sh.byID.Get(id)
		sh.mu.Unlock()
		if m != nil {
			return m
		}
	}
	return nil
}

// Has tells whether a room has members, or a member has that ID.
func (r *Rooms) Has(name string) bool {
	for _, sh := range r.shards {
		sh.mu.Lock()
		has := sh.byName[name] != nil || sh.byID.Get(name) != nil
		sh.mu.Unlock()
		if has {
			return true
		}
	}
	return false
}

// Names are the rooms that have members.
func (r *Rooms) Names() []string {
	all := map[string]struct{}{}
	for _, sh := range r.shards {
		sh.mu.Lock()
		for name := range sh.byName {
			all[name] = struct{}{}
		}
		sh.mu.Unlock()
	}
	return slices.Collect(maps.Keys(all))
}

// Len is the number of members.
func (r *Rooms) Len() (n int) {
	for _, sh := range r.shards {
		sh.mu.Lock()
		n += len(sh.all.members)
		sh.mu.Unlock()
	}
	return n
}

// CountOnLoops is the number of rooms that have members, a room with members on several
// loops as often. It costs no more than a lock for each loop.
func (r *Rooms) CountOnLoops() (n int) {
	for _, sh := range r.shards {
		sh.mu.Lock()
		n += len(sh.byName)
		sh.mu.Unlock()
	}
	return n
}

// Count is the number of rooms that have members. A room may have members on several
// loops: the names of all but one are compared.
func (r *Rooms) Count() int {
	var names map[string]struct{} // of the loops before
	count := 0
	for i, sh := range r.shards {
		sh.mu.Lock()
		if i == len(r.shards)-1 && names == nil {
			count = len(sh.byName)
			sh.mu.Unlock()
			break
		}
		list := slices.AppendSeq(make([]string, 0, len(sh.byName)), maps.Keys(sh.byName))
		sh.mu.Unlock()
		if len(list) > 0 && names == nil {
			names = make(map[string]struct{}, len(list))
		}
		for _, name := range list {
			names[name] = struct{}{}
		}
		count = len(names)
	}
	return count
}

// Members returns the members that o selects.
func (r *Rooms) Members(o Options) []*Member {
	var found []*Member
	seen := map[*Member]struct{}{}
	for _, sh := range r.shards {
		sh.mu.Lock()
		if o.ExceptMember != nil {
			seen[sh.now(o.ExceptMember)] = struct{}{}
		}
		for _, name := range o.Except {
			for _, m := range sh.members(name) {
				seen[m] = struct{}{}
			}
		}
		pick := func(list []*Member) {
			for _, m := range list {
				if _, ok := seen[m]; !ok {
					seen[m] = struct{}{}
					found = append(found, m)
				}
			}
		}
		switch {
		case o.Member != nil:
			if r.shard(o.Member) == sh && o.Member.all > 0 {
				pick([]*Member{o.Member})
			}
		case len(o.Rooms) == 0:
			pick(sh.all.members)
		}
		for _, name := range o.Rooms {
			if o.Member == nil {
				pick(sh.members(name))
			}
		}
		sh.mu.Unlock()
	}
	return found
}

// Close lets go of those who wait in Broadcast.
func (r *Rooms) Close() {
	for _, sh := range r.shards {
		sh.mu.Lock()
		sh.closed = true
		sh.mu.Unlock()
		sh.done.Broadcast()
	}
}

// members are those of a room, and the one whose ID it is. They are the room's own:
// mu is held.
func (sh *shard) members(name string) []*Member {
	var list []*Member
	if rm := sh.byName[name]; rm != nil {
		list = rm.members
	}
	if m := sh.byID.Get(name); m != nil {
		list = append(slices.Clip(list), m)
	}
	return list
}

// now is the member itself or, if it has gone, the one that has its ID now; nil if that is
// not here. mu is held.
func (sh *shard) now(m *Member) *Member {
	if sh.rooms.shard(m) == sh && m.all > 0 {
		return m
	}
	return sh.byID.Get(m.ID)
}

// index is where the member's index in rm.members is kept; nil if it is not in
// rm.
func (m *Member) index(rm *room) *int32 {
	switch {
	case rm.everyone:
		if m.all > 0 {
			return &m.all
		}
	case m.room.room == rm:
		return &m.room.at
	case m.more != nil:
		for i := range *m.more {
			if ms := &(*m.more)[i]; ms.room == rm {
				return &ms.at
			}
		}
	}
	return nil
}

func (rm *room) add(m *Member) {
	rm.members = append(rm.members, m)
	at := int32(len(rm.members))
	switch {
	case rm.everyone:
		m.all = at
	case m.room.room == nil:
		m.room = membership{rm, at}
	case m.more == nil:
		m.more = &[]membership{{rm, at}}
	default:
		*m.more = append(*m.more, membership{rm, at})
	}
}

// forget takes rm off the member's own list.
func (m *Member) forget(rm *room) {
	if rm.everyone {
		m.all = 0
		return
	}
	last := membership{}
	if m.more != nil {
		list := *m.more
		end := len(list) - 1
		last, list[end] = list[end], membership{}
		if *m.more = list[:end]; end == 0 {
			m.more = nil
		}
	}
	if last.room == rm {
		return
	}
	if m.room.room == rm {
		m.room = last
		return
	}
	for i := range *m.more {
		if (*m.more)[i].room == rm {
			(*m.more)[i] = last
		}
	}
}

// leave takes m out of rm, and tells whether it was in it. mu is held.
func (sh *shard) leave(m *Member, rm *room) bool {
	p := m.index(rm)
	if p == nil {
		return false
	}
	at := *p
	m.forget(rm)
	if rm != &sh.all {
		defer sh.rooms.observer.left(rm.name, m.ID)
	}
	if rm.shared {
		rm.members, rm.shared = slices.Clone(rm.members), false
	}
	end := len(rm.members) - 1
	moved := rm.members[end]
	rm.members[end] = nil
	rm.members = rm.members[:end]
	if moved != m {
		rm.members[at-1] = moved
		*moved.index(rm) = at
	}
	switch {
	case end == 0 && rm != &sh.all:
		delete(sh.byName, rm.name)
	case cap(rm.members) > 64 && end < cap(rm.members)/4:
		rm.members = slices.Clone(rm.members) // give the memory of a crowd back
	}
	return true
}
