package client

import (
	"encoding/json"
	"errors"
)

var (
	// ErrClosed: the Client has been closed. Make another by New, Dial, Of or Share.
	ErrClosed = errors.New("client: closed")
	// ErrDisconnected: the connection broke before an answer came, or there is none
	// and none is being made: see Active, and Connect.
	ErrDisconnected = errors.New("client: disconnected")
	// ErrBufferFull: as much as Config.MaxBuffered and MaxBufferedBytes allow waits
	// for a connection already.
	ErrBufferFull = errors.New("client: too many events wait for a connection")
	// ErrQueueFull: as much as Config.MaxQueuedBytes allows waits for handlers, which
	// do not return, so that the answer cannot be read. It is not known whether the
	// server has handled the event.
	ErrQueueFull = errors.New("client: too many events wait for handlers that do not return")
	// ErrTooManyCalls: Config.MaxCalls wait for an answer already.
	ErrTooManyCalls = errors.New("client: too many calls wait for an answer")
	// ErrReservedEvent: the name is the protocol's own and cannot be emitted.
	ErrReservedEvent = errors.New("client: reserved event name")
	// ErrMissingArgument: the event has fewer arguments than were asked for.
	ErrMissingArgument = errors.New("client: the event has fewer arguments")
)

// ConnectError is the server's refusal of a namespace.
type ConnectError struct {
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

func (e *ConnectError) Error() string { return "client: the server refuses: " + e.Message }
