package http1

import "bytes"

// Request is one HTTP request. Its byte slices are views: borrowed until the
// handler it was given to returns, and never to be written to. Clone makes a
// copy that lasts. It is not safe for use by several goroutines at once, except
// that any number may read a clone.
type Request struct {
	// Method is case-sensitive (RFC 9110 section 9.1).
	Method []byte
	// Target is the request target as it was sent: Path, and RawQuery if there
	// was a "?"; in absolute-form a scheme and an authority come first.
	Target []byte
	// Path begins with "/", percent-encodings left as they are; or it is "*" in
	// an OPTIONS request for the server as a whole.
	Path []byte
	// RawQuery is what follows the first "?", nil if there is none.
	RawQuery []byte
	// Host is the authority the request is for: that of an absolute-form
	// target, else the Host field's. Empty only in HTTP/1.0. The peer chose it:
	// never decide on access by it.
	Host []byte
	// Body is the whole content, nil if there is none or it was too large.
	Body []byte

	// ContentLength is the declared size of the content in bytes, 0 if there is
	// none, -1 if it is chunked.
	ContentLength int64
	// Minor is the minor version of HTTP/1: 0 or 1.
	Minor int

	// Oversize says that the content was larger than the limit and is not here.
	Oversize bool
	// Chunked says that the content came, or comes, in chunks.
	Chunked bool
	// KeepAlive says that the peer expects the connection to stay open after
	// the response (RFC 9112 section 9.3).
	KeepAlive bool
	// Expect100 says that the peer waits for 100 Continue before it sends the
	// content (RFC 9110 section 10.1.1).
	Expect100 bool
	// UpgradeWebSocket says that Connection names upgrade and Upgrade names
	// websocket. What else RFC 6455 section 4.2.1 asks for is not checked yet.
	UpgradeWebSocket bool

	head   []byte // request line and field lines, each with its CRLF
	fields []byte // the part of head that holds the field lines
}

func (r *Request) reset() { *r = Request{} }

// Header returns the value of the first field with that name, in any case, nil
// if there is none. The value of an empty field is not nil.
func (r *Request) Header(name string) []byte {
	for rest := r.fields; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if isField(rest[:i], name) {
			return trimOWS(rest[len(name)+1 : i-1])
		}
		rest = rest[i+1:]
	}
	return nil
}

// HeaderCount tells how many fields have that name, in any case.
func (r *Request) HeaderCount(name string) int {
	n := 0
	for rest := r.fields; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if isField(rest[:i], name) {
			n++
		}
		rest = rest[i+1:]
	}
	return n
}

// EachHeader calls f with each field, in the order they were sent, the name as
// it was written.
func (r *Request) EachHeader(f func(name, value []byte)) {
	for rest := r.fields; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		colon := bytes.IndexByte(rest, ':')
		f(rest[:colon], trimOWS(rest[colon+1:i-1]))
		rest = rest[i+1:]
	}
}

// isField tells whether a field line has the given name.
func isField(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && equalFold(line[:len(name)], name)
}

// Clone returns a copy that owns its bytes, in two allocations of just the size
// needed.
func (r *Request) Clone() *Request {
	c := new(Request)
	*c = *r
	own := make([]byte, len(r.head)+len(r.Body))
	n := copy(own, r.head)
	copy(own[n:], r.Body)
	c.head = own[:n:n]
	if r.Body != nil {
		c.Body = own[n:]
	}
	c.setViews(len(r.Method), len(r.Target), len(r.head)-len(r.fields))
	return c
}

// setViews derives the views from a head that has been validated.
func (r *Request) setViews(method, target, fields int) {
	r.Method = r.head[:method:method]
	r.Target = r.head[method+1 : method+1+target : method+1+target]
	r.fields = r.head[fields:]
	t, _ := splitTarget(r.Target)
	r.Path, r.RawQuery, r.Host = t.path, t.query, t.authority
	if t.authority == nil {
		r.Host = r.Header("Host")
	}
}
