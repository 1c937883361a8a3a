package http1

import (
	"net/http"
	"strconv"
)

// Error is a request that is refused: the response to give. The connection
// is closed after it.
type Error struct {
	// Status is the HTTP status code.
	Status int
	// Reason says what was wrong, in words of ours; it is sent to the peer.
	Reason string
}

// Error gives status and reason.
func (e *Error) Error() string {
	return "http1: " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status) + ": " + e.Reason
}

// AppendResponseHead appends the head of a response, blank line included.
//
// contentType "" leaves the Content-Type field out. contentLength is that of
// the content in bytes; below 0 no Content-Length is written, nor is one for a
// status that has no content (1xx, 204, 304; RFC 9110 section 8.6). keepAlive
// false adds "Connection: close"; a peer that speaks HTTP/1.0 and asked for
// keep-alive must be told "Connection: keep-alive" in extra. extra is any number
// of complete and already valid lines "Name: value\r\n". There is no Date field
// unless extra has one.
func AppendResponseHead(dst []byte, status int, contentType string, contentLength int, keepAlive bool, extra []byte) []byte {
	dst = appendStatusLine(dst, status)
	if contentType != "" {
		dst = append(dst, "Content-Type: "...)
		dst = append(dst, contentType...)
		dst = append(dst, "\r\n"...)
	}
	if contentLength >= 0 && hasContent(status) {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(contentLength), 10)
		dst = append(dst, "\r\n"...)
	}
	if !keepAlive {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, extra...)
	return append(dst, "\r\n"...)
}

// AppendError appends the complete response to a request that is refused. It
// says that the connection will be closed, which is then the caller's duty.
// extra is as in AppendResponseHead.
func AppendError(dst []byte, err *Error, extra []byte) []byte {
	dst = AppendResponseHead(dst, err.Status, "text/plain; charset=utf-8", len(err.Reason)+1, false, extra)
	dst = append(dst, err.Reason...)
	return append(dst, '\n')
}

func appendStatusLine(dst []byte, status int) []byte {
	if status == http.StatusOK {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	return append(dst, "\r\n"...)
}

// hasContent tells whether a response with that status may have content (RFC
// 9110 section 6.4.1).
func hasContent(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
