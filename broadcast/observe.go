package broadcast

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/goroutine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// RoomEvent tells of a room on this server.
type RoomEvent struct {
	Kind RoomEventKind
	Room string
	ID   string // the member that joins or leaves; "" for the others
}

// RoomEventKind is what happens to a room, in the reference's words.
type RoomEventKind string

// What happens to a room.
const (
	CreateRoom RoomEventKind = "create-room" // its first member is about to join
	JoinRoom   RoomEventKind = "join-room"
	LeaveRoom  RoomEventKind = "leave-room"
	DeleteRoom RoomEventKind = "delete-room" // its last member has left
)

// observer tells of rooms, if anybody listens. What happens is noted under its
// lock, in the order in which it happens, and told by one goroutine without any.
type observer struct {
	// Any goroutine (atomic).
	on atomic.Bool // once Observe or Watch has been called, for good

	// Guarded by mu, which is taken inside a shard's.
	mu      sync.Mutex
	f       func(RoomEvent)
	watch   func(room string, exists bool)
	member  func(room, id string, in bool)
	prefix  string
	members map[string]int // by room, over all loops
	events  []RoomEvent    // not told yet
	teller  uintptr        // the goroutine that tells; 0 for none
	told    sync.Cond      // broadcast when fewer than half of maxRoomEvents are left
}

// maxRoomEvents bounds what has not been told: Join waits. Who leaves does not: there
// are no more of those than have joined.
const maxRoomEvents = 10_000

// Observe registers what is told of rooms, in place of an earlier one, from now on;
// nil for nobody. f is called by one goroutine at a time, in the order in which
// things have happened, soon after; it may block, and call every method: Join then
// waits, if it is not called by f or a loop, while 10,000 events have not been told.
func (r *Rooms) Observe(f func(e RoomEvent)) {
	r.observe(func(o *observer) { o.f = f })
}

// Watch registers, before there are members, who is told at once when a room begins to
// exist here, or no longer does: under locks, so f must not block, nor call a method of
// Rooms. Members' own rooms are left out if their IDs begin with prefix.
func (r *Rooms) Watch(prefix string, f func(room string, exists bool)) {
	r.observe(func(o *observer) { o.watch, o.prefix = f, prefix })
}

// WatchMembers registers who is told at once when a member joins or leaves a room: under
// locks, as Watch's function.
func (r *Rooms) WatchMembers(f func(room, id string, in bool)) {
	r.observe(func(o *observer) { o.member = f })
}

// entered and gone tell of a member's own room. The shard's mu is held.
func (o *observer) entered(id string) { o.own(id, true) }
func (o *observer) gone(id string)    { o.own(id, false) }

func (o *observer) own(id string, exists bool) {
	if !o.on.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watch != nil && !strings.HasPrefix(id, o.prefix) {
		o.watch(id, exists)
	}
}

// observe registers an observer, at one moment of all shards: the numbers of members are
// true from then on.
func (r *Rooms) observe(register func(o *observer)) {
	o := &r.observer
	for _, sh := range r.shards {
		sh.mu.Lock()
		defer sh.mu.Unlock()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on.Swap(true) {
		o.told.L = &o.mu
		o.members = map[string]int{}
		for _, sh := range r.shards {
			for name, rm := range sh.byName {
				o.members[name] += len(rm.members)
			}
		}
	}
	register(o)
}

// joined notes that a member has joined. The shard's mu is held.
func (o *observer) joined(room, id string) {
	if !o.on.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.members[room]++; o.members[room] == 1 {
		if o.watch != nil {
			o.watch(room, true)
		}
		o.note(RoomEvent{Kind: CreateRoom, Room: room})
	}
	if o.member != nil {
		o.member(room, id, true)
	}
	o.note(RoomEvent{JoinRoom, room, id})
}

// left notes that a member has left. The shard's mu is held.
func (o *observer) left(room, id string) {
	if !o.on.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.member != nil {
		o.member(room, id, false)
	}
	o.note(RoomEvent{LeaveRoom, room, id})
	if o.members[room]--; o.members[room] <= 0 {
		delete(o.members, room)
		if o.watch != nil {
			o.watch(room, false)
		}
		o.note(RoomEvent{Kind: DeleteRoom, Room: room})
	}
}

// note queues an event for the one who tells. mu is held.
func (o *observer) note(e RoomEvent) {
	if o.f == nil {
		return
	}
	o.events = append(o.events, e)
	if o.teller == 0 {
		o.teller = ^uintptr(0) // until it says who it is
		go o.tell()
	}
}

// tell tells what has been noted, until there is nothing.
func (o *observer) tell() {
	ended := true // by f: runtime.Goexit
	defer func() {
		if ended {
			go o.tell()
		}
	}()
	o.mu.Lock()
	o.teller = goroutine.ID()
	for len(o.events) > 0 {
		e, f := o.events[0], o.f
		o.events[0] = RoomEvent{}
		if o.events = o.events[1:]; len(o.events) == maxRoomEvents/2 {
			o.told.Broadcast()
		}
		o.mu.Unlock()
		if f != nil {
			f(e)
		}
		o.mu.Lock()
	}
	o.events, o.teller, ended = nil, 0, false
	o.mu.Unlock()
}

// WaitToJoin waits while too much has not been told to Observe's function. No lock is held.
func (r *Rooms) WaitToJoin() {
	o := &r.observer
	if !o.on.Load() || netpoll.OnLoop() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.events) >= maxRoomEvents && o.teller != goroutine.ID() {
		o.told.Wait()
	}
}
