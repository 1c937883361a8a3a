package engine

import (
	"bytes"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"
)

// handlePoll answers a GET: with what is queued, or as soon as something is.
//
// Engine.IO v4, "HTTP long-polling": a second poll at once closes the session.
func (s *Session) handlePoll(c *netpoll.Conn, r *netpoll.Request) {
	e := s.engine
	if s.conn != nil {
		e.respond(c, r, 400, "", nil)
		s.close(TransportError)
		return
	}
	s.conn = c
	c.Context = s
	switch {
	case s.state == sessionClosing:
		s.handleClosingPoll()
	case len(s.queue) > 0:
		s.flushSoon()
	case s.upgrade != nil && s.upgrade.probed:
		s.answerPollWithNoop()
	}
}

// answerPollWithNoop sends the poll that waits home: with what is queued, or
// else with a noop.
func (s *Session) answerPollWithNoop() {
	if s.conn == nil || s.transport != transportPolling {
		return
	}
	if len(s.queue) == 0 {
		s.queue = append(s.queue, noopPacket.Retain())
	}
	s.answerPoll()
}

// answerPoll answers the poll that waits with the whole queue.
func (s *Session) answerPoll() {
	c := s.conn
	s.conn = nil
	c.Context = nil
	size := len(s.queue) - 1 // separators
	for _, m := range s.queue {
		size += len(m.pollingRecord())
	}
	// The peer's request is gone by now; CORS wants its Origin.
	buf := netpoll.NewBuffer(512 + size)
	buf.B = netpoll.AppendResponseHead(buf.B, 200, "text/plain; charset=UTF-8", size, c.KeepAlive(), s.pollHeaders())
	for i, m := range s.queue {
		if i > 0 {
			buf.B = append(buf.B, eio.Separator)
		}
		buf.B = append(buf.B, m.pollingRecord()...)
		m.Release()
	}
	clear(s.queue)
	if s.queue = s.queue[:0]; cap(s.queue) > 16 {
		s.queue = nil
	}
	s.queued = 0
	c.Respond(buf)
	buf.Release()
}

// pollHeaders are the extra header lines of an answer to a poll. Its Origin is
// that of the handshake: the same page sends both.
func (s *Session) pollHeaders() []byte {
	h := s.engine.cfg.CORS.appendHeaders(make([]byte, 0, 128), s.request.r)
	h = append(h, "Cache-Control: no-store\r\n"...)
	if s.cookieDue {
		s.cookieDue = false
		h = append(h, "Set-Cookie: "...)
		cookie := *s.engine.cfg.Cookie
		cookie.Value = s.sid
		h = append(h, cookie.String()...)
		h = append(h, "\r\n"...)
	}
	return h
}

// post is a POST whose packets are being handled.
type post struct {
	conn *netpoll.Conn
	req  *netpoll.Request // for the answer; a copy once the handler has paused
	rest []byte           // what has not been handled; a copy once paused
	held bool             // req and rest are copies
}

// handlePost handles the packets of a request's body, in order.
//
// Engine.IO v4, "HTTP long-polling": a second POST at once closes the session.
func (s *Session) handlePost(c *netpoll.Conn, r *netpoll.Request) {
	e := s.engine
	switch {
	case s.state != sessionOpen:
		e.refuse(c, r, errSession)
		return
	case s.post != nil, bytes.Equal(r.Header("Content-Type"), []byte("application/octet-stream")):
		e.respond(c, r, 400, "", nil)
		s.close(TransportError)
		return
	case r.Oversize, len(r.Body) > e.cfg.MaxPayload:
		e.respond(c, r, 413, "", nil)
		return
	}
	s.post = &post{conn: c, req: r, rest: r.Body}
	if len(r.Body) == 0 {
		s.endPost()
		s.parseError()
		return
	}
	s.workPost()
	if p := s.post; p != nil { // paused: the request's bytes are only borrowed
		p.req, p.rest, p.held = r.Clone(), bytes.Clone(p.rest), true
		p.req.Body = nil
		c.Context = s
	}
}

// workPost handles packets until the body ends or the handler pauses.
func (s *Session) workPost() {
	p := s.post
	for len(p.rest) > 0 && !s.paused {
		packet, n, err := eio.ConsumePayload(p.rest)
		p.rest = p.rest[n:]
		if err != nil {
			s.endPost() // the reference answers ok, and closes
			s.parseError()
			return
		}
		s.handlePacket(packet)
		if s.state != sessionOpen { // closed by the packet
			p.rest = nil
		}
	}
	if len(p.rest) == 0 {
		s.endPost()
	}
}

var ok = []byte("ok")

// endPost answers the POST under way, if there is one.
func (s *Session) endPost() {
	p := s.post
	if p == nil {
		return
	}
	s.post = nil
	p.conn.Context = nil
	if p.conn.Open() {
		s.engine.respond(p.conn, p.req, 200, "text/html", ok)
	}
}
