package engine

import (
	"errors"
	"io"
	"net/http"

	"github.com/sockeye-io/sockeye/netpoll"
)

// CloseReason is why a session ended, in the protocol's own words.
type CloseReason string

// The reasons of the reference server.
const (
	TransportClose     CloseReason = "transport close"      // the peer closed the connection
	TransportError     CloseReason = "transport error"      // the connection failed, or the peer broke the transport's rules
	PingTimeout        CloseReason = "ping timeout"         // the peer did not answer a ping in time
	ParseError         CloseReason = "parse error"          // the peer sent what is no packet
	ForcedClose        CloseReason = "forced close"         // Session.Close
	ServerShuttingDown CloseReason = "server shutting down" // Engine.Close
)

// byPeer tells whether the peer, or the way to it, ended the session, so that
// nothing more can be told to it.
func (r CloseReason) byPeer() bool {
	return r == TransportClose || r == TransportError || r == PingTimeout || r == ParseError
}

// reasonFor is the close reason for the way in which a connection ended.
func reasonFor(err error) CloseReason {
	var closed *netpoll.CloseError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, netpoll.ErrClosed):
		return TransportClose
	case errors.As(err, &closed) && closed.Remote:
		return TransportClose
	}
	return TransportError
}

// protocolError is a row of the table of Engine.IO errors.
type protocolError struct {
	code    int
	status  int
	message string
	check   string // Refusal.Check
}

var (
	errTransport = &protocolError{0, http.StatusBadRequest, "Transport unknown", "UNKNOWN_TRANSPORT"}
	errSession   = &protocolError{1, http.StatusBadRequest, "Session ID unknown", "UNKNOWN_SID"}
	errMethod    = &protocolError{2, http.StatusBadRequest, "Bad handshake method", "BAD_HANDSHAKE_METHOD"}
	errOrigin    = badRequest("INVALID_ORIGIN")
	errMismatch  = badRequest("TRANSPORT_MISMATCH")
	errHandshake = badRequest("TRANSPORT_HANDSHAKE_ERROR")
	errID        = badRequest("ID_GENERATION_ERROR")
	errForbidden = &protocolError{4, http.StatusForbidden, "Forbidden", "FORBIDDEN"}
	errVersion   = &protocolError{5, http.StatusBadRequest, "Unsupported protocol version", "UNSUPPORTED_PROTOCOL_VERSION"}
)

func badRequest(check string) *protocolError {
	return &protocolError{3, http.StatusBadRequest, "Bad request", check}
}

// Refusal is a request that was answered with an error of the protocol.
type Refusal struct {
	Code    int    // of the protocol, as the peer is told
	Message string // as the peer is told
	Check   string // that failed, by the reference server's name: "UNKNOWN_SID", "INVALID_ORIGIN", ...

	Transport, SID string // of the request's query
}

func (e *protocolError) Error() string { return e.message }
