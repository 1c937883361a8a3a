package sio

import (
	"errors"
	"strconv"
)

// What can be wrong with a packet; each comes wrapped in a *SyntaxError.
var (
	ErrPacketType  = errors.New("the packet type is unknown")
	ErrAttachments = errors.New("the number of attachments is malformed, or over the limit")
	ErrNamespace   = errors.New("the namespace is too long, or has control characters")
	ErrID          = errors.New("the acknowledgement id is too large")
	ErrJSON        = errors.New("the JSON is malformed")
	ErrDepth       = errors.New("the JSON is nested too deeply")
	ErrUTF8        = errors.New("the text is not UTF-8")
	ErrArguments   = errors.New("the array has too many elements")
	ErrEventName   = errors.New("the event name is neither a string nor a number")
	ErrPlaceholder = errors.New("a placeholder has no attachment of its own")
)

// SyntaxError is the peer's fault: what it sent is no packet.
type SyntaxError struct {
	Offset int // where in the input
	Err    error
}

// Error tells what is wrong, and where.
func (e *SyntaxError) Error() string {
	return "sio: " + e.Err.Error() + " at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns the sentinel.
func (e *SyntaxError) Unwrap() error { return e.Err }
