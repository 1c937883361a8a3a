package sockeye

import (
	"context"
	"maps"
	"sync"
)

// socketExtras is what few sockets have: made when it is first needed.
type socketExtras struct {
	handlers *handlers // of this socket alone
	acks     map[uint64]*pendingAck
	refused  bool          // OnConnect has not let it in, and no longer may
	calls    int           // of acks: who waits in Call
	room     chan struct{} // closed when there is room for more to be emitted
	rooms    []string      // to be joined on entering; when it has gone, those that it was in
	session  *session
	ctx      context.Context         // the socket's own life
	cancel   context.CancelCauseFunc // ends ctx
	how      *Disconnect             // once it has gone
	claims   []string                // keys that it has claimed

	replacedFor *string // the key that another has claimed; nil for none
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

// SetData keeps a value of the application's with the socket. With connection
// state recovery it comes back with the socket, as it was when that went: what is set in
// OnDisconnecting's and OnDisconnect's functions, or later, does not.
func (s *Socket) SetData(v any) {
	s.mu.Lock()
	s.data = v
	s.mu.Unlock()
	if h := s.ns.shared.Load(); h != nil && s.life.state().entered() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.touch(s)
	}
}

// Data is what SetData has kept, or nil.
func (s *Socket) Data() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// session are named values of the application's. It has a mutex of its own: the
// application's functions run under it, and no loop takes it.
type session struct {
	mu     sync.Mutex
	values map[string]any
}

// ownSession is the socket's session.
func (s *Socket) ownSession() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extra()
	if x.session == nil {
		x.session = &session{values: map[string]any{}}
	}
	return x.session
}

// Session copies the socket's session: named values of the application's, as
// in Flask-SocketIO. It is empty at first, and gone with the socket.
func (s *Socket) Session() map[string]any {
	own := s.ownSession()
	own.mu.Lock()
	defer own.mu.Unlock()
	return maps.Clone(own.values)
}

// SaveSession replaces the socket's session by a copy of m.
func (s *Socket) SaveSession(m map[string]any) {
	own := s.ownSession()
	own.mu.Lock()
	defer own.mu.Unlock()
	if own.values = maps.Clone(m); m == nil {
		own.values = map[string]any{}
	}
}

// WithSession calls f to change the socket's session; Session, SaveSession and
// WithSession of the same socket wait meanwhile, and nobody else. f may block; it
// must not call those three of this socket, nor keep m.
func (s *Socket) WithSession(f func(m map[string]any)) {
	own := s.ownSession()
	own.mu.Lock()
	defer own.mu.Unlock()
	f(own.values)
}

// Context is done when the socket has been disconnected; context.Cause tells how, by a
// *Disconnect. It has the values of the context of the request that opened the session;
// see Config.Middleware.
func (s *Socket) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extra()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancelCause(context.WithoutCancel(s.Request().Context()))
		if s.life.state().over() {
			x.cancel(x.cause())
		}
	}
	return x.ctx
}

// cause is what ends the context; mu is held.
func (x *socketExtras) cause() error {
	if x.how == nil { // remove is about to tell
		return ErrDisconnected
	}
	return x.how
}

// endContext keeps how the socket was disconnected, and ends what Context has given
// out; the socket has gone.
func (s *Socket) endContext(how *Disconnect) {
	s.mu.Lock()
	x := s.extra()
	x.how = how
	cancel := x.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel(how)
	}
}

// DisconnectDetail tells how the socket was disconnected: who has ended it, why, and what
// the connection was like. It is nil while the socket is connected, and there when
// OnDisconnecting's and OnDisconnect's functions are called. It must not be changed.
func (s *Socket) DisconnectDetail() *Disconnect {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras == nil {
		return nil
	}
	return s.extras.how
}

// On registers a handler for this socket alone, in place of which the namespace's is
// not called. See Namespace.On.
func (s *Socket) On(event string, handler any) (remove func()) { return s.own().On(event, handler) }

// Once is On for a handler that is taken away when it has been called once.
func (s *Socket) Once(event string, handler any) (remove func()) { return s.own().Once(event, handler) }

// Off takes a handler of this socket's away.
func (s *Socket) Off(event string) { s.own().Off(event) }

// own are the socket's own handlers.
func (s *Socket) own() *handlers {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extra()
	if x.handlers == nil {
		x.handlers = new(handlers)
	}
	return x.handlers
}

// hasHandler tells whether findHandler would find one, and uses none up.
func (s *Socket) hasHandler(event []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras != nil && s.extras.handlers != nil && s.extras.handlers.events.get()[string(event)] != nil {
		return true
	}
	return s.ns.events.get()[string(event)] != nil
}

// findHandler finds the handler of an event: the socket's, or the namespace's.
func (s *Socket) findHandler(event []byte) *handler {
	var own *handlers
	s.mu.Lock()
	if s.extras != nil {
		own = s.extras.handlers
	}
	s.mu.Unlock()
	if own != nil {
		if h := own.find(event); h != nil {
			return h
		}
	}
	return s.ns.find(event)
}
