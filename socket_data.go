package sockeye

import (
	"context"
	"maps"
)

// socketExtras is what few sockets have: made when it is first needed.
type socketExtras struct {
	handlers *Handlers // of this socket alone
	acks     map[uint64]*pendingAck
	rooms    []string           // to be joined on entering; when it has gone, those that it was in
	session  map[string]any     // SaveSession
	ctx      context.Context    //nolint:containedctx // the socket's own life
	cancel   context.CancelFunc // ends ctx
}

// extra returns the extras; mu is held.
func (s *Socket) extra() *socketExtras {
	if s.extras == nil {
		s.extras = new(socketExtras)
	}
	return s.extras
}

// earlyRooms are to be joined on entering the namespace; mu is held.
func (s *Socket) earlyRooms() []string {
	if s.extras == nil {
		return nil
	}
	return s.extras.rooms
}

// lastRooms are those that a socket was in that has gone; mu is held.
func (s *Socket) lastRooms() []string { return s.earlyRooms() }

// SetData keeps a value of the application's with the socket. With connection
// state recovery it comes back with the socket.
func (s *Socket) SetData(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = v
}

// Data is what SetData has kept, or nil.
func (s *Socket) Data() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// Session copies the socket's session: named values of the application's, as
// in Flask-SocketIO. It is empty at first, and gone with the socket.
func (s *Socket) Session() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras == nil || s.extras.session == nil {
		return map[string]any{}
	}
	return maps.Clone(s.extras.session)
}

// SaveSession replaces the socket's session by a copy of m.
func (s *Socket) SaveSession(m map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra().session = maps.Clone(m)
}

// WithSession has f change the socket's session; other calls wait meanwhile. f
// must not call the socket's methods, nor keep m.
func (s *Socket) WithSession(f func(m map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extra()
	if x.session == nil {
		x.session = map[string]any{}
	}
	f(x.session)
}

// Context is done when the socket has been disconnected.
func (s *Socket) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extra()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancel(context.Background())
		if s.is(socketGone) {
			x.cancel()
		}
	}
	return x.ctx
}

// endContext ends what Context has given out. s.gone is set.
func (s *Socket) endContext() {
	s.mu.Lock()
	var cancel context.CancelFunc
	if s.extras != nil {
		cancel = s.extras.cancel
	}
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// On registers a handler for this socket alone, before which the namespace's is
// not called. See Handlers.On.
func (s *Socket) On(event string, handler any) { s.own().On(event, handler) }

// Once is On for a handler that is taken away when it has been called once.
func (s *Socket) Once(event string, handler any) { s.own().Once(event, handler) }

// Off takes a handler of this socket's away.
func (s *Socket) Off(event string) { s.own().Off(event) }

// own are the socket's own handlers.
func (s *Socket) own() *Handlers {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extra()
	if x.handlers == nil {
		x.handlers = new(Handlers)
	}
	return x.handlers
}

// findHandler finds the handler of an event: the socket's, or the namespace's.
func (s *Socket) findHandler(event []byte) *handler {
	s.mu.Lock()
	x := s.extras
	s.mu.Unlock()
	if x != nil && x.handlers != nil {
		if h := x.handlers.find(event); h != nil {
			return h
		}
	}
	return s.ns.find(event)
}
