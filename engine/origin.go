package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// Browsers send with a request which origin the page has that makes it, and let any
// page make a WebSocket. So an origin is looked at before anything else is done: a page
// of another host could act as its visitor, with the visitor's cookies. One decision
// says who may connect and who may read the answers (CORS):
//
//	Origin of the request             may connect   header lines of CORS
//	--------------------------------  ------------  ---------------------------------
//	none: not a browser, or a GET of  yes           none
//	a page of this host
//	this host's (Host)                yes           its own, if any origin is allowed
//	allowed: Origins, AllowOrigin     yes           its own; "*" if Origins has "*"
//	any other, "null"                 no: 403       none

// originRules are Config.Origins. Immutable after New.
type originRules struct {
	any, null bool
	list      []originRule
}

// originRule is one entry.
type originRule struct {
	origin
	below   bool // the host is the end of the allowed ones, with a dot in front
	anyPort bool
}

// origin is a serialized origin, in parts (RFC 6454, section 6.1).
type origin struct{ scheme, host, port string }

// cutOrigin cuts an origin; ok is false for what is none.
func cutOrigin(s string) (o origin, ok bool) {
	scheme, authority, found := strings.Cut(s, "://")
	if !found || scheme == "" || strings.ContainsAny(authority, "/?#@\\ \t,") {
		return o, false
	}
	o.scheme = scheme
	if o.host, o.port, ok = cutPort(authority); !ok {
		return o, false
	}
	if o.port == defaultPort(scheme) {
		o.port = ""
	}
	return o, true
}

// cutPort cuts an authority without userinfo into host and port. An IPv6 address loses
// its brackets, and may have none: xmlhttprequest-ssl sends it so in Host.
func cutPort(s string) (host, port string, ok bool) {
	if rest, ipv6 := strings.CutPrefix(s, "["); ipv6 {
		host, rest, ok = strings.Cut(rest, "]")
		if rest != "" {
			port, ok = strings.CutPrefix(rest, ":")
		}
		return host, port, ok
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", true
}

func defaultPort(scheme string) string {
	switch {
	case strings.EqualFold(scheme, "https"):
		return "443"
	case strings.EqualFold(scheme, "http"):
		return "80"
	}
	return ""
}

// isHost tells whether a page of that origin is one of the host that the request is
// for. Whether TLS ends in front of this server is not known, so that the scheme
// counts by its port alone; see judge.
func (o origin) isHost(hostField string) bool {
	if o.host == "" || defaultPort(o.scheme) == "" { // an app's, an extension's
		return false
	}
	host, port, ok := cutPort(hostField)
	if port == defaultPort(o.scheme) {
		port = ""
	}
	return ok && strings.EqualFold(host, o.host) && port == o.port
}

func (r *originRule) allows(o origin) bool {
	switch {
	case !strings.EqualFold(o.scheme, r.scheme), !r.anyPort && o.port != r.port:
		return false
	case r.below:
		n := len(o.host) - len(r.host)
		return n > 0 && strings.EqualFold(o.host[n:], r.host)
	}
	return strings.EqualFold(o.host, r.host)
}

// parse makes a rule of an entry, or tells what is wrong with it.
func (r *originRules) parse(entry string) error {
	switch entry {
	case "*":
		r.any = true
		return nil
	case "null":
		r.null = true
		return nil
	}
	scheme, authority, found := strings.Cut(entry, "://")
	switch path := strings.IndexAny(authority, "/?#"); {
	case !found || !validScheme(scheme):
		return fmt.Errorf("has no scheme: write %q, or \"*\" for any origin", "https://"+strings.TrimLeft(entry, "/:"))
	case strings.EqualFold(scheme, "ws"), strings.EqualFold(scheme, "wss"):
		return fmt.Errorf("is no origin of a page, whatever it connects by: write %q", "http"+scheme[len("ws"):]+"://"+authority)
	case strings.ContainsAny(authority, "@\\ \t,"):
		return fmt.Errorf("is no origin: write one scheme, host and port, as %q", "https://example.org:8443")
	case path >= 0:
		return fmt.Errorf("has a path, which an origin has not: write %q", scheme+"://"+authority[:path])
	}
	o, ok := cutOrigin(entry)
	if !ok {
		return fmt.Errorf("is no origin: write %q", "https://example.org:8443")
	}
	rule := originRule{origin: o}
	if o.port == "*" {
		rule.anyPort, rule.port = true, ""
	}
	if below, ok := strings.CutPrefix(o.host, "*."); ok {
		rule.below, rule.host = true, "."+below
	}
	switch {
	case strings.Contains(rule.host, "*"):
		return fmt.Errorf("has a \"*\" where none may be: write it for what is in front of the host, as %q, or for the port, as %q; or use AllowOrigin", "https://*.example.org", "http://localhost:*")
	case rule.host == "." || rule.host == "" && (defaultPort(o.scheme) != "" || o.port != "" || rule.anyPort):
		return fmt.Errorf("has no host: write %q", o.scheme+"://example.org")
	case strings.ContainsFunc(rule.host, func(c rune) bool { return c > 0x7e || c <= ' ' }):
		return fmt.Errorf("has a host that browsers send otherwise: write it in ASCII, as \"https://xn--bcher-kva.example\"")
	case strings.ContainsFunc(rule.port, func(c rune) bool { return c < '0' || c > '9' }):
		return fmt.Errorf("has the port %q: write a number, or \"*\"", rule.port)
	}
	r.list = append(r.list, rule)
	return nil
}

func validScheme(s string) bool {
	for i, c := range []byte(s) {
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (i == 0 || c-'0' > 9 && !strings.ContainsRune("+-.", rune(c))) {
			return false
		}
	}
	return s != ""
}

// allowsOrigins tells whether any other origin than the host's may be allowed.
func (e *Engine) allowsOrigins() bool {
	return len(e.cfg.Origins) > 0 || e.cfg.AllowOrigin != nil
}

// verdict is what is thought of a request's origin.
type verdict uint8

const (
	noOrigin verdict = iota
	sameHost
	allowedOrigin
	foreignOrigin
)

// judge decides on an origin by the lists.
//
// scheme is that of the request, "" if it is not known.
func (e *Engine) judge(from, host, scheme string) verdict {
	if from == "" {
		return noOrigin
	}
	if e.origins.any {
		return allowedOrigin
	}
	o, ok := cutOrigin(from)
	switch {
	case from == "null" && e.origins.null:
		return allowedOrigin
	case ok && o.isHost(host) && (scheme == "" || strings.EqualFold(o.scheme, scheme)):
		return sameHost
	}
	for i := range e.origins.list {
		if ok && e.origins.list[i].allows(o) {
			return allowedOrigin
		}
	}
	return foreignOrigin
}

func (e *Engine) askAllowOrigin(c *netpoll.Conn, from string, r *Request) (allowed bool) {
	e.protect("AllowOrigin", c, func() { allowed = e.cfg.AllowOrigin(from, r) })
	return allowed
}

// checkOrigin refuses a request of a page that may not connect; it tells whether it
// has.
func (e *Engine) checkOrigin(c *netpoll.Conn, r *http1.Request, q query) (refused bool) {
	from := r.Header("Origin")
	if len(from) == 0 {
		if q.jsonp == nil || e.origins.any {
			return false
		}
		// A script has no Origin, whatever page it is on. Browsers since 2020 tell whether
		// it is another's.
		if site := string(r.Header("Sec-Fetch-Site")); site != "cross-site" && site != "same-site" {
			return false
		}
		from = originOfURL(r.Header("Referer"))
	}
	if !validHeaderValue(from) {
		return false // refused as the reference server does it
	}
	told := e.forwarded(c, r)
	host, scheme := cmp.Or(told.host, string(r.Host)), told.schemeOf(c)
	if r.HeaderCount("Origin") <= 1 {
		if e.judge(string(from), host, scheme) != foreignOrigin {
			return false
		}
		if e.cfg.AllowOrigin != nil {
			req := e.newRequest(c, r)
			if e.askAllowOrigin(c, string(from), &req) {
				return false
			}
		}
	}
	e.warnOrigin(string(from), host)
	why := fmt.Sprintf("Origin %q is not allowed: Host is %q", from, host)
	if scheme != "" {
		why += ", by " + scheme
	}
	e.refuseText(c, r, errForeign, errForeign.message, why)
	return true
}

// originOfURL is the origin of a URL; "null" for what has none.
func originOfURL(u []byte) []byte {
	scheme, rest, ok := bytes.Cut(u, []byte("://"))
	if !ok {
		return []byte("null")
	}
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return u[:len(scheme)+len("://")+len(rest)]
}

// maxWarned bounds the origins of which the log is told: any page, and anybody else, can
// make one up.
const maxWarned = 16

// warned are the foreign origins of which the log has been told.
type warned struct {
	// Guarded by mu.
	mu   sync.Mutex
	seen map[string]struct{}
}

// first tells whether the origin is new and worth a warning; last that no more are.
func (w *warned) first(from string) (ok, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, seen := w.seen[from]; seen || len(w.seen) >= maxWarned {
		return false, false
	}
	if w.seen == nil {
		w.seen = map[string]struct{}{}
	}
	w.seen[strings.Clone(from)] = struct{}{}
	return true, len(w.seen) == maxWarned
}

// warnOrigin tells the log, once for each origin, how it would be let in.
func (e *Engine) warnOrigin(from, host string) {
	if len(from) > 256 {
		return // it is a browser's no more; Debug tells
	}
	ok, last := e.warned.first(from)
	if !ok {
		return
	}
	args := []any{"origin", from, "host", host, "to let it in", fmt.Sprintf("Config{Origins: []string{%q}}", from)}
	if o, ok := cutOrigin(from); ok && defaultPort(o.scheme) != "" {
		args = append(args, "if it is this server's own", "have the proxy in front pass Host on as it came")
	}
	if last {
		args = append(args, "further origins", "are told at Debug only")
	}
	e.cfg.Logger.Warn("engine: a page of another origin was refused; it may not connect unless the configuration says so", args...)
}

// appendCORS appends the header lines of CORS for the answer to r, whose origin may
// connect: it has been looked at.
func (e *Engine) appendCORS(dst []byte, r *http1.Request) []byte {
	switch {
	case !e.allowsOrigins():
		return dst
	case e.origins.any:
		return append(dst, "Access-Control-Allow-Origin: *\r\n"...)
	}
	from := r.Header("Origin")
	if len(from) == 0 || !validHeaderValue(from) {
		return append(dst, "Vary: Origin\r\n"...)
	}
	dst = append(dst, "Access-Control-Allow-Origin: "...)
	dst = append(dst, from...)
	dst = append(dst, "\r\nVary: Origin\r\n"...)
	if e.cfg.Credentials {
		dst = append(dst, "Access-Control-Allow-Credentials: true\r\n"...)
	}
	return dst
}

// AddCORS adds, to the header of an answer beside the engine's, what lets a page read
// it whose origin may connect: nothing for other pages. Any goroutine.
func (e *Engine) AddCORS(h http.Header, r *http.Request) {
	switch {
	case !e.allowsOrigins():
		return
	case e.origins.any:
		h.Set("Access-Control-Allow-Origin", "*")
		return
	}
	h.Add("Vary", "Origin")
	from := r.Header.Values("Origin")
	if len(from) != 1 || !validHeaderValue([]byte(from[0])) {
		return
	}
	told := e.forwardedHTTP(r)
	allowed := e.judge(from[0], cmp.Or(told.host, r.Host), told.scheme) != foreignOrigin
	if !allowed && e.cfg.AllowOrigin != nil {
		req := requestOf(r, told)
		allowed = req != nil && e.askAllowOrigin(nil, from[0], req)
	}
	if allowed {
		h.Set("Access-Control-Allow-Origin", from[0])
		if e.cfg.Credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	}
}

// respondPreflight answers an OPTIONS request.
func (e *Engine) respondPreflight(c *netpoll.Conn, r *http1.Request) {
	extra := e.appendCORS(nil, r)
	extra = append(extra, "Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE\r\n"...)
	if asked := r.Header("Access-Control-Request-Headers"); asked != nil && validHeaderValue(asked) {
		extra = append(extra, "Vary: Access-Control-Request-Headers\r\nAccess-Control-Allow-Headers: "...)
		extra = append(extra, asked...)
		extra = append(extra, "\r\n"...)
	}
	buf := netpoll.NewBuffer(512)
	buf.B = appendHead(buf.B, c, 204, "", 0, extra)
	c.Respond(buf)
	buf.Release()
}
