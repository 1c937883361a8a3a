package eio

import (
	"encoding/json"
	"strconv"
	"time"
)

// Handshake is the content of the open packet. Engine.IO v4, "Handshake".
type Handshake struct {
	SID          string        // the session's id
	Upgrades     []string      // names of the transports that may be upgraded to; not escaped
	PingInterval time.Duration // rounded down to milliseconds, as PingTimeout
	PingTimeout  time.Duration
	MaxPayload   int64 // bytes
}

// appendStringContent appends what stands between the quotation marks of a JSON
// string.
func appendStringContent(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			literal, _ := json.Marshal(s) // a string cannot fail
			return append(dst, literal[1:len(literal)-1]...)
		}
	}
	return append(dst, s...)
}

// AppendHandshake appends the open packet in its text form. Its JSON has the
// five keys of the document and no others, and times in milliseconds.
func AppendHandshake(dst []byte, h Handshake) []byte {
	dst = append(append(dst, byte(Open)), `{"sid":"`...)
	dst = appendStringContent(dst, h.SID)
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
