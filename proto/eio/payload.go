package eio

import "bytes"

// Separator stands between the packets of a payload.
//
// Engine.IO v4, "Packet encoding", "HTTP long-polling": the record separator
// character. It is not escaped: text that has it cannot be sent by polling, and
// JSON has none.
const Separator = 0x1e

// ConsumePayload reads the first packet of a polling payload. n is what it took
// of b, the separator behind the packet included, and b[n:] the rest of the
// payload, which has been read when nothing is left. Data is a view into b, and
// base64 is decoded in place; see ConsumePacket. The error is a *SyntaxError;
// the reference server reads no further then.
//
// A separator that ends the payload is left in place, to be read as the empty
// packet behind it, which is an error.
func ConsumePayload(b []byte) (p Packet, n int, err error) {
	end := bytes.IndexByte(b, Separator)
	switch {
	case end < 0:
		end, n = len(b), len(b)
	case end+1 == len(b) && end > 0:
		n = end
	default:
		n = end + 1
	}
	p, err = ConsumePacket(b[:end])
	return p, n, err
}
