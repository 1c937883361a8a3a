package engine

import (
	"bytes"
	"slices"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// Mux serves several engines on the same connections, each on its own path.
type Mux []*Engine

// Claims tells whether an engine serves path.
func (m Mux) Claims(path []byte) bool { return m.find(path) != nil }

func (m Mux) find(path []byte) *Engine {
	for _, e := range m {
		if bytes.HasPrefix(path, e.path) && !slices.Contains(e.cfg.Unclaimed, string(path)) {
			return e
		}
	}
	return nil
}

// HandleHead is for netpoll.
func (m Mux) HandleHead(c *netpoll.Conn, r *http1.Request) {
	// A POST is the one request whose body is of use.
	if e := m.find(r.Path); e != nil && string(r.Method) == "POST" {
		e.serve(c, r, false)
	}
}

// HandleRequest is for netpoll.
func (m Mux) HandleRequest(c *netpoll.Conn, r *http1.Request) {
	if e := m.find(r.Path); e != nil {
		e.serve(c, r, true)
	}
}

// HandleMessage is for netpoll.
func (m Mux) HandleMessage(c *netpoll.Conn, data []byte, binary bool) {
	if s, ok := c.Context.(*Session); ok {
		s.handleFrame(c, data, binary)
	}
}

// HandleQueue is for netpoll.
func (m Mux) HandleQueue(c *netpoll.Conn, bytes int, full bool) {
	if s, ok := c.Context.(*Session); ok && s.conn == c && s.transport == transportWebSocket {
		s.setQueued(bytes, full)
	}
}

// HandleClose is for netpoll.
func (m Mux) HandleClose(c *netpoll.Conn, err error) {
	var s *Session
	switch x := c.Context.(type) {
	case *Session:
		s = x
	case *httpConn:
		s = x.session
	}
	c.Context = nil
	if s != nil {
		s.connClosed(c, err)
	}
}
