package sockeye

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// What this server and the others have to do with each other: what goes out, here; what
// comes in, in cluster_local.go.
//
//	Emit -> payload -> this server's own sockets -> Remote.Broadcast -> the bus
//	the bus -> Local.Broadcast -> this server's own sockets

// serverIDBytes is how many characters of an ID name the server.
const serverIDBytes = 6

// joinServers joins the namespace with other servers' of its name.
func (ns *Namespace) joinServers() {
	a := ns.srv.cfg.Adapter
	if a == nil {
		return
	}
	ns.servers = newServerEvents(ns)
	own := broadcast.Local((*local)(ns))
	if ns.past != nil {
		own = recorder{(*local)(ns)}
	}
	remote, err := a.Join(own)
	if err != nil { // the server is closing
		return
	}
	ns.remote = remote
	if r, ok := remote.(interface{ History() broadcast.History }); ok && ns.past != nil {
		if bus := r.History(); bus != nil {
			ns.shared.Store(newShared(ns, ns.past, bus))
		}
	}
	prefix := ns.srv.id
	if p, ok := a.(interface{ PrivateRooms() bool }); ok && p.PrivateRooms() {
		prefix = "\x00" // no ID begins with it
	}
	ns.rooms.Watch(prefix, remote.Room)
}

// target says by names what the operator says.
func (op Operator) target() broadcast.Target {
	t := broadcast.Target{Rooms: op.o.Rooms, Except: op.o.Except, Volatile: op.o.Volatile, NoCompress: op.noCompress}
	if m := op.o.ExceptMember; m != nil {
		t.Except = append(append(make([]string, 0, len(t.Except)+1), t.Except...), m.ID)
	}
	return t
}

// elsewhere calls f for the other servers' part of each namespace addressed.
func (op Operator) elsewhere(f func(r broadcast.Remote) error) error {
	if op.o.Local {
		return nil
	}
	var errs []error
	for _, ns := range op.namespaces() {
		if ns.remote != nil {
			errs = append(errs, ns.closedErr(f(ns.remote)))
		}
	}
	return errors.Join(errs...)
}

// broadcastEverywhere is broadcast for all servers: this one first.
func (ns *Namespace) broadcastEverywhere(op Operator, event string, args []any) error {
	p, msg, err := ns.encodeForAll(event, args, noAck)
	if err != nil {
		return err
	}
	if err := ns.serve(op, msg); err != nil {
		return err
	}
	return ns.closedErr(ns.remote.Broadcast(p, op.target()))
}

// encodeForAll encodes an event for the other servers and for this one's own sockets.
func (ns *Namespace) encodeForAll(event string, args []any, ackID int64) (p broadcast.Payload, msg *engine.Message, err error) {
	if p, err = ns.srv.payload(event, args); err != nil {
		return p, nil, err
	}
	switch {
	case ns.srv.cfg.Parser == nil:
		msg, err = ns.encodePayload(p, ackID, "")
	case ackID == noAck:
		msg, err = ns.encode(event, args)
	default:
		msg, err = ns.srv.encodeEvent(ns.name, event, args, ackID)
	}
	return p, msg, err
}

// payload encodes an event for other servers; with event "", values alone.
func (srv *Server) payload(event string, args []any) (p broadcast.Payload, err error) {
	if srv.cfg.Parser != nil {
		if args, err = srv.plain(args); err != nil {
			return p, fmt.Errorf("sockeye: encode %q: %w", event, err)
		}
	}
	enc := arguments.Encoder{Codec: srv.cfg.Codec, Received: received}
	if event == "" {
		p.JSON = enc.AppendArray(nil, args)
	} else {
		p.JSON = enc.AppendEvent(nil, event, args)
	}
	if enc.Err != nil {
		return p, fmt.Errorf("sockeye: encode %q: %w", event, enc.Err)
	}
	p.Attachments = enc.Attachments
	return p, nil
}

// plain puts values in place of received arguments, which are in the Parser's form.
func (srv *Server) plain(args []any) ([]any, error) {
	list := make([]any, len(args))
	for i, v := range args {
		list[i] = v
		if a, ok := v.(Argument); ok {
			if err := srv.cfg.Parser.Unmarshal(a.JSON, &list[i]); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// encodePayload encodes an event that is a payload already; it copies it.
// With offset "" it has the place for one of the history's, if there is one.
func (ns *Namespace) encodePayload(p broadcast.Payload, ackID int64, offset string) (*engine.Message, error) {
	srv := ns.srv
	var scratch [8][]byte
	elements, err := sio.SplitArray(p.JSON, scratch[:0], 0)
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, ErrMissingArgument
	}
	name, err := sio.EventName(elements[0])
	if err != nil {
		return nil, err
	}
	if sio.IsReserved(name) {
		return nil, fmt.Errorf("%w: %q", ErrReservedEvent, name)
	}
	if srv.cfg.Parser != nil {
		args := srv.jsonArgs(elements[1:], p.Attachments)
		switch {
		case offset != "":
			return srv.encodeEvent(ns.name, string(name), append(args.Arguments(), offset), noAck)
		case ackID == noAck:
			return ns.encode(string(name), args.Arguments())
		}
		return srv.encodeEvent(ns.name, string(name), args.Arguments(), ackID)
	}
	packet := sio.Packet{Type: sio.Event, Namespace: []byte(ns.name)}
	if ackID != noAck {
		packet.ID, packet.HasID = uint64(ackID), true
	}
	msg := assemble(packet, p.JSON, p.Attachments)
	switch {
	case offset != "":
		encodeOffset(msg, offset)
	case ns.history != nil && ackID == noAck:
		msg = withOffset(msg)
	}
	return msg, nil
}

// jsonArgs are arguments of another server.
func (srv *Server) jsonArgs(list, attachments [][]byte) Args {
	args := newArgs(srv, list, attachments)
	args.json = true
	return args
}

// argsOf are the elements of what another server has sent, of which they are views.
func (srv *Server) argsOf(p broadcast.Payload) (Args, error) {
	list, err := sio.SplitArray(p.JSON, nil, 0)
	return srv.jsonArgs(list, p.Attachments), err
}

// Servers is the number of servers, this one included.
func (srv *Server) Servers(ctx context.Context) (int, error) {
	if srv.remote == nil {
		return 1, nil
	}
	others, err := srv.remote.Servers(ctx)
	return others + 1, err
}
