package http1

import "bytes"

// HeadLimits bounds the head of a request.
type HeadLimits struct {
	LineBytes int // of the request line, without its CRLF: beyond, 414
	HeadBytes int // of the whole head, blank line included: beyond, 431
	Fields    int // number of field lines: beyond, 431
}

// DefaultHeadLimits is wide enough for browsers behind proxies.
var DefaultHeadLimits = HeadLimits{LineBytes: 8 << 10, HeadBytes: 16 << 10, Fields: 100}

// What is refused in a head. They are compared by address in tests, and cost
// no allocation.
var (
	errNotHTTP       = &Error{400, "the request line is malformed"}
	errBareLF        = &Error{400, "a line does not end in CRLF"}
	errVersionSyntax = &Error{400, "the HTTP version is malformed"}
	errVersion       = &Error{505, "only HTTP/1.0 and HTTP/1.1 are spoken here"}
	errTarget        = &Error{400, "the request target is malformed"}
	errConnect       = &Error{501, "CONNECT is not supported"}
	errMethodTooLong = &Error{501, "no method is that long"}
	errLineTooLong   = &Error{414, "the request line is too long"}
	errHeadTooLarge  = &Error{431, "the head of the request is too large"}
	errFields        = &Error{431, "the request has too many fields"}
	errFold          = &Error{400, "a field line begins with white space"}
	errFieldName     = &Error{400, "a field name is malformed"}
	errFieldValue    = &Error{400, "a field value has a character that is not allowed"}
	errNoHost        = &Error{400, "the Host field is missing"}
	errHosts         = &Error{400, "there is more than one Host field"}
	errHost          = &Error{400, "the Host field is malformed"}
	errLength        = &Error{400, "the Content-Length field is malformed"}
	errLengths       = &Error{400, "there is more than one Content-Length field"}
	errCoding        = &Error{400, "the Transfer-Encoding field is malformed"}
	errCodingUnknown = &Error{501, "no other transfer coding than chunked is supported"}
	errCodingOld     = &Error{400, "HTTP/1.0 has no Transfer-Encoding"}
	errFraming       = &Error{400, "both Transfer-Encoding and Content-Length are present"}
	errExpect        = &Error{417, "no other expectation than 100-continue can be met"}
)

// headFacts is what the fields say about framing and the connection.
type headFacts struct {
	host     []byte
	hosts    int
	length   int64
	lengths  int
	codings  int
	expect   bool // 100-continue
	mustFail bool // another expectation

	closing, keepAlive, upgrade, websocket bool
}

// ParseHead reads the head that begins b, strictly by RFC 9112, and makes r's
// slices views of it; r is good for reuse. n is the length of the head, blank
// line included; n == 0 without an error means that more is needed. The result
// does not depend on how much follows: an error for some prefix of a head is
// the error for the whole, and limits hold for a part of a head as well.
func (r *Request) ParseHead(b []byte, lim HeadLimits) (n int, err *Error) {
	r.reset()
	start := 0
	// "ignore at least one empty line (CRLF) received prior to the
	// request-line" (section 2.2).
	if len(b) > 0 && b[0] == '\r' {
		if len(b) > 1 && b[1] != '\n' {
			return 0, errNotHTTP
		}
		start = 2
	}
	if len(b) <= start {
		return 0, nil
	}
	if charClass[b[start]]&isToken == 0 {
		return 0, errNotHTTP // TLS, for instance: no need to wait for the line's end
	}

	// Below lim.HeadBytes, so that a line too long is never seen as a head too large.
	maxLine := min(lim.LineBytes, lim.HeadBytes-4)
	i := bytes.IndexByte(b[start:], '\n')
	switch {
	case i > maxLine+1, i < 0 && len(b)-start > maxLine+1:
		if longMethod(b[start:], maxLine) {
			return 0, errMethodTooLong
		}
		return 0, errLineTooLong
	case i < 0:
		return 0, nil
	case b[start+i-1] != '\r':
		return 0, errBareLF
	}
	method, target, err := r.parseRequestLine(b[start : start+i-1])
	if err != nil {
		return 0, err
	}

	var facts headFacts
	fields := start + i + 1
	pos := fields
	for count := 0; ; count++ {
		i := bytes.IndexByte(b[pos:], '\n')
		switch {
		case i < 0 && len(b) <= lim.HeadBytes:
			return 0, nil
		case i < 0 || pos+i+1 > lim.HeadBytes:
			return 0, errHeadTooLarge
		case i == 0 || b[pos+i-1] != '\r':
			return 0, errBareLF
		}
		line := b[pos : pos+i-1]
		if len(line) == 0 {
			n = pos + i + 1
			break
		}
		if count == lim.Fields {
			return 0, errFields
		}
		if err := facts.addField(line); err != nil {
			return 0, err
		}
		pos += i + 1
	}
	if err := r.judge(&facts, target); err != nil {
		return 0, err
	}
	r.head = b[start:pos:pos]
	r.Method = method
	r.fields = b[fields:pos:pos]
	return n, nil
}

// longMethod tells whether a line that is too long is so by its method (section 3).
func longMethod(line []byte, limit int) bool {
	return limit > maxMethodBytes && bytes.IndexByte(line[:maxMethodBytes], ' ') < 0
}

// maxMethodBytes is longer than any method that has been registered.
const maxMethodBytes = 64

// parseRequestLine checks method SP request-target SP HTTP-version (section 3)
// and sets what follows from it.
func (r *Request) parseRequestLine(line []byte) (method []byte, t target, err *Error) {
	sp := 0
	for sp < len(line) && charClass[line[sp]]&isToken != 0 {
		sp++
	}
	if sp == len(line) || line[sp] != ' ' {
		return nil, t, errNotHTTP
	}
	method = line[:sp:sp]
	rest := line[sp+1:]
	sp = bytes.IndexByte(rest, ' ')
	if sp <= 0 {
		return nil, t, errNotHTTP
	}
	switch version := rest[sp+1:]; {
	case string(version) == "HTTP/1.1":
		r.Minor = 1
	case string(version) == "HTTP/1.0":
		r.Minor = 0
	case len(version) == 8 && string(version[:5]) == "HTTP/" && isDigit(version[5]) && version[6] == '.' && isDigit(version[7]):
		return nil, t, errVersion
	default:
		return nil, t, errVersionSyntax
	}
	if string(method) == "CONNECT" {
		return nil, t, errConnect
	}
	r.Target = rest[:sp:sp]
	t, ok := splitTarget(r.Target)
	if !ok || !t.valid() || (t.path[0] == '*' && string(method) != "OPTIONS") {
		return nil, t, errTarget
	}
	r.Path, r.RawQuery = t.path, t.query
	return method, t, nil
}

// addField checks field-name ":" OWS field-value OWS (section 5) and notes what
// it says.
func (f *headFacts) addField(line []byte) *Error {
	n := 0
	for n < len(line) && charClass[line[n]]&isToken != 0 {
		n++
	}
	if n == len(line) || n == 0 || line[n] != ':' {
		if line[0] == ' ' || line[0] == '\t' {
			return errFold // section 5.2; and section 2.2 for the first line
		}
		return errFieldName
	}
	name, value := line[:n], trimOWS(line[n+1:])
	if !validFieldValue(value) {
		return errFieldValue
	}
	switch n {
	case len("host"):
		if equalFold(name, "host") {
			f.hosts++
			f.host = value
		}
	case len("expect"):
		if equalFold(name, "expect") {
			if equalFold(value, "100-continue") {
				f.expect = true
			} else {
				f.mustFail = true
			}
		}
	case len("upgrade"):
		if equalFold(name, "upgrade") && hasToken(value, "websocket") {
			f.websocket = true
		}
	case len("connection"):
		if equalFold(name, "connection") {
			f.closing = f.closing || hasToken(value, "close")
			f.keepAlive = f.keepAlive || hasToken(value, "keep-alive")
			f.upgrade = f.upgrade || hasToken(value, "upgrade")
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			f.lengths++
			var ok bool
			if f.length, ok = parseLength(value); !ok {
				return errLength
			}
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			f.codings++
			if !equalFold(value, "chunked") {
				return codingError(value)
			}
		}
	}
	return nil
}

// judge applies the rules that need the whole head.
func (r *Request) judge(f *headFacts, t target) *Error {
	// Section 3.2: exactly one Host, and that one valid. An empty one names no
	// http resource (RFC 9110 section 4.2.1).
	switch {
	case f.hosts > 1:
		return errHosts
	case f.hosts == 0 && r.Minor > 0:
		return errNoHost
	case f.hosts == 1 && !validHost(f.host) && (r.Minor > 0 || len(f.host) > 0):
		return errHost
	}
	r.Host = f.host
	if t.authority != nil {
		r.Host = t.authority // section 3.2.2: the Host field is ignored
	}

	// Section 6.3. Doubt about where a request ends is an attack on whoever
	// shares the connection: nothing is repaired.
	switch {
	case f.codings > 0 && r.Minor == 0:
		return errCodingOld
	case f.codings > 1:
		return errCoding
	case f.codings > 0 && f.lengths > 0:
		return errFraming
	case f.lengths > 1:
		return errLengths
	}
	r.ContentLength = f.length
	if f.codings > 0 {
		r.Chunked = true
		r.ContentLength = -1
	}

	// RFC 9110 section 10.1.1; an expectation in HTTP/1.0 is ignored.
	if r.Minor > 0 {
		if f.mustFail {
			return errExpect
		}
		r.Expect100 = f.expect && r.ContentLength != 0
	}

	r.KeepAlive = !f.closing && (r.Minor > 0 || f.keepAlive) // section 9.3
	// RFC 9110 section 7.8: ignored in HTTP/1.0.
	r.UpgradeWebSocket = r.Minor > 0 && f.upgrade && f.websocket
	return nil
}
