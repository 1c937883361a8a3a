package sio

import (
	"bytes"
	"strconv"
)

// PacketType is a packet's type.
type PacketType byte

// The packet types. Socket.IO v5, "Packet types".
const (
	Connect PacketType = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

// Packet is one Socket.IO packet, without its attachments.
type Packet struct {
	Type        PacketType
	Namespace   []byte // "/" if the packet names none
	ID          uint64 // of an acknowledgement, if HasID
	HasID       bool
	Attachments int    // binary messages that follow
	Data        []byte // JSON, not checked; nil if there is none
}

// Limits are what ConsumePacket accepts. In each field 0 means the default.
type Limits struct {
	MaxAttachments int // of one packet; default 10, as the reference server
	MaxNamespace   int // bytes of its name; default 256
}

// maxID is the largest id that JavaScript's numbers hold exactly.
const maxID = 1 << 53

var root = []byte("/")

// ConsumePacket reads a packet from a whole message. Namespace and Data are
// views into b. The error is a *SyntaxError.
//
// Socket.IO v5, "Packet encoding":
// <type>[<attachments>-][<namespace>,][<id>][JSON].
func (l Limits) ConsumePacket(b []byte) (p Packet, err error) {
	if len(b) == 0 || b[0] < '0' || b[0] > '0'+byte(BinaryAck) {
		return p, &SyntaxError{0, ErrPacketType}
	}
	p.Type, p.Namespace = PacketType(b[0]-'0'), root
	i := 1
	if p.Type == BinaryEvent || p.Type == BinaryAck {
		limit := uint64(l.MaxAttachments)
		if limit == 0 {
			limit = 10
		}
		n, end := consumeUint(b, i)
		if end == i || end == len(b) || b[end] != '-' || n == 0 || n > limit {
			return p, &SyntaxError{i, ErrAttachments}
		}
		p.Attachments, i = int(n), end+1
	}
	if i < len(b) && b[i] == '/' {
		end := bytes.IndexByte(b[i:], ',') // a namespace may end with the packet
		next := i + end + 1
		if end < 0 {
			end, next = len(b)-i, len(b)
		}
		limit := l.MaxNamespace
		if limit == 0 {
			limit = 256
		}
		if end > limit {
			return p, &SyntaxError{i, ErrNamespace}
		}
		p.Namespace, i = b[i:i+end:i+end], next
	}
	id, end := consumeUint(b, i)
	if end > i {
		if id > maxID {
			return p, &SyntaxError{i, ErrID}
		}
		p.ID, p.HasID, i = id, true, end
	}
	if i < len(b) {
		p.Data = b[i:]
	}
	return p, nil
}

// consumeUint reads digits from b[i:]; a number that is too large becomes one
// that is over every limit.
func consumeUint(b []byte, i int) (n uint64, end int) {
	for end = i; end < len(b) && b[end]-'0' <= 9; end++ {
		if n <= maxID {
			n = n*10 + uint64(b[end]-'0')
		}
	}
	return n, end
}

// AppendHeader appends what stands in front of p's JSON. Attachments are only
// written for the binary types, the namespace only if it is not "/".
func AppendHeader(dst []byte, p Packet) []byte {
	dst = append(dst, '0'+byte(p.Type))
	if p.Type == BinaryEvent || p.Type == BinaryAck {
		dst = append(strconv.AppendInt(dst, int64(p.Attachments), 10), '-')
	}
	if len(p.Namespace) > 0 && !bytes.Equal(p.Namespace, root) {
		dst = append(append(dst, p.Namespace...), ',')
	}
	if p.HasID {
		dst = strconv.AppendUint(dst, p.ID, 10)
	}
	return dst
}

// IsReserved tells whether name is the protocol's own and no event may have it.
func IsReserved(name []byte) bool {
	switch string(name) {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}
