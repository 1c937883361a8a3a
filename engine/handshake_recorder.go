package engine

import (
	"bytes"
	"net/http"

	"github.com/sockeye-io/sockeye/netpoll"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// maxMiddlewareAnswer bounds the body of a middleware's own answer.
const maxMiddlewareAnswer = 64 << 10

// recorder is what a middleware has answered.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(b) > maxMiddlewareAnswer {
		return 0, http.ErrBodyNotAllowed
	}
	return w.body.Write(b)
}

// respondRecorded answers a handshake with what a middleware has written; one
// that has neither written nor gone on has refused.
func (e *Engine) respondRecorded(c *netpoll.Conn, r *http1.Request, w *recorder) {
	if w.status == 0 {
		e.refuseText(c, r, errForbidden, errForbidden.message, "Middleware has neither answered nor called next")
		return
	}
	e.stats.refused.Add(1)
	e.refused[refusedByMiddleware].Add(1)
	if e.log.Debugs() {
		e.log.Debug("Middleware", "engine: a handshake is answered by Middleware", "status", w.status)
	}
	contentType := w.header.Get("Content-Type")
	w.header.Del("Content-Type")
	w.header.Del("Content-Length")
	w.header.Del("Connection")
	if r.UpgradeWebSocket {
		c.CloseAfterResponse()
	}
	extra := appendHeaders(e.appendCORS(nil, r), w.header)
	buf := netpoll.NewBuffer(256 + len(extra) + w.body.Len())
	buf.B = appendHead(buf.B, c, w.status, contentType, w.body.Len(), extra)
	if string(r.Method) != "HEAD" {
		buf.B = append(buf.B, w.body.Bytes()...)
	}
	c.Respond(buf)
	buf.Release()
}

// appendHeaders appends header lines, but for Date, which each answer has. Line ends
// in values become spaces.
func appendHeaders(dst []byte, h http.Header) []byte {
	h.Del("Date")
	b := bytes.NewBuffer(dst)
	_ = h.Write(b) // a bytes.Buffer takes everything
	return b.Bytes()
}
