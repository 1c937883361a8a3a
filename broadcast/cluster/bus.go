package cluster

import "context"

// Bus carries frames between servers. Its methods may be called from any goroutine, and
// but for those with a context they do not wait for what is not on this machine: what a
// bus has subscribed to it subscribes to again, by itself, when it has been away.
type Bus interface {
	// Open begins to receive for a: what comes is given to a.Receive, what cannot be read
	// to a.Ignore.
	Open(a *Adapter) error
	// Join subscribes to what concerns a namespace, Leave ends that.
	Join(namespace string)
	Leave(namespace string)
	// Room tells that somebody here is in a room, or nobody any more. It is called under
	// locks, and must not call the adapter.
	Room(namespace, room string, exists bool)
	// Encode makes a frame of a message, of which it keeps nothing. The error is
	// broadcast.ErrUnsupported for what the format cannot express.
	Encode(m *Message) (Frame, error)
	// Send sends frames, in order; one goroutine calls it. The first sent frames have been
	// taken by the bus, the next lost ones perhaps: they must not be sent again. The rest
	// have certainly not been sent.
	Send(ctx context.Context, frames []Frame) (sent, lost int, err error)
	// Ping tells whether the bus can be reached.
	Ping(ctx context.Context) error
	// Others is the number of other servers that get a namespace's messages. A bus that
	// does not know returns broadcast.ErrUnsupported: then those count that are heard of.
	Others(ctx context.Context, namespace string) (int, error)
	// Close ends it. Nothing is received afterwards.
	Close() error
}

// AllRooms is implemented by a Bus by which a namespace can get what is sent to any room, as a
// broadcast.Gateway needs it. It is called before Join; Room is called all the same.
type AllRooms interface{ AllRooms(namespace string) error }

// AllArguments is implemented by a Bus whose format's answers of sockets (BroadcastAck) are
// arrays of all arguments. Others have one value.
type AllArguments interface{ AllArguments() }
