package broadcast

import (
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/engine"
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
	rooms   []membership
	leaving int32 // calls of Leave whose settleLeft has not run yet

	// Loop-owned.
	settled uint64 // the last fan-out that is settled for the member
}

type membership struct {
	room *room
	at   int32 // index in room.members
}

// room is one room's members on one loop.
type room struct {
	// Guarded by the shard's mu.
	name    string
	members []*Member
	shared  bool // a fan-out has a snapshot of members: copy before removing
}

// Rooms is the index of one namespace's members on this server, and the
// in-memory Adapter. Its methods may be called from any goroutine unless they
// say otherwise.
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
	byID    map[string]*Member
	pending int       // fan-outs that are not done
	done    sync.Cond // signalled when one is done
	closed  bool

	// Loop-owned.
	seq    uint64
	active []*fanout
	queued bool // a job that goes on with active is posted
}

// New makes an empty index over the loops of g. deliver is called on a
// member's loop with each message for it; it must not keep msg without a
// reference of its own.
func New(g *netpoll.Group, deliver func(m *Member, msg *engine.Message, volatile bool)) *Rooms {
	r := &Rooms{deliver: deliver}
	for i := range g.Len() {
		sh := &shard{loop: g.Loop(i), rooms: r, byName: map[string]*room{}, byID: map[string]*Member{}}
		sh.done.L = &sh.mu
		r.shards = append(r.shards, sh)
	}
	return r
}

func (r *Rooms) shard(m *Member) *shard { return r.shards[m.Session.Loop().Index()] }

// Add enters a member that is in no room yet.
func (r *Rooms) Add(m *Member) {
	sh := r.shard(m)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.byID[m.ID] = m
	sh.all.add(m)
}

// Remove takes a member out of everything. It is called on the member's loop;
// what was broadcast to it before is delivered first.
func (r *Rooms) Remove(m *Member) {
	sh := r.shard(m)
	sh.loop.Check()
	r.Settle(m)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byID[m.ID] == m {
		delete(sh.byID, m.ID)
	}
	for len(m.rooms) > 0 {
		sh.leave(m, len(m.rooms)-1)
	}
	m.rooms = nil
}

// Join puts a member into rooms. Joining a room twice, or after Remove, does
// nothing.
func (r *Rooms) Join(m *Member, names ...string) {
	sh := r.shard(m)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byID[m.ID] != m {
		return
	}
	for _, name := range names {
		rm := sh.byName[name]
		if rm == nil {
			rm = &room{name: name}
			sh.byName[name] = rm
		} else if m.find(rm) >= 0 {
			continue
		}
		rm.add(m)
		r.observer.joined(name, m.ID)
	}
}

// Leave takes a member out of a room.
func (r *Rooms) Leave(m *Member, name string) {
	sh := r.shard(m)
	sh.mu.Lock()
	rm := sh.byName[name]
	i := -1
	if rm != nil {
		i = m.find(rm)
	}
	if i >= 0 {
		sh.leave(m, i)
		m.leaving++
	}
	sh.mu.Unlock()
	if i >= 0 {
		// What was broadcast to the room before still reaches the member.
		if !sh.loop.Post(settleLeft, sh, m, 0) {
			return // the loop has ended
		}
	}
}

// In returns the names of the rooms that a member is in.
func (r *Rooms) In(m *Member) []string {
	sh := r.shard(m)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	names := make([]string, 0, len(m.rooms))
	for _, ms := range m.rooms {
		if ms.room != &sh.all {
			names = append(names, ms.room.name)
		}
	}
	return names
}

// Lookup finds a member by its ID; nil if there is none.
func (r *Rooms) Lookup(id string) *Member {
	for _, sh := range r.shards {
		sh.mu.Lock()
		m := sh.byID[id]
		sh.mu.Unlock()
		if m != nil {
			return m
		}
	}
	return nil
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

// Count is the number of rooms that have members.
func (r *Rooms) Count() int {
	names := map[string]struct{}{}
	for _, sh := range r.shards {
		sh.mu.Lock()
		for name := range sh.byName {
			names[name] = struct{}{}
		}
		sh.mu.Unlock()
	}
	return len(names)
}

// Members returns the members that o selects.
func (r *Rooms) Members(o Options) []*Member {
	var found []*Member
	seen := map[*Member]struct{}{}
	if o.ExceptMember != nil {
		seen[o.ExceptMember] = struct{}{}
	}
	for _, sh := range r.shards {
		sh.mu.Lock()
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
		if len(o.Rooms) == 0 {
			pick(sh.all.members)
		}
		for _, name := range o.Rooms {
			pick(sh.members(name))
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

// members are those of a room, or the one whose ID it is.
func (sh *shard) members(name string) []*Member {
	if rm := sh.byName[name]; rm != nil {
		return rm.members
	}
	if m := sh.byID[name]; m != nil {
		return []*Member{m}
	}
	return nil
}

func (m *Member) find(rm *room) int {
	return slices.IndexFunc(m.rooms, func(ms membership) bool { return ms.room == rm })
}

func (rm *room) add(m *Member) {
	m.rooms = append(m.rooms, membership{rm, int32(len(rm.members))})
	rm.members = append(rm.members, m)
}

// leave takes m out of its i-th room: the last member takes its place.
func (sh *shard) leave(m *Member, i int) {
	rm, at := m.rooms[i].room, m.rooms[i].at
	if rm != &sh.all {
		defer sh.rooms.observer.left(rm.name, m.ID)
	}
	last := len(m.rooms) - 1
	m.rooms[i] = m.rooms[last]
	m.rooms[last] = membership{}
	m.rooms = m.rooms[:last]
	if rm.shared {
		rm.members, rm.shared = slices.Clone(rm.members), false
	}
	end := len(rm.members) - 1
	moved := rm.members[end]
	rm.members[end] = nil
	rm.members = rm.members[:end]
	if moved != m {
		rm.members[at] = moved
		moved.rooms[moved.find(rm)].at = at
	}
	switch {
	case end == 0 && rm != &sh.all:
		delete(sh.byName, rm.name)
	case cap(rm.members) > 64 && end < cap(rm.members)/4:
		rm.members = slices.Clone(rm.members) // give the memory of a crowd back
	}
}
