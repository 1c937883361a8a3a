package netpoll

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"slices"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// lenderFor is the lender of an http.Server in which the group is mounted: a server of
// its own with the same handler, times and hooks, so that its user sees one server.
func (g *Group) lenderFor(user *http.Server) *lender {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ln := g.lenders[user]; ln != nil {
		return ln
	}
	ln := newLender(g)
	ln.user = user
	s := ln.server
	s.ReadTimeout, s.ReadHeaderTimeout, s.WriteTimeout, s.IdleTimeout = user.ReadTimeout, user.ReadHeaderTimeout, user.WriteTimeout, user.IdleTimeout
	s.MaxHeaderBytes, s.DisableGeneralOptionsHandler = user.MaxHeaderBytes, user.DisableGeneralOptionsHandler
	s.ErrorLog, s.BaseContext = user.ErrorLog, user.BaseContext
	ours := s.ConnState
	s.ConnState = func(c net.Conn, state http.ConnState) {
		ours(c, state)
		if user.ConnState != nil {
			user.ConnState(c, state)
		}
	}
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		ctx = context.WithValue(ctx, http.ServerContextKey, user)
		if user.ConnContext != nil {
			ctx = user.ConnContext(ctx, c)
			if ctx == nil {
				panic("netpoll: ConnContext returned nil") // as net/http does
			}
		}
		return context.WithValue(ctx, lentKey{}, c)
	}
	if g.closed.Load() {
		s.SetKeepAlivesEnabled(false)
	}
	if g.lenders == nil {
		g.lenders = map[*http.Server]*lender{}
	}
	g.lenders[user] = ln
	ln.start()
	if g.cut {
		go ln.end()
	}
	user.RegisterOnShutdown(func() { s.SetKeepAlivesEnabled(false) })
	return ln
}

// allLenders are the lenders that there are; cut tells that those to come have ended.
func (g *Group) allLenders(cut bool) []*lender {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = g.cut || cut
	all := slices.Collect(maps.Values(g.lenders))
	if g.lender != nil {
		all = append(all, g.lender)
	}
	return all
}

// handler serves the unclaimed requests.
func (ln *lender) handler() http.Handler {
	switch {
	case ln.user == nil:
		return ln.g.cfg.Fallback
	case ln.user.Handler != nil:
		return ln.user.Handler
	}
	return http.DefaultServeMux
}

// serves tells whether net/http is to serve a request.
func (h *lentConn) serves(r *http1.Request) bool {
	return !h.g.handler.Claims(r.Path) || h.mountedBy() != nil && opens(h.g.handler, r)
}

func (h *lentConn) mountedBy() *lender {
	if h.mounted == nil {
		return nil
	}
	return h.mounted.by
}

// setReclaimed tells the connection that it is going to be hijacked for Place.Adopt, or
// is not after all. It is false if it cannot be any more.
func (h *lentConn) setReclaimed(on bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if on && h.state != lentServing {
		return false
	}
	h.reclaimed = on
	return true
}

// leaveHijacked makes a reclaimed connection a hijacked one.
func (h *lentConn) leaveHijacked() {
	h.mu.Lock()
	was := h.state
	if was == lentReclaimed {
		h.state = lentHijacked
	}
	h.mu.Unlock()
	if was == lentReclaimed {
		h.ln.give(h)
		h.post(hijackedLentOnLoop)
	}
}

// takeBack gives a reclaimed connection back to its loop, with the request in and what
// has been read behind it. It is false if the connection has ended.
func (h *lentConn) takeBack(m *mounted, in []byte) bool {
	h.mu.Lock()
	was := h.state
	if was == lentReclaimed {
		h.state = lentClosed
		h.in = append(in[:len(in):len(in)], h.in...)
		h.mounted = m
	}
	h.mu.Unlock()
	if was != lentReclaimed {
		return false
	}
	fd, err := h.sys().TakeBack(kernelConn(h.Conn))
	if err == nil {
		h.in = append(h.in, unlend(h.Conn)...) // who has hijacked it reads no more
	}
	h.ln.give(h)
	if err != nil {
		_ = h.Conn.Close()
		h.post(endLentOnLoop)
		return false
	}
	h.c.fd = int32(fd)
	return h.post(readoptOnLoop)
}

func readoptOnLoop(a, _ any) {
	h := a.(*lentConn)
	defer h.mounted.arrival.settle()
	returnLentOnLoop(a, nil)
}

// unwrap takes a hijacked connection, and what has been read of it behind in, out of
// what lent it.
func (h *lentConn) unwrap(in []byte) (net.Conn, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Conn, append(in, h.in...)
}

// tlsOf is what net/http would know of a lent connection's TLS.
func tlsOf(conn net.Conn) *tls.ConnectionState {
	switch c := conn.(type) {
	case *lentConn:
		return tlsOf(c.Conn)
	case *bridgeConn:
		return tlsOf(c.d.conn)
	case *lentTLS:
		return c.state
	case interface{ ConnectionState() tls.ConnectionState }:
		state := c.ConnectionState()
		return &state
	}
	return nil
}

// lentFor is the connection that a request with that context has come by, if a group has
// lent it.
func lentFor(ctx context.Context) *lentConn {
	if ctx == nil {
		return nil
	}
	h, _ := ctx.Value(lentKey{}).(*lentConn)
	return h
}

// Movable tells whether the connection of a request with that context may come to the
// group by Adopt. One is not to that would be bridged again with each handshake on it: it
// is bridged by another group, which has handshakes on it as well, or has come with
// something around it, which is put there each time. Any goroutine.
func (g *Group) Movable(ctx context.Context) bool {
	h := lentFor(ctx)
	if h == nil {
		return true
	}
	c, ok := h.Conn.(*bridgeConn)
	return !ok || h.g == g && !c.d.wrapped
}
