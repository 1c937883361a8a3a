package ws

import (
	"sync"
	"unicode/utf8"
	"unsafe"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/bytepool"
)

// This file turns the bytes of a client's frames into messages (RFC 6455
// sections 5.4 to 5.6). It reads from memory and knows no socket:
//
//	for len(b) > 0 {
//		ev, n, err := r.ConsumeFrame(b, limits)
//		// err: send its code and reason, then r.Release
//		// ev.Kind: None, or what has happened; ev.Data until r.MessageDone
//		// Deflated: read no further until Inflate has made a message of ev.Payload
//		if n == 0 {
//			break // keep b; call again when more has come
//		}
//		b = b[n:]
//	}
//
// A frame that lies in b as a whole and is a whole message is delivered where it
// lies. Otherwise the payload moves into an assembly as it arrives, so that
// nothing is looked at twice: what consume leaves is at most a part of a header,
// or of a control frame.

// maxEmptyFragments bounds the fragments of a message that have no payload:
// those with payload are bounded by the size of the message, since they take no
// memory of their own.
const maxEmptyFragments = 1000

var (
	errMessageTooBig  = &Error{closeTooBig, ""} // engine.io-client wants no reason
	errEmptyFragments = &Error{closePolicy, "the message has too many empty fragments"}
	errTextUTF8       = &Error{closeInvalidData, "the text is not UTF-8"}
)

// Event is what a Reader has found. Data is a view, of b or of the reader's own
// memory, and unmasked; it may be written to.
type Event struct {
	Kind    EventKind
	Binary  bool             // of a message, deflated or not
	Code    uint16           // of a close; 1005 if it had none
	Data    []byte           // of a message, ping or pong
	Reason  string           // of a close
	Payload *bytepool.Buffer // of Deflated; the caller's, for Inflate or bytepool.Put
}

// EventKind tells what an Event is.
type EventKind uint8

// The kinds of events.
const (
	None    EventKind = iota // nothing yet
	Message                  // a whole message; call MessageDone after it
	Ping
	Pong
	Close    // nothing that follows is to be read (RFC 6455 section 5.5.1)
	Deflated // a whole message, still compressed; see Limits.InflateHere
)

// Limits is what a connection has agreed to, and what it takes.
type Limits struct {
	// MaxBytes bounds a message, all its fragments together; at least 0. A
	// compressed one may have as many bytes when it is inflated, and a sixteenth more
	// before.
	MaxBytes int

	// Deflate says that the connection has agreed to permessage-deflate.
	Deflate bool

	// InflateHere is the size of compressed messages, in bytes, up to which the Reader
	// inflates them itself, if that is not much work: at most 64 KiB come out.
	// Others are Deflated events. The constant InflateHere is the value for a loop. At
	// 0 all are Deflated but those that are empty. Negative: none is.
	InflateHere int
}

// Reader reads the frames of one connection. The zero value stands at the
// beginning of the first; between messages it holds no memory. It belongs to
// one goroutine.
type Reader struct {
	m *assembly // the message that has arrived in part; nil between messages
}

// Consume is ConsumeFrame without Deflated events: messages are inflated here,
// however long that takes.
func (r *Reader) Consume(b []byte, maxBytes int, deflate bool) (ev Event, n int, err *Error) {
	return r.ConsumeFrame(b, Limits{MaxBytes: maxBytes, Deflate: deflate, InflateHere: -1})
}

// ConsumeFrame reads at most one frame, or part of one, from b, which it unmasks
// in place. n is how much of b has been used, and may be above 0 without an event;
// n == 0 without an error means that more is needed, and b must be given again
// with it. What comes out does not depend on how the stream is cut. After an
// error or a close, ConsumeFrame is not called again.
func (r *Reader) ConsumeFrame(b []byte, lim Limits) (ev Event, n int, err *Error) {
	state := betweenMessages
	length := int64(0) // of the message so far
	m := r.m
	if m != nil {
		switch m.state {
		case inFrame:
			return r.fill(b, lim)
		case afterFragment:
			state = betweenFrames
			length = int64(m.len())
		case delivered:
			r.MessageDone()
			m = nil
		}
	}
	if lim.Deflate {
		state |= gobwas.StateExtended
	}
	h, n, err := consumeFrameHeader(b, state)
	if n == 0 {
		return ev, 0, err
	}
	b = b[n:]
	whole := h.Length <= int64(len(b))
	if h.OpCode.IsControl() {
		if !whole {
			return ev, 0, nil
		}
		payload := unmask(b[:h.Length:h.Length], h.Mask)
		ev, err = controlEvent(h.OpCode, payload)
		return ev, n + len(payload), err
	}

	// Before any memory is taken.
	deflated := h.Rsv != 0 || m != nil && m.deflated
	maxBytes := lim.MaxBytes
	if deflated {
		maxBytes = maxDeflated(maxBytes)
	}
	if h.Length > int64(maxBytes)-length {
		return ev, 0, errMessageTooBig
	}
	if m == nil && h.Fin && whole {
		payload := unmask(b[:h.Length:h.Length], h.Mask)
		if deflated {
			buf := bytepool.Get(len(payload) + len(inflateEnd))
			buf.B = append(append(buf.B, payload...), inflateEnd...)
			ev, err = r.deliverDeflated(buf, h.OpCode == OpBinary, lim)
			return ev, n + len(payload), err
		}
		if h.OpCode == OpText && !utf8.Valid(payload) {
			return ev, 0, errTextUTF8
		}
		ev.Kind, ev.Binary, ev.Data = Message, h.OpCode == OpBinary, payload
		return ev, n + len(payload), nil
	}
	if m == nil {
		m = assemblies.Get().(*assembly)
		m.text = h.OpCode == OpText
		m.deflated = deflated
		r.m = m
	}
	if err := m.begin(h); err != nil {
		return ev, 0, err
	}
	ev, k, err := r.fill(b, lim)
	return ev, n + k, err
}

// MessageDone gives back what the last Message event lies in.
func (r *Reader) MessageDone() {
	if m := r.m; m != nil && m.state == delivered {
		r.m = nil
		m.release()
	}
}

// Held is the memory that the reader holds, in bytes: for a message that has
// arrived in part, or until MessageDone for one that it has put together or
// inflated. The payload of a Deflated event is the caller's, cap(Payload.B).
func (r *Reader) Held() int {
	switch {
	case r.m == nil:
		return 0
	case r.m.buf == nil:
		return int(unsafe.Sizeof(*r.m))
	}
	return int(unsafe.Sizeof(*r.m)+unsafe.Sizeof(*r.m.buf)) + cap(r.m.buf.B)
}

// Arriving is how many bytes of a message have come so far; ok is false between
// messages. mark is the caller's own for that message: zero when it begins.
func (r *Reader) Arriving() (bytes int, mark *Mark, ok bool) {
	if r.m == nil || r.m.state == delivered {
		return 0, nil, false
	}
	return r.m.len(), &r.m.marked, true
}

// Mark is what a Reader's owner notes of the message that is arriving.
type Mark struct {
	At    int64 // on the owner's clock
	Bytes int   // of the message, then
}

// Release gives back what the reader holds, whatever state it is in. A message
// that is being handled stays readable: its memory is then left to the garbage
// collector.
func (r *Reader) Release() {
	m := r.m
	r.m = nil
	if m != nil && m.state != delivered {
		m.release()
	}
}

// unmask removes the mask from a whole payload, in place (section 5.3).
func unmask(b []byte, mask [4]byte) []byte {
	gobwas.Cipher(b, mask, 0)
	return b
}

func controlEvent(op gobwas.OpCode, payload []byte) (ev Event, err *Error) {
	switch op {
	case OpPing:
		ev.Kind, ev.Data = Ping, payload
	case OpPong:
		ev.Kind, ev.Data = Pong, payload
	case OpClose:
		ev.Kind = Close
		ev.Code, ev.Reason, err = parseClosePayload(payload)
	}
	return ev, err
}

// assembly is a message that arrives in more than one piece.
type assembly struct {
	buf      *bytepool.Buffer // the payload so far, unmasked; nil before its first byte
	valid    int              // of text: buf.B[:valid] is whole characters; len - valid < 4
	missing  int64            // of the frame's payload; above 0 in state inFrame only
	mask     [4]byte          // of the frame
	masked   int              // payload bytes of the frame so far, modulo 4
	empty    int              // fragments without payload so far
	state    assemblyState
	final    bool // the frame ends the message
	text     bool
	deflated bool // it is compressed (RFC 7692), and inflated when it is complete
	marked   Mark
}

type assemblyState uint8

const (
	inFrame       assemblyState = iota // the frame's payload is arriving
	afterFragment                      // the next frame's header is due
	delivered                          // the message is with the handler
)

var assemblies = sync.Pool{New: func() any { return new(assembly) }}

// release puts the assembly, and its buffer unless that is large, into their
// pools.
func (m *assembly) release() {
	put(m.buf)
	*m = assembly{}
	assemblies.Put(m)
}

// put gives a buffer back, which may be nil. Race builds poison the large ones, too,
// that no pool takes.
func put(buf *bytepool.Buffer) {
	if buf != nil && cap(buf.B) > bytepool.MaxPooled {
		bytepool.Poison(buf.B)
	}
	bytepool.Put(buf)
}

func (m *assembly) len() int {
	if m.buf == nil {
		return 0
	}
	return len(m.buf.B)
}

// begin starts a frame of the message.
func (m *assembly) begin(h gobwas.Header) *Error {
	if h.Length == 0 {
		if m.empty++; m.empty > maxEmptyFragments {
			return errEmptyFragments
		}
	}
	m.state, m.missing, m.mask, m.masked, m.final = inFrame, h.Length, h.Mask, 0, h.Fin
	return nil
}

// fill takes what b has of the frame's payload, and makes an event of the message
// if that completes it.
func (r *Reader) fill(b []byte, lim Limits) (ev Event, n int, err *Error) {
	m := r.m
	if !m.deflated {
		return m.fill(b, lim.MaxBytes)
	}
	ev, n, err = m.fill(b, maxDeflated(lim.MaxBytes))
	if ev.Kind != Message {
		return ev, n, err
	}
	payload := bytepool.Append(m.buf, []byte(inflateEnd))
	m.buf, r.m = nil, nil
	m.release()
	ev, err = r.deliverDeflated(payload, ev.Binary, lim)
	return ev, n, err
}

// fill takes what b has of the frame's payload.
func (m *assembly) fill(b []byte, maxBytes int) (ev Event, n int, err *Error) {
	n = int(min(m.missing, int64(len(b))))
	if n > 0 {
		m.append(b[:n], maxBytes)
		if m.text && !m.deflated {
			k, ok := validUTF8Prefix(m.buf.B[m.valid:])
			if !ok {
				return ev, 0, errTextUTF8
			}
			m.valid += k
		}
	}
	switch {
	case m.missing > 0:
		return ev, n, nil
	case !m.final:
		m.state = afterFragment
		return ev, n, nil
	case m.text && !m.deflated && m.valid != m.len():
		return ev, 0, errTextUTF8
	}
	m.state = delivered
	ev.Kind, ev.Binary = Message, !m.text
	if m.buf != nil {
		ev.Data = m.buf.B
	}
	return ev, n, nil
}

// append adds the next bytes of the frame's payload, and unmasks them.
func (m *assembly) append(p []byte, maxBytes int) {
	have := m.len()
	if need := have + len(p); m.buf == nil || need > cap(m.buf.B) {
		// Twice what is here, so that copying stays linear in what arrives, but
		// not more than can come: memory is a multiple of the bytes that have
		// arrived, whatever length the header declares.
		size := have + max(len(p), min(have, maxBytes-have))
		if m.final {
			size = int(min(int64(size), int64(have)+m.missing))
		}
		if m.deflated {
			size += len(inflateEnd) // is to come behind it
		}
		grown := bytepool.Get(size)
		if m.buf != nil {
			grown.B = append(grown.B, m.buf.B...)
			put(m.buf)
		}
		m.buf = grown
	}
	b := append(m.buf.B, p...)
	gobwas.Cipher(b[have:], m.mask, m.masked)
	m.buf.B = b
	m.masked = (m.masked + len(p)) % 4
	m.missing -= int64(len(p))
}
