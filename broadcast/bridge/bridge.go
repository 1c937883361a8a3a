package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/ratelog"
)

// Options are New's. In each field the zero value means the default.
type Options struct {
	// Names are the sides' in errors and logs. Default "a" and "b".
	Names [2]string
	// Lease is how long a bridge at work is believed to be there without a word of it.
	// Default 3 s.
	Lease time.Duration
	// Logger gets what happens to the bridge. Default: slog.Default().
	Logger *slog.Logger
}

// Bridge is a broadcast.Adapter that joins two others.
type Bridge struct {
	// Immutable after New.
	sides [2]broadcast.Adapter
	o     Options
	log   *ratelog.Log
	e     *election

	// Guarded by mu.
	mu     sync.Mutex
	nodes  map[*node]struct{}
	atWork bool
	closed bool
}

var _ broadcast.Adapter = (*Bridge)(nil)

// New makes a bridge between two adapters. It closes them when it is closed, or when it
// fails. The error is broadcast.ErrUnsupported if one cannot be bridged.
func New(a, b broadcast.Adapter, o Options) (*Bridge, error) {
	o.Names[0] = cmp.Or(o.Names[0], "a")
	o.Names[1] = cmp.Or(o.Names[1], "b")
	o.Lease = cmp.Or(o.Lease, 3*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	br := &Bridge{sides: [2]broadcast.Adapter{a, b}, o: o, log: ratelog.New(o.Logger), nodes: map[*node]struct{}{}}
	var err error
	if br.e, err = startElection(br); err != nil {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		return nil, errors.Join(err, a.Close(done), b.Close(done))
	}
	return br, nil
}

// AtWork tells whether this bridge passes on.
func (br *Bridge) AtWork() bool {
	br.mu.Lock()
	defer br.mu.Unlock()
	return br.atWork
}

// PrivateRooms tells the server whether Remote.Room is to be told of its sockets' own rooms.
func (br *Bridge) PrivateRooms() bool {
	for _, side := range br.sides {
		if p, ok := side.(interface{ PrivateRooms() bool }); ok && p.PrivateRooms() {
			return true
		}
	}
	return false
}

// Join joins a namespace on the first side, and, if the bridge is at work, on the other.
func (br *Bridge) Join(local broadcast.Local) (broadcast.Remote, error) {
	n := &node{br: br, local: local, rooms: map[string]struct{}{}}
	if err := n.open(0); err != nil {
		return nil, err
	}
	br.mu.Lock()
	defer br.mu.Unlock()
	if br.closed {
		n.close(0)
		return nil, broadcast.ErrClosed
	}
	br.nodes[n] = struct{}{}
	if br.atWork {
		n.openOrTell(1)
	}
	return n, nil
}

// work has the bridge go to work, or stop.
func (br *Bridge) work(on bool) {
	br.mu.Lock()
	defer br.mu.Unlock()
	if br.closed || br.atWork == on {
		return
	}
	br.atWork = on
	for n := range br.nodes {
		if on {
			n.openOrTell(1)
		} else {
			n.close(1)
		}
	}
}

// Stats are both sides' counters.
func (br *Bridge) Stats() broadcast.AdapterStats {
	a, b := br.sides[0].Stats(), br.sides[1].Stats()
	return broadcast.AdapterStats{
		Sent: a.Sent + b.Sent, SentBytes: a.SentBytes + b.SentBytes,
		Received: a.Received + b.Received, ReceivedBytes: a.ReceivedBytes + b.ReceivedBytes,
		Lost: a.Lost + b.Lost, Refused: a.Refused + b.Refused,
		Ignored: a.Ignored + b.Ignored, Late: a.Late + b.Late,
		Queued: a.Queued + b.Queued, Down: a.Down || b.Down,
	}
}

// Close ends the bridge and both adapters.
func (br *Bridge) Close(ctx context.Context) error {
	br.mu.Lock()
	was := br.closed
	br.closed = true
	br.mu.Unlock()
	if was {
		return nil
	}
	br.e.close()
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, side := range br.sides {
		both.Go(func() { errs[i] = br.named(i, side.Close(ctx)) })
	}
	both.Wait()
	return errors.Join(errs...)
}

// named is an error with the side's name.
func (br *Bridge) named(side int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bridge: %s: %w", br.o.Names[side], err)
}

// node is one namespace: the Remote of both sides for this server.
type node struct {
	// Immutable after Join.
	br    *Bridge
	local broadcast.Local

	// Guarded by mu, which is taken inside the rooms' locks.
	mu      sync.RWMutex
	remotes [2]broadcast.Remote // nil: not joined
	rooms   map[string]struct{} // that somebody here is in
	closed  bool
}

// open joins the namespace on a side.
func (n *node) open(side int) error {
	n.mu.RLock()
	has := n.remotes[side] != nil || n.closed
	n.mu.RUnlock()
	if has {
		return nil
	}
	r, err := n.br.sides[side].Join(&face{n.local, n, side})
	if err != nil {
		return n.br.named(side, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		r.Close()
		return nil
	}
	n.remotes[side] = r
	for room := range n.rooms {
		r.Room(room, true)
	}
	return nil
}

func (n *node) openOrTell(side int) {
	if err := n.open(side); err != nil {
		n.br.log.Error("join", "bridge: a namespace is not bridged", "namespace", n.local.Name(), "error", err)
	}
}

// close leaves the namespace on a side.
func (n *node) close(side int) {
	n.mu.Lock()
	r := n.remotes[side]
	n.remotes[side] = nil
	n.mu.Unlock()
	if r != nil {
		r.Close()
	}
}

// remote is a side's part, or nil. While the bridge may no longer be at work it is in the first
// side alone.
func (n *node) remote(side int) broadcast.Remote {
	if side == 1 && !n.br.e.holds(time.Now()) {
		return nil
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.remotes[side]
}

// each calls f for the sides, one after the other.
func (n *node) each(f func(r broadcast.Remote) error) error {
	var errs []error
	for side := range n.br.sides {
		if r := n.remote(side); r != nil {
			errs = append(errs, n.br.named(side, f(r)))
		}
	}
	return errors.Join(errs...)
}

// both calls f for the sides at the same time.
func (n *node) both(f func(side int, r broadcast.Remote) error) error {
	var errs [2]error
	var all sync.WaitGroup
	for side := range n.br.sides {
		if r := n.remote(side); r != nil {
			all.Go(func() { errs[side] = n.br.named(side, f(side, r)) })
		}
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

// Broadcast tells both sides.
func (n *node) Broadcast(p broadcast.Payload, t broadcast.Target) error {
	return n.each(func(r broadcast.Remote) error { return r.Broadcast(p, t) })
}

// JoinRooms tells both sides.
func (n *node) JoinRooms(t broadcast.Target, rooms []string) error {
	return n.each(func(r broadcast.Remote) error { return r.JoinRooms(t, rooms) })
}

// LeaveRooms tells both sides.
func (n *node) LeaveRooms(t broadcast.Target, rooms []string) error {
	return n.each(func(r broadcast.Remote) error { return r.LeaveRooms(t, rooms) })
}

// Disconnect tells both sides.
func (n *node) Disconnect(t broadcast.Target, closeSession bool) error {
	return n.each(func(r broadcast.Remote) error { return r.Disconnect(t, closeSession) })
}

// ServerEvent tells both sides.
func (n *node) ServerEvent(p broadcast.Payload) error {
	return n.each(func(r broadcast.Remote) error { return r.ServerEvent(p) })
}

// errFound ends the waiting for a socket on the side where it is not.
var errFound = errors.New("bridge: the socket is on the other side")

// Call asks both sides. One socket is on one of them: where the format does not tell how many
// are asked, nobody waits once it has answered.
func (n *node) Call(ctx context.Context, p broadcast.Payload, t broadcast.Target, answered func(broadcast.Payload)) error {
	if one := len(t.Rooms) == 1 && isID(t.Rooms[0]); one && strings.HasPrefix(t.Rooms[0], n.local.Server()) && n.local.HasRoom(t.Rooms[0]) {
		return nil // it is this server's
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	return n.both(func(_ int, r broadcast.Remote) error {
		found := false
		err := r.Call(ctx, p, t, func(p broadcast.Payload) {
			mu.Lock()
			defer mu.Unlock()
			found = true
			answered(p)
		})
		switch {
		case len(t.Rooms) == 1 && found && isID(t.Rooms[0]):
			cancel(errFound)
		case errors.Is(context.Cause(ctx), errFound):
			return nil
		}
		return err
	})
}

// isID tells whether a name has the form of sockets' IDs: 20 characters of base64url.
func isID(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(name) == 20
}

// Sockets asks both sides.
func (n *node) Sockets(ctx context.Context, t broadcast.Target) ([]broadcast.SocketInfo, error) {
	var lists [2][]broadcast.SocketInfo
	err := n.both(func(side int, r broadcast.Remote) (err error) {
		lists[side], err = r.Sockets(ctx, t)
		return err
	})
	return append(lists[0], lists[1]...), err
}

// CallServers asks both sides.
func (n *node) CallServers(ctx context.Context, p broadcast.Payload) ([]broadcast.Payload, error) {
	var lists [2][]broadcast.Payload
	err := n.both(func(side int, r broadcast.Remote) (err error) {
		lists[side], err = r.CallServers(ctx, p)
		return err
	})
	return append(lists[0], lists[1]...), err
}

// Servers counts both sides.
func (n *node) Servers(ctx context.Context) (int, error) {
	var counts [2]int
	err := n.both(func(side int, r broadcast.Remote) (err error) {
		counts[side], err = r.Servers(ctx)
		return err
	})
	return counts[0] + counts[1], err
}

// Room tells both sides, and keeps it for the one that may be joined later.
func (n *node) Room(room string, exists bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if exists {
		n.rooms[room] = struct{}{}
	} else {
		delete(n.rooms, room)
	}
	for _, r := range n.remotes {
		if r != nil {
			r.Room(room, exists)
		}
	}
}

// Close leaves the namespace on both sides.
func (n *node) Close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.br.mu.Lock()
	delete(n.br.nodes, n)
	n.br.mu.Unlock()
	for side := range n.br.sides {
		n.close(side)
	}
}

// face is what a side sees: this server, and behind it the other side.
type face struct {
	broadcast.Local
	n    *node
	side int
}

var _ broadcast.Gateway = (*face)(nil)

// skip tells whether what comes is not for this server: its side is being left, or another
// bridge has passed it on while this one is at work, so that it comes by the other side, too.
func (f *face) skip(t broadcast.Target) bool {
	return f.n.remote(f.side) == nil || t.Passed && f.behind() != nil
}

// behind is the other side, nil if the bridge is not at work.
func (f *face) behind() broadcast.Remote {
	if f.n.remote(f.side) == nil {
		return nil // this side is being left
	}
	return f.n.remote(1 - f.side)
}

// pass passes something on.
func (f *face) pass(what string, t broadcast.Target, send func(r broadcast.Remote, t broadcast.Target) error) {
	r := f.behind()
	if r == nil || t.Passed {
		return
	}
	t.Passed = true
	f.tell(what, send(r, t))
}

// tell logs why something is not passed on.
func (f *face) tell(what string, err error) {
	br := f.n.br
	switch to := br.o.Names[1-f.side]; {
	case err == nil, errors.Is(err, broadcast.ErrClosed):
	case errors.Is(err, broadcast.ErrUnsupported):
		br.log.Warn("unsupported", "bridge: what one side sends cannot be expressed on the other", "what", what, "to", to, "error", err)
	default:
		br.log.Warn("not passed on", "bridge: what one side sends is not passed on", "what", what, "to", to, "error", err)
	}
}

// Broadcast serves this server's own sockets, and passes it on.
func (f *face) Broadcast(p broadcast.Payload, t broadcast.Target) error {
	if f.skip(t) {
		return nil
	}
	err := f.Local.Broadcast(p, t)
	f.pass("an event", t, func(r broadcast.Remote, t broadcast.Target) error { return r.Broadcast(p, t) })
	return err
}

// Call asks this server's own sockets.
func (f *face) Call(p broadcast.Payload, t broadcast.Target, timeout time.Duration, answered func(broadcast.Payload)) (int, error) {
	if f.skip(t) {
		return 0, nil
	}
	return f.Local.Call(p, t, timeout, answered)
}

// CallElsewhere asks the other side.
func (f *face) CallElsewhere(ctx context.Context, p broadcast.Payload, t broadcast.Target, answered func(broadcast.Payload)) int {
	r := f.behind()
	if r == nil || t.Passed || f.near(ctx, r, t) {
		return 0
	}
	t.Passed = true
	asked := 0
	err := r.Call(ctx, p, t, func(p broadcast.Payload) {
		asked++
		answered(p)
	})
	missing := new(broadcast.MissingError)
	if errors.As(err, &missing) {
		return asked + max(missing.Sockets, 1) // not all formats tell; who asks is to know that some are missing
	}
	f.tell("a call", err)
	return asked
}

// near tells whether the only socket that is asked is here, or on the side that asks, where
// the other one could not tell that it has none.
func (f *face) near(ctx context.Context, other broadcast.Remote, t broadcast.Target) bool {
	if len(t.Rooms) != 1 || !isID(t.Rooms[0]) {
		return false
	}
	if len(f.Local.Sockets(t)) > 0 {
		return true
	}
	if _, err := other.Servers(ctx); !errors.Is(err, broadcast.ErrUnsupported) {
		return false // it tells
	}
	mine := f.n.remote(f.side)
	if mine == nil {
		return true
	}
	list, _ := mine.Sockets(ctx, broadcast.Target{Rooms: t.Rooms, Passed: true})
	return len(list) > 0
}

// Sockets describes this server's own.
func (f *face) Sockets(t broadcast.Target) []broadcast.SocketInfo {
	if f.skip(t) {
		return nil
	}
	return f.Local.Sockets(t)
}

// SocketsElsewhere describes the other side's.
func (f *face) SocketsElsewhere(ctx context.Context, t broadcast.Target) []broadcast.SocketInfo {
	r := f.behind()
	if r == nil || t.Passed {
		return nil
	}
	t.Passed = true
	list, err := r.Sockets(ctx, t)
	f.tell("a question for sockets", err)
	return list
}

// JoinRooms changes this server's own sockets, and passes it on.
func (f *face) JoinRooms(t broadcast.Target, rooms []string) {
	if f.skip(t) {
		return
	}
	f.Local.JoinRooms(t, rooms)
	f.pass("a join", t, func(r broadcast.Remote, t broadcast.Target) error { return r.JoinRooms(t, rooms) })
}

// LeaveRooms changes this server's own sockets, and passes it on.
func (f *face) LeaveRooms(t broadcast.Target, rooms []string) {
	if f.skip(t) {
		return
	}
	f.Local.LeaveRooms(t, rooms)
	f.pass("a leave", t, func(r broadcast.Remote, t broadcast.Target) error { return r.LeaveRooms(t, rooms) })
}

// Disconnect disconnects this server's own sockets, and passes it on.
func (f *face) Disconnect(t broadcast.Target, closeSession bool) {
	if f.skip(t) {
		return
	}
	f.Local.Disconnect(t, closeSession)
	f.pass("a disconnection", t, func(r broadcast.Remote, t broadcast.Target) error { return r.Disconnect(t, closeSession) })
}

// ServerEvent is this server's, and is passed on.
func (f *face) ServerEvent(p broadcast.Payload, answer func(broadcast.Payload)) {
	t := broadcast.Target{Passed: p.Passed}
	if answer == nil && f.skip(t) { // who has been asked answers
		return
	}
	f.Local.ServerEvent(p, answer)
	p.Passed = true
	f.pass("an event for servers", t, func(r broadcast.Remote, _ broadcast.Target) error { return r.ServerEvent(p) })
}

// HasRoom: somebody on the other side may be in it.
func (f *face) HasRoom(string) bool { return true }
