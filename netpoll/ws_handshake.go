package netpoll

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
	errUpgradeMethod  = &HTTPError{400, "a WebSocket handshake is a GET request"}
	errUpgradeHTTP    = &HTTPError{400, "a WebSocket handshake needs HTTP/1.1"}
	errUpgradeTokens  = &HTTPError{400, "Connection must name upgrade, and Upgrade websocket"}
	errUpgradeContent = &HTTPError{400, "a WebSocket handshake has no content"}
	errUpgradeKeys    = &HTTPError{400, "there must be one Sec-WebSocket-Key"}
	errUpgradeKey     = &HTTPError{400, "Sec-WebSocket-Key must be 16 bytes in base64"}
	errUpgradeMany    = &HTTPError{400, "there is more than one Sec-WebSocket-Version"}
	errUpgradeVersion = &HTTPError{426, "only version 13 of the WebSocket protocol is spoken here"}
)

// checkUpgrade tells what is wrong with a WebSocket handshake, nil if nothing
// is (section 4.2.1). That HTTP/1.1 has a Host, parseHead has seen to; whether
// the Origin is welcome is not decided here.
func checkUpgrade(r *Request) *HTTPError {
	switch {
	case string(r.Method) != "GET":
		return errUpgradeMethod
	case r.Minor < 1:
		return errUpgradeHTTP
	case !r.UpgradeWebSocket:
		return errUpgradeTokens
	case r.ContentLength != 0:
		return errUpgradeContent // its bytes would be read as frames
	case r.HeaderCount("Sec-WebSocket-Version") > 1:
		return errUpgradeMany // section 11.3.5
	case string(r.Header("Sec-WebSocket-Version")) != "13":
		return errUpgradeVersion
	case r.HeaderCount("Sec-WebSocket-Key") != 1:
		return errUpgradeKeys // section 11.3.1
	case !validKey(r.Header("Sec-WebSocket-Key")):
		return errUpgradeKey
	}
	return nil
}

// refusedUpgradeFields are the fields that the response to err needs besides
// those of any error: section 4.2.2 and RFC 9110 section 15.5.22 for 426, and
// for its Upgrade field section 7.8.
func refusedUpgradeFields(err *HTTPError) []byte {
	if err != errUpgradeVersion {
		return nil
	}
	return []byte("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
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

// appendUpgradeResponse appends the complete response to a handshake with that
// key (section 4.2.2): no subprotocol. extensions and extra are any number of
// complete and already valid lines "Name: value\r\n".
func appendUpgradeResponse(dst, key []byte, extensions string, extra []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, key)
	dst = append(dst, "\r\n"...)
	dst = append(dst, extensions...)
	dst = append(dst, extra...)
	return append(dst, "\r\n"...)
}

// appendAccept appends the Sec-WebSocket-Accept for a key.
func appendAccept(dst, key []byte) []byte {
	var room [24 + len(websocketGUID)]byte
	sum := sha1.Sum(append(append(room[:0], key...), websocketGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
