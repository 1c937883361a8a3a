package broadcast

import (
	"sync"
	"sync/atomic"
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

// observer tells of rooms, if anybody listens.
type observer struct {
	// Any goroutine (atomic).
	f atomic.Pointer[func(RoomEvent)]

	// Guarded by mu, which is held while f is called: it sees things in the
	// order in which they happen.
	mu      sync.Mutex
	members map[string]int // by room, over all loops
}

// Observe registers what is told of rooms, in place of an earlier one, from now
// on. f must not block, nor call the Rooms.
func (r *Rooms) Observe(f func(e RoomEvent)) { r.observer.f.Store(&f) }

func (o *observer) joined(room, id string) {
	f := o.f.Load()
	if f == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.members == nil {
		o.members = map[string]int{}
	}
	if o.members[room]++; o.members[room] == 1 {
		(*f)(RoomEvent{Kind: CreateRoom, Room: room})
	}
	(*f)(RoomEvent{JoinRoom, room, id})
}

func (o *observer) left(room, id string) {
	f := o.f.Load()
	if f == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	(*f)(RoomEvent{LeaveRoom, room, id})
	if o.members[room]--; o.members[room] <= 0 {
		delete(o.members, room)
		(*f)(RoomEvent{Kind: DeleteRoom, Room: room})
	}
}
