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
	request Request // and the sid

	// Loop-owned.

	// Context is for the layer above.
	Context any

	conn  *netpoll.Conn // the WebSocket, or the poll that waits; nil for none
	poll  *polling      // what a WebSocket does not need; nil when there is only one
	timer netpoll.Timer // heartbeat, or the end of closing

	version   uint8 // of the protocol. Immutable after the handshake.
	state     sessionState
	transport transportKind
	paused    bool   // messages are not delivered
	awaiting  bool   // a ping has not been answered yet
	refreshed bool   // its deadline has been put off once
	pings     uint16 // whose pongs may still come

	lastIn, lastOut uint16 // stamps, for Closing

	// Any goroutine (atomic).
	queued atomic.Uint32 // for Full, QueuedBytes and Transport
}

// polling is what a session keeps until it is a WebSocket and nothing else.
// Loop-owned.
type polling struct {
	queue   pollQueue     // what waits for a poll
	post    *post         // the POST that is being worked through
	posting *netpoll.Conn // on which a POST is arriving
	upgrade *upgrade      // the WebSocket that probes
	headers http.Header   // the middleware's, for the handshake's answer
	legacy  *legacy       // of an old client, or nil
	opener  *httpConn     // that opened the session, until it is established
	slow    *slowPoll     // while the queue is full

	flushing   bool     // Flush is due
	initial    bool     // the next answer is the handshake's
	answerLate bool     // closed by the peer: a poll may still be on its way
	encoding   encoding // that the waiting poll accepts

	stripped     bool   // a WebSocket request has come without its Upgrade field
	failedProbes uint8  // at most 255
	polled       uint16 // when the poll that waits has come, a stamp
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

func newSession(e *Engine, l *netpoll.Loop, req Request) *Session {
	return &Session{engine: e, loop: l, request: req, version: 4}
}

// ID is the sid. It is a secret between the peer and this server: who knows it
// can speak in the session's name. Any goroutine.
func (s *Session) ID() string { return s.request.sid() }

// Loop is the session's loop; it never changes. Any goroutine.
func (s *Session) Loop() *netpoll.Loop { return s.loop }

// Request is the request that opened the session. Any goroutine.
func (s *Session) Request() *Request { return &s.request }

// Transport is "polling" or "websocket". Any goroutine.
func (s *Session) Transport() string {
	if s.queued.Load()&queuedWebSocket != 0 {
		return "websocket"
	}
	return "polling"
}

// Open tells whether what is sent can still arrive. Loop-owned.
func (s *Session) Open() bool { return s.state == sessionOpen }

func (s *Session) setTransport(k transportKind) {
	if s.state == sessionOpen {
		s.count(s.transport.column(), -1)
		s.count(k.column(), 1)
	}
	s.transport = k
	to := s.queued.Load() &^ queuedWebSocket
	if k == transportWebSocket {
		to |= queuedWebSocket
	}
	s.queued.Store(to)
}

// Pause stops the delivery of messages after the one being handled; the peer's
// bytes stay in the kernel, so it feels the pressure. Its pongs do, too: until Resume
// it is not looked for them. Loop-owned.
func (s *Session) Pause() {
	s.loop.Check()
	if !s.paused {
		s.paused = true
		s.pauseHeartbeat()
	}
	if s.transport == transportWebSocket && s.conn != nil {
		s.conn.Pause()
	}
	if u := s.probing(); u != nil {
		u.conn.Pause()
	}
}

// Paused tells whether messages are not delivered. Loop-owned.
func (s *Session) Paused() bool { return s.paused }

// Resume ends Pause. Loop-owned.
func (s *Session) Resume() {
	s.loop.Check()
	if !s.paused {
		return
	}
	s.paused = false
	s.resumeHeartbeat()
	if s.poll != nil && s.poll.post != nil {
		s.workPost()
	}
	if s.paused {
		return
	}
	if u := s.probing(); u != nil {
		u.anew()
		u.conn.Resume()
	}
	if s.transport == transportWebSocket && s.conn != nil {
		s.conn.Resume()
	}
}

// Version is the version of the protocol that the peer speaks: 4, or 3. Any
// goroutine.
func (s *Session) Version() int { return int(s.version) }

// speaks tells whether a request's EIO parameter fits the session.
func (s *Session) speaks(version []byte) bool {
	if s.Version() == 3 {
		return string(version) != "4"
	}
	return len(version) == 0 || string(version) == "4"
}
