package sockeye

import (
	"fmt"
	"runtime/debug"
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
	ns      *Namespace
	session *engine.Session
	auth    []byte // JSON object, or nil
	member  broadcast.Member
	box     mailbox

	// Loop-owned.
	state socketState
	held  []*engine.Message // sent before the connection was answered
	heldN int               // bytes in held

	// The mailbox's goroutine.
	accepted bool // OnConnect has let it in

	// Guarded by mu.
	mu     sync.Mutex
	acks   map[uint64]*pendingAck
	nextID uint64
	data   any

	// Any goroutine (atomic).
	gone atomic.Bool
}

type socketState uint8

const (
	socketConnecting socketState = iota // the namespace has not answered yet
	socketConnected
	socketClosed
)

func newSocket(ns *Namespace, session *engine.Session, auth []byte) *Socket {
	s := &Socket{ns: ns, session: session, auth: auth}
	s.member = broadcast.Member{ID: socketID(ns, session), Session: session, Owner: s}
	s.box.socket = s
	return s
}

// ID names the socket in its namespace, and is the name of a room that only it
// is in. It is not the session's sid, and no secret.
func (s *Socket) ID() string { return s.member.ID }

// Namespace is the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Server is the server that the socket is connected to.
func (s *Socket) Server() *Server { return s.ns.srv }

// Connected tells whether the socket is connected, or about to be.
func (s *Socket) Connected() bool { return !s.gone.Load() }

// Transport is "polling" or "websocket", at present.
func (s *Socket) Transport() string { return s.session.Transport() }

// Request is the request that opened the session: headers, query, address.
func (s *Socket) Request() *engine.Request { return s.session.Request() }

// Auth decodes what the peer gave for its auth option into v. Without one, v
// is left as it is.
func (s *Socket) Auth(v any) error {
	if s.auth == nil {
		return nil
	}
	return s.ns.srv.cfg.Codec.Unmarshal(s.auth, v)
}

// AuthJSON is the peer's auth object as it was sent, or nil. It must not be
// changed.
func (s *Socket) AuthJSON() []byte { return s.auth }

// SetData keeps a value of the application's with the socket.
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

// Join puts the socket into rooms; they exist while somebody is in them. It
// takes effect before Join returns. The error is ErrDisconnected.
func (s *Socket) Join(rooms ...string) error {
	if s.gone.Load() {
		return ErrDisconnected
	}
	s.ns.adapter.Join(&s.member, rooms...)
	return nil
}

// Leave takes the socket out of a room.
func (s *Socket) Leave(room string) { s.ns.adapter.Leave(&s.member, room) }

// Rooms are the rooms that the socket is in, its own first.
func (s *Socket) Rooms() []string {
	if s.gone.Load() {
		return nil
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
	return s.emit(event, args, false)
}

// EmitVolatile sends an event that is dropped if the peer cannot take it at
// once: it has not read what was sent before, or waits in no poll.
func (s *Socket) EmitVolatile(event string, args ...any) error {
	return s.emit(event, args, true)
}

// Send emits the "message" event.
func (s *Socket) Send(args ...any) error { return s.Emit("message", args...) }

func (s *Socket) emit(event string, args []any, volatile bool) error {
	if s.gone.Load() {
		return ErrDisconnected
	}
	msg, err := s.ns.srv.encodeEvent(s.ns.name, event, args, noAck)
	if err != nil {
		return err
	}
	s.post(msg, volatile)
	return nil
}

// post sends msg and takes over its reference.
func (s *Socket) post(msg *engine.Message, volatile bool) {
	run := sendPosted
	if volatile {
		run = sendPostedVolatile
	}
	if !s.session.Loop().Post(run, s, msg, msg.Size()) {
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
	case s.state == socketConnecting && !volatile && s.heldN <= s.ns.srv.cfg.MailboxBytes:
		s.held = append(s.held, msg.Retain())
		s.heldN += msg.Size()
	case s.state == socketConnecting && !volatile:
		s.session.CloseNow(TransportError)
	case s.state != socketConnected:
	case !volatile:
		s.session.Send(msg)
	case !s.session.SendVolatile(msg):
		s.ns.srv.stats.dropped.Add(1)
	}
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
	s.session.Loop().Post(disconnectPosted, s, closeSession, 0)
}

func disconnectPosted(a, b any) {
	s := a.(*Socket)
	l := linkOf(s.session)
	if !b.(bool) {
		l.disconnect(s)
		return
	}
	for len(l.sockets) > 0 {
		l.disconnect(l.sockets[len(l.sockets)-1])
	}
	s.session.CloseNow(ForcedServerClose)
}

// handleConnect asks middlewares and OnConnect. It runs on the mailbox's
// goroutine.
func (s *Socket) handleConnect() {
	err := s.guard("connect", func() error {
		for _, m := range s.ns.middlewares.get() {
			if err := m(s); err != nil {
				return err
			}
		}
		if s.gone.Load() {
			return ErrDisconnected
		}
		s.ns.adapter.Add(&s.member)
		if f := s.ns.onConnect.get(); f != nil {
			return f(s)
		}
		return nil
	})
	if err != nil {
		s.session.Loop().Post(refusePosted, s, err, 0)
		return
	}
	s.accepted = true
	s.session.Loop().Post(acceptPosted, s, nil, 0)
}

// handleDisconnect is the last mail.
func (s *Socket) handleDisconnect(reason Reason) {
	s.failAcks()
	if !s.accepted {
		return
	}
	if f := s.ns.onDisconnect.get(); f != nil {
		_ = s.guard("disconnect", func() error { f(s, reason); return nil })
	}
}

// guard calls a handler; a panic costs that event only.
func (s *Socket) guard(event string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.ns.srv.stats.panics.Add(1)
			err = fmt.Errorf("sockeye: handler of %q panicked: %v", event, v)
			s.ns.srv.cfg.Logger.Error("sockeye: panic in a handler", "event", event, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			s.report(event, err)
		}
	}()
	return f()
}

// report tells OnError, whose own panic is only logged.
func (s *Socket) report(event string, err error) {
	f := s.ns.srv.onError.get()
	if f == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.ns.srv.stats.panics.Add(1)
			s.ns.srv.cfg.Logger.Error("sockeye: panic in OnError", "event", event, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	f(s, event, err)
}

// sendHeader sends a packet without a payload of arguments.
func (s *Socket) sendPacket(p sio.Packet) {
	msg := engine.NewMessage(false)
	p.Namespace = []byte(s.ns.name)
	msg.B = append(sio.AppendHeader(msg.B, p), p.Data...)
	s.session.Send(msg.Seal())
	msg.Release()
}
