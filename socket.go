package sockeye

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
)

// Socket is one peer in one namespace. Its methods may be called from any
// goroutine, also after it has been disconnected.
type Socket struct {
	// Immutable after the CONNECT packet.
	ns       *Namespace
	member   broadcast.Member // with the session
	identity *identity        // nil for most

	// Loop-owned.
	next *Socket // of the same session
	held *held

	// Any goroutine (atomic).
	life   life
	unsent atomic.Int32 // on its way to the session's queue, in unsentUnit

	// Guarded by mu.
	mu     sync.Mutex
	box    *mailbox // nil when nothing waits for the handlers
	data   any
	extras *socketExtras
}

// identity is what a peer has said of itself, and what it may come back by.
type identity struct {
	auth  []byte       // JSON object, or nil
	saved *savedSocket // what it was before, if it has been recovered; or nil
	back  *back        // in place of it, with an adapter's history
	last  uint64       // the last recorded event that was handed to the session; the loop's

	rights rights // guarded by history.mu
	direct *log   // likewise: of what was emitted to this socket alone; nil, or what the history may have dropped
	pid    string // names it to connection state recovery; a secret, or ""

	owner    string // with an adapter's history: names the socket there
	places   places // guarded by shared.mu
	admitted bool   // likewise: its peer is to be told that it is in
	gone     bool   // likewise
	taken    bool   // likewise: the peer has come back by another socket
}

// recovered tells whether it was away.
func (who *identity) recovered() bool { return who.saved != nil || who.back != nil }

var noIdentity identity

// who is the socket's identity, never nil.
func (s *Socket) who() *identity {
	if s.identity == nil {
		return &noIdentity
	}
	return s.identity
}

func (s *Socket) engineSession() *engine.Session { return s.member.Session }

func newSocket(ns *Namespace, session *engine.Session, auth []byte) *Socket {
	s := &Socket{ns: ns}
	shared := ns.shared.Load() != nil
	recovers := (ns.history != nil || shared) && session.Version() == 4
	if auth != nil || recovers {
		s.identity = &identity{auth: auth}
	}
	id := ""
	if recovers {
		who := s.identity
		if shared {
			who.pid = engine.NewID() // or what prepare finds
		} else if who.saved = ns.history.restore(auth, ns.srv.unmarshal); who.saved != nil {
			id, who.pid, who.last, s.data = who.saved.id, who.saved.pid, who.saved.last, who.saved.data
			s.extra().rooms = slices.Clone(who.saved.rooms)
		} else {
			who.pid = engine.NewID()
		}
	}
	if id == "" {
		id = socketID(ns, session)
	}
	s.member = broadcast.Member{ID: id, Session: session, Owner: s}
	return s
}

// ID names the socket in its namespace, and is the name of a room that only it
// is in. It is not the session's sid, and no secret.
func (s *Socket) ID() string { return s.member.ID }

// Namespace is the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Server is the server that the socket is connected to.
func (s *Socket) Server() *Server { return s.ns.srv }

// Connected tells whether the socket is in its namespace: from OnConnect on,
// until it leaves, or Disconnect is called.
func (s *Socket) Connected() bool { return s.life.state().entered() }

// Transport is "polling" or "websocket", at present.
func (s *Socket) Transport() string { return s.engineSession().Transport() }

// Request is the request that opened the session: headers, query, address.
func (s *Socket) Request() *Request { return s.engineSession().Request() }

// Auth decodes what the peer gave for its auth option into v. Without one, v
// is left as it is.
func (s *Socket) Auth(v any) error {
	if s.identity == nil || s.identity.auth == nil {
		return nil
	}
	return s.ns.srv.unmarshal(s.identity.auth, v)
}

// AuthJSON is the peer's auth object as it was sent (with a Parser, in its form),
// or nil. It must not be changed.
func (s *Socket) AuthJSON() []byte { return s.who().auth }

// Join puts the socket into rooms; they exist while somebody is in them. It
// takes effect before Join returns, or, in a middleware, as soon as the
// middlewares have let the socket in. The error is ErrDisconnected.
func (s *Socket) Join(rooms ...string) error {
	if !s.life.state().sends() {
		return ErrDisconnected
	}
	if s.changeEarly(func(early []string) []string {
		for _, room := range rooms {
			if room != s.member.ID && !slices.Contains(early, room) {
				early = append(early, room)
			}
		}
		return early
	}) {
		return nil
	}
	return s.join(rooms)
}

// Leave takes the socket out of a room; in a middleware, as soon as the middlewares have let
// the socket in. One that has gone is not changed, nor is what it may come back to.
func (s *Socket) Leave(room string) {
	if !s.changeEarly(func(early []string) []string {
		return slices.DeleteFunc(early, func(r string) bool { return r == room })
	}) {
		_ = s.engineSession().Loop().WaitForSpace(context.Background()) // or it has ended
		switch h := s.ns.shared.Load(); {
		case !s.recovers():
			s.ns.rooms.Leave(&s.member, room)
		case h != nil:
			h.leave(s, room)
		default:
			s.ns.history.leave(s, room)
		}
	}
}

// join is Join once the socket has been admitted. Connection state recovery notes it.
func (s *Socket) join(rooms []string) error {
	s.ns.rooms.WaitToJoin()
	joined := false
	switch h := s.ns.shared.Load(); {
	case !s.recovers():
		joined = s.ns.rooms.Join(&s.member, rooms...)
	case h != nil:
		joined = h.join(s, rooms)
	default:
		joined = s.ns.history.join(s, rooms)
	}
	if !joined {
		return ErrDisconnected
	}
	return nil
}

// recovers tells whether the socket may come back.
func (s *Socket) recovers() bool { return s.who().pid != "" }

// changeEarly changes the rooms that the socket joins when it enters the
// namespace; false if it has entered: it is in the index then.
func (s *Socket) changeEarly(f func(rooms []string) []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.state() != asking {
		return false
	}
	x := s.extra()
	x.rooms = f(x.rooms)
	return true
}

// Recovered tells whether the socket is one that was away: it has the ID, the
// rooms and the data that it had, and the peer gets what it has missed.
func (s *Socket) Recovered() bool { return s.who().recovered() }

// Rooms are the rooms that the socket is in, its own first. When it has gone they
// are none, but for OnDisconnecting's functions those that it was in.
func (s *Socket) Rooms() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rooms, in := s.ns.rooms.In(&s.member); in {
		return append([]string{s.member.ID}, rooms...)
	}
	if s.life.state() == asking {
		return append([]string{s.member.ID}, s.earlyRooms()...)
	}
	return slices.Clone(s.earlyRooms())
}

// takeOut takes the socket out of the namespace's index, and keeps the rooms that it was
// in, its own first, for those who may ask: in one step.
func (s *Socket) takeOut() (rooms []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	others, in := s.ns.rooms.Remove(&s.member)
	if in && (len(s.ns.onDisconnecting.get()) > 0 || s.recovers()) {
		rooms = append([]string{s.member.ID}, others...)
	}
	if rooms != nil || s.extras != nil {
		s.extra().rooms = rooms
	}
	return rooms
}

// To addresses the sockets of rooms, except this one.
func (s *Socket) To(rooms ...string) Operator { return s.Broadcast().To(rooms...) }

// In is To.
func (s *Socket) In(rooms ...string) Operator { return s.To(rooms...) }

// Except addresses the other sockets but those of rooms.
func (s *Socket) Except(rooms ...string) Operator { return s.Broadcast().Except(rooms...) }

// Broadcast addresses all sockets of the namespace except this one.
func (s *Socket) Broadcast() Operator {
	return Operator{ns: s.ns, o: broadcast.Options{ExceptMember: &s.member}}
}

// Disconnect takes the socket out of its namespace; the session and its other
// namespaces live on. What was emitted before still arrives. From the call on no event
// reaches a handler, and nothing more can be emitted.
//
// The peer is told, and does not come back by itself. One that OnConnect has not
// let in yet is told that it has been, and that it has been disconnected. In a
// middleware Disconnect does nothing, as in the reference: return an error. Nor
// does it when the socket has gone, or the second time.
//
// Socket.IO v5, "Disconnection from a namespace".
func (s *Socket) Disconnect() { s.dismiss(false) }

// CloseSession is Disconnect for all sockets of the peer's session, in every namespace;
// it ends the session, and so the connection.
func (s *Socket) CloseSession() { s.dismiss(true) }

func (s *Socket) dismiss(closeSession bool) {
	if _, ok := s.life.change(dismissal); ok {
		post := func() { s.engineSession().Loop().Post(disconnectOnLoop, s, closeSession, 0) }
		if h := s.ns.shared.Load(); h == nil || !h.defers(laterBytes, post) {
			post()
		}
	}
}

func disconnectOnLoop(a, b any) {
	s := a.(*Socket)
	if s.life.state().over() {
		return
	}
	l := linkOf(s.engineSession())
	if !b.(bool) {
		l.disconnect(s)
		return
	}
	for l.sockets != nil {
		x := l.sockets
		x.life.change(dismissal)
		l.disconnect(x)
	}
	s.engineSession().CloseNowFor(ForcedServerClose, CauseServer, "CloseSession was called")
}
