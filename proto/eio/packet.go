package eio

import (
	"bytes"
	"encoding/base64"
)

// PacketType is a packet's type as the digit on the wire.
type PacketType byte

// The packet types. Engine.IO v4, "Packet types".
const (
	Open    PacketType = '0'
	Close   PacketType = '1'
	Ping    PacketType = '2'
	Pong    PacketType = '3'
	Message PacketType = '4'
	Upgrade PacketType = '5'
	Noop    PacketType = '6'
)

// Separator stands between the packets of a payload.
//
// Engine.IO v4, "HTTP long-polling": the record separator character.
const Separator = 0x1e

// binaryMark begins a binary message in a payload.
const binaryMark = 'b'

// Packet is one Engine.IO packet.
type Packet struct {
	Type   PacketType
	Binary bool // Data is binary; only a Message can be
	Data   []byte
}

// AppendPacket appends the text form of p: the type and the data, or, for
// binary, 'b' and base64.
func AppendPacket(dst []byte, p Packet) []byte {
	if p.Binary {
		return base64.StdEncoding.AppendEncode(append(dst, binaryMark), p.Data)
	}
	return append(append(dst, byte(p.Type)), p.Data...)
}

// ConsumePacket reads a packet in its text form: the whole of b. Data is a view
// into b; base64 is decoded in place, so that b is then no longer what it was.
// The error is a *SyntaxError.
func ConsumePacket(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, &SyntaxError{0, ErrEmpty}
	}
	switch t := b[0]; {
	case t >= byte(Open) && t <= byte(Noop):
		return Packet{Type: PacketType(t), Data: b[1:]}, nil
	case t == binaryMark:
		// Decoding writes behind where it reads: four characters become three.
		n, err := base64.StdEncoding.Decode(b, b[1:])
		if err != nil {
			return Packet{}, &SyntaxError{1, ErrBase64}
		}
		return Packet{Type: Message, Binary: true, Data: b[:n:n]}, nil
	}
	return Packet{}, &SyntaxError{0, ErrPacketType}
}

// ConsumePayload reads the first packet of a polling payload. n is what it took
// of b, the separator behind it included: b[n:] is the rest of the payload. It
// is also set with an error. Data is a view into b; see ConsumePacket.
//
// A separator at the end is followed by an empty packet, which is an error, but
// is only told when the caller asks for one more; callers stop at the end of b.
func ConsumePayload(b []byte) (p Packet, n int, err error) {
	record, n := b, len(b)
	if i := bytes.IndexByte(b, Separator); i >= 0 {
		record, n = b[:i], i+1
		if n == len(b) {
			return Packet{}, n, &SyntaxError{n, ErrEmpty}
		}
	}
	p, err = ConsumePacket(record)
	return p, n, err
}
