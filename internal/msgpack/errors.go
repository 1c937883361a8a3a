package msgpack

import (
	"errors"
	"strconv"
)

// What can be wrong with MessagePack, or with what is to become it; each comes
// wrapped in a *SyntaxError.
var (
	ErrShort       = errors.New("the message ends too early")
	ErrDepth       = errors.New("the message is nested too deeply")
	ErrFormat      = errors.New("a byte that begins no value")
	ErrRest        = errors.New("something follows the value")
	ErrKind        = errors.New("the value is of another kind")
	ErrKey         = errors.New("a key is neither a string nor an integer")
	ErrPlaceholder = errors.New("a key is _placeholder, which JSON keeps for attachments")
	ErrNumber      = errors.New("the number is too large")
	ErrSize        = errors.New("the value is larger than MessagePack can say")
)

// SyntaxError tells what is wrong, and where.
type SyntaxError struct {
	Offset int // in the input
	Err    error
}

// Error tells what is wrong, and where.
func (e *SyntaxError) Error() string {
	return "msgpack: " + e.Err.Error() + " at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns the sentinel.
func (e *SyntaxError) Unwrap() error { return e.Err }
