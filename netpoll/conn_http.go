package netpoll

import (
	"github.com/sockeye-io/sockeye/proto/http1"
	"sync"

	"github.com/valyala/bytebufferpool"
)

// httpState is what a connection needs while a request is arriving, or is
// being served by a fallback handler. Between requests, and while a whole
// request waits for its answer, there is none.
type httpState struct {
	searched int // of the head: how far its end has been looked for

	// The body.
	req       *http1.Request // own copy; nil while the head is arriving
	remaining int64          // of a body with a Content-Length
	chunked   *http1.ChunkedReader
	body      *bytebufferpool.ByteBuffer // of a claimed request
	fallback  *fallbackLink              // gets the body of an unclaimed one
	bodyDone  bool
}

var httpStates = sync.Pool{New: func() any { return new(httpState) }}

func (c *Conn) releaseHTTP() {
	h := c.http
	if h == nil {
		return
	}
	c.http = nil
	releaseInput(h.body)
	*h = httpState{}
	httpStates.Put(h)
}

// consumeRequest consumes what it can of b: a whole request, or a piece of a
// body.
func (c *Conn) consumeRequest(b []byte) int {
	h := c.http
	if h != nil && h.req != nil {
		if h.bodyDone {
			return 0
		}
		return c.consumeBody(b)
	}
	if c.is(connBusy) {
		return 0 // pipelined: its turn comes after the answer
	}
	l := c.loop
	lim := http1.HeadLimits{LineBytes: l.cfg.MaxRequestLineBytes, HeadBytes: l.cfg.MaxHeadBytes, Fields: l.cfg.MaxHeaderFields}
	searched := 0
	if h != nil {
		searched = h.searched
	}
	end, searched := http1.HeadEnd(b, searched)
	if end == 0 && h != nil && searched < lim.LineBytes && len(b) < lim.HeadBytes {
		h.searched = searched // the limits that the first look checked still hold
		return 0
	}
	r := &l.req
	n, err := r.ParseHead(b, lim)
	if err != nil {
		c.fail(err)
		return len(b)
	}
	if n == 0 {
		if h == nil {
			c.http = httpStates.Get().(*httpState)
			c.setDeadline(l.cfg.HeadTimeout)
		}
		c.http.searched = searched
		return 0
	}
	c.flags &^= connKeepAlive | connHead
	if r.KeepAlive && r.Minor >= 1 { // HTTP/1.0 is answered and closed
		c.flags |= connKeepAlive
	}
	if string(r.Method) == "HEAD" {
		c.flags |= connHead
	}
	if !l.h.Claims(r.Path) {
		c.startFallback(r)
		return n
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

// expectBody prepares for a body that has not arrived whole.
func (c *Conn) expectBody(r *http1.Request) {
	h := c.http
	if h == nil {
		h = httpStates.Get().(*httpState)
		c.http = h
	}
	h.req = r.Clone()
	if r.Chunked {
		h.chunked = new(http1.ChunkedReader)
	} else {
		h.remaining = r.ContentLength
	}
	h.body = bytebufferpool.Get()
	c.setDeadline(c.loop.cfg.BodyTimeout)
	if r.Expect100 {
		c.sendBytes(continueLine)
	}
}

// consumeBody takes the next piece of the body.
func (c *Conn) consumeBody(b []byte) int {
	h := c.http
	var piece []byte
	var n int
	if h.chunked != nil {
		var err *http1.Error
		piece, n, h.bodyDone, err = h.chunked.Consume(b)
		if err != nil {
			if h.fallback != nil {
				h.fallback.endBody(err)
			}
			c.fail(err)
			return len(b)
		}
	} else {
		n = int(min(h.remaining, int64(len(b))))
		piece = b[:n]
		h.remaining -= int64(n)
		h.bodyDone = h.remaining == 0
	}
	if h.fallback != nil {
		if h.fallback.addBody(piece, h.bodyDone) {
			c.setReading(false) // until the handler has read some
		}
		c.setFallbackDeadline()
		return n
	}
	r := h.req
	if len(h.body.B)+len(piece) > c.loop.cfg.MaxBodyBytes {
		r.Oversize = true
		c.flags &^= connKeepAlive
		c.releaseHTTP()
		c.deliver(r)
		return len(b)
	}
	h.body.B = append(h.body.B, piece...)
	if h.bodyDone {
		body := h.body
		h.body = nil
		c.releaseHTTP()
		r.Body = body.B
		c.deliver(r)
		releaseInput(body)
	}
	return n
}

// deliver hands a whole request to the handler.
func (c *Conn) deliver(r *http1.Request) {
	c.releaseHTTP()
	c.flags |= connBusy
	c.setDeadline(0)
	c.loop.h.HandleRequest(c, r)
}

// KeepAlive tells whether the connection may serve another request after this
// one: the answer's head must agree with it.
func (c *Conn) KeepAlive() bool { return c.is(connKeepAlive) }

// Respond answers the request: b is a complete response, head and body. The
// connection takes a reference of its own.
func (c *Conn) Respond(b *Buffer) {
	c.loop.Check()
	c.send(b, b.B)
	c.finishRequest()
}

// finishRequest is called when the whole answer has been queued.
func (c *Conn) finishRequest() {
	c.flags &^= connBusy
	if !c.is(connKeepAlive) {
		c.Close(nil)
		return
	}
	if !c.Open() {
		return
	}
	c.setDeadline(c.loop.cfg.IdleTimeout)
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
	if !c.Open() {
		return
	}
	c.loop.group.stats.badRequests.Add(1)
	if c.is(connBusy) {
		c.abort(err) // an answer is under way; there is no place for another
		return
	}
	buf := NewBuffer(256)
	buf.B = http1.AppendError(buf.B, err, []byte(extra))
	c.send(buf, buf.B)
	buf.Release()
	c.Close(err)
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
