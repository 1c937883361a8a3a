package engine

import (
	"bytes"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// A proxy that speaks for many clients tells, by fields of each request, whose it is.
// They count if the connection is one of Config.TrustedProxies; from anybody else they
// are what a client has made up.
//
//	X-Forwarded-For: (client's own words,) client, proxy 1      <- proxy 2, who is connected
//	X-Forwarded-Proto: https
//	Forwarded: for=client;proto=https, for="[proxy 1]"          looked at if no X-Forwarded is there
//
// docs/decisions/0013-proxies.md tells why so.

// forwarded is what trusted proxies tell of a request.
type forwarded struct {
	client netip.Addr // zero: they tell none, or none is trusted
	scheme string     // "http" or "https", "" if it is not known
	host   string     // that the client has asked for; "" if it is not known
}

// maxHops bounds the trusted proxies behind each other.
const maxHops = 64

// proxyFields are the values of the fields, in order.
type proxyFields struct{ client, scheme, host, forwarded []string }

func (f *proxyFields) add(name []byte, value string) {
	switch {
	case bytes.EqualFold(name, xForwardedFor):
		f.client = append(f.client, value)
	case bytes.EqualFold(name, xForwardedProto):
		f.scheme = append(f.scheme, value)
	case bytes.EqualFold(name, xForwardedHost):
		f.host = append(f.host, value)
	case bytes.EqualFold(name, forwardedField):
		f.forwarded = append(f.forwarded, value)
	}
}

var (
	xForwardedFor   = []byte("X-Forwarded-For")
	xForwardedProto = []byte("X-Forwarded-Proto")
	xForwardedHost  = []byte("X-Forwarded-Host")
	forwardedField  = []byte("Forwarded")
)

// forwarded is what is believed of a request.
func (e *Engine) forwarded(c *netpoll.Conn, r *http1.Request) forwarded {
	if !c.RemoteIs(e.cfg.TrustedProxies) {
		return forwarded{}
	}
	var f proxyFields
	r.EachHeader(func(name, value []byte) {
		if len(name) >= len(forwardedField) && (name[0]|0x20 == 'x' || name[0]|0x20 == 'f') {
			f.add(name, string(value))
		}
	})
	return f.read(e.cfg.TrustedProxies)
}

// forwardedHTTP is forwarded for a request at net/http.
func (e *Engine) forwardedHTTP(r *http.Request) forwarded {
	from, _ := netip.ParseAddrPort(r.RemoteAddr) // none: a Unix socket
	if !netpoll.Among(e.cfg.TrustedProxies, from.Addr()) {
		return forwarded{}
	}
	f := proxyFields{
		client: r.Header.Values("X-Forwarded-For"), scheme: r.Header.Values("X-Forwarded-Proto"),
		host: r.Header.Values("X-Forwarded-Host"), forwarded: r.Header.Values("Forwarded"),
	}
	return f.read(e.cfg.TrustedProxies)
}

// schemeOf is the scheme that the client has used, "" if it is not known.
func (f *forwarded) schemeOf(c *netpoll.Conn) string {
	if f.scheme == "" && c != nil && c.SecureInFront() {
		return "https"
	}
	return f.scheme
}

// read follows the trusted proxies from the one that is connected to the client.
func (f *proxyFields) read(trusted []netip.Prefix) (told forwarded) {
	if len(f.client)+len(f.scheme)+len(f.host) == 0 {
		return f.readForwarded(trusted)
	}
	at := 0 // of the entry that tells of the client, from the right
	for entries := (backwards{lines: f.client}); at < maxHops; at++ {
		entry, ok := entries.next()
		if !ok {
			at = max(at-1, 0) // all are trusted: the last is as far as one can see
			break
		}
		a, ok := parseNode(entry)
		if !ok {
			break
		}
		told.client = a
		if !netpoll.Among(trusted, a) {
			break
		}
	}
	scheme, _ := (&backwards{lines: f.scheme}).at(at)
	told.scheme = schemeNamed(scheme)
	if host, _ := (&backwards{lines: f.host}).at(at); http1.ValidHost(host) {
		told.host = host
	}
	return told
}

// backwards gives the entries of comma-separated lists from the last one on.
type backwards struct {
	lines []string
	rest  string // of the line that is read
	in    bool   // one is
}

func (b *backwards) next() (entry string, ok bool) {
	if !b.in {
		if len(b.lines) == 0 {
			return "", false
		}
		b.rest, b.in = b.lines[len(b.lines)-1], true
		b.lines = b.lines[:len(b.lines)-1]
	}
	i := strings.LastIndexByte(b.rest, ',')
	entry = strings.Trim(b.rest[i+1:], " \t")
	if b.in = i >= 0; b.in {
		b.rest = b.rest[:i]
	}
	return entry, true
}

// at is the entry so far from the right, the leftmost if there are fewer.
func (b *backwards) at(n int) (entry string, ok bool) {
	for ; n >= 0; n-- {
		further, more := b.next()
		if !more {
			break
		}
		entry, ok = further, true
	}
	return entry, ok
}

// parseNode reads an address, with or without a port: an IPv6 one with a port has
// brackets. Zones mean nothing on another host.
func parseNode(s string) (a netip.Addr, ok bool) {
	if len(s) > 64 {
		return a, false
	}
	host, port, has := s, "", false
	bracketed := strings.HasPrefix(s, "[")
	if bracketed {
		if host, port, ok = strings.Cut(s[1:], "]"); !ok {
			return a, false
		}
		if port != "" {
			if port, has = strings.CutPrefix(port, ":"); !has {
				return a, false
			}
		}
	} else if strings.Count(s, ":") == 1 {
		host, port, has = strings.Cut(s, ":")
	}
	if has && !validNodePort(port) {
		return a, false
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" || bracketed && !a.Is6() {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// validNodePort: digits, or obfuscated (RFC 7239, section 6.2).
func validNodePort(s string) bool {
	if name, ok := strings.CutPrefix(s, "_"); ok {
		return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
			return !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
		})
	}
	return s != "" && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}

// schemeNamed knows what proxies write: of a WebSocket, some have wss.
func schemeNamed(s string) string {
	switch {
	case strings.EqualFold(s, "https"), strings.EqualFold(s, "wss"):
		return "https"
	case strings.EqualFold(s, "http"), strings.EqualFold(s, "ws"):
		return "http"
	}
	return ""
}

// element is one proxy's word in Forwarded (RFC 7239, section 4).
type element struct{ node, scheme, host string }

// elements are the last of a line.
type elements struct {
	ring [maxHops]element
	n    int // how many there were
}

func (f *proxyFields) readForwarded(trusted []netip.Prefix) (told forwarded) {
	hops := 0
	var line elements
	for i := len(f.forwarded) - 1; i >= 0; i-- {
		if !line.parse(f.forwarded[i]) {
			return told
		}
		for k := line.n - 1; k >= max(0, line.n-maxHops); k-- {
			x := &line.ring[k%maxHops]
			if scheme := schemeNamed(x.scheme); scheme != "" {
				told.scheme = scheme
			}
			if http1.ValidHost(x.host) {
				told.host = x.host
			}
			a, ok := parseNode(x.node)
			if !ok {
				return told
			}
			told.client = a
			if hops++; hops == maxHops || !netpoll.Among(trusted, a) {
				return told
			}
		}
	}
	return told
}

// parse reads a line; it is false for one that is malformed.
//
//	Forwarded: for=192.0.2.43;proto=https, for="[2001:db8::1]:4711"
func (l *elements) parse(s string) bool {
	l.n = 0
	var x element
	var seen [3]bool
	some := false
	for {
		s = strings.TrimLeft(s, " \t")
		if i := strings.IndexAny(s, "=,;"); i >= 0 && s[i] == '=' {
			name := s[:i]
			value, rest, ok := cutValue(s[i+1:])
			if !ok || !isToken(name) {
				return false
			}
			some = true
			for k, param := range []struct {
				name string
				to   *string
			}{{"for", &x.node}, {"proto", &x.scheme}, {"host", &x.host}} {
				if strings.EqualFold(name, param.name) {
					if seen[k] {
						return false // a parameter is there once
					}
					*param.to, seen[k] = value, true
				}
			}
			s = strings.TrimLeft(rest, " \t")
		}
		switch {
		case s != "" && s[0] == ';':
			s = s[1:]
			continue
		case s != "" && s[0] != ',':
			return false
		}
		if some { // empty ones are passed over
			l.ring[l.n%maxHops] = x
			l.n++
			x, seen, some = element{}, [3]bool{}, false
		}
		if s == "" {
			return true
		}
		s = s[1:]
	}
}

// cutValue cuts a token or a quoted string off. One with a backslash is valid, and
// none that means something here.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, " \t,;")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], isToken(s[:i]) || nodeToken(s[:i])
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[1:i], s[i+1:], true
		}
	}
	return "", "", false
}

// nodeToken: addresses with a colon have to be quoted, and often are not.
func nodeToken(s string) bool {
	_, ok := parseNode(s)
	return ok
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
