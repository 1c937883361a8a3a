package client

import (
	"encoding/json"
	"errors"
)

var (
	// ErrClosed: the Client has been closed.
	ErrClosed = errors.New("client: closed")
	// ErrDisconnected: the connection broke before an answer came, or there will be
	// none again.
	ErrDisconnected = errors.New("client: disconnected")
	// ErrBufferFull: Config.MaxBuffered events wait for a connection already.
	ErrBufferFull = errors.New("client: too many events wait for a connection")
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
