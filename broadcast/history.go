package broadcast

import (
	"context"
	"errors"
	"time"
)

// History is what an adapter whose bus keeps events and sessions offers, so that sockets
// come back on any server: the Remote of such an adapter has a method History() History. It
// is used in place of Remote.Broadcast for what may be missed, if the server recovers
// sockets, and the Local is a Recorder then.
//
// All servers get the events of a namespace in one order, which is that of their offsets.
// Methods with a context wait for the bus; the others do not.
type History interface {
	// Append is Remote.Broadcast for all servers, this one included: each gets it by its
	// Recorder. number counts what this server appends to the namespace, from 1 on.
	Append(p Payload, t Target, number uint64) error
	// Origin is what Kept.Origin is of events of this server's.
	Origin() string
	// Position is the offset up to which this server has got everything; "" while it is
	// not known.
	Position() string
	// Compare tells which of two offsets is the earlier; ok is false if one is none.
	Compare(a, b string) (order int, ok bool)
	// Read reads some of the events behind an offset, up to another one, at least those
	// that are for rooms or for all: payloads of maxBytes together, about, or a single
	// event, or none, where much is for others. It returns how far it has read, which is
	// upto at the end. The error is ErrTrimmed if not all is there any more, or if after
	// is no longer the place of what it was.
	Read(ctx context.Context, after, upto string, rooms []string, maxBytes int) (list []Kept, next string, err error)
	// TakeSession makes owner the owner of a session, and returns what was written last,
	// and who owned it; nil if there is none.
	TakeSession(ctx context.Context, pid, owner string, lease time.Duration) (data []byte, was string, err error)
	// PutSessions writes sessions, each if nobody else owns it. It returns the indexes of
	// those that others own.
	PutSessions(ctx context.Context, list []StoredSession) (lost []int, err error)
}

// Kept is an event that the bus keeps. It has been appended by a server, or by one of
// another kind: then it has no Number.
type Kept struct {
	Offset  string
	Origin  string // names the server that has appended it
	Number  uint64 // in the order of those of its origin
	Payload Payload
	Target  Target
}

// StoredSession is a session to be written.
type StoredSession struct {
	PID, Owner string
	Data       []byte // nil: the session is over
	Lease      time.Duration
}

// Recorder is a Local that gets kept events with their offsets, this server's own
// included, in order. It keeps nothing of what it is given, and may wait as Broadcast does.
type Recorder interface {
	Local
	Recorded(e Kept)
}

// ErrTrimmed: the bus no longer has what was to be read.
var ErrTrimmed = errors.New("broadcast: the bus no longer has it")
