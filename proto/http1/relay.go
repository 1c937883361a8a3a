package http1

import (
	"bytes"
	"errors"
	"strconv"
)

// A server that passes a request on to another one of its kind writes the request's head
// by AppendForwarded, and reads that of the answer by Response.

// hopFields are those of one connection (RFC 9110, section 7.6.1), and of its framing.
var hopFields = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "TE", "Trailer", "Transfer-Encoding", "Content-Length", "Expect",
}

// isHopField tells whether a field line is of one connection only.
func isHopField(line []byte) bool {
	for _, name := range hopFields {
		if isField(line, name) {
			return true
		}
	}
	return false
}

// AppendForwarded appends the head of the request, blank line included, for another
// connection, which stays open: as it came, but for the fields of a connection. The
// content that follows is r.Body.
func (r *Request) AppendForwarded(dst []byte) []byte {
	dst = append(dst, r.head[:len(r.head)-len(r.fields)]...)
	for rest := r.fields; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n') + 1
		if !isHopField(rest[:i-1]) {
			dst = append(dst, rest[:i]...)
		}
		rest = rest[i:]
	}
	if r.UpgradeWebSocket {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	}
	if len(r.Body) > 0 || string(r.Method) == "POST" {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(r.Body)), 10)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// Response is the head of an answer, as AppendResponseHead writes it.
type Response struct {
	Status        int
	ContentLength int64 // -1: it is not told
	KeepAlive     bool  // another request may follow

	line, fields []byte // views of the head
}

var (
	errNotResponse  = errors.New("http1: it is no answer of HTTP/1.1")
	errResponseHead = errors.New("http1: the head of an answer is too large")
	errResponseBody = errors.New("http1: where an answer ends is not certain")
)

// ParseHead reads the head that begins b, of limit bytes at most. n is its length, blank
// line included; n == 0 without an error means that more is needed.
func (r *Response) ParseHead(b []byte, limit int) (n int, err error) {
	*r = Response{ContentLength: -1}
	var facts headFacts
	for pos := 0; ; {
		i := bytes.IndexByte(b[pos:], '\n')
		switch {
		case i < 0 && len(b) <= limit:
			return 0, nil
		case i < 0 || pos+i+1 > limit:
			return 0, errResponseHead
		case i == 0 || b[pos+i-1] != '\r':
			return 0, errNotResponse
		}
		line := b[pos : pos+i-1]
		switch {
		case pos == 0:
			if r.Status = parseStatus(line); r.Status == 0 {
				return 0, errNotResponse
			}
			r.line = b[:i+1]
		case len(line) == 0:
			n = pos + i + 1
			r.fields = b[len(r.line):pos]
			r.KeepAlive = !facts.closing
			switch {
			case facts.codings > 0 || facts.lengths > 1:
				return 0, errResponseBody
			case facts.lengths == 1:
				r.ContentLength = facts.length
			}
			if !hasContent(r.Status) {
				r.ContentLength = 0
			}
			return n, nil
		default:
			if facts.addField(line) != nil {
				return 0, errNotResponse
			}
		}
		pos += i + 1
	}
}

// parseStatus is the status of a status line (RFC 9112, section 4), 0 for what is none.
func parseStatus(line []byte) int {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || string(line[:len(version)]) != version {
		return 0
	}
	code, rest := line[len(version):len(version)+3], line[len(version)+3:]
	if code[0] < '1' || code[0] > '9' || !isDigit(code[1]) || !isDigit(code[2]) || len(rest) > 0 && rest[0] != ' ' || !validFieldValue(rest) {
		return 0
	}
	return int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
}

// AppendForwarded appends the head, blank line included, for another connection.
// keepAlive is as in AppendResponseHead. Of an answer that switches protocols all fields
// stay.
func (r *Response) AppendForwarded(dst []byte, keepAlive bool) []byte {
	dst = append(dst, r.line...)
	for rest := r.fields; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n') + 1
		if line := rest[:i-1]; r.Status == 101 || !isField(line, "Connection") && !isField(line, "Keep-Alive") {
			dst = append(dst, rest[:i]...)
		}
		rest = rest[i:]
	}
	if !keepAlive && r.Status != 101 {
		dst = append(dst, "Connection: close\r\n"...)
	}
	return append(dst, "\r\n"...)
}
