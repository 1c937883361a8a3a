package sockeye

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
)

// Operator addresses sockets of a namespace, or of a parent's children. It is
// immutable: each method returns a new one, so that one may be kept and used
// again. Its methods may be called from any goroutine.
type Operator struct {
	ns         *Namespace
	parent     *ParentNamespace // instead of ns
	o          broadcast.Options
	noCompress bool
	timeout    time.Duration
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

// Compress tells whether transports may compress the messages; they may by
// default.
func (op Operator) Compress(on bool) Operator {
	op.noCompress = !on
	return op
}

// Local leaves other servers out: only sockets that are connected to this one are
// addressed.
func (op Operator) Local() Operator {
	op.o.Local = true
	return op
}

// Context has Emit wait for the loops no longer than until ctx is done: the error is
// ctx's then. It is for one emit, or a few, not to be kept.
func (op Operator) Context(ctx context.Context) Operator {
	op.o.Context = ctx
	return op
}

// Timeout sets how long EmitWithAck waits. Default: Config.AckTimeout.
func (op Operator) Timeout(d time.Duration) Operator {
	op.timeout = d
	return op
}

// namespaces are those addressed.
func (op Operator) namespaces() []*Namespace {
	if op.parent != nil {
		return op.parent.Children()
	}
	return []*Namespace{op.ns}
}

// addressed are the namespaces that an event goes to. If they are none, nobody else
// compares it with what is declared.
func (op Operator) addressed(event string, args []any, asks bool) []*Namespace {
	all := op.namespaces()
	if len(all) == 0 && op.parent.srv.checks() {
		none := &Namespace{srv: op.parent.srv, handlers: &op.parent.handlers, name: op.parent.pattern}
		none.checkSent(event, append([]any(nil), args...), asks)
	}
	return all
}

// Emit sends an event to the sockets addressed. It is encoded once. See
// Socket.Emit for the arguments. Emit waits when the server is far behind with
// earlier broadcasts. To the children of a ParentNamespace it is sent one after the
// other; an error with one keeps it from no other. With Config.Adapter, ErrUnavailable
// tells that this server's own sockets get the event, and no others.
func (op Operator) Emit(event string, args ...any) error {
	if op.parent == nil {
		return op.ns.broadcast(op, event, args)
	}
	var errs []error
	for _, ns := range op.addressed(event, args, false) {
		errs = append(errs, ns.broadcast(op, event, args)) // the others get it all the same
	}
	return errors.Join(errs...)
}

// broadcast emits to sockets of the namespace.
func (ns *Namespace) broadcast(op Operator, event string, args []any) error {
	ns.tellOutgoing(nil, event, args, false)
	if h := ns.shared.Load(); h != nil {
		return h.broadcast(op, event, args)
	}
	if ns.remote != nil && !op.o.Local {
		return ns.broadcastEverywhere(op, event, args)
	}
	msg, err := ns.encode(event, args)
	if err != nil {
		return err
	}
	return ns.serve(op, msg)
}

// encode encodes an event that asks for no answer.
func (ns *Namespace) encode(event string, args []any) (*engine.Message, error) {
	if ns.history != nil {
		return ns.history.encode(event, args)
	}
	return ns.srv.encodeEvent(ns.name, event, args, noAck)
}

// serve sends msg to this server's own sockets, and takes over its reference.
func (ns *Namespace) serve(op Operator, msg *engine.Message) error {
	if ns.history != nil {
		return ns.broadcastRecorded(op, msg)
	}
	return op.send(ns, msg)
}

// send sends msg to the sockets addressed, and takes over its reference.
func (op Operator) send(ns *Namespace, msg *engine.Message) error {
	msg.NoCompress = op.noCompress
	ns.srv.deflate(msg)
	ns.srv.tally.Add(-1, tallyBroadcasts, 1) // no loop's
	err := ns.rooms.Broadcast(msg, op.o)
	msg.Release()
	return ns.closedErr(err)
}

// closedErr is the error of a broadcast for its caller. A child namespace that has been
// cleaned up is closed, too: nobody is addressed.
func (ns *Namespace) closedErr(err error) error {
	if !errors.Is(err, broadcast.ErrClosed) {
		return err
	}
	if ns.srv.closing.Load() {
		return ErrServerClosed
	}
	return nil
}

// Send emits the "message" event to the sockets addressed.
func (op Operator) Send(args ...any) error { return op.Emit("message", args...) }

// Sockets are the sockets addressed that are connected to this server.
func (op Operator) Sockets() []*Socket {
	var sockets []*Socket
	for _, ns := range op.namespaces() {
		for _, m := range ns.rooms.Members(op.o) {
			sockets = append(sockets, m.Owner.(*Socket))
		}
	}
	return sockets
}

// Join puts the sockets addressed into rooms, those of other servers soon after. The error
// is the Config.Adapter's: this server's own sockets are in them.
func (op Operator) Join(rooms ...string) error {
	for _, s := range op.Sockets() {
		_ = s.Join(rooms...)
	}
	return op.elsewhere(func(r broadcast.Remote) error { return r.JoinRooms(op.target(), rooms) })
}

// Leave takes the sockets addressed out of rooms; see Join.
func (op Operator) Leave(rooms ...string) error {
	for _, s := range op.Sockets() {
		for _, room := range rooms {
			s.Leave(room)
		}
	}
	return op.elsewhere(func(r broadcast.Remote) error { return r.LeaveRooms(op.target(), rooms) })
}

// Disconnect disconnects the sockets addressed; see [Socket.Disconnect] and Join.
func (op Operator) Disconnect() error { return op.dismiss(false) }

// CloseSession ends the sessions of the sockets addressed; see [Socket.CloseSession] and
// Join.
func (op Operator) CloseSession() error { return op.dismiss(true) }

func (op Operator) dismiss(closeSession bool) error {
	for _, s := range op.Sockets() {
		s.dismiss(closeSession)
	}
	return op.elsewhere(func(r broadcast.Remote) error { return r.Disconnect(op.target(), closeSession) })
}
