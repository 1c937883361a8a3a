package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// Emit sends an event, or keeps it until there is a connection. Arguments are
// encoded by encoding/json; []byte, at the top or in []any and map[string]any, is
// sent as binary. What one goroutine emits arrives in that order. Emit waits while
// very much waits for the server, which ends at the latest with the connection:
// that is given up when the server has taken nothing for 30 s. An event that is on
// its way when the connection breaks may be lost. The error is ErrClosed,
// ErrDisconnected if there is no connection and none is being made, ErrBufferFull,
// ErrReservedEvent or encoding/json's.
func (c *Client) Emit(event string, args ...any) error {
	return c.emit(event, args, sending{})
}

// EmitVolatile is Emit, but drops the event if there is no connection, and instead
// of waiting.
func (c *Client) EmitVolatile(event string, args ...any) error {
	return c.emit(event, args, sending{volatile: true})
}

// Send emits the "message" event.
func (c *Client) Send(args ...any) error { return c.Emit("message", args...) }

func (c *Client) emit(event string, args []any, how sending) error {
	if sio.IsReserved([]byte(event)) {
		return fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	m, err := encode(sio.Packet{Type: sio.Event, Namespace: []byte(c.namespace)}, append([]any{event}, args...))
	if err != nil {
		return err
	}
	return c.send(context.Background(), m, how)
}

// call is a Call that waits for its answer.
type call struct {
	m   *message
	got chan answer // takes one
}

type answer struct {
	args Args
	err  error
}

// Call sends an event and waits for the server's acknowledgement, until ctx is
// done. Its error is also ErrDisconnected, as soon as the connection has gone over
// which the event was sent; ErrTooManyCalls; ErrQueueFull; ctx's; and those of
// Emit. When Call has returned, its event is not sent any more: only what the
// transport has begun to send cannot be taken back. A Call in a handler stops the
// events that follow, until it returns.
func (c *Client) Call(ctx context.Context, event string, args ...any) (Args, error) {
	if sio.IsReserved([]byte(event)) {
		return Args{}, fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	if err := ctx.Err(); err != nil {
		return Args{}, err
	}
	c.m.mu.Lock()
	id := c.nextAck
	c.nextAck++
	c.m.mu.Unlock()
	m, err := encode(sio.Packet{Type: sio.Event, Namespace: []byte(c.namespace), ID: id, HasID: true}, append([]any{event}, args...))
	if err != nil {
		return Args{}, err
	}
	k := &call{m: m, got: make(chan answer, 1)}
	if err := c.send(ctx, m, sending{id: id, call: k}); err != nil {
		return Args{}, err
	}
	select {
	case a := <-k.got:
		return a.args, a.err
	case <-ctx.Done():
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.takeCall(id) == nil { // the answer came first
		a := <-k.got
		return a.args, a.err
	}
	m.void = true
	c.unsend()
	return Args{}, ctx.Err()
}

// takeCall takes what waits for an answer. m.mu is held.
func (c *Client) takeCall(id uint64) *call {
	k := c.calls[id]
	if k != nil {
		delete(c.calls, id)
		c.m.calls--
	}
	return k
}

// failCalls ends the Calls whose event has been sent; with all, also those whose
// event waits for a connection. What has not gone out does not any more. m.mu is
// held.
func (c *Client) failCalls(err error, all bool) {
	for id, k := range c.calls {
		if !k.m.sent && !all {
			continue
		}
		c.takeCall(id)
		k.m.void = true
		k.got <- answer{err: err}
	}
	c.unsend()
}

// unsend takes back the messages that are void. m.mu is held.
func (c *Client) unsend() {
	c.buffer = slices.DeleteFunc(c.buffer, func(m *message) bool {
		if m.void {
			c.buffered -= m.bytes
		}
		return m.void
	})
	if s := c.m.session; s != nil {
		s.unsend()
	}
}

// sending is how a message is sent.
type sending struct {
	volatile   bool
	generation uint64 // if not 0: by this connection only
	id         uint64 // of call
	call       *call  // registered when the message is sent, or kept
}

// send sends a message, or keeps it. It waits for space, until ctx is done.
func (c *Client) send(ctx context.Context, msg *message, how sending) error {
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		open := c.life == connected && m.session.flow == flowing // else it may be over, though its reader does not know yet
		switch {
		case c.life == closed:
			return ErrClosed
		case c.life == idle, how.generation != 0 && (how.generation != c.generation || !open):
			return ErrDisconnected
		case how.call != nil && len(c.calls) >= m.cfg.MaxCalls:
			return ErrTooManyCalls
		case !open:
			switch {
			case how.volatile:
				return nil
			case len(c.buffer) >= m.cfg.MaxBuffered, c.buffered > 0 && c.buffered+msg.bytes > m.cfg.MaxBufferedBytes:
				return ErrBufferFull
			}
			c.buffer = append(c.buffer, msg)
			c.buffered += msg.bytes
			c.await(how)
			return nil
		case m.session.outBytes <= maxOutBytes:
			m.session.enqueue(msg)
			c.await(how)
			return nil
		case how.volatile:
			return nil
		}
		m.waitForSpace(ctx)
	}
}

// await registers a Call whose event has been sent, or kept. m.mu is held.
func (c *Client) await(how sending) {
	if how.call != nil {
		c.calls[how.id] = how.call
		c.m.calls++
		c.m.changed.wake() // the reader may have stopped
	}
}

// waitForSpace waits until less waits for the server, or something else has changed.
// m.mu is held, but not while it waits.
func (m *manager) waitForSpace(ctx context.Context) {
	space := m.space.wait()
	m.senders++
	m.changed.wake() // the server may not read until it is read
	m.mu.Unlock()
	select {
	case <-space:
	case <-ctx.Done():
	}
	m.mu.Lock()
	m.senders--
}
