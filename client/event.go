package client

import (
	"encoding/json"
	"fmt"

	"github.com/sockeye-io/sockeye/internal/binary"
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
// does. A *[]byte takes binary; in an any it is []byte at any depth. The error is
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
	case *any:
		if err := json.Unmarshal(arg, p); err != nil {
			return err
		}
		*p = binary.Restore(*p, a.attachments)
		return nil
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

	c     *Client
	id    uint64
	hasID bool
}

// HasAck tells whether the server asks for an acknowledgement.
func (e *Event) HasAck() bool { return e.hasID }

// Ack answers; it may be called later, and does nothing if no acknowledgement was
// asked for, or after the connection has gone. For the arguments see Emit.
func (e *Event) Ack(args ...any) error {
	if !e.hasID {
		return nil
	}
	e.hasID = false
	m, err := encode(sio.Packet{Type: sio.Ack, Namespace: []byte(e.c.namespace), ID: e.id, HasID: true}, args)
	if err != nil {
		return err
	}
	return e.c.send(m, false)
}

// message is an encoded packet and its attachments.
type message struct {
	text        []byte
	attachments [][]byte
}

// encode encodes an event or an answer.
func encode(p sio.Packet, values []any) (message, error) {
	var attachments [][]byte
	data, err := json.Marshal(binary.Extract(append([]any{}, values...), &attachments))
	if err != nil {
		return message{}, fmt.Errorf("client: %w", err)
	}
	if p.Attachments = len(attachments); p.Attachments > 0 {
		p.Type += sio.BinaryEvent - sio.Event
	}
	return message{append(sio.AppendHeader(nil, p), data...), attachments}, nil
}
