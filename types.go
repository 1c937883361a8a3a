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

	// NetStats are counters of connections and loops.
	NetStats = netpoll.Stats

	// LoopStats are what one loop tells of itself.
	LoopStats = netpoll.LoopStats

	// Packet is the header of a Socket.IO packet, for a Parser.
	Packet = sio.Packet

	// RoomEvent tells of a room on this server: Kind, Room, and the ID of the socket
	// that joins or leaves.
	RoomEvent = broadcast.RoomEvent
)

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
)
