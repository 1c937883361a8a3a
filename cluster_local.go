package sockeye

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
)

// local is this server's part of a namespace, as the adapter sees it.
type local Namespace

var _ broadcast.Local = (*local)(nil)

func (l *local) ns() *Namespace { return (*Namespace)(l) }

// Name is the namespace's.
func (l *local) Name() string { return l.name }

// Server names this server.
func (l *local) Server() string { return l.srv.id }

// operator addresses this server's own sockets.
func (l *local) operator(t broadcast.Target) Operator {
	o := broadcast.Options{Rooms: t.Rooms, Except: t.Except, Volatile: t.Volatile, Local: true}
	return Operator{ns: l.ns(), o: o, noCompress: t.NoCompress}
}

// Broadcast serves this server's own sockets.
func (l *local) Broadcast(p broadcast.Payload, t broadcast.Target) error {
	if h := l.shared.Load(); h != nil {
		return h.broadcastHere(l.operator(t), p)
	}
	msg, err := l.ns().encodePayload(p, noAck, "")
	if err != nil {
		return err
	}
	return forAdapter(l.ns().serve(l.operator(t), msg))
}

// forAdapter is an error as adapters know it.
func forAdapter(err error) error {
	if errors.Is(err, ErrServerClosed) {
		return broadcast.ErrClosed
	}
	return err
}

// Call asks this server's own sockets for another one.
func (l *local) Call(p broadcast.Payload, t broadcast.Target, timeout time.Duration, answered func(p broadcast.Payload)) (int, error) {
	ns := l.ns()
	a := newAnswers(func(_ string, args Args) {
		if p, err := ns.srv.payload("", args.Arguments()); err == nil {
			answered(p)
		}
	})
	err := a.ask(l.operator(t), "", func(id int64) (*engine.Message, error) { return ns.encodePayload(p, id, "") })
	if err != nil {
		return 0, forAdapter(err)
	}
	a.add("", Args{}, nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left > 0 {
		a.timer = time.AfterFunc(timeout, a.forget)
	}
	return len(a.asked), nil
}

// Sockets describes this server's own sockets.
func (l *local) Sockets(t broadcast.Target) []broadcast.SocketInfo {
	var list []broadcast.SocketInfo
	for _, s := range l.operator(t).Sockets() {
		list = append(list, s.info())
	}
	return list
}

// info is what other servers are told of a socket.
func (s *Socket) info() broadcast.SocketInfo {
	data := []byte("{}") // as the reference has it
	s.ns.srv.protect("FetchSockets", func() {
		if b, err := s.ns.srv.cfg.Codec.Marshal(s.Data()); err == nil && string(b) != "null" {
			data = b
		}
	})
	return broadcast.SocketInfo{ID: s.ID(), Handshake: s.Handshake().wire(s.ns.srv), Rooms: s.Rooms(), Data: data}
}

// JoinRooms puts this server's own sockets into rooms.
func (l *local) JoinRooms(t broadcast.Target, rooms []string) { _ = l.operator(t).Join(rooms...) }

// LeaveRooms takes this server's own sockets out of rooms.
func (l *local) LeaveRooms(t broadcast.Target, rooms []string) { _ = l.operator(t).Leave(rooms...) }

// Disconnect disconnects this server's own sockets.
func (l *local) Disconnect(t broadcast.Target, closeSession bool) {
	_ = l.operator(t).dismiss(closeSession)
}

// ServerEvent has the handlers of OnServerSide called.
func (l *local) ServerEvent(p broadcast.Payload, answer func(p broadcast.Payload)) {
	l.servers.push(p, answer)
}

// HasRoom tells whether somebody here is in a room, or has that ID.
func (l *local) HasRoom(room string) bool { return l.rooms.Has(room) }

// Rooms are the rooms that somebody here is in.
func (l *local) Rooms() []string { return l.rooms.Names() }

// FetchSockets describes the sockets addressed, on all servers. With an error, which may
// be a *MissingError, it returns those that are known. Without a deadline of ctx's, other
// servers are waited for as long as the Adapter says. Of several namespaces, they are not asked
// any more once one has failed: this server's own sockets are described.
func (op Operator) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	var list []RemoteSocket
	var failed error
	add := func(ns *Namespace, infos []broadcast.SocketInfo) {
		for _, i := range infos {
			list = append(list, RemoteSocket{ID: i.ID, Rooms: i.Rooms, Data: i.Data, Handshake: handshakeOf(i.Handshake), ns: ns})
		}
	}
	for _, ns := range op.namespaces() {
		for _, s := range op.in(ns).Sockets() {
			i := s.info()
			list = append(list, RemoteSocket{ID: i.ID, Rooms: i.Rooms, Data: i.Data, Handshake: s.Handshake(), ns: ns})
		}
		if ns.remote == nil || op.o.Local || failed != nil {
			continue
		}
		infos, err := ns.remote.Sockets(ctx, op.target())
		add(ns, infos)
		failed = ns.closedErr(err)
	}
	return list, failed
}

// in is the operator in one namespace.
func (op Operator) in(ns *Namespace) Operator {
	op.ns, op.parent = ns, nil
	return op
}

// FetchSockets describes the sockets of the namespace, on all servers; see
// Operator.FetchSockets.
func (ns *Namespace) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	return Operator{ns: ns}.FetchSockets(ctx)
}

// RemoteSocket is a socket of any server, as it was when it was asked for.
type RemoteSocket struct {
	ID        string
	Handshake Handshake
	Rooms     []string        // its own ID among them
	Data      json.RawMessage // of Socket.SetData, as JSON; {} if there is none

	ns *Namespace
}

// To addresses the socket, wherever it is.
func (s RemoteSocket) To() Operator { return s.ns.To(s.ID) }

// Emit sends the socket an event.
func (s RemoteSocket) Emit(event string, args ...any) error { return s.To().Emit(event, args...) }

// Join puts the socket into rooms.
func (s RemoteSocket) Join(rooms ...string) error { return s.To().Join(rooms...) }

// Leave takes the socket out of rooms.
func (s RemoteSocket) Leave(rooms ...string) error { return s.To().Leave(rooms...) }

// Disconnect disconnects the socket; see [Socket.Disconnect].
func (s RemoteSocket) Disconnect() error { return s.To().Disconnect() }

// CloseSession ends the socket's session; see [Socket.CloseSession].
func (s RemoteSocket) CloseSession() error { return s.To().CloseSession() }
