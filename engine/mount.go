package engine

import (
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// Opens tells whether a request may open a session: where the engine is mounted in an
// http.Server, the handlers in front of it decide on each of them. It is for netpoll.
func (m Mux) Opens(r *http1.Request) bool {
	return m.find(r.Path) != nil && string(r.Method) != "OPTIONS" && len(parseQuery(r.RawQuery).sid) == 0
}

// arrival notes, in the request for a decision, what net/http knows of it.
func (r *Request) arrival(c *netpoll.Conn) *netpoll.Arrival {
	a := c.Arrival()
	if a != nil && a.Context != nil {
		r.ctx = &a.Context
		r.fleeting = !a.Keep
	}
	return a
}

// settleContext forgets a context that may not be kept.
func (r *Request) settleContext() {
	if r.fleeting {
		r.ctx, r.fleeting = nil, false
	}
}
