package sockeye

import (
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/engine"
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
	ServerShuttingDown        = engine.ServerShuttingDown // Server.Close
	ForcedServerClose         = Reason("forced server close")
	ClientNamespaceDisconnect = Reason("client namespace disconnect") // the peer left the namespace
	ServerNamespaceDisconnect = Reason("server namespace disconnect") // Socket.Disconnect
)

var (
	// ErrDisconnected: the socket is not connected any more.
	ErrDisconnected = errors.New("sockeye: the socket is disconnected")
	// ErrAckTimeout: the peer did not acknowledge in time.
	ErrAckTimeout = errors.New("sockeye: the peer did not acknowledge in time")
	// ErrTooManyAcks: Config.MaxPendingAcks answers are waited for already.
	ErrTooManyAcks = errors.New("sockeye: too many acknowledgements are waited for")
	// ErrReservedEvent: the name is the protocol's own and cannot be emitted.
	ErrReservedEvent = errors.New("sockeye: reserved event name")
	// ErrMissingArgument: the event has fewer arguments than were asked for.
	ErrMissingArgument = errors.New("sockeye: the event has fewer arguments")
)

// ArgumentError is the peer's fault: an argument does not decode into what the
// event's handler takes. OnError gets it; the peer's acknowledgement says which
// argument it was, and no more.
type ArgumentError struct {
	Event string
	Index int // from 0
	Err   error
}

func (e *ArgumentError) Error() string {
	return fmt.Sprintf("sockeye: argument %d of %q: %v", e.Index, e.Event, e.Err)
}

// Unwrap returns the Codec's error.
func (e *ArgumentError) Unwrap() error { return e.Err }

// ConnectError refuses a connection: returned from a middleware or from
// OnConnect, its message and data reach the peer's connect_error event. Any
// other error refuses with its text alone.
type ConnectError struct {
	Message string
	Data    any // encoded by the Codec; left out if nil
}

func (e *ConnectError) Error() string { return e.Message }
