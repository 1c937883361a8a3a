package engine

import (
	"sync/atomic"

	"github.com/sockeye-io/sockeye/netpoll"
)

// httpConn is the Context of a connection that speaks HTTP, from the first session
// that it opens or the first poll that waits on it. That of a WebSocket is its
// *Session.
type httpConn struct {
	// Loop-owned, by the connection's loop.
	session *Session // whose poll or unfinished POST is on the connection; nil for none

	// Any goroutine (atomic): sessions stay on their loops.
	pending atomic.Int32 // sessions opened here that are not established
}

// httpConnOf is what is known of a connection.
func httpConnOf(c *netpoll.Conn) *httpConn {
	h, ok := c.Context.(*httpConn)
	if !ok {
		h = new(httpConn)
		c.Context = h
	}
	return h
}

// occupy notes that a request of the session waits on c.
func (s *Session) occupy(c *netpoll.Conn) { httpConnOf(c).session = s }

// vacate notes that nothing of a session waits on c any more.
func vacate(c *netpoll.Conn) {
	switch h := c.Context.(type) {
	case *httpConn:
		h.session = nil
	case *Session:
		c.Context = nil
	}
}

// Establish tells that the layer above is satisfied with the peer: the session no
// longer counts for Config.MaxPendingSessions. Loop-owned; it may be called again.
func (s *Session) Establish() {
	s.loop.Check()
	s.endPending()
}

// endPending ends that the session counts for the connection that opened it.
func (s *Session) endPending() {
	if p := s.poll; p != nil && p.opener != nil {
		p.opener.pending.Add(-1)
		p.opener = nil
		s.dropPolling()
	}
}

// dropPolling forgets what a WebSocket does not need.
func (s *Session) dropPolling() {
	if p := s.poll; s.transport == transportWebSocket && p.post == nil && p.legacy == nil && p.opener == nil {
		s.poll = nil
	}
}
