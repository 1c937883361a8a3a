package engine

import (
	"slices"

	"github.com/sockeye-io/sockeye/netpoll"

	"github.com/sockeye-io/sockeye/proto/http1"
)

func (c *CORS) enabled() bool { return len(c.Origins) > 0 }

// reflects tells whether answers depend on the request's origin.
func (c *CORS) reflects() bool {
	return c.enabled() && (c.Credentials || !slices.Contains(c.Origins, "*"))
}

// appendHeaders appends the header lines for the answer to r, which is not used
// unless c reflects.
func (c *CORS) appendHeaders(dst []byte, r *http1.Request) []byte {
	if !c.enabled() {
		return dst
	}
	if !c.reflects() {
		return append(dst, "Access-Control-Allow-Origin: *\r\n"...)
	}
	origin := r.Header("Origin")
	switch {
	case origin == nil || !validHeaderValue(origin) || !c.allows(origin):
		return append(dst, "Vary: Origin\r\n"...)
	}
	dst = append(dst, "Access-Control-Allow-Origin: "...)
	dst = append(dst, origin...)
	dst = append(dst, "\r\nVary: Origin\r\n"...)
	if c.Credentials {
		dst = append(dst, "Access-Control-Allow-Credentials: true\r\n"...)
	}
	return dst
}

func (c *CORS) allows(origin []byte) bool {
	for _, o := range c.Origins {
		if o == "*" || o == string(origin) {
			return true
		}
	}
	return false
}

// respondPreflight answers an OPTIONS request.
func (e *Engine) respondPreflight(c *netpoll.Conn, r *http1.Request) {
	extra := e.cfg.CORS.appendHeaders(nil, r)
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
