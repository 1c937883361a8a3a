package engine

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/http1"
)

// decision is a handshake that waits for Middleware and AllowRequest. The context of
// the session's request leads to it: what it has of the handshake is not kept.
type decision struct {
	e   *Engine
	c   *netpoll.Conn
	req *Request
	r   *http1.Request // a copy

	admitted bool // the middleware has let it through
	answer   recorder
	err      error // AllowRequest's

	message, why string // what the peer, and this side, is told of err
}

// decide has Middleware and AllowRequest called on a goroutine of its own.
func (e *Engine) decide(c *netpoll.Conn, r *http1.Request) {
	req := e.newRequest(c, r)
	if req.gone() {
		e.abandon(c)
		return
	}
	select {
	case e.deciding <- struct{}{}:
	default:
		e.refuseSession(c, r, noPlaceDeciding)
		return
	}
	d := &decision{e: e, c: c, req: &req, r: r.Clone()}
	arrival := req.arrival(c)
	if arrival != nil {
		arrival.Hold()
	}
	loop := c.Loop()
	go func() {
		defer func() { <-e.deciding }()
		defer loop.Post(decidedOnLoop, d, nil, 0) // whatever the user's function does
		if arrival != nil {
			defer arrival.Release()
		}
		d.ask()
	}()
}

func decidedOnLoop(a, _ any) {
	d := a.(*decision)
	e, c, r := d.e, d.c, d.r
	switch q := parseQuery(r.RawQuery); {
	case !c.Open():
	case e.closing.Load():
		e.refuseSession(c, r, noPlaceClosing)
	case !d.admitted:
		e.respondRecorded(c, r, &d.answer)
	case d.err != nil:
		e.refuseText(c, r, errForbidden, cmp.Or(d.message, errForbidden.message), "AllowRequest: "+cmp.Or(d.why, d.message))
	case string(q.eio) != "4" && !e.cfg.AllowEIO3:
		e.refuse(c, r, errVersion)
	default:
		e.open(c, r, d.req, q, d.answer.header)
	}
	*d = decision{e: e}
}

// decisionKey finds, in the context of the request that Config.Middleware is
// given, the handshake that is being decided.
type decisionKey struct{}

// ask has the middleware and AllowRequest decide. It is on a goroutine of the
// handshake's own.
func (d *decision) ask() {
	e := d.e
	completed := false
	defer func() {
		if completed {
			return
		}
		// Without a panic, it is runtime.Goexit, as t.Fatal does it.
		e.panicked("Middleware or Config.AllowRequest", recover())
		d.admitted, d.err, d.message, d.why = true, errForbidden, "", "it has not returned"
	}()
	if e.gate == nil {
		d.admitted = true
		d.err = e.cfg.AllowRequest(d.req)
		d.tell()
		completed = true
		return
	}
	ctx := context.WithValue(d.req.Context(), decisionKey{}, d)
	d.answer.header = http.Header{}
	r := d.req.HTTP().WithContext(ctx)
	r.Pattern = e.cfg.Path // for traces and metrics: whatever is below it, a peer has made up
	e.gate.ServeHTTP(&d.answer, r)
	d.tell()
	completed = true
}

// tell has AllowRequest's error say why: here, and not on the loop, since it is whoever's.
func (d *decision) tell() {
	if d.err == nil {
		return
	}
	d.message = d.err.Error()
	if wrapped := errors.Unwrap(d.err); wrapped != nil {
		d.why = wrapped.Error() // which is not for the peer
	}
}

// admit is what Config.Middleware wraps.
func (e *Engine) admit(w http.ResponseWriter, r *http.Request) {
	d, ok := r.Context().Value(decisionKey{}).(*decision)
	if !ok || d.req == nil {
		return // the context is replaced, or the decision over: nobody knows whom it admits
	}
	d.admitted = true
	ctx := r.Context()
	d.req.ctx, d.req.fleeting = &ctx, false
	if e.cfg.AllowRequest != nil {
		if d.err = e.cfg.AllowRequest(d.req); d.err != nil {
			w.WriteHeader(errForbidden.status) // for the middleware to see: what is answered is d.err
		}
	}
}
