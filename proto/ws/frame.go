package ws

import (
	"encoding/binary"

	gobwas "github.com/gobwas/ws"
)

// Op is the opcode of a frame (RFC 6455 section 5.2).
type Op = gobwas.OpCode

// The opcodes that a server sends.
const (
	OpText   = gobwas.OpText
	OpBinary = gobwas.OpBinary
	OpClose  = gobwas.OpClose
	OpPing   = gobwas.OpPing
	OpPong   = gobwas.OpPong
)

// maxControlBytes bounds the payload of a control frame (RFC 6455 section 5.5).
const maxControlBytes = gobwas.MaxControlFramePayloadSize

// The states of gobwas.CheckHeader in which a frame of a client may arrive; with
// gobwas.StateExtended if RSV1 has a meaning.
const (
	betweenMessages = gobwas.StateServerSide
	betweenFrames   = betweenMessages | gobwas.StateFragmented // of one message
)

// What is refused in a frame header besides what gobwas.CheckHeader knows.
var (
	errFrameRSV      = &Error{closeProtocolError, "a reserved bit is set"}
	errFrameLength   = &Error{closeProtocolError, "the payload length is not in its shortest form"}
	errFrameLengthHi = &Error{closeProtocolError, "the payload length is above 2^63-1"}
)

// consumeFrameHeader reads the frame header that begins b, and checks it by RFC
// 6455 sections 5.1 to 5.5 for a server in that state. n is its length; 0
// without an error means that more is needed. What the first two bytes decide is
// refused as soon as they are there, so that the result does not depend on how
// much follows.
func consumeFrameHeader(b []byte, state gobwas.State) (h gobwas.Header, n int, err *Error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Fin = b[0]&0x80 != 0
	h.Rsv = b[0] >> 4 & 7
	h.OpCode = gobwas.OpCode(b[0] & 0x0f)
	h.Masked = b[1]&0x80 != 0
	h.Length = int64(b[1] & 0x7f)
	if err := gobwas.CheckHeader(h, state); err != nil {
		return h, 0, &Error{closeProtocolError, err.Error()}
	}
	// RFC 7692 section 6: RSV1 is for the first frame of a data message only. In
	// gobwas.StateExtended CheckHeader lets all bits pass everywhere.
	if first := h.OpCode == OpText || h.OpCode == OpBinary; h.Rsv != 0 && (h.Rsv != rsv1>>4 || !first) {
		return h, 0, errFrameRSV
	}

	// Section 5.2, "Payload length". A control frame has none of the long forms:
	// 126 and 127 were above its limit.
	n = 2
	switch h.Length {
	case 126:
		if len(b) < 4 {
			return h, 0, nil
		}
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		if h.Length < 126 {
			return h, 0, errFrameLength
		}
		n = 4
	case 127:
		if len(b) < 10 {
			return h, 0, nil
		}
		length := binary.BigEndian.Uint64(b[2:])
		switch {
		case length > 1<<63-1:
			return h, 0, errFrameLengthHi
		case length <= 0xffff:
			return h, 0, errFrameLength
		}
		h.Length = int64(length)
		n = 10
	}
	if len(b) < n+4 {
		return h, 0, nil
	}
	h.Mask = [4]byte(b[n:])
	return h, n + 4, nil
}

// AppendFrameHeader appends the header of a frame that a server sends: it is
// never masked (RFC 6455 section 5.1) and always a whole message.
func AppendFrameHeader(dst []byte, op Op, length int) []byte {
	first := 0x80 | byte(op)
	switch {
	case length <= 125:
		return append(dst, first, byte(length))
	case length <= 0xffff:
		return append(dst, first, 126, byte(length>>8), byte(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(length))
}

// FrameHeadroom is the space that a message needs in front of its payload for the
// frame header; see PutFrameHeader.
const FrameHeadroom = 10

// PutFrameHeader writes the header of an unfragmented, unmasked frame into the
// space before b[from:], which is the payload, and returns where it begins:
// b[start:] is the frame. from must be at least FrameHeadroom.
func PutFrameHeader(b []byte, from int, binary bool) (start int) {
	op := OpText
	if binary {
		op = OpBinary
	}
	var header [FrameHeadroom]byte
	h := AppendFrameHeader(header[:0], op, len(b)-from)
	return from - copy(b[from-len(h):], h)
}
