package sockeye

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Handshake is how a socket's session began: a copy, the caller's own.
type Handshake struct {
	Headers http.Header     // of the session's first request, as kept: see Config.MaxKeptHeadBytes
	Query   url.Values      // of that request
	URL     string          // its path and query
	Time    time.Time       // when that request arrived
	Address string          // the client's address, without the port: see Request.Address
	Secure  bool            // the client speaks TLS: see Request.Secure
	XDomain bool            // it had an Origin header
	Auth    json.RawMessage // what the peer gave for its auth option, or nil
}

// Handshake tells how the socket's session began. Behind a proxy, Address is the
// proxy's, unless Config.TrustedProxies or Config.ProxyProtocol lists it.
func (s *Socket) Handshake() Handshake {
	r := s.engineSession().Request()
	h := Handshake{
		Headers: r.Headers(), Query: r.Query(), URL: r.URL(), Time: r.Time(),
		Address: r.Address(), Secure: r.Secure(), Auth: append(json.RawMessage(nil), s.who().auth...),
	}
	h.XDomain = h.Headers.Get("Origin") != ""
	return h
}
