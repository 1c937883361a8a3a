package eio

import "encoding/base64"

// PacketType is a packet's type as the digit on the wire.
type PacketType byte

// The packet types. Engine.IO v4, "Protocol".
const (
	Open    PacketType = '0'
	Close   PacketType = '1'
	Ping    PacketType = '2'
	Pong    PacketType = '3'
	Message PacketType = '4'
	Upgrade PacketType = '5'
	Noop    PacketType = '6'
)

// binaryMark begins a binary message in its text form.
const binaryMark = 'b'

// Packet is one Engine.IO packet.
type Packet struct {
	Type   PacketType
	Binary bool // Data is binary; only a Message can be
	Data   []byte
}

// AppendPacket appends the text form of p: the type and the data, or, for
// binary, 'b' and base64. It allocates only if dst has no room.
//
// Engine.IO v4, "Packet encoding", "HTTP long-polling". A WebSocket carries
// binary data as it is, without this form.
func AppendPacket(dst []byte, p Packet) []byte {
	if p.Binary {
		return base64.StdEncoding.AppendEncode(append(dst, binaryMark), p.Data)
	}
	return append(append(dst, byte(p.Type)), p.Data...)
}

// ConsumePacket reads a packet in its text form: the whole of b. Data is a view
// into b; base64 is decoded in place, so that b is then no longer what it was.
// It does not allocate, other than for an error, which is a *SyntaxError.
//
// Base64 must have its padding. Line breaks in it are passed over:
// engine.io-client-java 2.1.0 writes one after each 76 characters and one at the
// end.
func ConsumePacket(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, &SyntaxError{0, ErrEmpty}
	}
	switch t := b[0]; {
	case t >= byte(Open) && t <= byte(Noop):
		return Packet{Type: PacketType(t), Data: b[1:len(b):len(b)]}, nil
	case t == binaryMark:
		// Decode writes eight bytes at a time, of which it keeps six, to where it
		// has read eight and more: it overwrites nothing that it has not read.
		n, err := base64.StdEncoding.Decode(b, b[1:])
		if err != nil {
			return Packet{}, &SyntaxError{1, ErrBase64}
		}
		return Packet{Type: Message, Binary: true, Data: b[:n:n]}, nil
	}
	return Packet{}, &SyntaxError{0, ErrPacketType}
}
