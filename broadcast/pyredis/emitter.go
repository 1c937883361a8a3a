package pyredis

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Emitter sends to the servers' sockets from a process that has no server, as a write-only
// manager of python-socketio does. It addresses the sockets of a namespace, "/" unless Of
// says otherwise. It is immutable: Of, To and Except return new ones. What is sent is never
// repeated: with an error it may have arrived or not.
type Emitter struct {
	client    redis.UniversalClient
	channel   string
	host      string
	namespace string
	target    broadcast.Target
}

// NewEmitter makes an emitter. Of the options Channel counts.
func NewEmitter(client redis.UniversalClient, o Options) Emitter {
	return Emitter{client: client, channel: cmp.Or(o.Channel, "socketio"), host: newHost(), namespace: "/"}
}

// Of addresses the sockets of another namespace.
func (e Emitter) Of(namespace string) Emitter {
	if namespace == "" || namespace[0] != '/' {
		namespace = "/" + namespace
	}
	e.namespace = namespace
	return e
}

// To adds rooms, or sockets by their IDs: those in any of them are addressed.
func (e Emitter) To(rooms ...string) Emitter {
	e.target.Rooms = append(slices.Clip(e.target.Rooms), rooms...)
	return e
}

// Except leaves out sockets, by their IDs.
func (e Emitter) Except(ids ...string) Emitter {
	e.target.Except = append(slices.Clip(e.target.Except), ids...)
	return e
}

// Emit sends an event. Arguments are what encoding/json takes, and []byte for binary.
func (e Emitter) Emit(ctx context.Context, event string, args ...any) error {
	if sio.IsReserved([]byte(event)) {
		return fmt.Errorf("%w: %q", cluster.ErrReservedEvent, event)
	}
	enc := arguments.Encoder{Codec: arguments.JSON{}}
	m := &cluster.Message{Type: cluster.Broadcast, Target: e.target}
	m.Payload.JSON = enc.AppendEvent(nil, event, args)
	if enc.Err != nil {
		return fmt.Errorf("pyredis: encode %q: %w", event, enc.Err)
	}
	m.Payload.Attachments = enc.Attachments
	return e.send(ctx, m)
}

// Join puts the sockets addressed, by their IDs, into rooms.
func (e Emitter) Join(ctx context.Context, rooms ...string) error {
	return e.change(ctx, cluster.SocketsJoin, rooms)
}

// Leave takes the sockets addressed, by their IDs, out of rooms.
func (e Emitter) Leave(ctx context.Context, rooms ...string) error {
	return e.change(ctx, cluster.SocketsLeave, rooms)
}

// Disconnect disconnects the sockets addressed, by their IDs.
func (e Emitter) Disconnect(ctx context.Context) error {
	return e.change(ctx, cluster.DisconnectSockets, []string{""})
}

func (e Emitter) change(ctx context.Context, what cluster.Type, rooms []string) error {
	ids := e.target.Rooms
	for _, id := range append(slices.Clip(ids), e.target.Except...) {
		if !isID(id) {
			return unsupported("sockets are addressed by their IDs alone; %.40q is a room", id)
		}
	}
	if len(ids) == 0 {
		return unsupported("sockets are addressed by their IDs alone")
	}
	for _, id := range ids {
		if slices.Contains(e.target.Except, id) {
			continue
		}
		for _, room := range rooms {
			m := &cluster.Message{Type: what, Target: broadcast.Target{Rooms: []string{id}}, Rooms: []string{room}}
			if err := e.send(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// CloseRoom takes all out of a room.
func (e Emitter) CloseRoom(ctx context.Context, room string) error {
	if isID(room) {
		return unsupported("a socket's own room cannot be closed")
	}
	return e.send(ctx, &cluster.Message{Type: cluster.SocketsLeave, Target: broadcast.Target{Rooms: []string{room}}, Rooms: []string{room}})
}

func (e Emitter) send(ctx context.Context, m *cluster.Message) error {
	m.Namespace = e.namespace
	data, err := encode(e.host, m)
	if err != nil {
		return err
	}
	return e.client.Process(ctx, publish(ctx, &cluster.Frame{Channel: e.channel, Data: data}))
}
