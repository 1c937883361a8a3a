package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/fifo"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Client is a socket in one namespace of a server. Its methods may be called
// from any goroutine.
type Client struct {
	// Immutable after newClient.
	m         *manager
	namespace string

	// Guarded by manager.mu.
	life       life
	generation uint64 // of the connection: how many CONNECTs have been sent
	left       uint64 // the generation up to which events are not handled any more
	attempt    uint64 // of preparing
	preparer   bool   // a goroutine asks Config.Auth
	id, pid    string
	offset     string // of the last event, for connection state recovery
	recovered  bool
	lastErr    error // of the last attempt
	waiters    map[*waiter]struct{}

	early      []*Event // what came before the answer to CONNECT
	earlyBytes int

	buffer   []*message // emitted while there was no connection
	buffered int        // bytes of it
	calls    map[uint64]*call
	nextAck  uint64

	queue        fifo.Queue[job] // for dispatch
	dispatching  bool            // a goroutine does
	eventsQueued int
	bytesQueued  int
	hooksQueued  int
	lastTaken    time.Time // a job, or when the first one came

	handlers           map[string]*hook[func(*Event)]
	onAny              hooks[func(*Event)]
	onConnect          hooks[func()]
	onDisconnect       hooks[func(string)]
	onConnectError     hooks[func(error)]
	onReconnectAttempt hooks[func(int)]
	onReconnect        hooks[func(int)]
	onReconnectError   hooks[func(error)]
	onReconnectFailed  hooks[func()]
}

// waiter waits in Connect.
type waiter struct {
	once bool       // for one attempt
	got  chan error // takes one
}

// New makes a Client that is not connected: address is the server's URL (http,
// https, ws or wss), whose path names the namespace. Its error tells all faults of
// the configuration.
func New(address string, cfg Config) (*Client, error) {
	m, namespace, err := newManager(address, cfg)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newClient(namespace), nil
}

// Dial is New and one attempt to connect, in the time of Config.ConnectTimeout: it
// returns when the server has accepted; or refused, in which case the error is a
// *ConnectError; or when the attempt has failed, or ctx is done. With an error
// nothing is left. Later connections are made as Config says.
func Dial(ctx context.Context, address string, cfg Config) (*Client, error) {
	c, err := New(address, cfg)
	if err != nil {
		return nil, err
	}
	return c.dial(ctx, true)
}

// dial connects, in the time of Config.ConnectTimeout; with an error nothing is left.
func (c *Client) dial(ctx context.Context, once bool) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, c.m.cfg.ConnectTimeout)
	defer cancel()
	if err := c.connect(ctx, once); err != nil {
		c.shut()
		return nil, err
	}
	return c, nil
}

// Share makes a Client of another namespace over the same connection. It is not
// connected yet.
func (c *Client) Share(namespace string) (*Client, error) {
	m := c.m
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case c.life == closed:
		return nil, ErrClosed
	case m.clients[namespace] != nil:
		return nil, fmt.Errorf("client: %s has a Client already; use that one", namespace)
	}
	return m.newClient(namespace), nil
}

// Of is Share and an attempt to connect, as Dial is. It returns ErrDisconnected at
// once if there is no connection, and none is being made.
func (c *Client) Of(ctx context.Context, namespace string) (*Client, error) {
	c.m.mu.Lock()
	gone := c.life != closed && (c.m.link == resting || c.m.link == leaving)
	c.m.mu.Unlock()
	if gone {
		return nil, ErrDisconnected
	}
	other, err := c.Share(namespace)
	if err != nil {
		return nil, err
	}
	return other.dial(ctx, false)
}

// Connect makes the Client active, if it is not, and waits until it is connected.
// The error is a *ConnectError if the server refuses; ErrDisconnected if the
// attempts are used up, or after Disconnect; ErrClosed; ErrQueueFull if the answer
// cannot be read; or ctx's, which ends the waiting alone: the Client stays active
// until Disconnect. Nothing is sent if ctx is done already.
func (c *Client) Connect(ctx context.Context) error { return c.connect(ctx, false) }

func (c *Client) connect(ctx context.Context, once bool) error {
	m := c.m
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("client: %s: %w", c.namespace, err)
	}
	m.mu.Lock()
	switch c.life {
	case closed:
		m.mu.Unlock()
		return ErrClosed
	case connected:
		m.mu.Unlock()
		return nil
	}
	w := &waiter{once, make(chan error, 1)}
	c.waiters[w] = struct{}{}
	if c.happen(wanted, happening{}) {
		c.lastErr = nil
		m.need()
		m.join(c)
	}
	m.changed.wake() // the reader may have stopped
	m.mu.Unlock()
	select {
	case err := <-w.got:
		return err
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, waits := c.waiters[w]; !waits {
		return <-w.got
	}
	delete(c.waiters, w)
	if c.lastErr != nil {
		return fmt.Errorf("client: %s: %w; the last attempt: %w", c.namespace, ctx.Err(), c.lastErr)
	}
	return fmt.Errorf("client: %s: %w", c.namespace, ctx.Err())
}

// release ends the waiting in Connect; with once, of those who wait for one attempt.
// m.mu is held.
func (c *Client) release(err error, once bool) {
	for w := range c.waiters {
		if w.once || !once {
			delete(c.waiters, w)
			w.got <- err
		}
	}
}

// Disconnect leaves the namespace, after what was emitted before, and stops
// connecting. With the last active Client of a connection it ends that, too. It
// does not wait. Events that wait for handlers are dropped, Calls return
// ErrDisconnected; Connect connects again.
func (c *Client) Disconnect() {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.leave(stopped, ErrDisconnected)
}

// Close is Disconnect for good. If no other Client is active on the connection, it
// waits until the server has taken what was emitted before: at most 10 s, and 2 s
// in which the server takes nothing. It waits for no handler, so that it may be
// called by one. Hooks that wait, and OnDisconnect's, are still called. The error
// is always nil.
func (c *Client) Close() error {
	if s := c.shut(); s != nil {
		<-s.ended
	}
	return nil
}

// shut is Close without waiting; it returns the session that is to end by that.
func (c *Client) shut() *session {
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	c.leave(closing, ErrClosed)
	if m.link != leaving {
		return nil
	}
	return m.session
}

// leave is how this side leaves. m.mu is held.
func (c *Client) leave(e lifeEvent, err error) {
	c.left = c.generation
	c.dropEvents()
	c.happen(e, happening{err: err, reason: byClient})
}

// The reasons that this package itself brings about, in the JavaScript client's
// words.
const (
	byClient = "io client disconnect"
	byServer = "io server disconnect"
)

// happening is what is known of an event.
type happening struct {
	err    error  // for who waits
	reason string // for OnDisconnect
	answer sidAnswer
}

type sidAnswer struct{ SID, PID string }

// happen has e happen, by the table, and does what follows. It tells whether there
// was a change. m.mu is held.
func (c *Client) happen(e lifeEvent, x happening) bool {
	m := c.m
	from, to := c.life, lifeTable[c.life][e]
	if from == to {
		return false
	}
	c.life = to
	m.space.wake()
	m.changed.wake()

	switch from {
	case asking:
		if e == stopped || e == closing {
			m.session.orphan(c.namespace)
		}
		if to != connected {
			c.early, c.earlyBytes = nil, 0
		}
	case connected:
		c.id = ""
		c.failCalls(ErrDisconnected, false)
		if e == stopped || e == closing {
			m.session.dismiss(c.namespace)
		}
		if e != cut {
			c.pid, c.offset = "", ""
		}
		tell(c, c.onDisconnect, func(f func(string)) { f(x.reason) })
	}

	switch to {
	case asking:
		c.generation++
	case connected:
		c.connected(x.answer)
	case waiting:
		if e == cut && from != connected {
			c.release(errors.Join(ErrDisconnected, fmt.Errorf("client: %s", x.reason)), true)
		}
	case idle, closed:
		if e == refused {
			tell(c, c.onConnectError, func(f func(error)) { f(x.err) })
		}
		c.release(x.err, false)
		if to == closed {
			c.failCalls(ErrClosed, true)
			c.buffer, c.buffered = nil, 0
			if m.clients[c.namespace] == c {
				delete(m.clients, c.namespace)
			}
		} else {
			c.failCalls(ErrDisconnected, true)
		}
		if m.session != nil && m.link == open {
			m.joinNamed(c.namespace)
		}
		m.spare()
	}
	return true
}

// connected is what follows from the server's CONNECT. m.mu is held.
func (c *Client) connected(answer sidAnswer) {
	c.recovered = answer.PID != "" && answer.PID == c.pid
	if !c.recovered {
		c.offset = ""
	}
	c.id, c.pid, c.lastErr = answer.SID, answer.PID, nil
	for _, e := range c.early {
		c.receive(e)
	}
	c.early, c.earlyBytes = nil, 0
	if c.m.session.flow == flowing { // else it is for the next one
		for _, msg := range c.buffer {
			c.m.session.enqueue(msg)
		}
		c.buffer, c.buffered = nil, 0
	}
	tell(c, c.onConnect, func(f func()) { f() })
	c.release(nil, false)
}

// receive queues an event of the present connection. m.mu is held.
func (c *Client) receive(e *Event) {
	if c.pid != "" && e.offset != "" {
		c.offset = e.offset
	}
	c.pushEvent(e)
}

// prepare asks for the auth, and sends CONNECT, unless the Client has gone on
// meanwhile.
func (c *Client) prepare() {
	c.m.mu.Lock()
	attempt := c.attempt
	c.m.mu.Unlock()
	var data []byte
	err := errors.New("client: Config.Auth has not returned")
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("client: Config.Auth: panic: %v", v)
			c.m.cfg.Logger.Error("client: panic in Config.Auth", "panic", v, "stack", string(debug.Stack()))
		}
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		if c.attempt == attempt {
			if err == nil {
				data, err = c.withOffset(data)
			}
			if err != nil {
				c.happen(refused, happening{err: err})
			} else if c.happen(prepared, happening{}) {
				c.m.session.ask(c, data)
			}
		}
		if c.life == preparing {
			go c.prepare()
		} else {
			c.preparer = false
		}
	}()
	data, err = c.auth()
}

// auth is a JSON object, or empty.
func (c *Client) auth() ([]byte, error) {
	auth := c.m.cfg.Auth
	if f, ok := auth.(func() any); ok {
		auth = f()
	}
	data, err := json.Marshal(auth)
	switch {
	case err != nil:
		return nil, fmt.Errorf("client: Config.Auth: %w", err)
	case string(data) == "null":
		return nil, nil
	case data[0] != '{':
		return nil, fmt.Errorf("client: Config.Auth is %.40s: it must be encoded as a JSON object", data)
	}
	return data, nil
}

// withOffset adds what connection state recovery needs. m.mu is held.
func (c *Client) withOffset(auth []byte) ([]byte, error) {
	if c.pid == "" {
		return auth, nil
	}
	fields := map[string]json.RawMessage{}
	if len(auth) > 0 {
		if err := json.Unmarshal(auth, &fields); err != nil {
			return nil, fmt.Errorf("client: Config.Auth: %w", err)
		}
	}
	fields["pid"], _ = json.Marshal(c.pid) // a string can always be encoded
	if c.offset != "" {                    // or no event has come yet
		fields["offset"], _ = json.Marshal(c.offset)
	}
	return json.Marshal(fields)
}

// ID is the socket's ID on the server; "" while the Client is not connected.
func (c *Client) ID() string {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.id
}

// Namespace is the namespace's name.
func (c *Client) Namespace() string { return c.namespace }

// Connected tells whether the Client is connected at present.
func (c *Client) Connected() bool {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.life == connected
}

// Active tells whether the Client is connected, or is being connected: whether it
// will be connected without a further Connect, unless it is refused.
func (c *Client) Active() bool {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.life.active()
}

// Recovered tells whether the server has taken the present connection for the one
// before: what was missed has come, or is about to.
func (c *Client) Recovered() bool {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.recovered
}

// Transport is "polling" or "websocket" at present, "" while the Client is not
// connected.
func (c *Client) Transport() string {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.life != connected {
		return ""
	}
	return c.m.session.t.name()
}

// disconnectPacket leaves a namespace.
func disconnectPacket(namespace string) *message {
	return newMessage(sio.AppendHeader(nil, sio.Packet{Type: sio.Disconnect, Namespace: []byte(namespace)}))
}
