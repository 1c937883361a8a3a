package netpoll

import (
	"bytes"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// consumeRequest consumes what it can of b: a whole request, or a piece of a
// body.
func (c *Conn) consumeRequest(b []byte) int {
	x := c.x
	switch c.phase {
	case phaseDeciding, phaseWriting:
		return 0 // pipelined: its turn comes after the answer
	case phaseBody:
		if x.req != nil {
			return c.consumeBody(b)
		}
		if x.need > 0 && len(b) < x.need {
			return 0
		}
	}
	l := c.loop
	lim := l.headLimits()
	if c.layers&layerLink != 0 { // the other server has judged it, and has added what http1 adds
		lim.HeadBytes += linkBytes
		lim.Fields++
	}
	if c.phase == phaseHead && x.searched > 1 && len(b) < min(lim.LineBytes, lim.HeadBytes) && bytes.IndexByte(b[x.searched:], '\n') < 0 {
		x.searched = len(b) // no line has ended: what the look before said still holds
		return 0
	}
	r := &l.req
	n, err := r.ParseHead(b, lim)
	if err != nil {
		c.flags &^= connHead
		c.fail(err)
		return len(b)
	}
	if n == 0 {
		if c.phase != phaseHead {
			c.enter(phaseHead)
		}
		c.x.searched = len(b)
		return 0
	}
	c.flags &^= connKeepAlive | connHead
	if r.KeepAlive && !l.draining {
		c.flags |= connKeepAlive
	}
	if string(r.Method) == "HEAD" {
		c.flags |= connHead
	}
	m := c.mounted()
	switch {
	case m != nil && m.passed && !l.h.Claims(r.Path):
		// net/http has passed it on, and would again.
		m.passed = false
		c.refuseUnclaimed(errUnserved, r)
		return c.skipped(r, n, len(b))
	case !l.h.Claims(r.Path) || m != nil && !m.passes(l.h, r):
		return c.consumeUnclaimed(r, b, n)
	}
	if r.Minor == 0 { // HTTP/1.0 is answered and closed
		c.flags &^= connKeepAlive
	}
	switch size := r.ContentLength; {
	case size > int64(l.cfg.MaxBodyBytes):
		r.Oversize = true
		c.flags &^= connKeepAlive // its body is not read
		c.deliver(r)
		return len(b)
	case size == 0:
		c.deliver(r)
		return n
	case size > 0 && int64(len(b)-n) >= size:
		r.Body = b[n : n+int(size)]
		c.deliver(r)
		return n + int(size)
	}
	c.expectBody(r)
	return n
}

// BodyHandler may be implemented by a Handler.
type BodyHandler interface {
	// HandleHead is given the head of a request whose body has not arrived whole.
	// It may do nothing, and HandleRequest is called when the body is here; or
	// answer, after which the connection is closed; or c.MoveTo, after which
	// HandleHead is called there. r is borrowed until return.
	HandleHead(c *Conn, r *http1.Request)
}

// errUnserved answers an unclaimed request where nobody serves those.
var errUnserved = &http1.Error{Status: http.StatusNotFound, Reason: "nothing is served here"}

func (l *Loop) headLimits() http1.HeadLimits {
	return http1.HeadLimits{LineBytes: l.cfg.MaxRequestLineBytes, HeadBytes: l.cfg.MaxHeadBytes, Fields: l.cfg.MaxHeaderFields}
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// expectBody prepares for a body that has not arrived whole, if the handler wants it.
func (c *Conn) expectBody(r *http1.Request) {
	if h, ok := c.loop.h.(BodyHandler); ok {
		keepAlive := c.flags & connKeepAlive
		c.flags = c.flags&^connKeepAlive | connAtHead
		c.enter(phaseDeciding)
		h.HandleHead(c, r)
		c.flags &^= connAtHead
		if c.phase != phaseDeciding {
			return // it is answered
		}
		c.flags |= keepAlive
		if c.is(connMoving) {
			return
		}
	}
	c.enter(phaseBody)
	x := c.x
	x.req = r.Clone()
	if r.Chunked {
		x.chunked = new(http1.ChunkedReader)
	} else {
		x.remaining = r.ContentLength
	}
	if r.Expect100 {
		c.sendBytes(continueLine)
	}
}

// consumeBody takes the next piece of the body.
func (c *Conn) consumeBody(b []byte) int {
	x := c.x
	var piece []byte
	var n int
	done := false
	if x.chunked != nil {
		var err *http1.Error
		piece, n, done, err = x.chunked.Consume(b)
		if err != nil {
			c.fail(err)
			return len(b)
		}
	} else {
		n = int(min(x.remaining, int64(len(b))))
		piece = b[:n]
		x.remaining -= int64(n)
		done = x.remaining == 0
	}
	r := x.req
	have := 0
	if x.body != nil {
		have = len(x.body.B)
	}
	if have+len(piece) > c.loop.cfg.MaxBodyBytes {
		r.Oversize = true
		c.flags &^= connKeepAlive
		c.deliver(r)
		return len(b)
	}
	if len(piece) > 0 {
		x.body = bytepool.Append(x.body, piece)
	}
	if done {
		body := x.body
		x.body = nil
		if body != nil {
			r.Body = body.B
		}
		c.deliver(r)
		bytepool.Put(body)
	}
	return n
}

// deliver hands a whole request to the handler.
func (c *Conn) deliver(r *http1.Request) {
	c.enter(phaseDeciding)
	c.loop.h.HandleRequest(c, r)
}

// KeepAlive tells whether the connection may serve another request after this
// one: the answer's head must agree with it.
func (c *Conn) KeepAlive() bool { return c.is(connKeepAlive) }

// Respond answers the request: b is a complete response, head and body. The
// connection takes a reference of its own.
func (c *Conn) Respond(b *Buffer) {
	c.loop.Check()
	if c.phase >= phaseClosing {
		return
	}
	c.send(b, b.B)
	c.finishRequest()
}

// finishRequest is called when the whole answer has been queued.
func (c *Conn) finishRequest() {
	if c.phase >= phaseClosing {
		return
	}
	if !c.is(connKeepAlive) || c.loop.draining {
		c.close(nil)
		return
	}
	c.enter(phaseIdle)
	if c.watch&WatchWrite != 0 {
		c.enter(phaseWriting)
	}
	c.readOn()
}

// readOn goes on with the input, behind a request that has been answered.
func (c *Conn) readOn() {
	if !c.is(connPaused) {
		c.setReading(true)
	}
	c.later()
}

// fail answers a malformed or oversized request and closes the connection:
// where the next request would begin is not certain.
func (c *Conn) fail(err *http1.Error) { c.failWith(err, "") }

// failWith is fail with header lines for the answer.
func (c *Conn) failWith(err *http1.Error, extra string) {
	if c.phase >= phaseClosing {
		return
	}
	c.loop.group.stats.badRequests.Add(1)
	c.refuse(err, extra)
	c.close(err)
}

// refuse queues the answer to a request after which the connection is closed.
func (c *Conn) refuse(err *http1.Error, extra string) {
	var scratch [128]byte
	fields := append(c.loop.AppendDate(scratch[:0]), extra...)
	buf := NewBuffer(256)
	buf.B = http1.AppendError(buf.B, err, fields)
	whole := buf.B
	if c.is(connHead) { // RFC 9110 section 9.3.2
		whole = whole[:len(whole)-len(err.Reason)-1]
	}
	c.send(buf, whole)
	buf.Release()
}

// sendBytes queues a copy of b.
func (c *Conn) sendBytes(b []byte) {
	buf := NewBuffer(len(b))
	buf.B = append(buf.B, b...)
	c.send(buf, buf.B)
	buf.Release()
}

// CloseAfterResponse has the connection closed after the answer, whatever the
// peer asked for.
func (c *Conn) CloseAfterResponse() { c.flags &^= connKeepAlive }

// AppendDate appends a Date field line, which every answer of a server with a
// clock has (RFC 9110 section 6.6.1). Loop-owned.
func (l *Loop) AppendDate(dst []byte) []byte {
	if second := l.now / int64(time.Second); second != l.dateAt || len(l.date) == 0 {
		l.dateAt = second
		l.date = append(l.date[:0], "Date: "...)
		l.date = time.Now().UTC().AppendFormat(l.date, "Mon, 02 Jan 2006 15:04:05 GMT")
		l.date = append(l.date, "\r\n"...)
	}
	return append(dst, l.date...)
}
