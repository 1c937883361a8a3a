package sockeye

import (
	"sync/atomic"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
)

// Namespace is a part of the server with sockets, rooms and handlers of its
// own. Its methods may be called from any goroutine.
type Namespace struct {
	// What the namespace calls. A child of a ParentNamespace shares
	// its parent's.
	*handlers

	// Immutable after newNamespace.
	srv     *Server
	name    string
	parent  *ParentNamespace // nil for one that Server.Of has made
	past    *Recovery        // nil without recovery
	rooms   *broadcast.Rooms
	remote  broadcast.Remote // the other servers' part; nil without Config.Adapter
	servers *serverEvents    // likewise
	history *history         // of broadcasts, for connection state recovery; or nil
	shared  sharedPointer    // in place of it, that of all servers; nil for none. Set by newNamespace

	// Any goroutine (atomic).
	onRoom hooks[func(e broadcast.RoomEvent)] // guarded by Server.hooksMu: who registers
	users  atomic.Int64                       // peers that are in it, or about to be; of a child only
	ackID  atomic.Uint64                      // of the last event that asked for an answer

	// With locks of their own.
	claims   claims
	presence presences
}

func newNamespace(srv *Server, name string, parent *ParentNamespace, past *Recovery) *Namespace {
	ns := &Namespace{srv: srv, name: name, parent: parent, past: past}
	if ns.handlers = new(handlers); parent != nil {
		ns.handlers = &parent.handlers
	}
	ns.rooms = broadcast.New(srv.group, ns.deliver)
	ns.joinServers()
	if past != nil && ns.shared.Load() == nil {
		ns.history = newHistory(ns, past)
	}
	return ns
}

// deliver gives a broadcast to one member, on its loop.
func (ns *Namespace) deliver(m *broadcast.Member, msg *engine.Message, volatile bool) {
	s := m.Owner.(*Socket)
	s.count(tallyDeliveries)
	if s.deliver(msg, volatile) {
		s.unsent.Add(units(msg))
	}
}

// Name is the namespace's name, with its slash.
func (ns *Namespace) Name() string { return ns.name }

// Emit sends an event to every socket of the namespace. See Socket.Emit for
// the arguments.
func (ns *Namespace) Emit(event string, args ...any) error {
	return Operator{ns: ns}.Emit(event, args...)
}

// Send emits the "message" event to every socket of the namespace.
func (ns *Namespace) Send(args ...any) error { return ns.Emit("message", args...) }

// To addresses the sockets of rooms, each socket once; without rooms, as in To(list...)
// with an empty list, those of the whole namespace. A socket's ID is a room of its own.
func (ns *Namespace) To(rooms ...string) Operator { return Operator{ns: ns}.To(rooms...) }

// In is To.
func (ns *Namespace) In(rooms ...string) Operator { return ns.To(rooms...) }

// Except addresses all sockets but those of rooms.
func (ns *Namespace) Except(rooms ...string) Operator { return Operator{ns: ns}.Except(rooms...) }

// Local addresses the sockets that are connected to this server.
func (ns *Namespace) Local() Operator { return Operator{ns: ns}.Local() }

// All addresses all sockets.
func (ns *Namespace) All() Operator { return Operator{ns: ns} }

// Volatile addresses all sockets, with messages that may be dropped.
func (ns *Namespace) Volatile() Operator { return Operator{ns: ns}.Volatile() }

// CloseRoom takes every socket out of a room; see Operator.Leave.
func (ns *Namespace) CloseRoom(room string) error { return ns.To(room).Leave(room) }

// Sockets are the connected sockets.
func (ns *Namespace) Sockets() []*Socket { return Operator{ns: ns}.Sockets() }

// tellOutgoing tells those who watch what is emitted, to s or, without one, to
// several. They get a copy: Emit's arguments stay on the caller's stack.
func (ns *Namespace) tellOutgoing(s *Socket, event string, args []any, asks bool) {
	if ns.srv.checks() {
		ns.checkSent(event, append([]any(nil), args...), asks)
	}
	if watchers := ns.onAnyOutgoing.get(); len(watchers) > 0 {
		own := append([]any(nil), args...)
		for _, f := range watchers {
			ns.srv.protect("OnAnyOutgoing", func() { (*f)(s, event, own) })
		}
	}
}

// Socket finds a connected socket by its ID; nil if there is none.
func (ns *Namespace) Socket(id string) *Socket {
	if m := ns.rooms.Lookup(id); m != nil {
		return m.Owner.(*Socket)
	}
	return nil
}

// Len is the number of connected sockets.
func (ns *Namespace) Len() int { return ns.rooms.Len() }

// RoomCount is the number of rooms that somebody is in; a socket's own is left out. It
// looks at each room's name.
func (ns *Namespace) RoomCount() int { return ns.rooms.Count() }

// Dynamic tells whether the namespace is the child of a ParentNamespace: one that peers
// may make.
func (ns *Namespace) Dynamic() bool { return ns.parent != nil }

// Parent is what has made the namespace, and whose handlers it shares: nil for one that
// Server.Of has made.
func (ns *Namespace) Parent() *ParentNamespace { return ns.parent }

// OnRoom adds what is called when a room begins or ends to exist, and when a socket
// joins or leaves one, in that order, soon after; a socket's own room is left out. It
// is called by a goroutine of its own and may call anything; while 10,000 events have
// not been told, Join waits. What it returns takes it away.
func (ns *Namespace) OnRoom(f func(e RoomEvent)) (remove func()) {
	remove = ns.onRoom.add(&ns.srv.hooksMu, "OnRoom", f)
	ns.rooms.Observe(func(e RoomEvent) { ns.tellRoom(e, ns.onRoom.get()) })
	return remove
}

// tellRoom calls all of them, also if one ends its goroutine.
func (ns *Namespace) tellRoom(e RoomEvent, hooks []*func(RoomEvent)) {
	if len(hooks) > 0 {
		defer ns.tellRoom(e, hooks[1:])
		ns.srv.protect("OnRoom", func() { (*hooks[0])(e) })
	}
}
