package engine

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
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
	errOwner     = &protocolError{1, http.StatusServiceUnavailable, "Session ID unknown", "UNREACHABLE_SERVER"}
	errMethod    = &protocolError{2, http.StatusBadRequest, "Bad handshake method", "BAD_HANDSHAKE_METHOD"}
	errOrigin    = badRequest("INVALID_ORIGIN")
	errMismatch  = badRequest("TRANSPORT_MISMATCH")
	errHandshake = badRequest("TRANSPORT_HANDSHAKE_ERROR")
	errID        = badRequest("ID_GENERATION_ERROR")
	errForbidden = &protocolError{4, http.StatusForbidden, "Forbidden", "FORBIDDEN"}
	errForeign   = &protocolError{4, http.StatusForbidden, "Origin not allowed", "FORBIDDEN_ORIGIN"}
	errVersion   = &protocolError{5, http.StatusBadRequest, "Unsupported protocol version", "UNSUPPORTED_PROTOCOL_VERSION"}
)

// noPlace is a row of the table of handshakes for which there is no place.
type noPlace struct {
	status int
	name   string // in Stats.RefusedBy
	why    string
	stays  bool // the connection: it may have sessions that go on
}

var (
	noPlaceClosing  = &noPlace{status: http.StatusServiceUnavailable, why: "shutting down", name: "SHUTTING_DOWN"}
	noPlaceAddress  = &noPlace{status: http.StatusTooManyRequests, why: "too many handshakes of this address", name: "PER_ADDRESS"}
	noPlaceSessions = &noPlace{status: http.StatusServiceUnavailable, why: "too many sessions", name: "MAX_SESSIONS"}
	noPlaceMemory   = &noPlace{status: http.StatusServiceUnavailable, why: "no memory for a session", name: "MAX_MEMORY"}
	noPlaceDeciding = &noPlace{status: http.StatusServiceUnavailable, why: "too many handshakes are under way", name: "MAX_DECIDING"}
	noPlacePending  = &noPlace{status: http.StatusServiceUnavailable, why: "too many sessions of this connection are not established", stays: true, name: "MAX_PENDING_SESSIONS"}
)

// refusedByMiddleware is the name of handshakes that Config.Middleware has answered.
const refusedByMiddleware = "MIDDLEWARE"

// refusals are the names in Stats.RefusedBy.
var refusals = []string{
	errTransport.check, errSession.check, errMethod.check, errOrigin.check, errMismatch.check, errHandshake.check,
	errID.check, errForbidden.check, errOwner.check, errForeign.check, errVersion.check, refusedByMiddleware,
	noPlaceClosing.name, noPlaceAddress.name, noPlaceSessions.name, noPlaceMemory.name, noPlaceDeciding.name, noPlacePending.name,
}

// Requests of a session that are answered with a status alone, as the reference
// server does.
const (
	statusTwoAtOnce   = http.StatusBadRequest            // a second poll, or a second POST
	statusBinaryPost  = http.StatusBadRequest            // in version 4
	statusTooLarge    = http.StatusRequestEntityTooLarge // a POST above MaxPayload
	statusOtherMethod = http.StatusInternalServerError   // neither GET nor POST
)

// The types of what is answered.
const (
	typePayload = "text/plain; charset=UTF-8"
	typeBinary  = "application/octet-stream" // a payload of version 3
	typeScript  = "text/javascript; charset=UTF-8"
	typeError   = "application/json"
	typeOK      = "text/html" // as the reference server's
	typePlain   = "text/plain"
)

func badRequest(check string) *protocolError {
	return &protocolError{3, http.StatusBadRequest, "Bad request", check}
}

// Refusal is a request that was answered with an error of the protocol.
type Refusal struct {
	Code    int    // of the protocol, as the peer is told
	Message string // as the peer is told
	Check   string // that failed, by the reference server's name: "UNKNOWN_SID", "INVALID_ORIGIN", ...; "FORBIDDEN_ORIGIN" and "UNREACHABLE_SERVER" are not the reference's
	Reason  string // why, in words for this side: with what the peer has sent that was not right

	Transport, SID string // of the request's query
}

// why tells this side what was not right with a request.
func (e *protocolError) why(r *http1.Request, q query) string {
	if (e == errMismatch || e == errHandshake) && string(q.transport) == "websocket" && !r.UpgradeWebSocket {
		return "a WebSocket request without its Upgrade and Connection fields: a proxy in front has dropped them"
	}
	switch e {
	case errTransport:
		return fmt.Sprintf("transport %q is unknown, or not in Config.Transports", q.transport)
	case errSession:
		return fmt.Sprintf("sid %q is unknown, or its session is over", q.sid)
	case errMethod:
		return fmt.Sprintf("a handshake is a GET, not %q", r.Method)
	case errOrigin:
		return fmt.Sprintf("Origin %q has characters that no header has", r.Header("Origin"))
	case errMismatch:
		return fmt.Sprintf("the session of sid %q has another transport, or version, than %q and EIO %q", q.sid, q.transport, q.eio)
	case errHandshake:
		return fmt.Sprintf("transport is %q, and the request is a WebSocket's: %v", q.transport, r.UpgradeWebSocket)
	case errVersion:
		return fmt.Sprintf("EIO is %q: Config.AllowEIO3 allows clients of Socket.IO 1 and 2", q.eio)
	}
	return e.message
}

func (e *protocolError) Error() string { return e.message }
