package sockeye

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
)

// Namespace is a part of the server with sockets, rooms and handlers of its
// own. Its methods may be called from any goroutine.
type Namespace struct {
	// Immutable after newNamespace.
	srv     *Server
	name    string
	rooms   *broadcast.Rooms
	adapter broadcast.Adapter

	// Any goroutine (atomic).
	onConnect    callback[func(s *Socket) error]
	onDisconnect callback[func(s *Socket, reason Reason)]
	middlewares  callback[[]func(s *Socket) error]
	handlers     callback[map[string]*handler]

	// Guarded by mu: who registers.
	mu sync.Mutex
}

// callback is a value that is replaced as a whole and read without a lock.
type callback[T any] struct{ p atomic.Pointer[T] }

func (c *callback[T]) set(v T) { c.p.Store(&v) }

func (c *callback[T]) get() (v T) {
	if p := c.p.Load(); p != nil {
		v = *p
	}
	return v
}

type counters struct {
	events, panics, decodeErrors, protocolErrors, unhandled, dropped, paused, refused atomic.Uint64
}

func newNamespace(srv *Server, name string) *Namespace {
	ns := &Namespace{srv: srv, name: name}
	ns.rooms = broadcast.New(srv.group, ns.deliver)
	ns.adapter = ns.rooms
	return ns
}

// deliver gives a broadcast to one member, on its loop.
func (ns *Namespace) deliver(m *broadcast.Member, msg *engine.Message, volatile bool) {
	m.Owner.(*Socket).deliver(msg, volatile)
}

// Name is the namespace's name, with its slash.
func (ns *Namespace) Name() string { return ns.name }

// OnConnect registers what is called for each new socket, after the
// middlewares. A returned error refuses the connection; see ConnectError. What
// f emits arrives after the peer's connect event.
func (ns *Namespace) OnConnect(f func(s *Socket) error) { ns.onConnect.set(f) }

// OnDisconnect registers what is called when a connected socket is gone, after
// its last event. Its rooms are empty by then.
func (ns *Namespace) OnDisconnect(f func(s *Socket, reason Reason)) { ns.onDisconnect.set(f) }

// Use adds a middleware: it is called for each connection in the order of
// registration, and an error refuses it. The socket is in no room yet.
func (ns *Namespace) Use(middleware func(s *Socket) error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.middlewares.set(append(slices.Clone(ns.middlewares.get()), middleware))
}

// On registers the handler of an event, in place of an earlier one. A handler
// is a function:
//
//	func(s *Socket, args...) (results..., error)
//	func(s *Socket, e *Event) error
//
// In the first form each argument is decoded by the Codec into its parameter's
// type ([]byte takes binary; missing arguments are zero, further ones are
// dropped; a variadic parameter takes the rest), and the results answer the
// peer's acknowledgement; both results and error may be left out. The second
// form gets the arguments undecoded and acknowledges by Event.Ack. On panics
// if handler is neither.
func (ns *Namespace) On(event string, h any) {
	compiled, err := compileHandler(ns.srv, event, h)
	if err != nil {
		panic(err)
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	old := ns.handlers.get()
	m := make(map[string]*handler, len(old)+1)
	for k, v := range old {
		m[k] = v
	}
	m[event] = compiled
	ns.handlers.set(m)
}

// Emit sends an event to every socket of the namespace. See Socket.Emit for
// the arguments.
func (ns *Namespace) Emit(event string, args ...any) error {
	return Operator{ns: ns}.Emit(event, args...)
}

// Send emits the "message" event to every socket of the namespace.
func (ns *Namespace) Send(args ...any) error { return ns.Emit("message", args...) }

// To addresses the sockets of rooms, each socket once. A socket's ID is a room
// of its own.
func (ns *Namespace) To(rooms ...string) Operator { return Operator{ns: ns}.To(rooms...) }

// In is To.
func (ns *Namespace) In(rooms ...string) Operator { return ns.To(rooms...) }

// Except addresses all sockets but those of rooms.
func (ns *Namespace) Except(rooms ...string) Operator { return Operator{ns: ns}.Except(rooms...) }

// Volatile addresses all sockets, with messages that may be dropped.
func (ns *Namespace) Volatile() Operator { return Operator{ns: ns}.Volatile() }

// Sockets are the connected sockets.
func (ns *Namespace) Sockets() []*Socket { return Operator{ns: ns}.Sockets() }

// Socket finds a connected socket by its ID; nil if there is none.
func (ns *Namespace) Socket(id string) *Socket {
	if m := ns.rooms.Lookup(id); m != nil {
		return m.Owner.(*Socket)
	}
	return nil
}

// Len is the number of connected sockets.
func (ns *Namespace) Len() int { return ns.rooms.Len() }
