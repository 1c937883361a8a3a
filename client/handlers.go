package client

import (
	"reflect"
	"runtime/debug"
	"slices"
	"time"
)

// hook is one registered function.
type hook[F any] struct {
	f       F
	removed bool // guarded by manager.mu
}

// hooks are the functions of one kind, in the order in which they were
// registered. The list is never changed in place. Guarded by manager.mu.
type hooks[F any] []*hook[F]

func register[F any](c *Client, list *hooks[F], f F) (remove func()) {
	if reflect.ValueOf(f).IsNil() {
		panic("client: the function is nil")
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	h := &hook[F]{f: f}
	*list = append(slices.Clip(*list), h)
	return func() {
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		h.removed = true
		*list = slices.DeleteFunc(slices.Clone(*list), func(x *hook[F]) bool { return x == h })
	}
}

// On registers the handler of an event. It panics if f is nil, or if the event has
// a handler already: call the function that removes it first.
func (c *Client) On(event string, f func(e *Event)) (remove func()) {
	if f == nil {
		panic("client: On(" + event + "): the handler is nil")
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.handlers[event] != nil {
		panic("client: On(" + event + "): the event has a handler already; remove it first")
	}
	h := &hook[func(*Event)]{f: f}
	c.handlers[event] = h
	return func() {
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		if h.removed = true; c.handlers[event] == h {
			delete(c.handlers, event)
		}
	}
}

// The hooks add up, and are called one at a time, in the order in which they were
// registered and in that of the events. Who is registered when something happens
// is told of it, unless he has been removed meanwhile. Each returns a function that
// removes it.

// OnAny registers what is called for every event, before its handler.
func (c *Client) OnAny(f func(e *Event)) (remove func()) { return register(c, &c.onAny, f) }

// OnConnect registers what is called each time that the Client has been connected.
func (c *Client) OnConnect(f func()) (remove func()) { return register(c, &c.onConnect, f) }

// OnDisconnect registers what is called once for each connection, when it has gone,
// with the reason in the JavaScript client's words: "io server disconnect", "io
// client disconnect" (Disconnect, or Close), "ping timeout", "transport close",
// "transport error", "parse error". Events that the server sent before are handled
// before, unless this side has disconnected. After the first two the Client is not
// active.
func (c *Client) OnDisconnect(f func(reason string)) (remove func()) {
	return register(c, &c.onDisconnect, f)
}

// OnConnectError registers what is called when an attempt to connect has failed.
// If the server has refused the namespace, err is a *ConnectError and the Client is
// not active any more: call Connect when it may be asked again. Otherwise Active
// tells whether there will be another attempt.
func (c *Client) OnConnectError(f func(err error)) (remove func()) {
	return register(c, &c.onConnectError, f)
}

// OnReconnectAttempt registers what is called before each attempt to make the
// connection again, with its number from 1.
func (c *Client) OnReconnectAttempt(f func(attempt int)) (remove func()) {
	return register(c, &c.onReconnectAttempt, f)
}

// OnReconnect registers what is called when the connection has been made again, by
// which attempt. OnConnect follows when the server has let the Client in.
func (c *Client) OnReconnect(f func(attempt int)) (remove func()) {
	return register(c, &c.onReconnect, f)
}

// OnReconnectError registers what is called when an attempt to make the connection
// again has failed.
func (c *Client) OnReconnectError(f func(err error)) (remove func()) {
	return register(c, &c.onReconnectError, f)
}

// OnReconnectFailed registers what is called when Config.ReconnectAttempts are used
// up. The Client is not active any more.
func (c *Client) OnReconnectFailed(f func()) (remove func()) {
	return register(c, &c.onReconnectFailed, f)
}

// job is an event, or a hook to be called.
type job struct {
	event   *Event
	f       func()
	removed func() bool // whether the hook has been; under mu
}

// maxHooks is how many hooks may wait before what would add to them waits: an
// attempt to connect, a CONNECT.
const maxHooks = 64

// tell queues a call of hooks behind what waits already. m.mu is held.
func tell[F any](c *Client, list hooks[F], call func(f F)) {
	for _, h := range list {
		c.hooksQueued++
		c.push(job{f: func() { call(h.f) }, removed: func() bool { return h.removed }})
	}
}

// push queues a job. m.mu is held.
func (c *Client) push(j job) {
	if c.queue.Len() == 0 && !c.dispatching {
		c.lastTaken = time.Now()
	}
	c.queue.Push(j)
	if !c.dispatching {
		c.dispatching = true
		go c.dispatch()
	}
}

// pushEvent queues an event. m.mu is held.
func (c *Client) pushEvent(e *Event) {
	c.eventsQueued++
	c.bytesQueued += e.cost
	c.push(job{event: e})
}

// dropEvents forgets the events that wait: nobody wants them any more. m.mu is held.
func (c *Client) dropEvents() {
	for range c.queue.Len() {
		if j := c.queue.Pop(); j.event == nil {
			c.queue.Push(j)
		}
	}
	c.eventsQueued, c.bytesQueued = 0, 0
	c.m.changed.wake()
}

// full tells whether events are to wait at the server. m.mu is held.
func (c *Client) full() bool {
	return c.eventsQueued > c.m.cfg.MaxQueued || c.bytesQueued > c.m.cfg.MaxQueuedBytes
}

// dispatch calls handlers and hooks until none waits.
func (c *Client) dispatch() {
	whole := false
	defer func() {
		if !whole { // a handler has ended the goroutine
			go c.dispatch()
		}
	}()
	for j, ok := c.take(); ok; j, ok = c.take() {
		switch {
		case j.event != nil:
			c.call(j.event)
		case j.f != nil:
			c.guard(j.f)
		}
	}
	whole = true
}

// take takes the next job; without one the goroutine is to end.
func (c *Client) take() (j job, ok bool) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.queue.Len() == 0 {
		c.queue.Clear(0)
		c.dispatching = false
		return job{}, false
	}
	j = c.queue.Pop()
	c.lastTaken = time.Now()
	if j.event != nil {
		c.eventsQueued--
		c.bytesQueued -= j.event.cost
	} else {
		c.hooksQueued--
		if j.removed() {
			j.f = nil
		}
		c.m.join(c) // a CONNECT may have waited for the hooks
	}
	c.m.changed.wake()
	return j, true
}

// call calls an event's handlers, as long as the connection is wanted.
func (c *Client) call(e *Event) {
	c.m.mu.Lock()
	all := c.onAny
	c.m.mu.Unlock()
	for _, h := range all {
		c.handle(e, func() *hook[func(*Event)] { return h })
	}
	c.handle(e, func() *hook[func(*Event)] { return c.handlers[e.Name] })
}

// handle calls the handler that find returns, under mu.
func (c *Client) handle(e *Event, find func() *hook[func(*Event)]) {
	c.m.mu.Lock()
	h := find()
	wanted := h != nil && !h.removed && e.generation > c.left
	c.m.mu.Unlock()
	if wanted {
		c.guard(func() { h.f(e) })
	}
}

// guard calls f; a panic costs that call only.
func (c *Client) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.m.cfg.Logger.Error("client: panic in a handler", "namespace", c.namespace, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}
