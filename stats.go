package sockeye

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/engine"
)

// Stats are counters of a server since its start, and, where it is said, present values;
// see also the parts' own. docs/operations.md tells what each is good for.
type Stats struct {
	Net    NetStats
	Engine EngineStats

	EventsIn          uint64 // events given to handlers
	EventsOut         uint64 // events emitted to one socket; with Recovery, but those kept for one that is away
	AcksIn            uint64 // answers of peers that somebody has waited for
	AcksOut           uint64 // answers to peers
	Broadcasts        uint64 // events emitted to several sockets
	Deliveries        uint64 // of broadcasts, to each socket that was addressed, those that were dropped as volatile included
	HandlerPanics     uint64
	HandlerErrors     uint64 // errors that handlers have returned, DecodeErrors included
	DecodeErrors      uint64 // events whose arguments did not fit their handler
	ProtocolErrors    uint64 // sessions ended because the peer broke the protocol
	UnhandledEvents   uint64 // events without a handler
	FilteredEvents    uint64 // events that UseEvents' middlewares have kept from their handlers
	IgnoredPackets    uint64 // for a namespace that this side has taken the peer out of, and answers that nobody waits for
	EmitTimeouts      uint64 // emits that ended with ErrQueueFull
	VolatileDropped   uint64 // volatile messages that were dropped
	Workers           int    // goroutines that run handlers, now
	ActiveSockets     int    // sockets whose handlers have something to do, now
	PausedForMailbox  uint64 // times that a session was not read because a mailbox was full
	RefusedNamespaces uint64 // connects that were answered with an error
	ConnectTimeouts   uint64 // sessions ended because they joined no namespace within ConnectTimeout

	// RefusedNamespacesBy has RefusedNamespaces by reason: "INVALID_NAMESPACE",
	// "AUTH_TOO_LARGE", and "APPLICATION" for middlewares and OnConnect.
	RefusedNamespacesBy map[string]uint64

	Connects        uint64            // sockets that OnConnect has let in
	DisconnectedBy  map[Reason]uint64 // sockets that OnConnect had let in, and that have gone, by OnDisconnect's reason
	DisconnectedFor map[Cause]uint64  // the same, by cause

	Cluster AdapterStats // what goes between servers, by Config.Adapter
}

type counters struct {
	panics, handlerErrors, decodeErrors, protocolErrors, unhandled, ignored,
	dropped, paused, emitTimeouts, connectTimeouts, filtered, connects,
	serverEventsLost, serverEventsIgnored atomic.Uint64

	refused      [len(refusalNames)]atomic.Uint64
	disconnected [len(reasons)]atomic.Uint64
	causes       [16]atomic.Uint64 // by their places in engine.Causes
}

// What is counted on behalf of loops.
const (
	tallyEventsIn = iota
	tallyEventsOut
	tallyAcksIn
	tallyAcksOut
	tallyBroadcasts
	tallyDeliveries
)

// count counts on behalf of the socket's loop.
func (s *Socket) count(column int) { s.ns.srv.tally.Add(s.engineSession().Loop().Index(), column, 1) }

// Why a connect is refused: places in refusalNames.
const (
	refusedNamespace = iota
	refusedAuth
	refusedByApplication
)

var refusalNames = [...]string{"INVALID_NAMESPACE", "AUTH_TOO_LARGE", "APPLICATION"}

// reasons are all that OnDisconnect gets.
var reasons = [...]Reason{
	TransportClose, TransportError, PingTimeout, ParseError, ForcedClose, ServerShuttingDown, ForcedServerClose,
	ClientNamespaceDisconnect, ServerNamespaceDisconnect, Replaced,
}

// countDisconnect counts a socket that has gone.
func (c *counters) countDisconnect(how *Disconnect) {
	if i := slices.Index(reasons[:], how.Reason); i >= 0 {
		c.disconnected[i].Add(1)
	}
	if i := slices.Index(engine.Causes, how.Cause); i >= 0 {
		c.causes[i].Add(1)
	}
}

// Stats reads the counters. It takes some microseconds.
func (srv *Server) Stats() Stats {
	c, t := &srv.stats, &srv.tally
	s := Stats{
		Net: srv.group.Stats(), Engine: srv.engine.Stats(),
		EventsIn: t.Sum(tallyEventsIn), EventsOut: t.Sum(tallyEventsOut), AcksIn: t.Sum(tallyAcksIn), AcksOut: t.Sum(tallyAcksOut),
		Broadcasts: t.Sum(tallyBroadcasts), Deliveries: t.Sum(tallyDeliveries),
		HandlerPanics: c.panics.Load(), HandlerErrors: c.handlerErrors.Load(),
		DecodeErrors: c.decodeErrors.Load(), ProtocolErrors: c.protocolErrors.Load(), UnhandledEvents: c.unhandled.Load(),
		VolatileDropped: c.dropped.Load(), Workers: srv.pool.Running(), ActiveSockets: int(srv.active.Load()), PausedForMailbox: c.paused.Load(),
		IgnoredPackets: c.ignored.Load(), EmitTimeouts: c.emitTimeouts.Load(),
		ConnectTimeouts: c.connectTimeouts.Load(), FilteredEvents: c.filtered.Load(), Connects: c.connects.Load(),
		RefusedNamespacesBy: map[string]uint64{}, DisconnectedBy: map[Reason]uint64{}, DisconnectedFor: map[Cause]uint64{},
	}
	if a := srv.cfg.Adapter; a != nil {
		s.Cluster = a.Stats()
		s.Cluster.Lost += c.serverEventsLost.Load()
		s.Cluster.Ignored += c.serverEventsIgnored.Load()
	}
	for i, name := range refusalNames {
		n := c.refused[i].Load()
		s.RefusedNamespacesBy[name] = n
		s.RefusedNamespaces += n
	}
	for i, r := range reasons {
		s.DisconnectedBy[r] = c.disconnected[i].Load()
	}
	for i, cause := range engine.Causes {
		s.DisconnectedFor[cause] = c.causes[i].Load()
	}
	return s
}

// NamespaceStats are present values of a namespace.
type NamespaceStats struct {
	Name    string
	Sockets int // connected

	// Rooms are the rooms that have members, but the sockets' own: counted for each loop,
	// so that one with members on several loops counts as often.
	Rooms int
}

// NamespaceStats tells of each namespace, by name. With dynamic namespaces peers decide
// how many there are: see Config.MaxDynamicNamespaces.
func (srv *Server) NamespaceStats() []NamespaceStats {
	var list []NamespaceStats
	for _, ns := range srv.all() {
		list = append(list, NamespaceStats{ns.name, ns.rooms.Len(), ns.rooms.CountOnLoops()})
	}
	slices.SortFunc(list, func(a, b NamespaceStats) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
