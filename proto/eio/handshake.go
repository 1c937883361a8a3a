package eio

import (
	"strconv"
	"time"
)

// Handshake is the content of the open packet. Engine.IO v4, "Handshake".
type Handshake struct {
	SID          string        // the session's id; not escaped: URL-safe characters only
	Upgrades     []string      // names of the transports that may be upgraded to; not escaped
	PingInterval time.Duration // rounded down to milliseconds, as PingTimeout
	PingTimeout  time.Duration
	MaxPayload   int64 // bytes
}

// AppendHandshake appends the open packet in its text form. Its JSON has the
// five keys of the document and no others, and times in milliseconds.
func AppendHandshake(dst []byte, h Handshake) []byte {
	dst = append(append(dst, byte(Open)), `{"sid":"`...)
	dst = append(dst, h.SID...)
	dst = append(dst, `","upgrades":[`...)
	for i, u := range h.Upgrades {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), u...), '"')
	}
	dst = strconv.AppendInt(append(dst, `],"pingInterval":`...), h.PingInterval.Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"pingTimeout":`...), h.PingTimeout.Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"maxPayload":`...), h.MaxPayload, 10)
	return append(dst, '}')
}
