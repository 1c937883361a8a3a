package client

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/proto/eio"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Args are the arguments of an event or answer. They may be kept.
type Args struct {
	list        [][]byte // JSON
	attachments [][]byte
}

// Len is the number of arguments.
func (a Args) Len() int { return len(a.list) }

// Decode decodes the first arguments into what dst point to, as encoding/json
// does. A *[]byte takes binary; in an any, a []any or a map[string]any it is []byte at
// any depth. The error is
// ErrMissingArgument or encoding/json's.
func (a Args) Decode(dst ...any) error {
	for i, p := range dst {
		if i >= len(a.list) {
			return ErrMissingArgument
		}
		if err := a.decode(i, p); err != nil {
			return fmt.Errorf("client: argument %d: %w", i, err)
		}
	}
	return nil
}

func (a Args) decode(i int, dst any) error {
	arg := a.list[i]
	switch p := dst.(type) {
	case *[]byte:
		if num, ok := sio.IsPlaceholder(arg); ok && num >= 0 && num < len(a.attachments) {
			*p = a.attachments[num]
			return nil
		}
	case *any, *[]any, *map[string]any:
		err := json.Unmarshal(arg, dst)
		arguments.Restore(dst, a.attachments)
		return err
	}
	if len(a.attachments) > 0 {
		resolved, err := sio.AppendResolved(nil, arg, a.attachments)
		if err != nil {
			return err
		}
		arg = resolved
	}
	return json.Unmarshal(arg, dst)
}

// Values decodes all arguments.
func (a Args) Values() ([]any, error) {
	values := make([]any, len(a.list))
	for i := range values {
		if err := a.decode(i, &values[i]); err != nil {
			return nil, fmt.Errorf("client: argument %d: %w", i, err)
		}
	}
	return values, nil
}

// Event is an event that the server has emitted.
type Event struct {
	Args
	Name string

	// Immutable after newEvent.
	c          *Client
	generation uint64 // of the connection that has brought it
	id         uint64
	hasID      bool
	cost       int    // bytes of memory
	offset     string // for connection state recovery

	// Any goroutine (atomic).
	answered atomic.Bool
}

// HasAck tells whether the server asks for an acknowledgement, and has got none.
func (e *Event) HasAck() bool { return e.hasID && !e.answered.Load() }

// Ack answers; it may be called later. It does nothing if no acknowledgement was
// asked for, or if there is one already, and returns ErrDisconnected when the
// connection that has brought the event has gone: another one's questions are
// others. For the arguments, for waiting and for further errors see Emit.
func (e *Event) Ack(args ...any) error {
	if !e.HasAck() {
		return nil
	}
	m, err := encode(sio.Packet{Type: sio.Ack, Namespace: []byte(e.c.namespace), ID: e.id, HasID: true}, args)
	if err != nil {
		return err
	}
	if e.answered.Swap(true) {
		return nil
	}
	return e.c.send(context.Background(), m, sending{generation: e.generation})
}

// newEvent makes an Event of a packet. Its error is one of the protocol's.
func newEvent(c *Client, p sio.Packet, attachments [][]byte) (*Event, error) {
	list, err := sio.SplitArray(p.Data, nil, 0)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errProtocol
	}
	name, err := sio.EventName(list[0])
	if err != nil {
		return nil, err
	}
	if err := sio.CheckPlaceholders(p.Data, len(attachments)); err != nil && len(attachments) > 0 {
		return nil, err
	}
	e := &Event{Args: Args{list[1:], attachments}, Name: string(name), c: c, id: p.ID, hasID: p.HasID}
	e.cost = 256 + cap(p.Data) + 24*cap(list) + attachmentBytes(attachments)
	if len(e.list) > 0 {
		_ = json.Unmarshal(e.list[len(e.list)-1], &e.offset) // anything but a string is none
	}
	return e, nil
}

func attachmentBytes(attachments [][]byte) int {
	n := 24 * cap(attachments)
	for _, a := range attachments {
		n += cap(a)
	}
	return n
}

// message is an encoded packet with its attachments, which waits to be sent.
type message struct {
	// Immutable after newMessage.
	packets []eio.Packet
	bytes   int // of memory

	// Guarded by manager.mu.
	sent bool // a session has it
	void bool // its Call has returned
}

// encode encodes an event or an answer.
func encode(p sio.Packet, values []any) (*message, error) {
	enc := arguments.Encoder{Codec: arguments.JSON{}}
	data := enc.AppendArray(nil, values)
	if enc.Err != nil {
		return nil, fmt.Errorf("client: %w", enc.Err)
	}
	if p.Attachments = len(enc.Attachments); p.Attachments > 0 {
		p.Type += sio.BinaryEvent - sio.Event
	}
	return newMessage(append(sio.AppendHeader(nil, p), data...), enc.Attachments...), nil
}

func newMessage(text []byte, attachments ...[]byte) *message {
	m := &message{packets: []eio.Packet{{Type: eio.Message, Data: text}}, bytes: 128 + len(text)}
	for _, a := range attachments {
		m.packets = append(m.packets, eio.Packet{Type: eio.Message, Binary: true, Data: a})
		m.bytes += 64 + len(a)
	}
	return m
}
