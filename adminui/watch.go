package adminui

import (
	"github.com/sockeye-io/sockeye"
)

// broadcastID stands in event_sent for what went to several sockets. Node's server tells of
// each of them.
const broadcastID = "broadcast"

// watch has a namespace's sockets, rooms and events told. It may be called on an event loop.
// The children of a parent share its hooks, which are registered once.
func (a *Admin) watch(ns *sockeye.Namespace) {
	parent := ns.Parent()
	a.mu.Lock()
	again := a.known != nil && a.known[ns]
	if a.known != nil {
		a.known[ns] = true
	}
	shared := parent != nil && a.parents[parent]
	if parent != nil {
		a.parents[parent] = true
	}
	closed := a.closed
	a.mu.Unlock()
	if again || closed {
		return
	}
	if ns != a.ns {
		// It goes with a child that goes: Close need not take it away there.
		remove := ns.OnRoom(a.roomTold(ns.Name()))
		if parent == nil {
			a.remember(remove)
		}
	}
	if shared {
		return
	}
	a.remember(
		ns.OnConnection(a.connected),
		ns.OnUpgrade(a.upgraded),
		ns.OnDisconnect(a.disconnected),
	)
	if ns != a.ns { // or it would tell of its telling
		a.remember(ns.OnAny(a.received), ns.OnAnyOutgoing(a.sent(ns)))
	}
}

func (a *Admin) roomTold(nsp string) func(sockeye.RoomEvent) {
	return func(e sockeye.RoomEvent) {
		if !a.watched.Load() {
			return
		}
		switch e.Kind {
		case sockeye.JoinRoom:
			a.tell("room_joined", nsp, clip(e.Room, maxNameBytes), e.ID, timestamp())
		case sockeye.LeaveRoom:
			a.tell("room_left", nsp, clip(e.Room, maxNameBytes), e.ID, timestamp())
		}
	}
}

func (a *Admin) connected(s *sockeye.Socket) {
	if a.watched.Load() {
		a.tell("room_joined", s.Namespace().Name(), s.ID(), s.ID(), timestamp())
		a.tell("socket_connected", s, s.Rooms(), timestamp()) // the teller describes it, if it is shown
	}
}

func (a *Admin) upgraded(s *sockeye.Socket) {
	if a.watched.Load() {
		a.tell("socket_updated", map[string]any{"id": s.ID(), "nsp": s.Namespace().Name(), "transport": s.Transport()})
	}
}

func (a *Admin) disconnected(s *sockeye.Socket, reason sockeye.Reason) {
	if a.watched.Load() {
		a.tell("socket_disconnected", s.Namespace().Name(), s.ID(), string(reason), timestamp())
		a.tell("room_left", s.Namespace().Name(), s.ID(), s.ID(), timestamp()) // OnRoom has no sockets' own
	}
}

func (a *Admin) received(s *sockeye.Socket, e *sockeye.Event) {
	if a.watched.Load() && !a.full() {
		a.tell("event_received", s.Namespace().Name(), s.ID(), a.cutReceived(e), timestamp())
	}
}

// sent tells what is emitted. To whom a broadcast goes is not known, nor, of a parent's
// children, to which namespace: that is left out.
func (a *Admin) sent(ns *sockeye.Namespace) func(s *sockeye.Socket, event string, args []any) {
	return func(s *sockeye.Socket, event string, args []any) {
		if !a.watched.Load() || a.full() || s == nil && ns.Dynamic() {
			return
		}
		nsp, id := ns.Name(), broadcastID
		if s != nil {
			nsp, id = s.Namespace().Name(), s.ID()
		}
		a.tell("event_sent", nsp, id, a.cutSent(event, args), timestamp())
	}
}
