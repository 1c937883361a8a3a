package eio

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// This file is version 3 of the protocol, which clients of Socket.IO 1 and 2
// speak. Packets have the same types. What differs is the form of binary data,
// which has a type of its own in front, and the polling payload, in which
// lengths stand between packets instead of separators.

// ConsumePacketV3 is ConsumePacket for version 3, where the text form of binary
// data is 'b', the type and base64.
func ConsumePacketV3(b []byte) (Packet, error) {
	if len(b) == 0 || b[0] != binaryMark {
		return ConsumePacket(b)
	}
	if len(b) < 2 || b[1] != byte(Message) {
		return Packet{}, &SyntaxError{min(1, len(b)-1), ErrPacketType}
	}
	return consumeBase64(b, 2)
}

// ConsumeBinaryPacketV3 reads a packet from a binary WebSocket frame, or from a
// binary part of a payload: the type as a number, then the data.
func ConsumeBinaryPacketV3(b []byte) (Packet, error) {
	switch {
	case len(b) == 0:
		return Packet{}, &SyntaxError{0, ErrEmpty}
	case b[0] != byte(Message)-'0':
		return Packet{}, &SyntaxError{0, ErrPacketType}
	}
	return Packet{Type: Message, Binary: true, Data: b[1:]}, nil
}

// AppendPacketV3 is AppendPacket for version 3.
func AppendPacketV3(dst []byte, p Packet) []byte {
	if p.Binary {
		return base64.StdEncoding.AppendEncode(append(dst, binaryMark, byte(p.Type)), p.Data)
	}
	return AppendPacket(dst, p)
}

// AppendBinaryPacketV3 appends the form that a binary WebSocket frame has.
func AppendBinaryPacketV3(dst []byte, p Packet) []byte {
	return append(append(dst, byte(p.Type)-'0'), p.Data...)
}

// ConsumePayloadV3 reads the first packet of a polling payload in its text form:
// <length>:<packet>, where the length counts UTF-16 code units, as the length
// of a string does in JavaScript. Else it is ConsumePayload.
func ConsumePayloadV3(b []byte) (p Packet, n int, err error) {
	units, start, ok := consumeLength(b, ':')
	if !ok {
		return Packet{}, len(b), &SyntaxError{start, ErrLength}
	}
	end := start
	for units > 0 {
		r, size := utf8.DecodeRune(b[end:])
		if size == 0 || r >= 0x10000 && units < 2 {
			return Packet{}, len(b), &SyntaxError{end, ErrLength}
		}
		if units--; r >= 0x10000 {
			units--
		}
		end += size
	}
	p, err = ConsumePacketV3(b[start:end])
	return p, end, err
}

// AppendPayloadV3 appends a packet with its length to a payload in text form.
func AppendPayloadV3(dst []byte, p Packet) []byte {
	units := 1 + utf16Len(p.Data)
	if p.Binary {
		units = 2 + base64.StdEncoding.EncodedLen(len(p.Data))
	}
	return AppendPacketV3(append(strconv.AppendInt(dst, int64(units), 10), ':'), p)
}

// utf16Len is the length of text in UTF-16 code units.
func utf16Len(text []byte) (n int) {
	for _, c := range text {
		switch {
		case c >= 0xf0: // begins a character beyond U+FFFF
			n += 2
		case c < 0x80 || c >= 0xc0:
			n++
		}
	}
	return n
}

// The parts of a payload in binary form.
const (
	textPart   = 0
	binaryPart = 1
	lengthEnd  = 0xff
)

// ConsumeBinaryPayloadV3 reads the first packet of a polling payload in its
// binary form (application/octet-stream): 0 for text or 1 for binary, the
// digits of the length in bytes as bytes 0 to 9, 255, and the packet.
func ConsumeBinaryPayloadV3(b []byte) (p Packet, n int, err error) {
	if len(b) == 0 || b[0] > binaryPart {
		return Packet{}, len(b), &SyntaxError{0, ErrLength}
	}
	size, i := 0, 1
	for i < len(b) && b[i] <= 9 && size <= len(b) {
		size = size*10 + int(b[i])
		i++
	}
	if i == 1 || i == len(b) || b[i] != lengthEnd || size > len(b)-i-1 {
		return Packet{}, len(b), &SyntaxError{i, ErrLength}
	}
	n = i + 1 + size
	if b[0] == binaryPart {
		p, err = ConsumeBinaryPacketV3(b[i+1 : n : n])
	} else {
		p, err = ConsumePacketV3(b[i+1 : n : n])
	}
	return p, n, err
}

// AppendBinaryPayloadV3 appends a packet with its length to a payload in binary
// form.
func AppendBinaryPayloadV3(dst []byte, p Packet) []byte {
	kind := byte(textPart)
	if p.Binary {
		kind = binaryPart
	}
	dst = append(dst, kind)
	from := len(dst)
	dst = strconv.AppendInt(dst, int64(1+len(p.Data)), 10)
	for i := from; i < len(dst); i++ {
		dst[i] -= '0'
	}
	dst = append(dst, lengthEnd)
	if p.Binary {
		return AppendBinaryPacketV3(dst, p)
	}
	return AppendPacket(dst, p)
}

// consumeLength reads digits up to end; the number is no larger than b is long.
func consumeLength(b []byte, end byte) (n, i int, ok bool) {
	for i < len(b) && b[i]-'0' <= 9 && n <= len(b) {
		n = n*10 + int(b[i]-'0')
		i++
	}
	if i == 0 || i == len(b) || b[i] != end {
		return 0, i, false
	}
	return n, i + 1, true
}
