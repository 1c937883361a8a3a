package sockeye

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
)

// handlers are the functions that a namespace calls: for its sockets' lives, and
// for their events. Those of a parent namespace are its children's, too. All
// methods may be called from any goroutine, at any time; what is registered
// counts for events that come after it.
//
// For one socket they are called one after the other, in the order in which
// things happened, and may block (but see Config.Inline).
type handlers struct {
	// Any goroutine (atomic).
	onConnect       hooks[func(s *Socket) error]
	onConnection    hooks[func(s *Socket)]
	onDisconnecting hooks[func(s *Socket, reason Reason)]
	onDisconnect    hooks[func(s *Socket, reason Reason)]
	onUpgrade       hooks[func(s *Socket)]
	onUnhandled     hooks[func(s *Socket, e *Event) error]
	middlewares     hooks[func(s *Socket) error]
	onAny           hooks[func(s *Socket, e *Event)]
	onAnyOutgoing   hooks[func(s *Socket, event string, args []any)]
	onServerSide    hooks[func(e *ServerEvent)]

	eventMiddlewares hooks[eventMiddleware]
	events           callback[map[string]*handler]
	declared         callback[declarations]

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

// hooks are functions that are all called, in the order of their registration.
// Each registration has a pointer of its own.
type hooks[T any] struct{ callback[[]*T] }

// add registers f, which has to be a function.
func (h *hooks[T]) add(mu *sync.Mutex, name string, f T) (remove func()) {
	if reflect.ValueOf(f).IsNil() {
		panic(fmt.Sprintf("sockeye: %s: the function is nil", name))
	}
	p := &f
	mu.Lock()
	defer mu.Unlock()
	h.set(append(slices.Clip(h.get()), p))
	return func() {
		mu.Lock()
		defer mu.Unlock()
		h.set(slices.DeleteFunc(slices.Clone(h.get()), func(q *T) bool { return q == p }))
	}
}

// Each registration returns a function that takes it away again, and may be called
// more than once.

// Use adds a middleware: it is called for each connection in the order of
// registration, and an error refuses it; see OnConnect. The socket is in no room
// yet. What a middleware emits arrives before the peer's connect event.
func (h *handlers) Use(middleware func(s *Socket) error) (remove func()) {
	return h.middlewares.add(&h.mu, "Use", middleware)
}

// OnConnect adds what is called for each new socket, after the middlewares. A
// returned error refuses the connection: the peer gets a *ConnectError as it is,
// and "internal error" for any other, which is told to OnError. What f emits
// arrives after the peer's connect event; it cannot ask the peer, nor send more
// than its queue takes: see OnConnection.
func (h *handlers) OnConnect(f func(s *Socket) error) (remove func()) {
	return h.onConnect.add(&h.mu, "OnConnect", f)
}

// OnConnection adds what is called when a socket that OnConnect has let in has been
// told so, before its first event: the reference's "connection".
func (h *handlers) OnConnection(f func(s *Socket)) (remove func()) {
	return h.onConnection.add(&h.mu, "OnConnection", f)
}

// OnDisconnecting adds what is called before OnDisconnect's functions: Socket.Rooms
// still has the rooms that the socket was in.
func (h *handlers) OnDisconnecting(f func(s *Socket, reason Reason)) (remove func()) {
	return h.onDisconnecting.add(&h.mu, "OnDisconnecting", f)
}

// OnDisconnect adds what is called, once, when a socket is gone that all of
// OnConnect's functions have let in, after its last event. Its rooms are empty by
// then. With connection state recovery the peer may have come back by then, as another
// Socket of the same ID: handlers of the two do not wait for each other.
func (h *handlers) OnDisconnect(f func(s *Socket, reason Reason)) (remove func()) {
	return h.onDisconnect.add(&h.mu, "OnDisconnect", f)
}

// OnUpgrade adds what is called when a socket's session has gone over from
// long-polling to WebSocket.
func (h *handlers) OnUpgrade(f func(s *Socket)) (remove func()) {
	return h.onUpgrade.add(&h.mu, "OnUpgrade", f)
}

// OnUnhandled adds what is called for events that have no handler. Without one they
// are counted, and not answered, as by the reference.
func (h *handlers) OnUnhandled(f func(s *Socket, e *Event) error) (remove func()) {
	return h.onUnhandled.add(&h.mu, "OnUnhandled", f)
}

// OnAny adds what is called for every event of a socket, before middlewares and
// handlers.
func (h *handlers) OnAny(f func(s *Socket, e *Event)) (remove func()) {
	return h.onAny.add(&h.mu, "OnAny", f)
}

// OnAnyOutgoing adds what is called for every event that is emitted, with its
// arguments, which it must not change: once for each call of Emit, with a nil
// socket for a broadcast.
func (h *handlers) OnAnyOutgoing(f func(s *Socket, event string, args []any)) (remove func()) {
	return h.onAnyOutgoing.add(&h.mu, "OnAnyOutgoing", f)
}

// UseEvents adds a middleware for events: it is called in place of an event's handler,
// and next calls that, or the next middleware, in the order of registration. So it sees
// how long a handler takes, and how it ends:
//
//	srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
//		begin := time.Now()
//		err := next(ctx)
//		log.Println(e.Name(), time.Since(begin), err)
//		return err
//	})
//
// ctx is the socket's, with the values of the handshake's; what is given to next is the
// handler's (its context parameter, [Event.Context]). next returns the error of the
// handler, a *PanicError if it has panicked (which has been reported by then), an
// *ArgumentError if the arguments did not fit; nil if the event has no handler, after
// OnUnhandled's functions. A handler's results have answered the peer's acknowledgement
// when next returns.
//
// What the middleware returns counts in place of the handler's error: it answers the
// acknowledgement, if that is open, and is told to OnError, both as a handler's would
// be. With nil, the acknowledgement stays the handler's affair if that has succeeded, and
// is answered with {"error": "internal error"} if it has failed or was not called, and
// the middleware has not answered itself (Event.Ack, AckLater).
//
//   - Without a call of next the event is kept from its handler (Stats.FilteredEvents). A
//     handler that was registered by Once is not used up.
//   - next calls the handler once: the second time it returns an error, and so it does
//     when the middleware has returned.
//   - A middleware that panics, before next or after it, is reported as a handler is; to
//     those around it the panic is the error of next. One that ends its goroutine
//     (runtime.Goexit) ends all of them, and the acknowledgement is answered as after a
//     panic.
//   - next may be called on another goroutine (but not with Config.Inline, where the
//     handler is to be on the loop): a middleware that returns before next does is
//     waited for.
//   - The peer may go meanwhile: ctx ends, and next still calls the handler. When
//     Disconnect or CloseSession has been called next calls nothing, and returns
//     ErrDisconnected.
//   - OnAny's functions are called before, whatever middlewares do. Those of OnUnhandled
//     are called by next.
//   - With Config.Inline a middleware is on the loop, and must not block.
//
// Where there is a middleware, a socket that sends events has a context, and an event
// takes some allocations; without one it takes none.
func (h *handlers) UseEvents(middleware func(ctx context.Context, e *Event, next func(ctx context.Context) error) error) (remove func()) {
	return h.eventMiddlewares.add(&h.mu, "UseEvents", middleware)
}

// On registers the handler of an event. A handler is a function:
//
//	func(args...) (results..., error)
//	func(s *Socket, args...) (results..., error)
//	func(ctx context.Context, s *Socket, args...) (results..., error)
//	func(s *Socket, e *Event) error
//
// Each argument is decoded by the Codec into its parameter's type: []byte and
// io.Reader take binary, any has it as []byte. A missing argument is an error, unless
// its parameter is a pointer, which is nil then; further ones are dropped, and a
// variadic parameter takes the rest. The context is the socket's, or what UseEvents'
// middlewares have made of it. Results
// answer the peer's acknowledgement; an *AckError answers it with
// {"error": message}, and any other error, or a panic, with {"error": "internal error"},
// and is told to OnError. Both may be left out. The last form gets the
// arguments undecoded and acknowledges by Event.Ack.
//
// On panics if handler has none of these forms, and if the event cannot have one (see
// OnConnect, OnAny and OnUnhandled) or has one already.
func (h *handlers) On(event string, handler any) (remove func()) {
	return h.register(event, handler, false)
}

// Once is On for a handler that is taken away when it has been called once, for
// whichever socket.
func (h *handlers) Once(event string, handler any) (remove func()) {
	return h.register(event, handler, true)
}

// Off takes the handler of an event away.
func (h *handlers) Off(event string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := maps.Clone(h.events.get())
	delete(m, event)
	h.events.set(m)
}

func (h *handlers) register(event string, f any, once bool) (remove func()) {
	compiled, err := compileHandler(event, f)
	if err != nil {
		panic(err.Error())
	}
	compiled.once = once
	h.mu.Lock()
	defer h.mu.Unlock()
	m := maps.Clone(h.events.get())
	if m == nil {
		m = map[string]*handler{}
	}
	if m[event] != nil {
		panic(fmt.Sprintf("sockeye: On(%q): the event has a handler already; take it away by Off, or by what On has returned, or do both things in one", event))
	}
	m[event] = compiled
	h.events.set(m)
	return func() { h.drop(event, compiled) }
}

// drop takes a handler away, if it is still there.
func (h *handlers) drop(event string, registered *handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.events.get(); m[event] == registered {
		m = maps.Clone(m)
		delete(m, event)
		h.events.set(m)
	}
}

// find returns the handler of an event, and uses up one that is for once.
func (h *handlers) find(event []byte) *handler {
	found := h.events.get()[string(event)]
	if found == nil || !found.once {
		return found
	}
	if found.used.Swap(true) {
		return nil
	}
	h.drop(string(event), found)
	return found
}
