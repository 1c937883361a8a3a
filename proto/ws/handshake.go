package ws

import (
	"crypto/sha1"
	"encoding/base64"
)

// The server's side of the opening handshake (RFC 6455 section 4.2). ws.Upgrader
// is not used: it reads a head of its own, line by line and without limits,
// where here the head is complete and checked already; it takes keys that are
// not base64 and requests with content; and it costs 1.1 us and an allocation
// where these few lines cost less than 0.3 us and none.

// websocketGUID is appended to the key before it is hashed (section 1.3).
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// What is refused in a WebSocket handshake.
var (
	errUpgradeMethod  = &Refusal{Status: 400, Reason: "a WebSocket handshake is a GET request"}
	errUpgradeHTTP    = &Refusal{Status: 400, Reason: "a WebSocket handshake needs HTTP/1.1"}
	errUpgradeTokens  = &Refusal{Status: 400, Reason: "Connection must name upgrade, and Upgrade websocket"}
	errUpgradeContent = &Refusal{Status: 400, Reason: "a WebSocket handshake has no content"}
	errUpgradeKeys    = &Refusal{Status: 400, Reason: "there must be one Sec-WebSocket-Key"}
	errUpgradeKey     = &Refusal{Status: 400, Reason: "Sec-WebSocket-Key must be 16 bytes in base64"}
	errUpgradeMany    = &Refusal{Status: 400, Reason: "there is more than one Sec-WebSocket-Version"}
	// Section 4.2.2 and, for the Upgrade field, RFC 9110 sections 15.5.22 and 7.8.
	errUpgradeVersion = &Refusal{
		Status: 426, Reason: "only version 13 of the WebSocket protocol is spoken here",
		Extra: "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
	}
)

// Fields are the header fields of a request.
type Fields interface {
	// Header is the value of the first field of that name, in any case; nil
	// without one.
	Header(name string) []byte
	// HeaderCount is how many there are.
	HeaderCount(name string) int
}

// Handshake is an opening handshake: what the head of a request says that is
// complete and well-formed HTTP. It is borrowed from the request.
type Handshake struct {
	Method  []byte
	Minor   int  // of HTTP/1
	Upgrade bool // Connection names upgrade, and Upgrade websocket
	Content bool // the request has content
	Fields  Fields
}

// Refusal is a handshake that is refused: the response to give.
type Refusal struct {
	Status int    // of HTTP
	Reason string // for the peer
	Extra  string // header lines that the response needs
}

// Error is the reason.
func (r *Refusal) Error() string { return "ws: " + r.Reason }

// Check tells what is wrong with a handshake, nil if nothing is (section 4.2.1).
// That HTTP/1.1 has a Host is not looked at; whether the Origin is welcome is not
// decided here.
func (h Handshake) Check() *Refusal {
	switch {
	case string(h.Method) != "GET":
		return errUpgradeMethod
	case h.Minor < 1:
		return errUpgradeHTTP
	case !h.Upgrade:
		return errUpgradeTokens
	case h.Content:
		return errUpgradeContent // its bytes would be read as frames
	case h.Fields.HeaderCount("Sec-WebSocket-Version") > 1:
		return errUpgradeMany // section 11.3.5
	case string(h.Fields.Header("Sec-WebSocket-Version")) != "13":
		return errUpgradeVersion
	case h.Fields.HeaderCount("Sec-WebSocket-Key") != 1:
		return errUpgradeKeys // section 11.3.1
	case !validKey(h.Fields.Header("Sec-WebSocket-Key")):
		return errUpgradeKey
	}
	return nil
}

// validKey tells whether key is the base64 form of 16 bytes.
func validKey(key []byte) bool {
	if len(key) != 24 {
		return false
	}
	var nonce [18]byte
	n, err := base64.StdEncoding.Strict().Decode(nonce[:], key)
	return err == nil && n == 16
}

// Response is the answer to a handshake that is accepted (section 4.2.2).
type Response struct {
	Key        []byte // Sec-WebSocket-Key
	Protocol   []byte // the subprotocol that Protocols has selected; none if empty
	Extensions string // complete lines "Name: value\r\n", as from Extensions
	Extra      []byte // further ones
}

// Append appends the complete response.
func (r Response) Append(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, r.Key)
	dst = append(dst, "\r\n"...)
	if len(r.Protocol) > 0 {
		dst = append(dst, "Sec-WebSocket-Protocol: "...)
		dst = append(dst, r.Protocol...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, r.Extensions...)
	dst = append(dst, r.Extra...)
	return append(dst, "\r\n"...)
}

// appendAccept appends the Sec-WebSocket-Accept for a key.
func appendAccept(dst, key []byte) []byte {
	var scratch [24 + len(websocketGUID)]byte
	sum := sha1.Sum(append(append(scratch[:0], key...), websocketGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
