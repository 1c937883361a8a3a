package sockeye

import (
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// What the packages below call their own, under the root's name.
type (
	// Request is the request that opened a session, as far as it is kept.
	Request = engine.Request

	// Refusal is a request that was answered with an error of the protocol.
	Refusal = engine.Refusal

	// DeflateConfig is how WebSocket messages are compressed.
	DeflateConfig = ws.DeflateConfig

	// AddressLimits are the limits of one address, or of one /64 of IPv6.
	AddressLimits = netpoll.AddressLimits

	// Engine is another Engine.IO endpoint: engine.New makes one.
	Engine = engine.Engine

	// EngineStats are counters of sessions and handshakes.
	EngineStats = engine.Stats

	// Disconnect tells how a socket was disconnected; see Socket.DisconnectDetail. As an
	// error, it is the cause of Socket.Context's end.
	Disconnect = engine.Closing

	// Cause is why a socket was disconnected, more closely than a Reason.
	Cause = engine.Cause

	// NetStats are counters of connections and loops.
	NetStats = netpoll.Stats

	// LoopStats are what one loop tells of itself.
	LoopStats = netpoll.LoopStats

	// Packet is the header of a Socket.IO packet, for a Parser.
	Packet = sio.Packet

	// RoomEvent tells of a room on this server: Kind, Room, and the ID of the socket
	// that joins or leaves.
	RoomEvent = broadcast.RoomEvent

	// Adapter joins the namespaces of several servers.
	Adapter = broadcast.Adapter

	// AdapterStats are counters of what goes between servers.
	AdapterStats = broadcast.AdapterStats

	// MissingError tells which servers have not answered in time.
	MissingError = broadcast.MissingError
)

// What an Adapter cannot do.
var (
	// ErrUnavailable: the other servers cannot be reached at present, and nothing is kept
	// for them.
	ErrUnavailable = broadcast.ErrUnavailable
	// ErrUnsupported: the adapter's format has no such message.
	ErrUnsupported = broadcast.ErrUnsupported
)

// UnixPeers stands, in Config.ProxyProtocol and Config.TrustedProxies, for the peers of
// Unix sockets, which have no address. It is ::/128.
var UnixPeers = netpoll.UnixPeers

// The kinds of a RoomEvent.
const (
	CreateRoom = broadcast.CreateRoom // its first socket is about to join
	JoinRoom   = broadcast.JoinRoom
	LeaveRoom  = broadcast.LeaveRoom
	DeleteRoom = broadcast.DeleteRoom // its last socket has left
)

// Reason is why a socket was disconnected, in the protocol's own words.
type Reason = engine.CloseReason

// The reasons that OnDisconnect gets.
const (
	TransportClose            = engine.TransportClose     // the peer closed the connection
	TransportError            = engine.TransportError     // the connection failed, or the peer read too slowly
	PingTimeout               = engine.PingTimeout        // the peer did not answer a ping in time
	ParseError                = engine.ParseError         // the peer sent what is no packet
	ForcedClose               = engine.ForcedClose        // the peer broke the protocol
	ServerShuttingDown        = engine.ServerShuttingDown // Server.Shutdown
	ForcedServerClose         = Reason("forced server close")
	ClientNamespaceDisconnect = Reason("client namespace disconnect") // the peer left the namespace
	ServerNamespaceDisconnect = Reason("server namespace disconnect") // Socket.Disconnect
	Replaced                  = Reason("replaced")                    // another socket has claimed its key: Socket.Claim
)

// The causes of a Disconnect; Cause.By tells whose they are.
const (
	CausePeerClosed   = engine.CausePeerClosed   // a close frame, a close packet, or the end of the connection
	CausePeerLeft     = engine.CausePeerLeft     // the peer has left the namespace
	CauseReset        = engine.CauseReset        // the peer's process or machine is gone, or something between has cut
	CauseFailed       = engine.CauseFailed       // another error of the connection
	CauseSilent       = engine.CauseSilent       // a ping was not answered
	CauseSlowReader   = engine.CauseSlowReader   // the peer did not take what was sent
	CauseTooLarge     = engine.CauseTooLarge     // a message above MaxPayload
	CauseViolation    = engine.CauseViolation    // the peer broke the protocol
	CauseProxyTimeout = engine.CauseProxyTimeout // cut at the age at which others were
	CauseServerLate   = engine.CauseServerLate   // an event loop was held up
	CauseServer       = engine.CauseServer       // Disconnect or CloseSession
	CauseReplaced     = engine.CauseReplaced     // another socket has claimed its key
	CauseRefused      = engine.CauseRefused      // by a middleware or OnConnect
	CauseNotJoined    = engine.CauseNotJoined    // ConnectTimeout
	CauseMemory       = engine.CauseMemory       // MaxMemory
	CauseShutdown     = engine.CauseShutdown     // Shutdown or Close
)
