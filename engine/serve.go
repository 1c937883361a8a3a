package engine

import (
	"bytes"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// serve answers a request for the engine's path, in the order of checks of the
// reference server. Unless it is whole its body is still to come.
func (e *Engine) serve(c *netpoll.Conn, r *http1.Request, whole bool) {
	q := parseQuery(r.RawQuery)
	if e.checkOrigin(c, r, q) {
		return
	}
	method := string(r.Method)
	if method == "OPTIONS" && e.allowsOrigins() {
		e.respondPreflight(c, r)
		return
	}
	if c.Linked() && len(q.sid) == 0 {
		e.refuse(c, r, errSession) // nobody passes handshakes on
		return
	}
	if r.UpgradeWebSocket && !c.CountFor(e.forwarded(c, r).client) {
		e.refuseSession(c, r, noPlaceAddress)
		return
	}
	websocket := string(q.transport) == "websocket"
	switch {
	case !(websocket && e.ws) && !(string(q.transport) == "polling" && e.polling):
		e.refuse(c, r, errTransport)
	case !validHeaderValue(r.Header("Origin")):
		e.refuse(c, r, errOrigin)
	case len(q.sid) > 0:
		e.serveSession(c, r, q, websocket, whole)
	case method != "GET":
		e.refuse(c, r, errMethod)
	case websocket != r.UpgradeWebSocket:
		e.refuse(c, r, errHandshake)
	default:
		e.serveHandshake(c, r, q)
	}
}

// serveSession answers a request of a session that exists.
func (e *Engine) serveSession(c *netpoll.Conn, r *http1.Request, q query, websocket, whole bool) {
	s := e.sessions.get(string(q.sid))
	switch {
	case s == nil:
		e.serveElsewhere(c, r, q, whole)
	case websocket && !r.UpgradeWebSocket:
		s.loop.PostNow(strippedOnLoop, s, nil, 0)
		e.refuse(c, r, errMismatch)
	case websocket != r.UpgradeWebSocket || !s.speaks(q.eio):
		e.refuse(c, r, errMismatch)
	case s.loop != c.Loop():
		c.MoveTo(s.loop, r) // connections follow their session
	case websocket:
		s.handleUpgrade(c, r, q)
	case s.transport != transportPolling:
		if s.state == sessionClosed {
			e.refuse(c, r, errSession)
		} else {
			e.refuse(c, r, errMismatch)
		}
	case string(r.Method) == "GET":
		s.handlePoll(c, r, q)
	case string(r.Method) == "POST" && !whole:
		s.expectPost(c, r)
	case string(r.Method) == "POST":
		s.handlePost(c, r, q)
	default:
		e.respond(c, r, statusOtherMethod, "", nil)
	}
}

// validHeaderValue tells whether b may stand in a header: an Origin is
// reflected in the answer.
func validHeaderValue(b []byte) bool {
	return !bytes.ContainsFunc(b, func(c rune) bool { return c < 0x20 && c != '\t' || c == 0x7f })
}

// respond answers a request with a whole body.
func (e *Engine) respond(c *netpoll.Conn, r *http1.Request, status int, contentType string, body []byte) {
	var scratch [256]byte
	extra := e.appendCORS(scratch[:0], r)
	e.respondWith(c, r, status, contentType, body, extra)
}

func (e *Engine) respondWith(c *netpoll.Conn, r *http1.Request, status int, contentType string, body, extra []byte) {
	buf := netpoll.NewBuffer(256 + len(extra) + len(body))
	buf.B = appendHead(buf.B, c, status, contentType, len(body), extra)
	if string(r.Method) != "HEAD" {
		buf.B = append(buf.B, body...)
	}
	c.Respond(buf)
	buf.Release()
}

// appendHead appends the head of an answer, with its Date. extra are complete header
// lines.
func appendHead(dst []byte, c *netpoll.Conn, status int, contentType string, size int, extra []byte) []byte {
	dst = http1.AppendResponseHead(dst, status, contentType, size, c.KeepAlive(), extra)
	dst = c.Loop().AppendDate(dst[:len(dst)-len("\r\n")]) // before the blank line
	return append(dst, "\r\n"...)
}
