package broadcast

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
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
	// ExceptMember, if not nil, gets nothing, nor who has its ID when it has gone.
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

// ErrClosed: the namespace, or the adapter, has been closed.
var ErrClosed = errors.New("broadcast: closed")

// Adapter joins the namespaces of several servers: a socket of one is then addressed by
// the rooms it is in from all of them. What the servers speak with each other is the
// adapter's: a bus, and a format that other Socket.IO servers understand.
//
// # The contract
//
// Every adapter keeps it; package adaptertest tests it.
//
// Local first. A server's own members are served by the server itself, before the bus is
// told: they get everything, in order, also when the bus is slow or down. But what may be
// missed, where the adapter has a History, comes to them as to the others.
//
// Never blocking. No method of Remote but those with a context waits for the bus: what is
// to be sent is queued, within bounds, and an event loop may call them. What does not fit
// is refused with ErrUnavailable, and no other server gets it.
//
// At most once. A message reaches each other server once or, when the bus or a server
// fails at that moment, not at all; it is never sent again when it may have been sent.
// What is lost is counted (Stats.Lost), and a log says from when to when.
//
// In order. What one goroutine sends to a namespace reaches each other server in that
// order. Nothing is said about what two servers send: two members on two servers may get
// their messages in different orders.
//
// Answers. Who asks several servers has an answer when all have answered, or, when its
// context ends first, what has come by then and a *MissingError that tells who has not.
// A server that is known to have gone is not waited for; if some of its sockets were asked, and
// have not answered, the error tells how many.
//
// Joining. A server that has just joined, or whose first member has just entered a room,
// gets what is broadcast once the bus knows of it: a round trip later.
//
// Hostile input. What comes by the bus and cannot be read is counted and ignored.
type Adapter interface {
	// Join joins a namespace, before it has members. It does not wait for the bus. From
	// then on local is called by the adapter's goroutines.
	Join(local Local) (Remote, error)
	// Close sends what is queued, until ctx is done, and ends the adapter.
	Close(ctx context.Context) error
	// Stats are counters of what went over the bus. They cost some loads.
	Stats() AdapterStats
}

// AdapterStats are an adapter's counters.
type AdapterStats struct {
	Sent, SentBytes         uint64 // messages handed to the bus
	Received, ReceivedBytes uint64 // messages of other servers
	Lost                    uint64 // messages that the bus has not taken, or that came and could not be kept
	Refused                 uint64 // calls that ended with ErrUnavailable
	Ignored                 uint64 // messages that could not be read, or that nobody here knows
	Late                    uint64 // requests whose answers did not all come in time
	Queued                  int    // bytes that wait for the bus
	Down                    bool   // the bus cannot be reached at present
}

// Payload is the arguments of an event, its name first, or of an answer.
type Payload struct {
	// JSON is an array. {"_placeholder":true,"num":i} stands for Attachments[i].
	JSON        []byte
	Attachments [][]byte

	Passed bool // of an event for servers: a Gateway has passed it on, and no other does so again
}

// Size is how many bytes it has.
func (p Payload) Size() int {
	n := len(p.JSON)
	for _, a := range p.Attachments {
		n += len(a)
	}
	return n
}

// Clone is a copy that may be kept.
func (p Payload) Clone() Payload {
	c := Payload{JSON: bytes.Clone(p.JSON), Passed: p.Passed}
	for _, a := range p.Attachments {
		c.Attachments = append(c.Attachments, bytes.Clone(a))
	}
	return c
}

// Target says by names who is addressed, on whichever server.
type Target struct {
	Rooms, Except []string // as in Options
	Volatile      bool
	NoCompress    bool
	Passed        bool // a Gateway has passed it on: no other does so again
}

// SocketInfo describes a socket of another server.
type SocketInfo struct {
	ID        string          `json:"id"`
	Handshake json.RawMessage `json:"handshake"` // in the form of the reference server's socket.handshake
	Rooms     []string        `json:"rooms"`     // its own ID among them
	Data      json.RawMessage `json:"data"`      // null if it cannot be written as JSON
}

// Local is this server's part of a namespace, as an adapter sees it. Its methods may be
// called from any goroutine; they do what is asked for this server's own members alone.
type Local interface {
	// Name is the namespace's name, "/" or "/chat".
	Name() string
	// Server names this server: the IDs of its sockets begin with it, and no other
	// server's do.
	Server() string
	// Broadcast serves the members that t selects. It keeps nothing of p. It waits
	// while their loops are far behind.
	Broadcast(p Payload, t Target) error
	// Call is Broadcast with answers: it returns how many members were asked, and calls
	// answered with all arguments of each that answers within timeout, also while Call
	// still runs. What answered gets may be kept.
	Call(p Payload, t Target, timeout time.Duration, answered func(p Payload)) (asked int, err error)
	// Sockets describes the members that t selects.
	Sockets(t Target) []SocketInfo
	// JoinRooms, LeaveRooms and Disconnect change the members that t selects.
	JoinRooms(t Target, rooms []string)
	LeaveRooms(t Target, rooms []string)
	Disconnect(t Target, closeSession bool)
	// ServerEvent calls the handlers of an event that another server has sent to the
	// servers. It does not wait for them. answer is nil if no answer is wanted; it is
	// called once at most, with one value in an array.
	ServerEvent(p Payload, answer func(p Payload))
	// HasRoom tells whether somebody here is in a room, or has that ID.
	HasRoom(room string) bool
	// Rooms are the rooms that somebody here is in, without the sockets' own.
	Rooms() []string
}

// Gateway is a Local behind which there are other servers, of another bus: package bridge
// has it. The adapter gives it what is sent to any room, and asks it for answers that it has
// to wait for: those come besides Call's and Sockets', which are of this server alone.
type Gateway interface {
	Local
	// CallElsewhere is Call for the servers behind. It keeps p and t, and waits for the
	// answers until ctx is done; asked is how many sockets have answered, or should have.
	CallElsewhere(ctx context.Context, p Payload, t Target, answered func(p Payload)) (asked int)
	// SocketsElsewhere is Sockets for the servers behind. It keeps t.
	SocketsElsewhere(ctx context.Context, t Target) []SocketInfo
}

// Remote is the other servers' part of a namespace. Its methods may be called from any
// goroutine. They keep nothing of what they are given.
type Remote interface {
	// Broadcast serves the others' members that t selects.
	Broadcast(p Payload, t Target) error
	// Call is Broadcast with answers: answered is called with each, by one goroutine at a
	// time, until Call returns. Its error is a *MissingError if some have not come by the
	// end of ctx.
	Call(ctx context.Context, p Payload, t Target, answered func(p Payload)) error
	// Sockets describes the others' members that t selects. With a *MissingError it
	// returns those that are known.
	Sockets(ctx context.Context, t Target) ([]SocketInfo, error)
	// JoinRooms, LeaveRooms and Disconnect change the others' members that t selects.
	JoinRooms(t Target, rooms []string) error
	LeaveRooms(t Target, rooms []string) error
	Disconnect(t Target, closeSession bool) error
	// ServerEvent sends an event to the other servers themselves.
	ServerEvent(p Payload) error
	// CallServers is ServerEvent with answers, one of each server: an array of one value.
	CallServers(ctx context.Context, p Payload) ([]Payload, error)
	// Servers is the number of other servers in the namespace.
	Servers(ctx context.Context) (int, error)
	// Room is told when the first member here has entered a room, or the last has left
	// it. It must not block: it is called under a lock. It is not told of the sockets' own
	// rooms, unless the Adapter has a method PrivateRooms() bool that says so.
	Room(room string, exists bool)
	// Close leaves the namespace. It does not wait for the bus.
	Close()
}

// What an adapter cannot do.
var (
	// ErrUnavailable: the bus cannot be reached, or is too slow, and what was to be sent
	// reaches this server's own sockets alone.
	ErrUnavailable = errors.New("broadcast: the other servers cannot be reached")
	// ErrUnsupported: the adapter's format has no such message.
	ErrUnsupported = errors.New("broadcast: the adapter's format cannot express this")
)

// MissingError tells which servers have not answered in time.
type MissingError struct {
	Asked, Answered int      // servers
	Servers         []string // the names of those that have not, as far as they are known
	Sockets         int      // that have not answered, of servers that have
	Err             error    // why nobody waits any longer
}

// Error names them.
func (e *MissingError) Error() string {
	text := fmt.Sprintf("broadcast: %d of %d servers have answered", e.Answered, e.Asked)
	if len(e.Servers) > 0 {
		text += ", not " + strings.Join(e.Servers, ", ")
	}
	if e.Sockets > 0 {
		text += fmt.Sprintf("; %d of their sockets have not", e.Sockets)
	}
	return fmt.Sprintf("%s: %v", text, e.Err)
}

// Unwrap is why nobody waits any longer.
func (e *MissingError) Unwrap() error { return e.Err }
