package sockeye

import (
	"slices"

	"github.com/sockeye-io/sockeye/broadcast"
)

// Operator addresses sockets of a namespace. It is immutable: each method
// returns a new one, so that one may be kept and used again. Its methods may
// be called from any goroutine.
type Operator struct {
	ns *Namespace
	o  broadcast.Options
}

// To adds rooms: the operator addresses the sockets of any of them, each
// socket once. Without rooms it addresses all.
func (op Operator) To(rooms ...string) Operator {
	op.o.Rooms = append(slices.Clip(op.o.Rooms), rooms...)
	return op
}

// In is To.
func (op Operator) In(rooms ...string) Operator { return op.To(rooms...) }

// Except leaves out the sockets of rooms.
func (op Operator) Except(rooms ...string) Operator {
	op.o.Except = append(slices.Clip(op.o.Except), rooms...)
	return op
}

// Volatile lets messages be dropped for sockets that cannot take them at once.
func (op Operator) Volatile() Operator {
	op.o.Volatile = true
	return op
}

// Local keeps messages on this server.
func (op Operator) Local() Operator {
	op.o.Local = true
	return op
}

// Emit sends an event to the sockets addressed. It is encoded once. See
// Socket.Emit for the arguments. Emit waits when the server is far behind with
// earlier broadcasts.
func (op Operator) Emit(event string, args ...any) error {
	msg, err := op.ns.srv.encodeEvent(op.ns.name, event, args, noAck)
	if err != nil {
		return err
	}
	op.ns.adapter.Broadcast(msg, op.o)
	msg.Release()
	return nil
}

// Send emits the "message" event to the sockets addressed.
func (op Operator) Send(args ...any) error { return op.Emit("message", args...) }

// Sockets are the sockets addressed that are connected to this server.
func (op Operator) Sockets() []*Socket {
	members := op.ns.rooms.Members(op.o)
	sockets := make([]*Socket, len(members))
	for i, m := range members {
		sockets[i] = m.Owner.(*Socket)
	}
	return sockets
}

// Join puts the sockets addressed into rooms.
func (op Operator) Join(rooms ...string) {
	for _, m := range op.ns.rooms.Members(op.o) {
		op.ns.adapter.Join(m, rooms...)
	}
}

// Leave takes the sockets addressed out of rooms.
func (op Operator) Leave(rooms ...string) {
	for _, m := range op.ns.rooms.Members(op.o) {
		for _, room := range rooms {
			op.ns.adapter.Leave(m, room)
		}
	}
}

// Disconnect disconnects the sockets addressed; see Socket.Disconnect.
func (op Operator) Disconnect(closeSession bool) {
	for _, s := range op.Sockets() {
		s.Disconnect(closeSession)
	}
}
