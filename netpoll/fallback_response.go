package netpoll

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// responseBufferBytes is how much content a handler may write before the
	// head goes out. A response that is complete by then has a Content-Length.
	responseBufferBytes = 4 << 10
	maxResponseChunk    = 32 << 10 // bytes
)

// fallbackResponse is the http.ResponseWriter of a fallback handler. Like that
// of net/http it is for one goroutine at a time, http.Flusher included, and it
// knows http.ResponseController's Flush and EnableFullDuplex. Trailers and
// Hijack are not supported.
type fallbackResponse struct {
	// Immutable after serveFallback began.
	c     fallbackConn
	body  *fallbackBody
	minor int
	head  bool // the request is a HEAD

	over atomic.Bool // the handler has returned

	// The handler's.
	header    http.Header
	sending   http.Header // header as it was when WriteHeader was called
	status    int         // 0 before WriteHeader
	length    int64       // declared content, -1 if not
	written   int64       // content, that of a HEAD included
	buf       []byte      // content that waits
	framing   responseFraming
	keepAlive bool
	err       error // of the connection

	// Guarded by mu.
	mu    sync.Mutex
	begun bool // something of the response has been sent, or is about to be
}

// responseFraming tells how the end of the content is known (RFC 9112 section
// 6.3).
type responseFraming uint8

const (
	framedNot     responseFraming = iota // the head has not been sent
	framedNone                           // there is no content
	framedLength                         // by Content-Length
	framedChunked                        // by the last chunk
	framedClose                          // by the end of the connection
)

var errResponseOver = errors.New("netpoll: write to a response after its handler returned")

// Header is http.ResponseWriter's.
func (w *fallbackResponse) Header() http.Header { return w.header }

// WriteHeader is http.ResponseWriter's. A status of 1xx, except 101, is sent at
// once; the first other one is the response's, and further ones are ignored.
func (w *fallbackResponse) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("netpoll: invalid status code " + strconv.Itoa(status))
	}
	if w.status != 0 || w.over.Load() {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.sendInterim(status)
		return
	}
	w.setStatus(status)
}

func (w *fallbackResponse) setStatus(status int) {
	w.status = status
	w.sending = w.header.Clone()
	w.length = -1
	if v := w.sending["Content-Length"]; len(v) > 0 {
		n, ok := parseLength([]byte(strings.TrimSpace(v[0])))
		if ok && len(v) == 1 {
			w.length = n
		} else {
			w.sending.Del("Content-Length")
		}
	}
}

// sendInterim sends a 1xx response; HTTP/1.0 has none (RFC 9110 section 15.2).
func (w *fallbackResponse) sendInterim(status int) {
	if w.minor == 0 {
		return
	}
	if status == http.StatusContinue {
		w.body.mu.Lock()
		w.body.expect = false
		w.body.mu.Unlock()
		w.sendContinue()
		return
	}
	b := appendHeader(appendStatusLine(nil, status), w.header, func(key string) bool {
		return key == "Content-Length" || key == "Transfer-Encoding"
	})
	w.write(append(b, "\r\n"...))
}

// sendContinue sends 100 Continue, unless the response has begun.
func (w *fallbackResponse) sendContinue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.begun && w.c.writeFromGoroutine(continueLine) == nil
}

// pristine tells whether nothing of the response has been sent.
func (w *fallbackResponse) pristine() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.begun
}

// Write is http.ResponseWriter's. It fails when the connection is gone.
func (w *fallbackResponse) Write(p []byte) (int, error) {
	if err := w.admit(len(p)); err != nil {
		return 0, err
	}
	if len(w.buf)+len(p) <= responseBufferBytes {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	// What waits and what is new go out together, if they are not too large.
	n := len(p)
	if len(w.buf) > 0 {
		fill := min(n, maxResponseChunk-len(w.buf))
		w.buf = append(w.buf, p[:fill]...)
		p = p[fill:]
		w.flushBuffer(false)
	}
	for len(p) > 0 {
		piece := p[:min(len(p), maxResponseChunk)]
		p = p[len(piece):]
		w.sendContent(piece, false)
	}
	if w.err != nil {
		return 0, w.err
	}
	return n, nil
}

// WriteString is io.StringWriter's.
func (w *fallbackResponse) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// admit does for n bytes of content what comes before they are written.
func (w *fallbackResponse) admit(n int) error {
	if w.over.Load() {
		return errResponseOver
	}
	if w.status == 0 {
		w.setStatus(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return w.err
	case n == 0:
		return nil
	case !hasContent(w.status):
		return http.ErrBodyNotAllowed
	}
	// As in net/http, what is refused counts: the response stays short.
	if w.written += int64(n); w.length >= 0 && w.written > w.length {
		return http.ErrContentLength
	}
	return nil
}

// Flush is http.Flusher's.
func (w *fallbackResponse) Flush() { _ = w.FlushError() }

// FlushError is http.ResponseController's Flush: it sends what has been
// written, and tells when the connection is gone.
func (w *fallbackResponse) FlushError() error {
	if err := w.admit(0); err != nil {
		return err
	}
	w.flushBuffer(false)
	return w.err
}

// EnableFullDuplex is http.ResponseController's; nothing else is ever done.
func (w *fallbackResponse) EnableFullDuplex() error { return nil }

func (w *fallbackResponse) flushBuffer(last bool) {
	w.sendContent(w.buf, last)
	if w.buf = w.buf[:0]; cap(w.buf) > responseBufferBytes || last {
		w.buf = nil // a stream that pauses holds no buffer worth mention
	}
}

// finish completes the response when the handler has returned, and tells
// whether the connection may serve another request.
func (w *fallbackResponse) finish() bool {
	if w.status == 0 {
		w.setStatus(http.StatusOK)
	}
	if w.framing == framedNot && !w.body.drain() {
		w.keepAlive = false // still in time to say so
	}
	w.flushBuffer(true)
	if w.framing == framedLength && !w.head && w.written != w.length {
		return false // the peer must see that it is short
	}
	return w.keepAlive && w.err == nil && w.framing != framedClose && w.body.drain()
}

// sendContent sends content in front of which everything else has been sent,
// framed, with the head if that has not been sent yet. last says that the
// handler has returned.
func (w *fallbackResponse) sendContent(p []byte, last bool) {
	out := NewBuffer(len(p) + 512)
	defer out.Release()
	if w.framing == framedNot {
		w.mu.Lock()
		w.begun = true
		w.mu.Unlock()
		out.B = w.appendHead(out.B, p, last)
	}
	switch {
	case w.head:
	case w.framing != framedChunked:
		out.B = append(out.B, p...)
	case len(p) > 0:
		out.B = strconv.AppendInt(out.B, int64(len(p)), 16)
		out.B = append(out.B, "\r\n"...)
		out.B = append(out.B, p...)
		out.B = append(out.B, "\r\n"...)
	}
	if w.framing == framedChunked && last {
		out.B = append(out.B, "0\r\n\r\n"...)
	}
	if len(out.B) > 0 {
		w.write(out.B)
	}
}

func (w *fallbackResponse) write(b []byte) {
	if w.err == nil {
		w.err = w.c.writeFromGoroutine(b)
	}
}

// appendHead decides how the response is framed and appends its head. p begins
// its content; last says that nothing follows p.
func (w *fallbackResponse) appendHead(b, p []byte, last bool) []byte {
	h := w.sending
	if last && w.length < 0 && (!w.head || w.written > 0) {
		w.length = w.written
		if hasContent(w.status) {
			h.Set("Content-Length", strconv.FormatInt(w.length, 10))
		}
	}
	switch {
	case w.length >= 0:
		w.framing = framedLength
	case w.minor > 0:
		w.framing = framedChunked
	default:
		w.framing = framedClose
	}
	if !hasContent(w.status) || w.head {
		w.framing = framedNone
	}
	for _, v := range h["Connection"] {
		if hasToken([]byte(v), "close") {
			w.keepAlive = false
		}
	}
	if w.framing == framedClose || !w.body.drainable() {
		w.keepAlive = false
	}

	b = appendStatusLine(b, w.status)
	b = appendHeader(b, h, func(key string) bool {
		switch key {
		case "Content-Length":
			return w.status == http.StatusNoContent || w.status < 200
		case "Connection":
			return !w.keepAlive
		case "Trailer", "Transfer-Encoding":
			return true
		}
		return false
	})
	if _, has := h["Content-Type"]; !has && len(p) > 0 && h.Get("Content-Encoding") == "" {
		b = append(b, "Content-Type: "...)
		b = append(b, http.DetectContentType(p)...)
		b = append(b, "\r\n"...)
	}
	if _, has := h["Date"]; !has {
		b = append(b, "Date: "...)
		b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
		b = append(b, "\r\n"...)
	}
	if w.framing == framedChunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case !w.keepAlive:
		b = append(b, "Connection: close\r\n"...)
	case w.minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// appendHeader appends the fields of h, sorted, without those to be left out.
// A name that is no token is left out, and control characters in a value become
// spaces: a handler cannot be made to write a field that it did not mean.
func appendHeader(b []byte, h http.Header, omit func(key string) bool) []byte {
	for _, key := range slices.Sorted(maps.Keys(h)) {
		if omit(key) || !validFieldName(key) {
			continue
		}
		for _, v := range h[key] {
			b = append(b, key...)
			b = append(b, ": "...)
			start := len(b)
			b = append(b, strings.Trim(v, " \t\r\n")...)
			for i, c := range b[start:] {
				if !isValueChar(c) {
					b[start+i] = ' '
				}
			}
			b = append(b, "\r\n"...)
		}
	}
	return b
}

func validFieldName(s string) bool {
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}
