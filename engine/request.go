package engine

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// Request is a copy of the request that opened a session. It is immutable and
// may be read from any goroutine, for as long as the caller likes.
type Request struct {
	// RemoteAddr is the peer's address and port as the kernel tells it.
	RemoteAddr string
	// Time is when the request arrived.
	Time time.Time

	r   *netpoll.Request
	ctx context.Context //nolint:containedctx // the middleware's values; nil without
}

// Context has what Config.Middleware has put into the request's context.
func (r *Request) Context() context.Context {
	if r.ctx == nil {
		return context.Background()
	}
	return r.ctx
}

// HTTP makes a request for code that takes net/http's: without a body.
func (r *Request) HTTP() *http.Request {
	h := &http.Request{
		Method: r.Method(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: r.r.Minor, Header: r.Headers(),
		Body: http.NoBody, Host: string(r.r.Host), RemoteAddr: r.RemoteAddr, RequestURI: r.URL(),
	}
	if r.r.Minor == 0 {
		h.Proto = "HTTP/1.0"
	}
	var err error
	if h.URL, err = url.ParseRequestURI(r.URL()); err != nil {
		h.URL = &url.URL{Path: string(r.r.Path), RawQuery: string(r.r.RawQuery)}
	}
	return h
}

func newRequest(c *netpoll.Conn, r *netpoll.Request) *Request {
	return &Request{RemoteAddr: c.RemoteAddr(), Time: time.Now(), r: r.Clone()}
}

// Header is the first value of a header field; its name is case-insensitive.
func (r *Request) Header(name string) string { return string(r.r.Header(name)) }

// Headers copies all header fields.
func (r *Request) Headers() http.Header {
	h := http.Header{}
	r.r.EachHeader(func(name, value []byte) { h.Add(string(name), string(value)) })
	return h
}

// Method is the request's method: GET.
func (r *Request) Method() string { return string(r.r.Method) }

// URL is the path and query as the peer sent them.
func (r *Request) URL() string {
	if len(r.r.RawQuery) == 0 {
		return string(r.r.Path)
	}
	return string(r.r.Path) + "?" + string(r.r.RawQuery)
}

// Address is the peer's address without the port.
func (r *Request) Address() string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

// Secure tells whether a proxy in front says that it has ended TLS
// (X-Forwarded-Proto).
func (r *Request) Secure() bool {
	proto, _, _ := strings.Cut(r.Header("X-Forwarded-Proto"), ",")
	return strings.EqualFold(strings.TrimSpace(proto), "https")
}

// Query parses the query.
func (r *Request) Query() url.Values {
	v, _ := url.ParseQuery(string(r.r.RawQuery)) // what is malformed is left out
	return v
}
