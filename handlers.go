package sockeye

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// Handlers are the functions that a namespace calls: for its sockets' lives, and
// for their events. Those of a parent namespace are its children's, too. All
// methods may be called from any goroutine, at any time; what is registered
// counts for events that come after it.
//
// For one socket they are called one after the other, in the order in which
// things happened, and may block (but see Config.Inline).
type Handlers struct {
	// Any goroutine (atomic).
	onConnect       callback[func(s *Socket) error]
	onDisconnecting callback[func(s *Socket, reason Reason)]
	onDisconnect    callback[func(s *Socket, reason Reason)]
	onUpgrade       callback[func(s *Socket)]
	onUnhandled     callback[func(s *Socket, e *Event) error]
	middlewares     callback[[]func(s *Socket) error]
	filters         callback[[]func(s *Socket, e *Event) error]
	onAny           callback[[]func(s *Socket, e *Event)]
	onAnyOutgoing   callback[[]func(s *Socket, event string, args []any)]
	events          callback[map[string]*handler]
	serverEvents    callback[map[string]func(args Args)]

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

// OnConnect registers what is called for each new socket, after the
// middlewares, in place of an earlier one. A returned error refuses the
// connection; see ConnectError. What f emits arrives after the peer's connect
// event.
func (h *Handlers) OnConnect(f func(s *Socket) error) { h.onConnect.set(f) }

// OnDisconnecting registers what is called before OnDisconnect's function:
// Socket.Rooms still has the rooms that the socket was in.
func (h *Handlers) OnDisconnecting(f func(s *Socket, reason Reason)) { h.onDisconnecting.set(f) }

// OnDisconnect registers what is called when a connected socket is gone, after
// its last event. Its rooms are empty by then.
func (h *Handlers) OnDisconnect(f func(s *Socket, reason Reason)) { h.onDisconnect.set(f) }

// OnUpgrade registers what is called when a socket's session has gone over from
// long-polling to WebSocket.
func (h *Handlers) OnUpgrade(f func(s *Socket)) { h.onUpgrade.set(f) }

// OnUnhandled registers what is called for events that have no handler. Default:
// they are counted, and ignored.
func (h *Handlers) OnUnhandled(f func(s *Socket, e *Event) error) { h.onUnhandled.set(f) }

// OnAny adds what is called for every event of a socket, before middlewares and
// handlers.
func (h *Handlers) OnAny(f func(s *Socket, e *Event)) { add(h, &h.onAny, f) }

// OnAnyOutgoing adds what is called for every event that is emitted, with its
// arguments, which it must not change: once for each call of Emit, with a nil
// socket for a broadcast.
func (h *Handlers) OnAnyOutgoing(f func(s *Socket, event string, args []any)) {
	add(h, &h.onAnyOutgoing, f)
}

// Use adds a middleware: it is called for each connection in the order of
// registration, and an error refuses it. The socket is in no room yet. What a
// middleware emits arrives before the peer's connect event.
func (h *Handlers) Use(middleware func(s *Socket) error) { add(h, &h.middlewares, middleware) }

// UseEvents adds a middleware for events: it is called before an event's
// handler, in the order of registration, and an error keeps the event from it.
// The peer's acknowledgement, if it asked for one, gets the error as a handler's
// would be.
func (h *Handlers) UseEvents(middleware func(s *Socket, e *Event) error) {
	add(h, &h.filters, middleware)
}

func add[T any](h *Handlers, list *callback[[]T], f T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list.set(append(slices.Clone(list.get()), f))
}

// On registers the handler of an event, in place of an earlier one. A handler
// is a function:
//
//	func(args...) (results..., error)
//	func(s *Socket, args...) (results..., error)
//	func(ctx context.Context, s *Socket, args...) (results..., error)
//	func(s *Socket, e *Event) error
//
// Each argument is decoded by the Codec into its parameter's type: []byte and
// io.Reader take binary, any has it as []byte, missing arguments are zero, further ones are dropped,
// and a variadic parameter takes the rest. The context is the socket's. Results
// answer the peer's acknowledgement; an error answers it with {"error": text},
// and is reported to OnError. Both may be left out. The last form gets the
// arguments undecoded and acknowledges by Event.Ack.
//
// On panics if handler is neither.
func (h *Handlers) On(event string, handler any) { h.register(event, handler, false) }

// Once is On for a handler that is taken away when it has been called once, for
// whichever socket.
func (h *Handlers) Once(event string, handler any) { h.register(event, handler, true) }

// Off takes the handler of an event away.
func (h *Handlers) Off(event string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := maps.Clone(h.events.get())
	delete(m, event)
	h.events.set(m)
}

func (h *Handlers) register(event string, f any, once bool) {
	compiled, err := compileHandler(event, f)
	if err != nil {
		panic(err)
	}
	compiled.once = once
	h.mu.Lock()
	defer h.mu.Unlock()
	m := maps.Clone(h.events.get())
	if m == nil {
		m = map[string]*handler{}
	}
	m[event] = compiled
	h.events.set(m)
}

// find returns the handler of an event, and uses up one that is for once.
func (h *Handlers) find(event []byte) *handler {
	found := h.events.get()[string(event)]
	if found == nil || !found.once {
		return found
	}
	if found.used.Swap(true) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m := maps.Clone(h.events.get())
	if m[string(event)] == found {
		delete(m, string(event))
		h.events.set(m)
	}
	return found
}

// OnServerSide registers what is called for an event that another server of the
// cluster has emitted with ServerSideEmit.
func (h *Handlers) OnServerSide(event string, f func(args Args)) {
	if sio.IsReserved([]byte(event)) {
		panic(fmt.Errorf("sockeye: OnServerSide(%q): the name is the protocol's own", event))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m := maps.Clone(h.serverEvents.get())
	if m == nil {
		m = map[string]func(Args){}
	}
	m[event] = f
	h.serverEvents.set(m)
}
