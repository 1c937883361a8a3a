package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// node is one namespace of this server on the bus: the others' part of it.
type node struct {
	// Immutable after Join.
	a       *Adapter
	local   broadcast.Local
	gateway broadcast.Gateway // local, if it is one
	name    string
	keeper  Keeper // the bus, if it is one

	// Guarded by mu.
	mu       sync.Mutex
	peers    map[string]struct{} // other servers that have been heard of here, by uid
	requests map[string]*request
	told     time.Time // when the others last heard of this server
	closed   bool
}

// maxWait bounds how long another server may have answers waited for.
const maxWait = 10 * time.Minute

func (n *node) send(m *Message) error {
	m.Namespace = n.name
	return n.a.send(m)
}

// tell is send for callers.
func (n *node) tell(m *Message) error {
	m.Namespace = n.name
	return n.a.Tell(m)
}

// Broadcast tells the other servers.
func (n *node) Broadcast(p broadcast.Payload, t broadcast.Target) error {
	return n.tell(&Message{Type: Broadcast, Payload: p, Target: t})
}

// JoinRooms tells the other servers.
func (n *node) JoinRooms(t broadcast.Target, rooms []string) error {
	return n.tell(&Message{Type: SocketsJoin, Target: t, Rooms: rooms})
}

// LeaveRooms tells the other servers.
func (n *node) LeaveRooms(t broadcast.Target, rooms []string) error {
	return n.tell(&Message{Type: SocketsLeave, Target: t, Rooms: rooms})
}

// Disconnect tells the other servers.
func (n *node) Disconnect(t broadcast.Target, closeSession bool) error {
	return n.tell(&Message{Type: DisconnectSockets, Target: t, Close: closeSession})
}

// ServerEvent tells the other servers.
func (n *node) ServerEvent(p broadcast.Payload) error {
	return n.tell(&Message{Type: ServerSideEmit, Payload: p})
}

// Room tells the bus.
func (n *node) Room(room string, exists bool) { n.a.bus.Room(n.name, room, exists) }

// Servers is the number of other servers.
func (n *node) Servers(ctx context.Context) (int, error) {
	others, err := n.a.bus.Others(ctx, n.name)
	if errors.Is(err, broadcast.ErrUnsupported) {
		if n.a.deaf(time.Now()) {
			return 0, broadcast.ErrUnavailable
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.peers), nil
	}
	return others, err
}

// Call asks the other servers' sockets.
func (n *node) Call(ctx context.Context, p broadcast.Payload, t broadcast.Target, answered func(broadcast.Payload)) error {
	m := &Message{Type: Broadcast, Payload: p, Target: t}
	return n.ask(ctx, m, &request{answer: BroadcastClientCount, answered: answered})
}

// Sockets asks the other servers.
func (n *node) Sockets(ctx context.Context, t broadcast.Target) ([]broadcast.SocketInfo, error) {
	r := &request{answer: FetchSocketsResponse}
	err := n.ask(ctx, &Message{Type: FetchSockets, Target: t}, r)
	return r.sockets, err
}

// CallServers asks the other servers.
func (n *node) CallServers(ctx context.Context, p broadcast.Payload) ([]broadcast.Payload, error) {
	r := &request{answer: ServerSideEmitResponse}
	err := n.ask(ctx, &Message{Type: ServerSideEmit, Payload: p}, r)
	return r.payloads, err
}

// Close leaves the namespace.
func (n *node) Close() {
	a := n.a
	a.mu.Lock()
	if a.nodes[n.name] == n {
		delete(a.nodes, n.name)
	}
	a.mu.Unlock()
	n.end()
	a.bus.Leave(n.name)
}

// end tells the others, and lets go of who waits.
func (n *node) end() {
	n.mu.Lock()
	was := n.closed
	n.closed = true
	for _, r := range n.requests {
		r.end(broadcast.ErrClosed)
	}
	n.mu.Unlock()
	if !was {
		_ = n.send(&Message{Type: AdapterClose}) // or they find out by themselves
	}
}

// beat tells the others that this server is there.
func (n *node) beat(t Type, now time.Time) error {
	n.mu.Lock()
	n.told = now
	n.mu.Unlock()
	return n.send(&Message{Type: t})
}

// tick sends a heartbeat when it is time, and forgets servers that have gone.
func (n *node) tick(now time.Time, gone []string) {
	n.mu.Lock()
	due := now.Sub(n.told) >= n.a.o.HeartbeatInterval && (n.name == "/" || n.a.o.NamespaceHeartbeats)
	for _, uid := range gone {
		n.forget(uid)
	}
	n.mu.Unlock()
	if due {
		_ = n.beat(Heartbeat, now) // while the bus is down, the next one tells
	}
}

// refuse counts an event that the namespace could not take, unless it is closed.
func (n *node) refuse(err error) {
	if !errors.Is(err, broadcast.ErrClosed) {
		n.a.Ignore(n.name, err)
	}
}

// seen notes that another server is there. Without heartbeats nobody could tell when it is
// no longer.
func (n *node) seen(uid string) {
	if !n.a.beats.Load() || !n.a.heard(uid) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers[uid] = struct{}{}
}

// forget forgets another server: nobody waits for it any longer. mu is held.
func (n *node) forget(uid string) {
	if _, ok := n.peers[uid]; !ok {
		return
	}
	delete(n.peers, uid)
	for _, r := range n.requests {
		r.without(uid)
	}
}

// receive acts on what another server says.
func (n *node) receive(m *Message) {
	n.seen(m.UID)
	switch m.Type {
	case InitialHeartbeat:
		_ = n.beat(Heartbeat, time.Now())
	case Heartbeat:
	case AdapterClose:
		n.mu.Lock()
		n.forget(m.UID)
		n.mu.Unlock()
	case Broadcast:
		if r := n.recorder(m); r != nil {
			r.Recorded(m.kept())
		} else if m.RequestID != "" {
			n.askHere(m)
		} else if err := n.local.Broadcast(m.Payload, m.Target); err != nil {
			n.refuse(err)
		}
	case SocketsJoin:
		n.local.JoinRooms(m.Target, m.Rooms)
	case SocketsLeave:
		n.local.LeaveRooms(m.Target, m.Rooms)
	case DisconnectSockets:
		n.local.Disconnect(m.Target, m.Close)
	case FetchSockets:
		sockets := n.local.Sockets(m.Target)
		to := *m
		n.elsewhere(n.a.o.RequestTimeout, func(ctx context.Context) {
			sockets = append(sockets, n.gateway.SocketsElsewhere(ctx, to.Target)...)
		}, func() { n.answer(&to, &Message{Type: FetchSocketsResponse, Sockets: sockets}) })
	case ServerSideEmit:
		if m.RequestID == "" {
			n.local.ServerEvent(m.Payload, nil)
			return
		}
		to := *m
		n.local.ServerEvent(m.Payload, func(p broadcast.Payload) {
			n.answer(&to, &Message{Type: ServerSideEmitResponse, Payload: p})
		})
	case FetchSocketsResponse, ServerSideEmitResponse, BroadcastClientCount, BroadcastAck:
		n.mu.Lock()
		r := n.requests[m.RequestID]
		n.mu.Unlock()
		if r != nil { // it is not late
			r.take(m)
		}
	}
}

// askHere asks this server's own sockets for another one.
func (n *node) askHere(m *Message) {
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = n.a.o.RequestTimeout
	}
	timeout = min(timeout, maxWait)
	to := *m
	_, all := n.a.bus.(AllArguments)
	answered := func(p broadcast.Payload) {
		if !all {
			p = firstOf(p)
		}
		n.answer(&to, &Message{Type: BroadcastAck, Payload: p})
	}
	asked, err := n.local.Call(m.Payload, m.Target, timeout, answered)
	if err != nil {
		n.refuse(err)
		n.answer(&to, &Message{Type: BroadcastClientCount}) // nobody is asked here
		return
	}
	p := m.Payload
	if n.gateway != nil {
		p = p.Clone()
	}
	n.elsewhere(timeout, func(ctx context.Context) {
		asked += n.gateway.CallElsewhere(ctx, p, to.Target, answered)
	}, func() { n.answer(&to, &Message{Type: BroadcastClientCount, Count: asked}) })
}

// maxElsewhere bounds the questions that servers behind a gateway are asked at the same
// time: those that are beyond are answered without them.
const maxElsewhere = 1000

// elsewhere calls ask, in time for who has asked, and then answer. If there is a gateway it
// does not wait for them.
func (n *node) elsewhere(timeout time.Duration, ask func(ctx context.Context), answer func()) {
	if n.gateway == nil {
		answer()
		return
	}
	if n.a.elsewhere.Add(1) > maxElsewhere {
		n.a.elsewhere.Add(-1)
		answer()
		return
	}
	go func() {
		defer n.a.elsewhere.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), timeout-min(timeout/10, maxMargin))
		defer cancel()
		ask(ctx)
		answer()
	}()
}

// maxMargin is how much earlier than who has asked a gateway gives up.
const maxMargin = 500 * time.Millisecond

// answer sends an answer to who has asked.
func (n *node) answer(to, m *Message) {
	m.To, m.RequestID = to.UID, to.RequestID
	m.Namespace = n.name
	// Who asks has a time of its own.
	if err := n.a.Tell(m); err != nil && err != broadcast.ErrClosed {
		n.a.log.Error("answer", "cluster: another server's question cannot be answered", "namespace", n.name, "error", err)
	}
}

// ask sends a request and waits for the answers.
func (n *node) ask(ctx context.Context, m *Message, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.a.o.RequestTimeout)
		defer cancel()
	}
	deadline, _ := ctx.Deadline() // there is one
	m.Timeout = max(time.Until(deadline), time.Millisecond)
	others, err := n.a.bus.Others(ctx, n.name)
	counted := !errors.Is(err, broadcast.ErrUnsupported)
	switch {
	case counted && err != nil:
		n.a.refused.Add(1)
		return errors.Join(broadcast.ErrUnavailable, err)
	case n.a.out.stats().Down: // a question is not kept for later
		n.a.refused.Add(1)
		return broadcast.ErrUnavailable
	}
	id := NewID()
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return broadcast.ErrClosed
	}
	r.max = n.a.o.MaxAnswerBytes
	r.init(others, counted, slices.Collect(maps.Keys(n.peers)))
	n.requests[id] = r
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.requests, id)
		n.mu.Unlock()
	}()
	if r.nobody() {
		if !counted && n.a.deaf(time.Now()) {
			n.a.refused.Add(1)
			return broadcast.ErrUnavailable
		}
		return nil
	}
	m.RequestID = id
	if err := n.tell(m); err != nil {
		r.end(err)
		return err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		r.end(ctx.Err())
	}
	if err := r.result(); err != nil {
		n.a.late.Add(1)
		return err
	}
	return nil
}
