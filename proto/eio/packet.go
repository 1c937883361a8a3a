package eio

import (
	"bytes"
	"encoding/base64"
)

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
// binary, 'b' and base64. It allocates only if dst has no space.
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
// Base64 is taken as the reference server's runtime takes it: with or without its
// padding, in the standard or the URL's alphabet. Line breaks in it are passed over:
// engine.io-client-java 2.1.0 writes one after each 76 characters and one at the
// end. Other characters, which the reference passes over, too, are an error.
func ConsumePacket(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, &SyntaxError{0, ErrEmpty}
	}
	switch t := b[0]; {
	case t >= byte(Open) && t <= byte(Noop):
		return Packet{Type: PacketType(t), Data: b[1:len(b):len(b)]}, nil
	case t == binaryMark:
		return consumeBase64(b, 1)
	}
	return Packet{}, &SyntaxError{0, ErrPacketType}
}

// consumeBase64 decodes what follows the first from bytes of b, to the front of b.
func consumeBase64(b []byte, from int) (Packet, error) {
	src := bytes.TrimRight(b[from:], "=\r\n")
	replace(src, '-', '+')
	replace(src, '_', '/')
	// Decode writes eight bytes at a time, of which it keeps six, to where it
	// has read eight and more: it overwrites nothing that it has not read.
	n, err := base64.RawStdEncoding.Decode(b, src)
	if err != nil {
		return Packet{}, &SyntaxError{from, ErrBase64}
	}
	return Packet{Type: Message, Binary: true, Data: b[:n:n]}, nil
}

// replace replaces one character in place; nearly always there is none.
func replace(b []byte, from, to byte) {
	for {
		i := bytes.IndexByte(b, from)
		if i < 0 {
			return
		}
		b[i] = to
		b = b[i+1:]
	}
}
