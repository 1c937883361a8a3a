package sockeyetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Options are how a client connects. The zero value connects to "/".
type Options struct {
	Namespace string      // default "/"
	Auth      any         // what handlers get by Socket.Auth; encoded as JSON
	Query     url.Values  // of the handshake's request
	Header    http.Header // of the handshake's request
	Silent    bool        // joins no namespace
}

// Client is a peer: one socket in one namespace, with a session of its own.
type Client struct {
	t         testing.TB
	srv       *Server
	peer      *netpolltest.Peer
	namespace string

	in       bytes.Buffer
	id       string
	refused  error
	gone     bool
	received []Event
	partial  *sio.Packet // waits for its attachments
	binary   [][]byte
	acks     map[uint64][]any
	nextAck  uint64
	answer   func(e Event) []any
}

// Event is an event that the server has emitted.
type Event struct {
	Name      string
	Namespace string
	Args      []any // as encoding/json decodes into any; binary is []byte
}

// ErrRefused is wrapped by what Dial returns when a namespace refuses.
var ErrRefused = errors.New("sockeyetest: the connection was refused")

// Connect connects a client, and ends the test if it is refused.
func (s *Server) Connect(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := s.Dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Dial connects a client. The error is a *sockeye.ConnectError, wrapped with
// ErrRefused, if a middleware or OnConnect has refused, else about the handshake.
func (s *Server) Dial(t testing.TB, o Options) (*Client, error) {
	t.Helper()
	c := &Client{t: t, srv: s, namespace: o.Namespace, acks: map[uint64][]any{}}
	if !strings.HasPrefix(c.namespace, "/") {
		c.namespace = "/" + c.namespace
	}
	c.peer = s.net.Dial(len(s.clients) % 2)
	s.clients = append(s.clients, c)
	query := url.Values{}
	maps.Copy(query, o.Query)
	query.Set("EIO", "4")
	query.Set("transport", "websocket")
	var head bytes.Buffer
	fmt.Fprintf(&head, "GET %s?%s HTTP/1.1\r\nHost: sockeyetest\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", s.Path(), query.Encode())
	_ = o.Header.Write(&head) // a bytes.Buffer takes everything
	head.WriteString("\r\n")
	c.peer.Write(head.Bytes())
	s.waitFor(func() bool { c.in.Write(c.peer.Read()); return bytes.Contains(c.in.Bytes(), []byte("\r\n\r\n")) })
	status, rest, _ := bytes.Cut(c.in.Bytes(), []byte("\r\n"))
	_, body, _ := bytes.Cut(rest, []byte("\r\n\r\n"))
	if !bytes.Contains(status, []byte(" 101 ")) {
		return nil, fmt.Errorf("sockeyetest: the handshake was answered %q: %s", status, body)
	}
	c.in.Next(c.in.Len() - len(body))
	if o.Silent {
		return c, nil
	}

	var auth []byte
	if o.Auth != nil {
		var err error
		if auth, err = json.Marshal(o.Auth); err != nil {
			return nil, fmt.Errorf("sockeyetest: Options.Auth: %w", err)
		}
	}
	c.sendPacket(sio.Packet{Type: sio.Connect}, auth, nil)
	s.waitFor(func() bool { c.read(); return c.id != "" || c.refused != nil || c.gone })
	switch {
	case c.refused != nil:
		return nil, fmt.Errorf("%w: %w", ErrRefused, c.refused)
	case c.id == "":
		return nil, errors.New("sockeyetest: the server has not answered the connection")
	}
	return c, nil
}

// waitFor runs the server until cond is true, or nothing more happens.
func (s *Server) waitFor(cond func() bool) {
	for range 100 {
		settled := s.Settle()
		if cond() || !settled {
			return
		}
	}
}

// ID is the socket's ID.
func (c *Client) ID() string { return c.id }

// Connected tells whether the client is connected.
func (c *Client) Connected() bool {
	c.srv.Settle()
	c.read()
	return !c.gone
}

// Socket is the server's socket; nil when it is disconnected.
func (c *Client) Socket() *sockeye.Socket { return c.srv.Of(c.namespace).Socket(c.id) }

// Rooms are the rooms that the client is in, without its own.
func (c *Client) Rooms() []string {
	c.srv.Settle()
	if s := c.Socket(); s != nil {
		return s.Rooms()[1:]
	}
	return nil
}

// Emit sends an event and returns when the server has handled it. Arguments are
// encoded by encoding/json; []byte, at the top or in []any and map[string]any,
// is sent as binary.
func (c *Client) Emit(event string, args ...any) {
	c.t.Helper()
	c.emit(sio.Packet{Type: sio.Event}, append([]any{event}, args...))
}

// Send emits the "message" event.
func (c *Client) Send(args ...any) { c.Emit("message", args...) }

// Call sends an event and returns the arguments of the server's acknowledgement;
// the test ends if there is none.
func (c *Client) Call(event string, args ...any) []any {
	c.t.Helper()
	id := c.nextAck
	c.nextAck++
	c.emit(sio.Packet{Type: sio.Event, ID: id, HasID: true}, append([]any{event}, args...))
	c.srv.waitFor(func() bool { c.read(); return c.acks[id] != nil || c.gone })
	answer := c.acks[id]
	delete(c.acks, id)
	if answer == nil {
		c.t.Fatalf("sockeyetest: the server has not acknowledged %q", event)
	}
	return answer
}

// Answer has f answer the events for which the server asks for an acknowledgement,
// also while another client's call waits for a handler that asks. f runs on the test's
// goroutine, and must not use clients then.
func (c *Client) Answer(f func(e Event) []any) { c.answer = f }

// Received returns the events that came since the last call, in their order.
func (c *Client) Received() []Event {
	c.srv.Settle()
	c.read()
	c.srv.Settle() // answers that read has sent
	events := c.received
	c.received = nil
	return events
}

// Disconnect leaves the namespace and ends the session.
func (c *Client) Disconnect() {
	c.sendPacket(sio.Packet{Type: sio.Disconnect}, nil, nil)
	c.peer.Close()
	c.srv.Settle()
	c.gone = true
}

// Break ends the connection without a word.
func (c *Client) Break() {
	c.peer.Reset()
	c.srv.Settle()
	c.gone = true
}

func (c *Client) emit(p sio.Packet, values []any) {
	c.t.Helper()
	c.send(p, values)
	c.srv.Settle()
}

func (c *Client) send(p sio.Packet, values []any) {
	c.t.Helper()
	enc := arguments.Encoder{Codec: arguments.JSON{}}
	data := enc.AppendArray(nil, values)
	if enc.Err != nil {
		c.t.Fatalf("sockeyetest: %v", enc.Err)
	}
	c.sendPacket(p, data, enc.Attachments)
}

func (c *Client) sendPacket(p sio.Packet, data []byte, attachments [][]byte) {
	p.Namespace = []byte(c.namespace)
	if p.Attachments = len(attachments); p.Attachments > 0 {
		p.Type += sio.BinaryEvent - sio.Event
	}
	text := append(sio.AppendHeader([]byte{byte(eio.Message)}, p), data...)
	c.frame(ws.OpText, text)
	for _, a := range attachments {
		c.frame(ws.OpBinary, a)
	}
}

func (c *Client) frame(op ws.OpCode, payload []byte) {
	frame := ws.MaskFrame(ws.NewFrame(op, true, slices.Clone(payload)))
	c.peer.Write(ws.MustCompileFrame(frame))
}

// read handles what the server has sent.
func (c *Client) read() {
	c.in.Write(c.peer.Read())
	for !c.gone {
		r := bytes.NewReader(c.in.Bytes())
		h, err := ws.ReadHeader(r)
		if err != nil || int64(r.Len()) < h.Length {
			break
		}
		c.in.Next(c.in.Len() - r.Len())
		c.handleFrame(h.OpCode, bytes.Clone(c.in.Next(int(h.Length))))
	}
	c.gone = c.gone || c.peer.Ended()
}

func (c *Client) handleFrame(op ws.OpCode, payload []byte) {
	switch {
	case op == ws.OpClose:
		c.gone = true
	case op == ws.OpBinary:
		c.handleAttachment(payload)
	case op == ws.OpText && len(payload) > 0 && payload[0] == byte(eio.Ping):
		c.frame(ws.OpText, []byte{byte(eio.Pong)})
	case op == ws.OpText && len(payload) > 0 && payload[0] == byte(eio.Message):
		p, err := sio.Limits{MaxAttachments: 1 << 20}.ConsumePacket(payload[1:])
		if err != nil {
			c.t.Fatalf("sockeyetest: the server sent %q: %v", payload, err)
		}
		if p.Attachments > 0 {
			c.partial, c.binary = &p, nil
		} else {
			c.handlePacket(p, nil)
		}
	}
}

func (c *Client) handleAttachment(b []byte) {
	if c.partial == nil {
		c.t.Fatal("sockeyetest: the server sent binary that belongs to no packet")
	}
	if c.binary = append(c.binary, b); len(c.binary) == c.partial.Attachments {
		p := *c.partial
		c.partial = nil
		c.handlePacket(p, c.binary)
	}
}

func (c *Client) handlePacket(p sio.Packet, attachments [][]byte) {
	var data any
	if p.Data != nil {
		if err := json.Unmarshal(p.Data, &data); err != nil {
			c.t.Fatalf("sockeyetest: the server sent %q: %v", p.Data, err)
		}
		arguments.Restore(&data, attachments)
	}
	switch p.Type {
	case sio.Connect:
		m, _ := data.(map[string]any)
		c.id, _ = m["sid"].(string)
	case sio.ConnectError:
		m, _ := data.(map[string]any)
		message, _ := m["message"].(string)
		c.refused = &sockeye.ConnectError{Message: message, Data: m["data"]}
	case sio.Disconnect:
		c.gone = true
	case sio.Ack, sio.BinaryAck:
		c.acks[p.ID], _ = data.([]any)
	case sio.Event, sio.BinaryEvent:
		args, _ := data.([]any)
		if len(args) == 0 {
			return
		}
		name, _ := args[0].(string)
		e := Event{Name: name, Namespace: string(p.Namespace), Args: args[1:]}
		c.received = append(c.received, e)
		if p.HasID && c.answer != nil {
			c.send(sio.Packet{Type: sio.Ack, ID: p.ID, HasID: true}, append([]any{}, c.answer(e)...))
		}
	}
}
