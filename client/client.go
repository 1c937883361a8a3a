package client

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Client is a socket in one namespace of a server. Its methods may be called
// from any goroutine.
type Client struct {
	// Immutable after newClient.
	m         *manager
	namespace string
	queue     chan func() // for the handlers
	done      chan struct{}
	answered  chan error // the first connection's

	// Guarded by mu.
	mu           sync.Mutex
	session      *session // while it is connected
	closed       bool
	lost         bool // there will be no connection again
	id, pid      string
	offset       string // of the last event, for connection state recovery
	recovered    bool
	told         bool      // answered has its value
	buffer       []message // emitted while there was no connection
	early        []func()  // what came before the answer to CONNECT
	acks         map[uint64]func(Args, error)
	nextAck      uint64
	handlers     map[string]func(*Event)
	onAny        func(*Event)
	onConnect    func()
	onDisconnect func(reason string)
	onRefused    func(err error)
}

func newClient(m *manager, namespace string) *Client {
	return &Client{
		m: m, namespace: namespace, queue: make(chan func(), m.cfg.MaxQueued), done: make(chan struct{}),
		answered: make(chan error, 1), acks: map[uint64]func(Args, error){}, handlers: map[string]func(*Event){},
	}
}

// On registers the handler of an event, in place of an earlier one.
func (c *Client) On(event string, f func(e *Event)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[event] = f
}

// OnAny registers what is called for every event, before its handler.
func (c *Client) OnAny(f func(e *Event)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onAny = f
}

// OnConnect registers what is called each time that the Client has been connected
// again.
func (c *Client) OnConnect(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onConnect = f
}

// OnDisconnect registers what is called each time that the connection has gone,
// with the reason in the JavaScript client's words. After "io server disconnect"
// the Client is not connected again; Dial anew.
func (c *Client) OnDisconnect(f func(reason string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onDisconnect = f
}

// OnRefused registers what is called when the server refuses the namespace on a
// later connection.
func (c *Client) OnRefused(f func(err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onRefused = f
}

// ID is the socket's ID on the server; "" before it is connected.
func (c *Client) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Namespace is the namespace's name.
func (c *Client) Namespace() string { return c.namespace }

// Connected tells whether the Client is connected at present.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session != nil
}

// Recovered tells whether the server has taken the present connection for the one
// before: what was missed has come, or is about to.
func (c *Client) Recovered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recovered
}

// Transport is "polling" or "websocket" at present, "" without a connection.
func (c *Client) Transport() string {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return ""
	}
	return s.transport().name()
}

// Emit sends an event, or keeps it until there is a connection. Arguments are
// encoded by encoding/json; []byte, at the top or in []any and map[string]any, is
// sent as binary. What one goroutine emits arrives in that order. Emit waits
// while very much waits for the server. Its error is ErrClosed, ErrDisconnected if
// there will be no connection again, ErrBufferFull, ErrReservedEvent or
// encoding/json's.
func (c *Client) Emit(event string, args ...any) error { return c.emit(event, args, false) }

// EmitVolatile is Emit, but drops the event if there is no connection.
func (c *Client) EmitVolatile(event string, args ...any) error { return c.emit(event, args, true) }

// Send emits the "message" event.
func (c *Client) Send(args ...any) error { return c.Emit("message", args...) }

func (c *Client) emit(event string, args []any, volatile bool) error {
	if sio.IsReserved([]byte(event)) {
		return fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	m, err := encode(sio.Packet{Type: sio.Event, Namespace: []byte(c.namespace)}, append([]any{event}, args...))
	if err != nil {
		return err
	}
	return c.send(m, volatile)
}

// Call sends an event and waits for the server's acknowledgement, until ctx is
// done. Its error is also ErrDisconnected, and those of Emit. In a handler it
// stops the events that follow.
func (c *Client) Call(ctx context.Context, event string, args ...any) (Args, error) {
	if sio.IsReserved([]byte(event)) {
		return Args{}, fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	type answer struct {
		args Args
		err  error
	}
	got := make(chan answer, 1)
	c.mu.Lock()
	id := c.nextAck
	c.nextAck++
	c.acks[id] = func(args Args, err error) { got <- answer{args, err} }
	c.mu.Unlock()
	m, err := encode(sio.Packet{Type: sio.Event, Namespace: []byte(c.namespace), ID: id, HasID: true}, append([]any{event}, args...))
	if err == nil {
		err = c.send(m, false)
	}
	if err != nil {
		c.takeAck(id)
		return Args{}, err
	}
	select {
	case a := <-got:
		return a.args, a.err
	case <-ctx.Done():
		c.takeAck(id)
		return Args{}, ctx.Err()
	case <-c.done:
		return Args{}, ErrClosed
	}
}

func (c *Client) takeAck(id uint64) func(Args, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.acks[id]
	delete(c.acks, id)
	return f
}

// send sends a packet, or buffers it.
func (c *Client) send(m message, volatile bool) error {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		s.waitForRoom() // not under mu: the reader needs that
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case c.lost:
		return ErrDisconnected
	case c.session != nil:
		c.session.enqueue(m.packets()...)
	case volatile:
	case len(c.buffer) >= c.m.cfg.MaxBuffered:
		return ErrBufferFull
	default:
		c.buffer = append(c.buffer, m)
	}
	return nil
}

// packets are the Engine.IO packets of a message.
func (m message) packets() []eio.Packet {
	all := []eio.Packet{{Type: eio.Message, Data: m.text}}
	for _, a := range m.attachments {
		all = append(all, eio.Packet{Type: eio.Message, Binary: true, Data: a})
	}
	return all
}

// Close leaves the namespace, after what was emitted before. With the last Client
// of a connection it ends that, too.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	s := c.session
	c.session = nil
	c.mu.Unlock()
	if s != nil {
		text := sio.AppendHeader(nil, sio.Packet{Type: sio.Disconnect, Namespace: []byte(c.namespace)})
		s.enqueue(eio.Packet{Type: eio.Message, Data: text})
	}
	c.m.remove(c)
	c.end()
	return nil
}

// end lets go of those who wait.
func (c *Client) end() {
	c.failAcks(ErrClosed)
	close(c.done)
}

func (c *Client) failAcks(err error) {
	c.mu.Lock()
	acks := c.acks
	c.acks = map[uint64]func(Args, error){}
	c.mu.Unlock()
	for _, f := range acks {
		f(Args{}, err)
	}
}

// wait waits for the answer to the first CONNECT.
func (c *Client) wait(ctx context.Context) error {
	select {
	case err := <-c.answered:
		return err
	case <-ctx.Done():
		return fmt.Errorf("client: %s was not answered: %w", c.namespace, ctx.Err())
	}
}

// connect sends CONNECT on a new connection.
func (c *Client) connect(s *session) {
	auth := c.m.cfg.Auth
	if f, ok := auth.(func() any); ok {
		auth = f()
	}
	data, err := json.Marshal(auth)
	c.mu.Lock()
	pid, offset, lost := c.pid, c.offset, c.lost
	c.mu.Unlock()
	if lost {
		return
	}
	if pid != "" && offset != "" {
		fields := map[string]any{}
		if string(data) != "null" {
			err = json.Unmarshal(data, &fields)
		}
		if err == nil {
			fields["pid"], fields["offset"] = pid, offset
			data, err = json.Marshal(fields)
		}
	}
	if err != nil {
		c.refuse(fmt.Errorf("client: Config.Auth: %w", err))
		return
	}
	text := sio.AppendHeader(nil, sio.Packet{Type: sio.Connect, Namespace: []byte(c.namespace)})
	if string(data) != "null" {
		text = append(text, data...)
	}
	s.enqueue(eio.Packet{Type: eio.Message, Data: text})
}

func (c *Client) refuse(err error) {
	c.mu.Lock()
	first, f := !c.told, c.onRefused
	c.told = true
	c.mu.Unlock()
	switch {
	case first:
		c.answered <- err
	case f != nil:
		c.enqueue(func() { f(err) })
	}
}

// handlePacket handles a packet for this Client. It is on the reader.
func (c *Client) handlePacket(p sio.Packet, attachments [][]byte) error {
	switch p.Type {
	case sio.Connect:
		return c.connected(p)
	case sio.ConnectError:
		refusal := &ConnectError{}
		_ = json.Unmarshal(p.Data, refusal)
		c.refuse(refusal)
	case sio.Disconnect:
		c.disconnected(byServer)
	case sio.Ack, sio.BinaryAck:
		list, err := sio.SplitArray(p.Data, nil, 0)
		if err != nil {
			return err
		}
		if f := c.takeAck(p.ID); f != nil && p.HasID {
			f(Args{list, attachments}, nil)
		}
	case sio.Event, sio.BinaryEvent:
		return c.handleEvent(p, attachments)
	}
	return nil
}

func (c *Client) connected(p sio.Packet) error {
	var answer struct{ SID, PID string }
	if err := json.Unmarshal(p.Data, &answer); err != nil {
		return err
	}
	c.m.mu.Lock()
	s := c.m.session
	c.m.mu.Unlock()
	c.mu.Lock()
	if c.closed || s == nil {
		c.mu.Unlock()
		return nil
	}
	c.recovered = answer.PID != "" && answer.PID == c.pid
	c.id, c.pid = answer.SID, answer.PID
	c.session = s
	for _, m := range c.buffer {
		s.enqueue(m.packets()...)
	}
	c.buffer = nil
	early := c.early
	c.early = nil
	first, f := !c.told, c.onConnect
	c.told = true
	c.mu.Unlock()
	switch {
	case first:
		c.answered <- nil
	case f != nil:
		c.enqueue(f)
	}
	for _, f := range early {
		c.enqueue(f)
	}
	return nil
}

// byServer is the reason for which a Client is not connected again.
const byServer = "io server disconnect"

// giveUp: there will be no connection again.
func (c *Client) giveUp() {
	c.mu.Lock()
	c.lost = true
	c.buffer = nil
	c.mu.Unlock()
	c.failAcks(ErrDisconnected)
}

// disconnected: the connection has gone, or the server has closed the namespace.
func (c *Client) disconnected(reason string) {
	c.mu.Lock()
	was := c.session != nil
	c.session = nil
	c.lost = c.lost || reason == byServer
	f := c.onDisconnect
	c.mu.Unlock()
	if !was {
		return
	}
	c.failAcks(ErrDisconnected)
	if f != nil {
		c.enqueue(func() { f(reason) })
	}
}

func (c *Client) handleEvent(p sio.Packet, attachments [][]byte) error {
	list, err := sio.SplitArray(p.Data, nil, 0)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errProtocol
	}
	name, err := sio.EventName(list[0])
	if err != nil {
		return err
	}
	if err := sio.CheckPlaceholders(p.Data, len(attachments)); err != nil && len(attachments) > 0 {
		return err
	}
	e := &Event{Args: Args{list[1:], attachments}, Name: string(name), c: c, id: p.ID, hasID: p.HasID}
	c.mu.Lock()
	if c.pid != "" && len(e.list) > 0 {
		var offset string
		if json.Unmarshal(e.list[len(e.list)-1], &offset) == nil {
			c.offset = offset
		}
	}
	if c.session == nil { // before the answer to CONNECT
		c.early = append(c.early, func() { c.call(e) })
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	c.enqueue(func() { c.call(e) })
	return nil
}

// call calls an event's handlers.
func (c *Client) call(e *Event) {
	c.mu.Lock()
	anyway, f := c.onAny, c.handlers[e.Name]
	c.mu.Unlock()
	if anyway != nil {
		anyway(e)
	}
	if f != nil {
		f(e)
	}
}

// enqueue has f called after what was enqueued before; it waits for room.
func (c *Client) enqueue(f func()) {
	select {
	case c.queue <- f:
	case <-c.done:
	}
}

// dispatch calls the handlers.
func (c *Client) dispatch() {
	for {
		select {
		case f := <-c.queue:
			c.guard(f)
		case <-c.done:
			return
		}
	}
}

// guard calls f; a panic costs that event only.
func (c *Client) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.m.cfg.Logger.Error("client: panic in a handler", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}
