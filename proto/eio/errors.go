package eio

import (
	"errors"
	"strconv"
)

// What can be wrong with a packet; each comes wrapped in a *SyntaxError.
var (
	ErrEmpty      = errors.New("the packet is empty")
	ErrPacketType = errors.New("the packet type is unknown")
	ErrBase64     = errors.New("the base64 is malformed")
	ErrLength     = errors.New("the length of a packet is malformed, or not what follows")
	ErrForm       = errors.New("the form has no payload")
)

// SyntaxError is the peer's fault: what it sent is no packet.
type SyntaxError struct {
	Offset int // where in the input
	Err    error
}

// Error tells what is wrong, and where.
func (e *SyntaxError) Error() string {
	return "eio: " + e.Err.Error() + " at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns the sentinel.
func (e *SyntaxError) Unwrap() error { return e.Err }
