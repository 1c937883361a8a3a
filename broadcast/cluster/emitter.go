package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Emitter tells servers, from a process that has none, what to do with their sockets. It
// is a value: the methods that address return another one. Those with a context wait for
// the bus, and may be called from any goroutine. An error may come although the message
// has been sent; it is never sent again.
type Emitter struct {
	// Immutable after NewEmitter.
	send      func(ctx context.Context, m *Message) error
	namespace string
	target    broadcast.Target
}

// internalPrefix begins the names of what servers tell each other for themselves.
const internalPrefix = "sockeye:"

// ErrReservedEvent refuses events that are the protocol's own, or the servers'.
var ErrReservedEvent = errors.New("cluster: the event's name is reserved")

// NewEmitter makes an Emitter for "/" that sends by a function.
func NewEmitter(send func(ctx context.Context, m *Message) error) Emitter {
	return Emitter{send: send, namespace: "/"}
}

// Of addresses another namespace.
func (e Emitter) Of(namespace string) Emitter {
	if namespace == "" || namespace[0] != '/' {
		namespace = "/" + namespace
	}
	e.namespace = namespace
	return e
}

// To addresses rooms, or sockets by their IDs, besides those already addressed. Without
// it all are addressed.
func (e Emitter) To(rooms ...string) Emitter {
	e.target.Rooms = slices.Concat(e.target.Rooms, rooms)
	return e
}

// In is To.
func (e Emitter) In(rooms ...string) Emitter { return e.To(rooms...) }

// Except leaves out who is in rooms.
func (e Emitter) Except(rooms ...string) Emitter {
	e.target.Except = slices.Concat(e.target.Except, rooms)
	return e
}

// Volatile drops the event for sockets that cannot take it at once.
func (e Emitter) Volatile() Emitter {
	e.target.Volatile = true
	return e
}

// Compress tells whether the event is compressed, where the transport does that. Default: yes.
func (e Emitter) Compress(compress bool) Emitter {
	e.target.NoCompress = !compress
	return e
}

func (e Emitter) tell(ctx context.Context, m *Message) error {
	m.UID, m.Namespace, m.Target = EmitterUID, e.namespace, e.target
	return e.send(ctx, m)
}

// Emit sends sockets an event.
func (e Emitter) Emit(ctx context.Context, event string, args ...any) error {
	if sio.IsReserved([]byte(event)) {
		return fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	p, err := payload(event, args)
	if err != nil {
		return err
	}
	return e.tell(ctx, &Message{Type: Broadcast, Payload: p})
}

// ServerSideEmit sends the servers themselves an event. Whom the Emitter addresses does
// not count.
func (e Emitter) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	if strings.HasPrefix(event, internalPrefix) {
		return fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	p, err := payload(event, args)
	if err != nil {
		return err
	}
	e.target = broadcast.Target{}
	return e.tell(ctx, &Message{Type: ServerSideEmit, Payload: p})
}

// Join puts sockets into rooms.
func (e Emitter) Join(ctx context.Context, rooms ...string) error {
	return e.tell(ctx, &Message{Type: SocketsJoin, Rooms: rooms})
}

// Leave takes sockets out of rooms.
func (e Emitter) Leave(ctx context.Context, rooms ...string) error {
	return e.tell(ctx, &Message{Type: SocketsLeave, Rooms: rooms})
}

// Disconnect disconnects sockets from the namespace.
func (e Emitter) Disconnect(ctx context.Context) error {
	return e.tell(ctx, &Message{Type: DisconnectSockets})
}

// CloseSession ends sockets' sessions.
func (e Emitter) CloseSession(ctx context.Context) error {
	return e.tell(ctx, &Message{Type: DisconnectSockets, Close: true})
}

func payload(event string, args []any) (p broadcast.Payload, err error) {
	enc := arguments.Encoder{Codec: arguments.JSON{}}
	p.JSON = enc.AppendEvent(nil, event, args)
	if enc.Err != nil {
		return p, fmt.Errorf("cluster: encode %q: %w", event, enc.Err)
	}
	p.Attachments = enc.Attachments
	return p, nil
}
