package sio

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// PacketType is a packet's type.
type PacketType byte

// The packet types. Socket.IO v5, "Exchange protocol".
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
	Namespace   []byte // "/" if the packet names none; must not be written to
	ID          uint64 // of an acknowledgement, if HasID
	HasID       bool
	Attachments int    // binary messages that follow
	Data        []byte // JSON, not checked; nil if there is none
}

// Limits are what ConsumePacket accepts. In each field 0 means the default, and
// less than 0 that none is accepted.
type Limits struct {
	MaxAttachments int // of one packet; default 10, as the reference server
	MaxNamespace   int // bytes of a name other than "/", not counting a query; default 256
}

const (
	defaultMaxAttachments = 10
	defaultMaxNamespace   = 256

	// maxID is the largest integer up to which JavaScript's numbers have all.
	maxID = 1 << 53
)

var root = []byte("/")

// ConsumePacket reads a packet from a whole text message. Namespace and Data are
// views into b. It does not allocate, other than for an error, which is a
// *SyntaxError. The JSON is left to SplitArray and ScanObject, and what a packet
// of some type must have to the caller.
//
// Socket.IO v5, "Packet encoding", "Format":
// <type>[<attachments>-][<namespace>,][<id>][JSON]. A namespace may also end
// with the message, as for the reference server. Stricter than that: the number
// of attachments is digits, and not 0; ids above 2^53 are refused, which would
// come back as others; so are namespaces with control characters.
func (l Limits) ConsumePacket(b []byte) (Packet, error) {
	if len(b) == 0 || b[0] < '0' || b[0] > '0'+byte(BinaryAck) {
		return Packet{}, &SyntaxError{0, ErrPacketType}
	}
	p := Packet{Type: PacketType(b[0] - '0'), Namespace: root}
	i := 1
	if p.Type.hasAttachments() {
		n, end := consumeUint(b, i)
		if end == i || end == len(b) || b[end] != '-' || n == 0 || n > limit(l.MaxAttachments, defaultMaxAttachments) {
			return Packet{}, &SyntaxError{i, ErrAttachments}
		}
		p.Attachments, i = int(n), end+1
	}
	if i < len(b) && b[i] == '/' {
		end, next := len(b), len(b)
		if comma := bytes.IndexByte(b[i:], ','); comma >= 0 {
			end, next = i+comma, i+comma+1
		}
		p.Namespace = b[i:end:end]
		if err := checkNamespace(p.Namespace, limit(l.MaxNamespace, defaultMaxNamespace)); err != nil {
			return Packet{}, &SyntaxError{i, err}
		}
		i = next
	}
	if id, end := consumeUint(b, i); end > i {
		if id > maxID {
			return Packet{}, &SyntaxError{i, ErrID}
		}
		p.ID, p.HasID, i = id, true, end
	}
	if i < len(b) {
		p.Data = b[i:len(b):len(b)]
	}
	return p, nil
}

func (t PacketType) hasAttachments() bool { return t == BinaryEvent || t == BinaryAck }

func limit(n, defaultN int) uint64 {
	if n == 0 {
		n = defaultN
	}
	return uint64(max(n, 0))
}

// checkNamespace keeps out of names what must not come back in other packets,
// or in logs.
func checkNamespace(nsp []byte, maxBytes uint64) error {
	name, _, _ := bytes.Cut(nsp, []byte{'?'})
	if uint64(len(name)) > maxBytes && len(name) > 1 {
		return ErrNamespace
	}
	for _, c := range nsp {
		if c < 0x20 || c == 0x7f {
			return ErrNamespace
		}
	}
	if !utf8.Valid(nsp) {
		return ErrUTF8
	}
	return nil
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

// AppendHeader appends what stands in front of p's JSON; p.Data is not appended.
// Attachments are only written for the binary types, the namespace only if it
// is neither "/" nor empty. It allocates only if dst has no space.
func AppendHeader(dst []byte, p Packet) []byte {
	dst = append(dst, '0'+byte(p.Type))
	if p.Type.hasAttachments() {
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
