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
	return new(Stream).parse(maxMessageBytes, pieces)
}

// ParseDeflatedFrames is ParseFrames for a connection that has agreed to
// permessage-deflate.
func ParseDeflatedFrames(maxMessageBytes int, pieces ...[]byte) (events []ParsedEvent) {
	return (&Stream{Deflate: true}).parse(maxMessageBytes, pieces)
}

func (r *Stream) parse(maxMessageBytes int, pieces [][]byte) (events []ParsedEvent) {
	defer r.Release()
	var kept []byte
	for _, piece := range pieces {
		b := append(kept, piece...)
		for len(b) > 0 {
			e, n := r.Consume(b, maxMessageBytes)
			if e.Kind != "" {
				e.Data = bytes.Clone(e.Data)
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

// Stream reads the frames of one client as a connection does, without
// the connection. The zero value stands at the beginning of a stream. It is for
// tests and tools, and for one goroutine.
type Stream struct {
	// Deflate says that permessage-deflate has been agreed. Set it before the first
	// Consume.
	Deflate bool

	r Reader
}

// Consume reads at most one frame, or part of one, from b, in which it removes
// the mask. n is how much of b has been used; 0 means that more is needed, and
// that b must be given again with it. The event's Data is a view, good until the
// next call. After a close or an error Consume is not called again.
func (r *Stream) Consume(b []byte, maxMessageBytes int) (e ParsedEvent, n int) {
	ev, n, err := r.r.Consume(b, maxMessageBytes, r.Deflate)
	if err != nil {
		return ParsedEvent{Kind: "error", Code: err.Code, Reason: err.Reason}, n
	}
	e = ParsedEvent{Data: ev.Data, Code: ev.Code, Reason: ev.Reason}
	switch ev.Kind {
	case Message:
		e.Kind = "text"
		if ev.Binary {
			e.Kind = "binary"
		}
	case Ping:
		e.Kind = "ping"
	case Pong:
		e.Kind = "pong"
	case Close:
		e.Kind = "close"
	}
	return e, n
}

// Release gives back what the reader holds.
func (r *Stream) Release() { r.r.Release() }
