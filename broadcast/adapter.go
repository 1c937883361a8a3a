package broadcast

import (
	"context"
	"errors"

	"github.com/sockeye-io/sockeye/engine"
)

// Options say who gets a broadcast.
type Options struct {
	// Rooms are those addressed, each member once; none means every member. A name
	// stands for the room's members and for the member with that ID.
	Rooms []string
	// Member, if not nil, is the only one addressed, by no name. Rooms are not looked
	// at.
	Member *Member
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
	// Rooms.WaitForSpace before they took it.
	NoWait bool
	// Context, if not nil, bounds the wait.
	Context context.Context //nolint:containedctx // of one call
}

// ErrClosed: the adapter has been closed.
var ErrClosed = errors.New("broadcast: the adapter is closed")

// Adapter decides where the rooms of a namespace live. Its methods may be
// called from any goroutine, except Remove.
type Adapter interface {
	// Add enters a member that is in no room yet, once: after Remove it does nothing,
	// and returns false.
	Add(m *Member) bool
	// Remove takes a member out of everything, for good, whether it was added or not.
	// It is called on the member's loop.
	Remove(m *Member)
	// Join puts a member into rooms. Joining a room twice does nothing, nor does
	// joining one that is named like the member's ID, or joining after Remove.
	Join(m *Member, rooms ...string)
	// Leave takes a member out of a room.
	Leave(m *Member, room string)
	// Broadcast sends msg, sealed, to the members that o selects. It takes
	// references of its own. It waits when the loops of members addressed are far
	// behind and the caller is not one of them. With an error, which is ErrClosed or
	// o.Context's, nobody gets msg.
	Broadcast(msg *engine.Message, o Options) error
	// Close ends the adapter, and lets go of those who wait.
	Close()
}
