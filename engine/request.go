package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// Request is a copy of the request that opened a session. It is immutable and
// may be read from any goroutine, for as long as the caller likes. It is kept in
// a compact form: what is read again and again is worth keeping.
type Request struct {
	at   int64            // Unix time in nanoseconds
	data string           // the session's sid, the connection's address, the client's, the head
	ctx  *context.Context // the middleware's values; nil without

	sidLen, addrLen uint16 // their bytes in data
	clientLen       uint8  // 0: the address is the connection's
	truncated       bool
	secure          bool
	fleeting        bool // ctx is not to be kept
}

// newRequest copies r.
func (e *Engine) newRequest(c *netpoll.Conn, r *http1.Request) Request {
	return e.newRequestWithin(c, r, nil, -1)
}

// keptFirst are the fields that are kept before others when not all can be.
var keptFirst = []string{
	"Cookie", "Authorization", "Origin", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
	"X-Real-IP", "Forwarded", "Referer", "Accept-Language",
}

// newRequestWithin copies r for a session with that sid, and of its head so much as
// fits into so many bytes.
func (e *Engine) newRequestWithin(c *netpoll.Conn, r *http1.Request, sid []byte, headBytes int) Request {
	buf := netpoll.NewBuffer(512)
	defer buf.Release()
	buf.B = append(buf.B, sid...)
	buf.B, _ = c.AppendRemoteAddr(buf.B) // nothing, if the peer has reset
	addrLen := len(buf.B) - len(sid)
	told := e.forwarded(c, r)
	buf.B = told.client.AppendTo(buf.B)
	clientLen := len(buf.B) - len(sid) - addrLen
	secure := told.scheme == "https" || told.scheme == "" && c.Secure()
	var truncated bool
	buf.B, truncated = r.AppendCompactWithin(buf.B, headBytes, keptFirst)
	req := Request{
		at: time.Now().UnixNano(), data: string(buf.B), sidLen: uint16(len(sid)), addrLen: uint16(addrLen),
		clientLen: uint8(clientLen), truncated: truncated, secure: secure,
	}
	if peer := c.PeerTLS(); peer != nil {
		ctx := context.WithValue(context.Background(), tlsKey{}, peer)
		req.ctx = &ctx
	}
	return req
}

// tlsKey finds, in the request's context, the TLS of a peer with a certificate.
type tlsKey struct{}

// TLS is the connection's, of a peer that has shown a certificate; nil for any other:
// see Secure. Config.Middleware must pass the context on that it is given, or one made
// of it.
func (r *Request) TLS() *tls.ConnectionState {
	state, _ := r.Context().Value(tlsKey{}).(*tls.ConnectionState)
	return state
}

// requestOf copies a request of net/http; nil if it cannot be one of ours.
func requestOf(r *http.Request, told forwarded) *Request {
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.Host)
	b := bytes.NewBuffer(head)
	h := r.Header.Clone()
	h.Del("Host")
	h.Del("Content-Length")
	h.Del("Transfer-Encoding")
	_ = h.Write(b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	var parsed http1.Request
	n, err := parsed.ParseHead(b.Bytes(), http1.HeadLimits{LineBytes: b.Len(), HeadBytes: b.Len(), Fields: b.Len()})
	if n == 0 || err != nil {
		return nil
	}
	data := told.client.AppendTo([]byte(r.RemoteAddr))
	clientLen := len(data) - len(r.RemoteAddr)
	return &Request{
		at: time.Now().UnixNano(), data: string(parsed.AppendCompact(data)), addrLen: uint16(len(r.RemoteAddr)), clientLen: uint8(clientLen),
		secure: told.scheme == "https" || told.scheme == "" && r.TLS != nil,
	}
}

// gone tells whether the peer had reset the connection when r was copied.
func (r *Request) gone() bool { return r.addrLen == 0 }

func (r *Request) sid() string { return r.data[:r.sidLen] }

// expand makes the request as it came.
func (r *Request) expand() *http1.Request {
	return http1.ExpandRequest(r.data[int(r.sidLen)+int(r.addrLen)+int(r.clientLen):])
}

// Truncated tells whether header fields are missing because the head was larger
// than Config.MaxKeptHeadBytes. What Config.Middleware, AllowRequest, GenerateID and
// OnRefused are given is never truncated.
func (r *Request) Truncated() bool { return r.truncated }

// RemoteAddr is the address and port of who is connected, as the kernel tells it, or a
// proxy by netpoll.Config.ProxyProtocol.
func (r *Request) RemoteAddr() string { return r.data[r.sidLen : r.sidLen+r.addrLen] }

// Time is when the request arrived.
func (r *Request) Time() time.Time { return time.Unix(0, r.at) }

// Context has what Config.Middleware has put into the request's context. Where the
// engine is mounted in an http.Server it has, while Middleware and AllowRequest decide,
// what net/http's has.
func (r *Request) Context() context.Context {
	if r.ctx == nil {
		return context.Background()
	}
	return *r.ctx
}

// HTTP makes a request for code that takes net/http's: without a body.
func (r *Request) HTTP() *http.Request {
	in := r.expand()
	h := &http.Request{
		Method: string(in.Method), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: in.Minor, Header: headers(in),
		Body: http.NoBody, Host: string(in.Host), RemoteAddr: r.RemoteAddr(), RequestURI: pathAndQuery(in),
		TLS: r.TLS(),
	}
	if in.Minor == 0 {
		h.Proto = "HTTP/1.0"
	}
	var err error
	if h.URL, err = url.ParseRequestURI(h.RequestURI); err != nil {
		h.URL = &url.URL{Path: string(in.Path), RawQuery: string(in.RawQuery)}
	}
	return h
}

// Header is the first value of a header field; its name is case-insensitive.
func (r *Request) Header(name string) string { return string(r.expand().Header(name)) }

// Headers copies all header fields.
func (r *Request) Headers() http.Header { return headers(r.expand()) }

func headers(r *http1.Request) http.Header {
	h := http.Header{}
	r.EachHeader(func(name, value []byte) { h.Add(string(name), string(value)) })
	return h
}

// Method is the request's method: GET.
func (r *Request) Method() string { return string(r.expand().Method) }

// URL is the path and query as the peer sent them.
func (r *Request) URL() string { return pathAndQuery(r.expand()) }

func pathAndQuery(r *http1.Request) string {
	if len(r.RawQuery) == 0 {
		return string(r.Path)
	}
	return string(r.Path) + "?" + string(r.RawQuery)
}

// Address is the client's address: as proxies of Config.TrustedProxies tell it, else
// RemoteAddr without the port.
func (r *Request) Address() string {
	if r.clientLen > 0 {
		from := int(r.sidLen) + int(r.addrLen)
		return r.data[from : from+int(r.clientLen)]
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr()); err == nil {
		return host
	}
	return r.RemoteAddr()
}

// Secure tells whether the client speaks TLS: as proxies of Config.TrustedProxies tell
// it, else whether the connection does, or has in front of a proxy of
// netpoll.Config.ProxyProtocol that tells it.
func (r *Request) Secure() bool { return r.secure }

// Query parses the query.
func (r *Request) Query() url.Values {
	v, _ := url.ParseQuery(string(r.expand().RawQuery)) // what is malformed is left out
	return v
}
