package engine

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/sockeye-io/sockeye/netpoll"

	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// handlePoll answers a GET: with what is queued, or as soon as something is.
//
// Engine.IO v4, "HTTP long-polling": a second poll at once closes the session.
func (s *Session) handlePoll(c *netpoll.Conn, r *http1.Request, q query) {
	e := s.engine
	if s.conn != nil {
		e.respond(c, r, statusTwoAtOnce, "", nil)
		s.closeFor(TransportError, CauseViolation, "two polls at once")
		return
	}
	s.conn = c
	s.lastIn = s.stamp()
	s.poll.polled = s.lastIn
	s.occupy(c)
	if s.poll.legacy != nil {
		s.poll.legacy.jsonp = callbackIndex(q.jsonp)
	}
	if e.cfg.HTTPCompressionThreshold > 0 {
		s.poll.encoding = acceptedEncoding(r.Header("Accept-Encoding"))
	}
	switch {
	case s.state == sessionClosing:
		s.handleClosingPoll()
	case !s.poll.queue.empty():
		s.flushSoon()
	case s.poll.upgrade != nil && s.poll.upgrade.urgent:
		s.answerPollWithNoop()
	}
}

// answerPollWithNoop answers the poll that waits: with what is queued, or else with a
// noop.
func (s *Session) answerPollWithNoop() {
	if s.conn == nil || s.transport != transportPolling {
		return
	}
	if s.poll.queue.empty() {
		s.enqueue(noopPacket)
	}
	s.answerPoll()
}

// answerBytes is how much of the queue an answer to a poll takes.
const answerBytes = 1 << 20

// answerPoll answers the poll that waits with the queue, or as much of it as an
// answer takes.
func (s *Session) answerPoll() {
	c := s.conn
	s.conn = nil
	vacate(c)
	q := &s.poll.queue
	rest := q.split(answerBytes)
	size := q.size
	switch {
	case s.poll.legacy != nil:
		payload, contentType := s.legacyPayload()
		if s.compressible(len(payload)) {
			s.respondCompressed(c, contentType, payload)
		} else {
			respondOnLoop(&pollAnswer{s, c, contentType, payload, s.pollHeaders(c)}, nil)
		}
	case s.compressible(size):
		s.respondCompressed(c, typePayload, q.appendPayload(make([]byte, 0, size)))
	default:
		buf := netpoll.NewBuffer(512 + size)
		buf.B = appendHead(buf.B, c, http.StatusOK, typePayload, size, s.pollHeaders(c))
		buf.B = q.appendPayload(buf.B)
		c.Respond(buf)
		buf.Release()
	}
	q.clear()
	if !rest.empty() {
		s.poll.queue = rest
	}
	s.loop.Rank(s, s.poll.queue.held)
	s.endSlow()
	s.publish(s.poll.queue.held)
}

// pollHeaders are the extra header lines of an answer to a poll. The poll is
// gone by now; CORS takes the Origin of the handshake: the same page sends both.
func (s *Session) pollHeaders(c *netpoll.Conn) []byte {
	var extra http.Header
	extra, s.poll.headers = s.poll.headers, nil
	var r *http1.Request
	if e := s.engine; e.allowsOrigins() && !e.origins.any {
		r = s.request.expand()
	}
	h := s.appendHeaders(make([]byte, 0, 128), c, r, extra)
	h = append(h, "Cache-Control: no-store\r\n"...)
	if s.poll.initial && s.engine.cfg.Cookie != nil {
		h = append(h, "Set-Cookie: "...)
		cookie := *s.engine.cfg.Cookie
		cookie.Value = cookieValue(s.ID())
		h = append(h, cookie.String()...)
		h = append(h, "\r\n"...)
	}
	s.poll.initial = false
	return h
}

// appendHeaders appends the header lines that every answer to the session's
// requests has: CORS, those of the middleware, if any, and of Config.Headers.
func (s *Session) appendHeaders(dst []byte, c *netpoll.Conn, r *http1.Request, extra http.Header) []byte {
	e := s.engine
	dst = e.appendCORS(dst, r)
	if e.cfg.Headers != nil {
		if extra == nil {
			extra = http.Header{}
		}
		initial := s.state == sessionOpening || s.poll != nil && s.poll.initial
		e.protect("Headers", c, func() { e.cfg.Headers(extra, &s.request, initial) })
	}
	if len(extra) > 0 {
		dst = appendHeaders(dst, extra)
	}
	return dst
}

// cookieValue is an sid as the value of a cookie: percent-encoded where it is not
// safe in a URL, as the reference server's.
func cookieValue(sid string) string {
	return strings.ReplaceAll(url.QueryEscape(sid), "+", "%20")
}

// post is a POST whose packets are being handled.
type post struct {
	conn   *netpoll.Conn
	req    *http1.Request // for the answer; a copy once the handler has paused
	rest   []byte         // what has not been handled; a copy once paused
	binary bool           // rest is a binary payload of version 3
}

// expectPost is told of a POST whose body is still to come: the session waits for it,
// and for no other.
func (s *Session) expectPost(c *netpoll.Conn, r *http1.Request) {
	if s.state != sessionOpen {
		s.engine.refuse(c, r, errSession)
	} else if !s.refusePost(c, r) {
		s.poll.posting = c
		s.occupy(c)
	}
}

// refusePost refuses a POST beside another one, which ends the session.
//
// Engine.IO v4, "HTTP long-polling": a second POST at once closes the session.
func (s *Session) refusePost(c *netpoll.Conn, r *http1.Request) bool {
	p := s.poll
	if p.post == nil && (p.posting == nil || p.posting == c) {
		return false
	}
	s.engine.respond(c, r, statusTwoAtOnce, "", nil)
	s.closeFor(TransportError, CauseViolation, "two POSTs at once")
	return true
}

// abandonPost answers a POST that is arriving as one of a session that is over: it is
// not waited for, and nothing of it is kept. The reference server destroys the
// connection.
func (s *Session) abandonPost() {
	if s.poll == nil || s.poll.posting == nil {
		return
	}
	c := s.poll.posting
	s.poll.posting = nil
	vacate(c)
	if !c.Open() {
		return
	}
	r := s.request.expand() // of the same page
	c.CloseAfterResponse()
	s.engine.respond(c, r, errSession.status, typeError, errSession.body(errSession.message, ""))
}

// handlePost handles the packets of a request's body, in order.
func (s *Session) handlePost(c *netpoll.Conn, r *http1.Request, q query) {
	e := s.engine
	if s.poll.posting == c {
		s.poll.posting = nil
		vacate(c)
	}
	body, binary, err := s.body(r, q)
	switch {
	case s.state != sessionOpen:
		e.refuse(c, r, errSession)
		return
	case s.refusePost(c, r):
		return
	case binary && err != nil:
		e.respond(c, r, statusBinaryPost, "", nil)
		s.closeFor(TransportError, CauseViolation, "a binary POST in version 4")
		return
	case r.Oversize, len(r.Body) > e.cfg.MaxPayload:
		e.tellTooLarge("engine: a POST is larger than MaxPayload")
		e.respond(c, r, statusTooLarge, "", nil)
		return
	}
	s.poll.post = &post{conn: c, req: r, rest: body, binary: binary}
	if len(body) == 0 && err == nil {
		err = errEmptyPost
	}
	if err != nil {
		s.endPost()
		s.parseError(err)
		return
	}
	s.workPost()
	if p := s.poll.post; p != nil { // paused: the request's bytes are only borrowed
		p.req, p.rest = r.Clone(), bytes.Clone(p.rest)
		p.req.Body = nil
		s.occupy(c)
	}
}

var errEmptyPost = errors.New("engine: a POST without a packet")

// workPost handles packets until the body ends or the handler pauses.
func (s *Session) workPost() {
	p := s.poll.post
	for len(p.rest) > 0 && !s.paused {
		packet, n, err := s.consumePayload(p.rest, p.binary)
		p.rest = p.rest[n:]
		if err != nil {
			s.endPost() // the reference answers ok, and closes
			s.parseError(err)
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
	if s.poll == nil || s.poll.post == nil {
		return
	}
	p := s.poll.post
	s.poll.post = nil
	vacate(p.conn)
	if p.conn.Open() {
		buf := netpoll.NewBuffer(256)
		buf.B = appendHead(buf.B, p.conn, http.StatusOK, typeOK, len(ok), s.appendHeaders(nil, p.conn, p.req, nil))
		buf.B = append(buf.B, ok...)
		p.conn.Respond(buf)
		buf.Release()
	}
}

// PostHeaders copies the header fields of the POST whose message is being
// handled; nil if it did not come by a POST. Loop-owned.
func (s *Session) PostHeaders() http.Header {
	if s.poll == nil || s.poll.post == nil {
		return nil
	}
	h := http.Header{}
	s.poll.post.req.EachHeader(func(name, value []byte) { h.Add(string(name), string(value)) })
	return h
}

// body is the payload in a POST, and its form. JSONP wraps it in a form's field.
func (s *Session) body(r *http1.Request, q query) (payload []byte, binary bool, err error) {
	binary = bytes.Equal(r.Header("Content-Type"), []byte(typeBinary))
	switch {
	case s.poll.legacy != nil && q.jsonp != nil:
		payload, err = eio.ConsumeJSONP(r.Body)
		return payload, false, err
	case binary && s.Version() == 4:
		return nil, true, errMismatch
	}
	return r.Body, binary, nil
}

// consumePayload reads the first packet of a request's body.
func (s *Session) consumePayload(b []byte, binary bool) (eio.Packet, int, error) {
	if s.version == 3 {
		return consumePayloadV3(b, binary)
	}
	return eio.ConsumePayload(b)
}
