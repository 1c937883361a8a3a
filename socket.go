package sockeye

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Socket is one peer in one namespace. Its methods may be called from any
// goroutine, also after it has been disconnected.
type Socket struct {
	// Immutable after the CONNECT packet.
	ns       *Namespace
	member   broadcast.Member // with the session
	identity *identity        // nil for most

	// Loop-owned.
	next     *Socket // of the same session
	held     *held
	state    socketState
	accepted bool // OnConnect has let it in; the mailbox's goroutine's

	// Any goroutine (atomic).
	flags atomic.Uint32

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
	pid   string       // names it to connection state recovery; a secret, or ""
}

var noIdentity identity

// who is the socket's identity, never nil.
func (s *Socket) who() *identity {
	if s.identity == nil {
		return &noIdentity
	}
	return s.identity
}

// held is what was sent before the connection was answered.
type held struct {
	messages []*engine.Message
	bytes    int
}

func (h *held) release() {
	if h != nil {
		for _, msg := range h.messages {
			msg.Release()
		}
	}
}

// What is true of a socket from some moment on.
const (
	socketEntered = 1 << iota // it is in the namespace's index
	socketGone
)

func (s *Socket) is(flag uint32) bool { return s.flags.Load()&flag != 0 }

func (s *Socket) session() *engine.Session { return s.member.Session }

type socketState uint8

const (
	socketAsking     socketState = iota // middlewares are being asked
	socketConnecting                    // ... and OnConnect; the namespace has not answered yet
	socketConnected
	socketClosed
)

func newSocket(ns *Namespace, session *engine.Session, auth []byte) *Socket {
	s := &Socket{ns: ns}
	recovers := ns.history != nil && session.Version() == 4
	if auth != nil || recovers {
		s.identity = &identity{auth: auth}
	}
	id := ""
	if recovers {
		who := s.identity
		if who.saved = ns.history.restore(auth, ns.srv.unmarshal); who.saved != nil {
			id, who.pid, s.data = who.saved.id, who.saved.pid, who.saved.data
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
// until it leaves.
func (s *Socket) Connected() bool { return s.flags.Load() == socketEntered }

// Transport is "polling" or "websocket", at present.
func (s *Socket) Transport() string { return s.session().Transport() }

// Request is the request that opened the session: headers, query, address.
func (s *Socket) Request() *engine.Request { return s.session().Request() }

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
	if s.is(socketGone) {
		return ErrDisconnected
	}
	if !s.changeEarly(func(early []string) []string { return append(early, rooms...) }) {
		s.ns.adapter.Join(&s.member, rooms...)
	}
	return nil
}

// Leave takes the socket out of a room.
func (s *Socket) Leave(room string) {
	if !s.changeEarly(func(early []string) []string {
		return slices.DeleteFunc(early, func(r string) bool { return r == room })
	}) {
		s.ns.adapter.Leave(&s.member, room)
	}
}

// changeEarly changes the rooms that the socket joins when it enters the
// namespace; false if it has entered.
func (s *Socket) changeEarly(f func(rooms []string) []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is(socketEntered) {
		return false
	}
	x := s.extra()
	x.rooms = f(x.rooms)
	return true
}

// Recovered tells whether the socket is one that was away: it has the ID, the
// rooms and the data that it had, and the peer gets what it has missed.
func (s *Socket) Recovered() bool { return s.who().saved != nil }

// Rooms are the rooms that the socket is in, its own first.
func (s *Socket) Rooms() []string {
	if s.flags.Load() != socketEntered {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case s.is(socketGone):
			return slices.Clone(s.lastRooms())
		case !s.is(socketEntered):
			return append([]string{s.member.ID}, s.earlyRooms()...)
		}
	}
	return append([]string{s.member.ID}, s.ns.rooms.In(&s.member)...)
}

// Emit sends an event. Arguments are encoded by the Codec, except that []byte
// is sent as binary, at the top or inside map[string]any and []any, and
// Argument values of a received event are passed on as they are. What one
// goroutine emits arrives in that order.
//
// Emit waits when the server is far behind. Its error is ErrReservedEvent,
// ErrDisconnected or the Codec's.
func (s *Socket) Emit(event string, args ...any) error {
	return s.emit(event, args, emission{})
}

// Send emits the "message" event.
func (s *Socket) Send(args ...any) error { return s.Emit("message", args...) }

func (s *Socket) emit(event string, args []any, em emission) error {
	if s.is(socketGone) {
		return ErrDisconnected
	}
	s.outgoing(event, args)
	if s.ns.history != nil && !em.volatile {
		return s.emitRecorded(event, args, em)
	}
	msg, err := s.ns.srv.encodeEvent(s.ns.name, event, args, noAck)
	if err != nil {
		return err
	}
	msg.NoCompress = em.noCompress
	s.post(msg, em.volatile)
	return nil
}

// outgoing tells those who watch what is emitted.
func (s *Socket) outgoing(event string, args []any) {
	s.ns.tellOutgoing(s, event, args)
}

// post sends msg and takes over its reference.
func (s *Socket) post(msg *engine.Message, volatile bool) {
	s.ns.srv.deflate(msg)
	run := sendPosted
	if volatile {
		run = sendPostedVolatile
	}
	if !s.session().Loop().Post(run, s, msg, msg.Size()) {
		msg.Release()
	}
}

func sendPosted(a, b any)         { a.(*Socket).sendOwn(b.(*engine.Message), false) }
func sendPostedVolatile(a, b any) { a.(*Socket).sendOwn(b.(*engine.Message), true) }

// sendOwn sends what is for this socket alone, after what was broadcast to it
// before. Loop-owned.
func (s *Socket) sendOwn(msg *engine.Message, volatile bool) {
	s.ns.rooms.Settle(&s.member)
	s.deliver(msg, volatile)
	msg.Release()
}

// deliver hands msg to the session, or holds it until the connection has been
// answered. Loop-owned.
func (s *Socket) deliver(msg *engine.Message, volatile bool) {
	switch {
	case s.state == socketAsking && !volatile:
		s.session().Send(msg) // a middleware's: before the answer
	case s.state == socketConnecting && !volatile:
		s.hold(msg)
	case s.state != socketConnected:
	case !volatile:
		s.session().Send(msg)
	case !s.session().SendVolatile(msg):
		s.ns.srv.stats.dropped.Add(1)
	}
}

// hold keeps msg until the connection has been answered.
func (s *Socket) hold(msg *engine.Message) {
	if s.held == nil {
		s.held = new(held)
	}
	if s.held.bytes > s.ns.srv.cfg.MailboxBytes {
		s.session().CloseNow(TransportError)
		return
	}
	s.held.messages = append(s.held.messages, msg.Retain())
	s.held.bytes += msg.Size()
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
// namespaces live on, unless closeSession ends it as a whole. What was emitted
// before still arrives.
func (s *Socket) Disconnect(closeSession bool) {
	s.session().Loop().Post(disconnectPosted, s, closeSession, 0)
}

func disconnectPosted(a, b any) {
	s := a.(*Socket)
	l := linkOf(s.session())
	if !b.(bool) {
		l.disconnect(s)
		return
	}
	for l.sockets != nil {
		l.disconnect(l.sockets)
	}
	s.session().CloseNow(ForcedServerClose)
}

// handleConnect asks middlewares and OnConnect. It runs on the mailbox's
// goroutine.
func (s *Socket) handleConnect() {
	loop := s.session().Loop()
	err, _ := s.guard("connect", func() error {
		if s.who().saved == nil || !s.ns.srv.cfg.Recovery.skipMiddlewares() {
			for _, m := range s.ns.middlewares.get() {
				if err := m(s); err != nil {
					return err
				}
			}
		}
		if s.is(socketGone) {
			return ErrDisconnected
		}
		loop.Post(holdPosted, s, nil, 0)
		s.enter()
		if f := s.ns.onConnect.get(); f != nil {
			return f(s)
		}
		return nil
	})
	if err != nil {
		loop.Post(refusePosted, s, err, 0)
		return
	}
	s.accepted = true
	loop.Post(acceptPosted, s, nil, 0)
}

// enter puts the socket into the namespace's index, and into the rooms that
// middlewares have joined for it.
func (s *Socket) enter() {
	if s.ns.history != nil {
		s.ns.history.enter(s)
	} else {
		s.ns.adapter.Add(&s.member)
	}
	s.mu.Lock()
	s.flags.Or(socketEntered)
	rooms := s.earlyRooms()
	if rooms != nil {
		s.extras.rooms = nil
	}
	s.mu.Unlock()
	if rooms != nil {
		s.ns.adapter.Join(&s.member, rooms...)
	}
}

// holdPosted: what is sent from now on waits for the answer.
func holdPosted(a, _ any) {
	if s := a.(*Socket); s.state == socketAsking {
		s.state = socketConnecting
	}
}

// handleDisconnect is the last mail.
func (s *Socket) handleDisconnect(reason Reason) {
	s.failAcks()
	if s.accepted {
		if f := s.ns.onDisconnecting.get(); f != nil {
			_, _ = s.guard("disconnecting", func() error { f(s, reason); return nil })
		}
		s.setLastRooms(nil)
		if f := s.ns.onDisconnect.get(); f != nil {
			_, _ = s.guard("disconnect", func() error { f(s, reason); return nil })
		}
	}
	s.ns.srv.leave(s.ns)
}

func (s *Socket) setLastRooms(rooms []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rooms != nil || s.extras != nil {
		s.extra().rooms = rooms
	}
}

// guard calls a handler; a panic costs that event only.
func (s *Socket) guard(event string, f func() error) (err error, panicked bool) {
	defer func() {
		if v := recover(); v != nil {
			err, panicked = s.recovered(event, v), true
		}
	}()
	return f(), false
}

// recovered reports the panic of a handler.
func (s *Socket) recovered(event string, v any) error {
	err := fmt.Errorf("sockeye: handler of %q panicked: %v", event, v)
	s.ns.srv.panicked(event, v)
	s.report(event, err)
	return err
}

// panicked counts and logs the panic of a callback.
func (srv *Server) panicked(event string, v any) {
	srv.stats.panics.Add(1)
	srv.cfg.Logger.Error("sockeye: panic in a handler", "event", event, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// recoverCallback is deferred around a callback that belongs to no socket.
func (srv *Server) recoverCallback(event string, then func()) {
	if v := recover(); v != nil {
		srv.panicked(event, v)
		if then != nil {
			then()
		}
	}
}

// report tells OnError, whose own panic is only logged.
func (s *Socket) report(event string, err error) {
	f := s.ns.srv.onError.get()
	if f == nil {
		return
	}
	defer s.ns.srv.recoverCallback("OnError", nil)
	f(s, event, err)
}

// sendPacket sends a packet that is neither an event nor an answer.
func (s *Socket) sendPacket(t sio.PacketType, data any) {
	msg := s.ns.srv.encodePacket(sio.Packet{Type: t, Namespace: []byte(s.ns.name)}, data)
	s.session().Send(msg)
	msg.Release()
}
