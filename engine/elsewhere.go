package engine

import (
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// A request whose sid is not known here may be another server's (Config.Elsewhere): it is
// passed on there as a whole, and what the session's server answers is the answer.
//
//	serveSession -> serveElsewhere -> netpoll's Conn.Forward -> the other server: serve
//	                                  it cannot be reached   -> HandleUnforwarded: 503

// serveElsewhere answers a request of a session that is not here.
func (e *Engine) serveElsewhere(c *netpoll.Conn, r *http1.Request, q query, whole bool) {
	var to Elsewhere
	if e.cfg.Elsewhere != nil && !c.Linked() { // never in a circle
		to = e.cfg.Elsewhere(q.sid)
	}
	switch {
	case to.Peer == nil && to.Hint == "":
		e.refuse(c, r, errSession)
	case to.Peer == nil:
		e.warnElsewhere(q, to.Hint)
		e.refuseHinted(c, r, errSession, to.Hint, to.Hint)
	case !whole: // its body is waited for
	case r.Oversize, len(r.Body) > e.cfg.MaxPayload:
		e.tellTooLarge("engine: a POST is larger than MaxPayload")
		e.respond(c, r, statusTooLarge, "", nil)
	default:
		c.Forward(r, to.Peer)
	}
}

// warnElsewhere tells the log, once, that requests come to the wrong server.
func (e *Engine) warnElsewhere(q query, hint string) {
	if !e.misdirected.Swap(true) {
		e.cfg.Logger.Warn("engine: a request has come to another server than its session's; further ones are told at Debug",
			"sid", string(q.sid), "why", hint)
	}
}

// HandleHurry is for netpoll: a poll is answered, and its peer polls again by another server.
func (m Mux) HandleHurry(c *netpoll.Conn) {
	if h, ok := c.Context.(*httpConn); ok && h.session != nil && h.session.conn == c {
		h.session.answerPollWithNoop()
	}
}

// unreachable is what peers are told of a server that does not answer.
const unreachable = "the server of this session cannot be reached"

// HandleUnforwarded is for netpoll.
func (m Mux) HandleUnforwarded(c *netpoll.Conn, r *http1.Request, err error) {
	if e := m.find(r.Path); e != nil {
		e.refuseHinted(c, r, errOwner, unreachable, unreachable+": "+err.Error())
	}
}
