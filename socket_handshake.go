package sockeye

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
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

// wireHandshake is a Handshake as the reference writes it for other servers.
type wireHandshake struct {
	Headers map[string]any  `json:"headers"` // a string, or a list of them, by the name in lower case
	Time    string          `json:"time"`
	Address string          `json:"address"`
	XDomain bool            `json:"xdomain"`
	Secure  bool            `json:"secure"`
	Issued  int64           `json:"issued"` // ms
	URL     string          `json:"url"`
	Query   map[string]any  `json:"query"`
	Auth    json.RawMessage `json:"auth"`
}

// wire is the handshake for other servers.
func (h Handshake) wire(srv *Server) json.RawMessage {
	w := wireHandshake{
		Headers: map[string]any{}, Time: h.Time.UTC().Format(time.RFC1123), Address: h.Address, XDomain: h.XDomain, Secure: h.Secure,
		Issued: h.Time.UnixMilli(), URL: h.URL, Query: map[string]any{}, Auth: json.RawMessage("{}"),
	}
	for name, values := range h.Headers {
		w.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	for name, values := range h.Query {
		if w.Query[name] = any(values); len(values) == 1 {
			w.Query[name] = values[0]
		}
	}
	if h.Auth != nil {
		w.Auth = h.Auth
		if srv.cfg.Parser != nil { // it is in the Parser's form
			var v any
			_ = srv.cfg.Parser.Unmarshal(h.Auth, &v)
			w.Auth, _ = json.Marshal(v)
		}
	}
	b, err := json.Marshal(w)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

// handshakeOf reads what another server has written; what cannot be read is left out.
func handshakeOf(wire json.RawMessage) Handshake {
	var w wireHandshake
	_ = json.Unmarshal(wire, &w) // the rest is there all the same
	h := Handshake{
		Headers: http.Header{}, Query: url.Values{}, URL: w.URL, Time: time.UnixMilli(w.Issued), Address: w.Address,
		Secure: w.Secure, XDomain: w.XDomain, Auth: w.Auth,
	}
	for name, v := range w.Headers {
		for _, s := range texts(v) {
			h.Headers.Add(name, s)
		}
	}
	for name, v := range w.Query {
		for _, s := range texts(v) {
			h.Query.Add(name, s)
		}
	}
	return h
}

// texts are the strings in v: itself, or those of a list.
func texts(v any) (list []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			list = append(list, texts(x)...)
		}
	}
	return list
}
