package sockeye

import (
	"errors"
	"fmt"
)

var (
	// ErrDisconnected: the socket is not connected any more, or Disconnect has been
	// called.
	ErrDisconnected = errors.New("sockeye: the socket is disconnected")
	// ErrConnecting: the peer has not been told yet that it is in, and is not before
	// the caller, a middleware or OnConnect, has returned.
	ErrConnecting = errors.New("sockeye: the peer is still connecting, and waits for this function; do this in OnConnection")
	// ErrQueueFull: the peer has not read what was sent before, for Config.EmitTimeout
	// or Timeout.
	ErrQueueFull = errors.New("sockeye: the socket's queue is full: the peer reads more slowly than is emitted; see Socket.Flush and QueuedBytes, or emit Volatile")
	// ErrWouldBlock: the caller is an event loop, which must not wait.
	ErrWouldBlock = errors.New("sockeye: it would have to wait, on an event loop; use EmitWithAck, or another goroutine")
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

// PanicError is the panic of a handler. OnError gets it; the peer's acknowledgement
// says "internal error".
type PanicError struct {
	Event string // or what the function was called for: "connect", "disconnect" ...
	Value any    // that it panicked with
	Stack []byte // of the goroutine
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("sockeye: handler of %q panicked: %v", e.Event, e.Value)
}

// AckError is for the peer: returned from a handler, it answers the acknowledgement
// with {"error": Message}, and with Data as "data" if there is any. The text of no
// other error reaches a peer.
type AckError struct {
	Message string
	Data    any // encoded by the Codec; left out if nil
}

func (e *AckError) Error() string { return e.Message }

const internalMessage = "internal error"

var errEnded = errors.New("sockeye: the function ended its goroutine (runtime.Goexit)")

// ConnectError refuses a connection: returned from a middleware or from
// OnConnect, its message and data reach the peer's connect_error event. Any
// other error refuses with "internal error", and is told to Server.OnError.
type ConnectError struct {
	Message string
	Data    any // encoded by the Codec; left out if nil
}

func (e *ConnectError) Error() string { return e.Message }
