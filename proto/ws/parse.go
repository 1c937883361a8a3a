package ws

import (
	"bytes"
	"strconv"
	"strings"
)

// ParsedEvent is one thing that a stream of frames says.
type ParsedEvent struct {
	// Kind is "text", "binary", "ping", "pong", "close", or "error" for what
	// ends the connection; "" if there is nothing yet.
	Kind string
	// Data is the payload of a message, a ping or a pong.
	Data []byte
	// Code is that of a close (1005 if it has none) or the one an error is
	// answered with.
	Code uint16
	// Reason is that of a close or an error.
	Reason string
}

// String shows the event on one line, with a long payload as its length.
func (e ParsedEvent) String() string {
	switch {
	case e.Kind == "error":
		return strings.TrimRight("error "+strconv.Itoa(int(e.Code))+" "+e.Reason, " ")
	case e.Kind == "close":
		return "close " + strconv.Itoa(int(e.Code)) + " " + strconv.Quote(e.Reason)
	case len(e.Data) > 99:
		return e.Kind + " " + strconv.Itoa(len(e.Data))
	}
	return e.Kind + " " + strconv.Quote(string(e.Data))
}

// ParseFrames reads a stream of a client's frames that arrives in the given
// pieces, as a connection does after its upgrade. A close and an error are the
// last event. How the stream was cut makes no difference to the result.
//
// It is for tests and tools: pieces stay as they are, and the events own their
// bytes.
func ParseFrames(maxMessageBytes int, pieces ...[]byte) (events []ParsedEvent) {
	return parse(maxMessageBytes, false, pieces)
}

// ParseDeflatedFrames is ParseFrames for a connection that has agreed to
// permessage-deflate.
func ParseDeflatedFrames(maxMessageBytes int, pieces ...[]byte) (events []ParsedEvent) {
	return parse(maxMessageBytes, true, pieces)
}

func parse(maxMessageBytes int, deflate bool, pieces [][]byte) (events []ParsedEvent) {
	var r Reader
	defer r.Release()
	var kept []byte
	for _, piece := range pieces {
		b := append(kept, piece...)
		for len(b) > 0 {
			ev, n, err := r.Consume(b, maxMessageBytes, deflate)
			e := Parsed(ev, err)
			if e.Kind != "" {
				events = append(events, e)
			}
			if e.Kind == "close" || e.Kind == "error" {
				return events
			}
			if n == 0 {
				break
			}
			b = b[n:]
		}
		kept = b
	}
	return events
}

// Parsed is what a Reader has found, or its error. It owns its bytes.
func Parsed(ev Event, err *Error) ParsedEvent {
	if err != nil {
		return ParsedEvent{Kind: "error", Code: err.Code, Reason: err.Reason}
	}
	kind := [...]string{Message: "text", Ping: "ping", Pong: "pong", Close: "close", Deflated: ""}[ev.Kind]
	if ev.Kind == Message && ev.Binary {
		kind = "binary"
	}
	return ParsedEvent{kind, bytes.Clone(ev.Data), ev.Code, ev.Reason}
}
