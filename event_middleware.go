package sockeye

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// eventMiddleware is what UseEvents takes.
type eventMiddleware = func(ctx context.Context, e *Event, next func(ctx context.Context) error) error

// What next answers when it calls nothing.
var (
	errNextAgain = errors.New("sockeye: an event middleware has called next twice")
	errNextLate  = errors.New("sockeye: an event middleware has called next after it had returned")
)

// eventChain is one event on its way through the middlewares to its handler.
type eventChain struct {
	e           *Event
	middlewares []*eventMiddleware

	reached bool // the handler has been called, or it has been found that there is none
	failed  bool // and has not succeeded
	ended   bool // a function has ended its goroutine, which has been told
}

// throughMiddlewares has the middlewares called, and the handler by the last of them.
// Where none of them fails, and none succeeds for the peer, its question is answered
// here.
func (s *Socket) throughMiddlewares(e *Event, middlewares []*eventMiddleware) error {
	c := &eventChain{e: e, middlewares: middlewares}
	defer func() {
		if !c.reached {
			s.ns.srv.stats.filtered.Add(1)
		}
	}()
	err := c.call(0, s.Context())
	if err == nil && (!c.reached || c.failed) {
		e.ackError(nil)
	}
	return err
}

// call calls middleware i, or, behind the last one, the handler.
func (c *eventChain) call(i int, ctx context.Context) error {
	e := c.e
	outer := e.ctx
	e.ctx = ctx
	defer func() { e.ctx = outer }()
	if i < len(c.middlewares) {
		st := &eventStep{chain: c, i: i, ctx: ctx}
		return st.run()
	}
	if e.socket.life.state().byServer() {
		return ErrDisconnected
	}
	c.reached, c.failed = true, true
	returned := false
	defer func() { c.ended = c.ended || !returned }()
	_, err := e.socket.reach(e)
	returned, c.failed = true, err != nil
	return err
}

// eventStep is the call of one middleware. Its next is good for one call, while the
// middleware runs.
type eventStep struct {
	chain *eventChain
	i     int
	ctx   context.Context //nolint:containedctx // of one call

	used atomic.Bool // next has been called
	mu   sync.Mutex  // held by next while it runs
	over bool        // guarded by mu: the middleware has returned
}

// run calls the middleware. If next still runs, on another goroutine, it is waited
// for: what the event is made of is not the handler's own.
func (st *eventStep) run() (err error) {
	c := st.chain
	e := c.e
	returned := false
	defer func() {
		v := recover()
		st.mu.Lock()
		st.over = true
		st.mu.Unlock()
		switch {
		case v != nil:
			err = e.socket.panicked(e.Name(), v)
		case !returned && !c.ended:
			c.ended = true
			e.socket.report(e.Name(), errEnded)
			e.ackError(errEnded)
		}
	}()
	err = (*c.middlewares[st.i])(st.ctx, e, st.next)
	returned = true
	return err
}

func (st *eventStep) next(ctx context.Context) error {
	if st.used.Swap(true) {
		return errNextAgain
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over {
		return errNextLate
	}
	if ctx == nil {
		ctx = st.ctx
	}
	return st.chain.call(st.i+1, ctx)
}
