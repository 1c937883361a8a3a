package pyredis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Options are New's and NewEmitter's. In each field the zero value means the default.
type Options struct {
	cluster.Options
	// Channel is the one by which everything goes. Default "socketio", as python-socketio's;
	// Flask-SocketIO's default is "flask-socketio".
	Channel string
	// CallbackTimeout is how long this server's sockets have for the answers that other
	// servers want. The format does not tell how long they wait. Default 60 s, as
	// python-socketio's call().
	CallbackTimeout time.Duration
}

// Adapter is a broadcast.Adapter in the format of python-socketio.
type Adapter struct {
	*cluster.Adapter

	// Immutable after New.
	o Options
	b *bus

	// Any goroutine (atomic).
	late atomic.Uint64

	// Guarded by mu.
	mu    sync.RWMutex
	parts map[string]*part // by namespace
	calls map[uint64]*call // that wait for answers
	last  uint64           // of calls
}

var _ broadcast.Adapter = (*Adapter)(nil)

// New makes an adapter.
func New(client redis.UniversalClient, o Options) (*Adapter, error) {
	o.Channel = cmp.Or(o.Channel, "socketio")
	o.CallbackTimeout = cmp.Or(o.CallbackTimeout, 60*time.Second)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 5*time.Second)
	a := &Adapter{o: o, parts: map[string]*part{}, calls: map[uint64]*call{}}
	a.b = newBus(client, a)
	var err error
	a.Adapter, err = cluster.New(a.b, o.Options)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Join joins a namespace.
func (a *Adapter) Join(local broadcast.Local) (broadcast.Remote, error) {
	p := &part{a: a, local: local, name: local.Name(), closed: make(chan struct{})}
	a.mu.Lock()
	a.parts[p.name] = p
	a.mu.Unlock()
	var err error
	if p.Remote, err = a.Adapter.Join(local); err != nil {
		p.leave()
		return nil, err
	}
	return p, nil
}

// Stats are the adapter's counters.
func (a *Adapter) Stats() broadcast.AdapterStats {
	s := a.Adapter.Stats()
	s.Late += a.late.Load()
	return s
}

// local is this server's part of a namespace, or nil.
func (a *Adapter) local(namespace string) broadcast.Local {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if p := a.parts[namespace]; p != nil {
		return p.local
	}
	return nil
}

// part is the others' part of a namespace.
type part struct {
	broadcast.Remote // of package cluster

	a      *Adapter
	local  broadcast.Local
	name   string
	once   sync.Once
	closed chan struct{}
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: python-socketio: "+format, append([]any{broadcast.ErrUnsupported}, args...)...)
}

// Broadcast tells the other servers.
func (p *part) Broadcast(payload broadcast.Payload, t broadcast.Target) error {
	return p.tell(&cluster.Message{Type: cluster.Broadcast, Payload: payload, Target: t})
}

func (p *part) tell(m *cluster.Message) error {
	m.Namespace = p.name
	return p.a.Tell(m)
}

// call waits for one socket's answer.
type call struct {
	namespace, sid string
	answer         chan broadcast.Payload
}

// Call asks one socket.
func (p *part) Call(ctx context.Context, payload broadcast.Payload, t broadcast.Target, answered func(broadcast.Payload)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(t.Rooms) != 1 || !isID(t.Rooms[0]) {
		return unsupported("one socket, by its ID, can be asked, and no more")
	}
	sid := t.Rooms[0]
	if slices.Contains(t.Except, sid) || p.own(sid) {
		return nil // nobody is asked, or this server itself has done it
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.a.o.RequestTimeout)
		defer cancel()
	}
	c := &call{p.name, sid, make(chan broadcast.Payload, 1)}
	a := p.a
	a.mu.Lock()
	a.last++
	id := a.last
	a.calls[id] = c
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.calls, id)
		a.mu.Unlock()
	}()
	m := &cluster.Message{Type: cluster.Broadcast, Payload: payload, Target: t, RequestID: strconv.FormatUint(id, 10)}
	m.Namespace = p.name
	if err := a.Ask(m); err != nil {
		return err
	}
	missing := &broadcast.MissingError{Asked: 1}
	select {
	case answer := <-c.answer:
		answered(answer)
		return nil
	case <-ctx.Done():
		missing.Err = ctx.Err()
	case <-p.closed:
		missing.Err = broadcast.ErrClosed
	}
	a.late.Add(1)
	return missing
}

// answered takes the answer to a call of this server's.
func (a *Adapter) answered(m *message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.calls[m.id]
	if c == nil || c.namespace != m.namespace || c.sid != m.sid {
		return // it is late
	}
	delete(a.calls, m.id)
	c.answer <- m.args.Clone()
}

// own tells whether a socket is this server's.
func (p *part) own(id string) bool { return isOwn(p.local, id) }

// isOwn tells whether a name is the ID of a socket of local's.
func isOwn(local broadcast.Local, name string) bool {
	server := local.Server()
	return isID(name) && len(server) > 0 && name[:min(len(server), len(name))] == server && local.HasRoom(name)
}

// ids are the sockets of other servers that t addresses by their IDs; false if it does not
// address them so.
func (p *part) ids(t broadcast.Target) (ids []string, ok bool) {
	for _, name := range t.Except {
		if !isID(name) {
			return nil, false
		}
	}
	for _, name := range t.Rooms {
		if !isID(name) {
			return nil, false
		}
		if !slices.Contains(t.Except, name) && !p.own(name) {
			ids = append(ids, name)
		}
	}
	return ids, len(t.Rooms) > 0
}

// JoinRooms puts sockets of other servers into rooms.
func (p *part) JoinRooms(t broadcast.Target, rooms []string) error {
	return p.change(cluster.SocketsJoin, t, rooms)
}

// LeaveRooms takes sockets of other servers out of rooms.
func (p *part) LeaveRooms(t broadcast.Target, rooms []string) error {
	if len(t.Rooms) == 1 && len(t.Except) == 0 && len(rooms) == 1 && t.Rooms[0] == rooms[0] && !isID(rooms[0]) {
		return p.tell(&cluster.Message{Type: cluster.SocketsLeave, Target: t, Rooms: rooms})
	}
	return p.change(cluster.SocketsLeave, t, rooms)
}

func (p *part) change(what cluster.Type, t broadcast.Target, rooms []string) error {
	ids, ok := p.ids(t)
	if !ok {
		return unsupported("sockets join and leave by their IDs alone; and a room can be closed")
	}
	for _, id := range ids {
		for _, room := range rooms {
			m := &cluster.Message{Type: what, Target: broadcast.Target{Rooms: []string{id}, Passed: t.Passed}, Rooms: []string{room}}
			if err := p.tell(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// Disconnect disconnects sockets of other servers.
func (p *part) Disconnect(t broadcast.Target, closeSession bool) error {
	ids, ok := p.ids(t)
	switch {
	case !ok:
		return unsupported("sockets are disconnected by their IDs alone")
	case closeSession:
		return unsupported("sockets can be disconnected, but their sessions cannot be closed")
	}
	for _, id := range ids {
		m := &cluster.Message{Type: cluster.DisconnectSockets, Target: broadcast.Target{Rooms: []string{id}, Passed: t.Passed}}
		if err := p.tell(m); err != nil {
			return err
		}
	}
	return nil
}

// Sockets is not in the format.
func (p *part) Sockets(context.Context, broadcast.Target) ([]broadcast.SocketInfo, error) {
	return nil, unsupported("other servers' sockets are not told")
}

// ServerEvent is not in the format.
func (p *part) ServerEvent(broadcast.Payload) error {
	return unsupported("servers send each other no events")
}

// CallServers is not in the format.
func (p *part) CallServers(context.Context, broadcast.Payload) ([]broadcast.Payload, error) {
	return nil, unsupported("servers send each other no events")
}

// Servers is not in the format.
func (p *part) Servers(context.Context) (int, error) {
	return 0, unsupported("servers do not know how many they are")
}

// Close leaves the namespace.
func (p *part) Close() {
	p.leave()
	p.Remote.Close()
}

func (p *part) leave() {
	p.once.Do(func() { close(p.closed) })
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	if p.a.parts[p.name] == p {
		delete(p.a.parts, p.name)
	}
}
