package engine

import (
	"net/http"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/netpoll"
)

// Session is one Engine.IO session: what a peer and this server share over one
// or several connections, known by its sid.
//
// A session lives on one loop, from its handshake to its end; connections that
// name it are moved there. So what it is made of needs no lock.
type Session struct {
	// Immutable after the handshake.
	engine  *Engine
	loop    *netpoll.Loop
	sid     string
	request *Request
	legacy  *legacy // of an old client, or nil; what it points to is loop-owned

	// Loop-owned.

	// Context is for the layer above.
	Context any

	state      sessionState
	transport  transportKind
	paused     bool     // messages are not delivered
	awaiting   bool     // a ping has not been answered yet
	refreshed  bool     // ... and its deadline has been put off once
	flushing   bool     // Flush is due
	initial    bool     // the next answer is the handshake's
	encoding   encoding // that the waiting poll accepts
	answerLate bool     // closed by the peer: a poll may still be on its way

	conn           *netpoll.Conn // the WebSocket, or the poll that waits; nil for none
	post           *post         // the POST that is being worked through
	upgrade        *upgrade      // the WebSocket that probes
	initialHeaders http.Header   // the middleware's, for the handshake's answer

	queue  []*Message    // polling: what waits for a poll
	queued int           // bytes in queue
	timer  netpoll.Timer // heartbeat, or the end of closing

	// Any goroutine (atomic).
	kind atomic.Uint32 // transport, for Transport
}

type sessionState uint8

const (
	sessionOpening sessionState = iota
	sessionOpen
	sessionClosing // over for the layer above; a poll may still carry the close packet
	sessionClosed
)

type transportKind uint8

const (
	transportPolling transportKind = iota
	transportWebSocket
)

func newSession(e *Engine, l *netpoll.Loop, sid string, req *Request) *Session {
	return &Session{engine: e, loop: l, sid: sid, request: req}
}

// ID is the sid. It is a secret between the peer and this server: who knows it
// can speak in the session's name. Any goroutine.
func (s *Session) ID() string { return s.sid }

// Loop is the session's loop; it never changes. Any goroutine.
func (s *Session) Loop() *netpoll.Loop { return s.loop }

// Request is the request that opened the session. Any goroutine.
func (s *Session) Request() *Request { return s.request }

// Transport is "polling" or "websocket". Any goroutine.
func (s *Session) Transport() string {
	if s.kind.Load() == uint32(transportWebSocket) {
		return "websocket"
	}
	return "polling"
}

// Open tells whether what is sent can still arrive. Loop-owned.
func (s *Session) Open() bool { return s.state == sessionOpen }

func (s *Session) setTransport(k transportKind) {
	s.transport = k
	s.kind.Store(uint32(k))
}

// Pause stops the delivery of messages after the one being handled; the peer's
// bytes stay in the kernel, so it feels the pressure. Loop-owned.
func (s *Session) Pause() {
	s.loop.Check()
	s.paused = true
	if s.transport == transportWebSocket && s.conn != nil {
		s.conn.Pause()
	}
	if s.upgrade != nil {
		s.upgrade.conn.Pause()
	}
}

// Resume ends Pause. Loop-owned.
func (s *Session) Resume() {
	s.loop.Check()
	if !s.paused {
		return
	}
	s.paused = false
	if s.post != nil {
		s.workPost()
	}
	if s.paused {
		return
	}
	if s.upgrade != nil {
		s.upgrade.conn.Resume()
	}
	if s.transport == transportWebSocket && s.conn != nil {
		s.conn.Resume()
	}
}
