package broadcast

import "github.com/sockeye-io/sockeye/engine"

// Options say who gets a broadcast.
type Options struct {
	// Rooms are those addressed, each member once; none means every member. A
	// member's ID is the name of a room of its own.
	Rooms []string
	// Except are rooms whose members get nothing.
	Except []string
	// ExceptMember, if not nil, gets nothing.
	ExceptMember *Member
	// Volatile drops the message for members whose transport cannot take it at
	// once.
	Volatile bool
	// Local keeps the message on this server.
	Local bool
	// NoWait never waits: for those who hold a lock, and have called
	// Rooms.WaitForRoom before they took it.
	NoWait bool
}

// Adapter decides where the rooms of a namespace live. Its methods may be
// called from any goroutine, except Remove.
type Adapter interface {
	// Add enters a member that is in no room yet.
	Add(m *Member)
	// Remove takes a member out of everything. It is called on the member's loop.
	Remove(m *Member)
	// Join puts a member into rooms. Joining a room twice does nothing.
	Join(m *Member, rooms ...string)
	// Leave takes a member out of a room.
	Leave(m *Member, room string)
	// Broadcast sends msg, sealed, to the members that o selects. It takes
	// references of its own. It waits when the loops are far behind and the
	// caller is not one of them.
	Broadcast(msg *engine.Message, o Options)
	// Close ends the adapter.
	Close()
}
