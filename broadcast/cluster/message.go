package cluster

import (
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
)

// Type is what a message says, in the numbers of the reference's ClusterAdapter.
type Type uint8

// The types of messages.
const (
	InitialHeartbeat     Type = iota + 1 // a server has joined: the others answer with Heartbeat
	Heartbeat                            // a server is there
	Broadcast                            // an event for sockets; with a RequestID the answers are wanted
	SocketsJoin                          // sockets join rooms
	SocketsLeave                         // sockets leave rooms
	DisconnectSockets                    // sockets are disconnected
	FetchSockets                         // which sockets are there?
	FetchSocketsResponse                 // these
	ServerSideEmit                       // an event for servers; with a RequestID the answers are wanted
	ServerSideEmitResponse
	BroadcastClientCount // how many sockets were asked for an answer
	BroadcastAck         // a socket's answer
	AdapterClose         // a server leaves
)

// EmitterUID is the uid of those who only emit and are no servers.
const EmitterUID = "emitter"

// Message is what a server tells the others about one namespace. Which fields count
// depends on its type.
type Message struct {
	Type      Type
	UID       string // who sends it
	Namespace string
	To        string // the uid of the only one addressed: of answers
	RequestID string

	Payload broadcast.Payload // of Broadcast and ServerSideEmit; of their answers, an array of one value
	Target  broadcast.Target
	Timeout time.Duration // of a Broadcast that wants answers: how long they are waited for
	Rooms   []string      // of SocketsJoin and SocketsLeave
	Close   bool          // of DisconnectSockets: their sessions, too
	Sockets []broadcast.SocketInfo
	Count   int

	// Offset is where the message is kept on the bus; "" for those that are not.
	Offset string
	// Number is a broadcast's among those of its server that are kept; 0 for none.
	Number uint64
}

// Frame is an encoded message on its way.
type Frame struct {
	Channel string
	Data    []byte
	Kind    int // what else the bus has to know
}

// size is what a frame takes in the outbox.
func (f *Frame) size() int { return len(f.Channel) + len(f.Data) + 64 }
