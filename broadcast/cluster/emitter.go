package cluster

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Emitter addresses the sockets of all servers from a process that has no server. It is
// immutable: each method returns a new one. Its methods may be called from any goroutine.
type Emitter struct {
	send      func(ctx context.Context, m *Message) error
	codec     arguments.Codec
	namespace string
	target    broadcast.Target
}

// NewEmitter makes an Emitter of what sends a message, which it waits for. codec may be nil:
// then encoding/json is used.
func NewEmitter(codec arguments.Codec, send func(ctx context.Context, m *Message) error) Emitter {
	if codec == nil {
		codec = arguments.JSON{}
	}
	return Emitter{send: send, codec: codec, namespace: "/"}
}

// Of addresses another namespace.
func (e Emitter) Of(namespace string) Emitter {
	if namespace == "" || namespace[0] != '/' {
		namespace = "/" + namespace
	}
	return Emitter{send: e.send, codec: e.codec, namespace: namespace}
}

// To adds rooms: the sockets of any of them are addressed. Without rooms all are.
func (e Emitter) To(rooms ...string) Emitter {
	e.target.Rooms = append(e.target.Rooms[:len(e.target.Rooms):len(e.target.Rooms)], rooms...)
	return e
}

// In is To.
func (e Emitter) In(rooms ...string) Emitter { return e.To(rooms...) }

// Except leaves out the sockets of rooms.
func (e Emitter) Except(rooms ...string) Emitter {
	e.target.Except = append(e.target.Except[:len(e.target.Except):len(e.target.Except)], rooms...)
	return e
}

// Volatile lets messages be dropped for sockets that cannot take them at once.
func (e Emitter) Volatile() Emitter {
	e.target.Volatile = true
	return e
}

// Compress tells whether transports may compress the messages; they may by default.
func (e Emitter) Compress(on bool) Emitter {
	e.target.NoCompress = !on
	return e
}

func (e Emitter) tell(ctx context.Context, m *Message) error {
	m.UID, m.Namespace, m.Target = EmitterUID, e.namespace, e.target
	return e.send(ctx, m)
}

func (e Emitter) payload(event string, args []any) (p broadcast.Payload, err error) {
	enc := arguments.Encoder{Codec: e.codec}
	p.JSON = enc.AppendEvent(nil, event, args)
	if enc.Err != nil {
		return p, fmt.Errorf("cluster: encode %q: %w", event, enc.Err)
	}
	p.Attachments = enc.Attachments
	return p, nil
}

// Emit sends an event. It returns when the bus has taken it.
func (e Emitter) Emit(ctx context.Context, event string, args ...any) error {
	if sio.IsReserved([]byte(event)) {
		return fmt.Errorf("cluster: the event %q is reserved", event)
	}
	p, err := e.payload(event, args)
	if err != nil {
		return err
	}
	return e.tell(ctx, &Message{Type: Broadcast, Payload: p})
}

// Join puts the sockets into rooms.
func (e Emitter) Join(ctx context.Context, rooms ...string) error {
	return e.tell(ctx, &Message{Type: SocketsJoin, Rooms: rooms})
}

// Leave takes the sockets out of rooms.
func (e Emitter) Leave(ctx context.Context, rooms ...string) error {
	return e.tell(ctx, &Message{Type: SocketsLeave, Rooms: rooms})
}

// Disconnect disconnects the sockets from the namespace.
func (e Emitter) Disconnect(ctx context.Context) error {
	return e.tell(ctx, &Message{Type: DisconnectSockets})
}

// CloseSession ends the sockets' sessions.
func (e Emitter) CloseSession(ctx context.Context) error {
	return e.tell(ctx, &Message{Type: DisconnectSockets, Close: true})
}

// ServerSideEmit sends an event to the servers of the namespace. Rooms do not matter.
func (e Emitter) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	p, err := e.payload(event, args)
	if err != nil {
		return err
	}
	e.target = broadcast.Target{}
	return e.tell(ctx, &Message{Type: ServerSideEmit, Payload: p})
}
