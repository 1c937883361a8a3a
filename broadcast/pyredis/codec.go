package pyredis

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// The format: one object, in JSON, for each thing. See PubSubManager of python-socketio.
//
//	{"method": "emit", "event", "data": [args...], "binary": false, "namespace", "room",
//	 "skip_sid", "callback", "host_id"}
//	{"method": "callback", "host_id": of who has asked, "sid", "namespace", "id", "args"}
//	{"method": "disconnect", "sid", "namespace", "host_id"}
//	{"method": "enter_room" or "leave_room", "sid", "room", "namespace", "host_id"}
//	{"method": "close_room", "room", "namespace", "host_id"}
//
// With binary, data is [[args...], attachments in base64...]. room and skip_sid are null, a
// name, or a list of names; callback is null or [room, namespace, id].

// isID tells whether a name has the form of sockets' IDs.
func isID(name string) bool {
	if len(name) != 20 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// encode makes a frame's data of a message.
func encode(host string, m *cluster.Message) ([]byte, error) {
	switch m.Type {
	case cluster.Broadcast:
		return appendEmit(host, m)
	case cluster.BroadcastAck:
		if len(m.Payload.Attachments) > 0 {
			return nil, unsupported("an answer with binary")
		}
		return append(append([]byte(m.RequestID), m.Payload.JSON...), '}'), nil
	case cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets:
		return appendChange(host, m), nil
	}
	return nil, broadcast.ErrUnsupported
}

func appendEmit(host string, m *cluster.Message) ([]byte, error) {
	for _, name := range m.Target.Except {
		if !isID(name) {
			return nil, unsupported("exceptions are sockets, by their IDs, alone; %.40q is a room", name)
		}
	}
	elements, err := sio.SplitArray(m.Payload.JSON, nil, 0)
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, errors.New("pyredis: an event without a name")
	}
	data := append([]byte(`{"method":"emit","event":`), elements[0]...)
	data = append(data, `,"data":[`...)
	binary := len(m.Payload.Attachments) > 0
	if binary {
		data = append(data, '[')
	}
	data = append(data, bytes.Join(elements[1:], []byte{','})...)
	if binary {
		data = append(data, ']')
		for _, a := range m.Payload.Attachments {
			data = append(base64.StdEncoding.AppendEncode(append(data, `,"`...), a), '"')
		}
	}
	data = strconv.AppendBool(append(data, `],"binary":`...), binary)
	data = sio.AppendString(append(data, `,"namespace":`...), m.Namespace)
	data = appendOneOrMore(append(data, `,"room":`...), m.Target.Rooms)
	data = appendOneOrMore(append(data, `,"skip_sid":`...), m.Target.Except)
	data = append(data, `,"callback":`...)
	if m.RequestID == "" {
		data = append(data, "null"...)
	} else {
		data = sio.AppendString(append(data, '['), m.Target.Rooms[0])
		data = sio.AppendString(append(data, ','), m.Namespace)
		data = append(append(append(data, ','), m.RequestID...), ']')
	}
	return appendHost(appendPassed(data, m), host), nil
}

// appendPassed marks what has come from another bus. Others do not look at it.
func appendPassed(dst []byte, m *cluster.Message) []byte {
	if m.Target.Passed {
		dst = append(dst, `,"passed":true`...)
	}
	return dst
}

// appendOneOrMore appends names as the format has them.
func appendOneOrMore(dst []byte, names []string) []byte {
	switch len(names) {
	case 0:
		return append(dst, "null"...)
	case 1:
		return sio.AppendString(dst, names[0])
	}
	return cluster.AppendNames(dst, names)
}

// appendHost ends a message: own messages are known by their ends.
func appendHost(dst []byte, host string) []byte {
	return append(append(append(dst, `,"host_id":"`...), host...), `"}`...)
}

func appendChange(host string, m *cluster.Message) []byte {
	data := []byte(`{"method":`)
	name := m.Target.Rooms[0]
	field := "sid"
	switch {
	case m.Type == cluster.DisconnectSockets:
		data = append(data, `"disconnect"`...)
	case m.Type == cluster.SocketsJoin:
		data = append(data, `"enter_room"`...)
	case isID(name):
		data = append(data, `"leave_room"`...)
	default:
		data = append(data, `"close_room"`...)
		field = "room"
	}
	data = append(append(append(data, `,"`...), field...), `":`...)
	data = sio.AppendString(data, name)
	if field == "sid" && m.Type != cluster.DisconnectSockets {
		data = sio.AppendString(append(data, `,"room":`...), m.Rooms[0])
	}
	data = sio.AppendString(append(data, `,"namespace":`...), m.Namespace)
	return appendHost(appendPassed(data, m), host)
}

// message is what has been read: a callback, or a message of package cluster.
type message struct {
	host      string
	namespace string
	sid       string            // that a change is for; of a callback, who was asked
	m         *cluster.Message  // nil for a callback
	id        uint64            // of a callback
	args      broadcast.Payload // of a callback
}

// wire is a message as it is written.
type wire struct {
	Method    string          `json:"method"`
	Host      *string         `json:"host_id"`
	Namespace *string         `json:"namespace"`
	Event     *string         `json:"event"`
	Data      json.RawMessage `json:"data"`
	Binary    bool            `json:"binary"`
	Room      names           `json:"room"`
	Skip      names           `json:"skip_sid"`
	Passed    bool            `json:"passed"`
	Callback  json.RawMessage `json:"callback"`
	SID       names           `json:"sid"`
	ID        json.RawMessage `json:"id"`
	Args      json.RawMessage `json:"args"`
}

var (
	errNoJSON = errors.New("it is not JSON: a pickle of python-socketio before 5.14?")
	errFormat = errors.New("not in python-socketio's format")
)

// names are none, one or more. Python's rooms may be numbers.
type names struct {
	list []string
	some bool // it is not null
	more bool // it is a list
}

// UnmarshalJSON reads null, a name or a list of names.
func (n *names) UnmarshalJSON(b []byte) error {
	*n = names{}
	if len(b) == 0 || b[0] == 'n' {
		return nil
	}
	n.some, n.more = true, b[0] == '['
	if !n.more {
		b = cluster.Array(b)
	}
	return (*cluster.Names)(&n.list).UnmarshalJSON(b)
}

// one is the only name.
func (n *names) one() (string, error) {
	if !n.some || n.more {
		return "", fmt.Errorf("%w: one name is wanted", errFormat)
	}
	return n.list[0], nil
}

// decode reads a message; nil for a method that is not known, which servers ignore. What it
// returns is a copy of b's JSON.
func decode(b []byte) (*message, error) {
	if len(b) == 0 || b[0] != '{' {
		return nil, errNoJSON
	}
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, err
	}
	var err error
	d := &message{m: &cluster.Message{Target: broadcast.Target{Passed: w.Passed}}}
	switch w.Method {
	case "emit", "disconnect", "enter_room", "leave_room", "close_room":
		if w.Namespace == nil {
			return nil, fmt.Errorf("%w: no namespace", errFormat)
		}
		d.namespace, d.m.Namespace = *w.Namespace, *w.Namespace
		if w.Host != nil {
			d.host = *w.Host
		}
	case "callback":
		return d, d.callback(&w)
	case "":
		return nil, fmt.Errorf("%w: no method", errFormat)
	default:
		return nil, nil
	}
	switch w.Method {
	case "emit":
		return d, d.emit(&w)
	case "close_room":
		d.m.Type = cluster.SocketsLeave
		room, err := w.Room.one()
		d.m.Target.Rooms, d.m.Rooms = []string{room}, []string{room}
		return d, err
	case "disconnect":
		d.m.Type = cluster.DisconnectSockets
	case "enter_room":
		d.m.Type = cluster.SocketsJoin
	case "leave_room":
		d.m.Type = cluster.SocketsLeave
	}
	if d.sid, err = w.SID.one(); err != nil {
		return nil, err
	}
	d.m.Target.Rooms = []string{d.sid}
	if d.m.Type != cluster.DisconnectSockets {
		room, err := w.Room.one()
		if err != nil {
			return nil, err
		}
		d.m.Rooms = []string{room}
	}
	return d, nil
}

// callback reads an answer.
func (d *message) callback(w *wire) (err error) {
	d.m = nil
	if w.Host == nil || w.Namespace == nil || len(w.Args) == 0 || w.Args[0] != '[' {
		return fmt.Errorf("%w: a callback without host_id, namespace or args", errFormat)
	}
	d.host, d.namespace = *w.Host, *w.Namespace
	if d.sid, err = w.SID.one(); err != nil {
		return err
	}
	d.id, _ = strconv.ParseUint(string(w.ID), 10, 64) // 0 is nobody's
	d.args.JSON = w.Args
	return cluster.CheckPayload(d.args)
}

// emit reads an event.
func (d *message) emit(w *wire) error {
	m := d.m
	m.Type = cluster.Broadcast
	switch {
	case w.Event == nil || len(w.Data) == 0:
		return fmt.Errorf("%w: no event or no data", errFormat)
	case w.Room.more && len(w.Room.list) == 0:
		return fmt.Errorf("%w: an empty list of rooms", errFormat)
	}
	m.Target.Rooms = w.Room.list
	for _, sid := range w.Skip.list {
		if isID(sid) { // or it is nobody's, and must not be taken for a room
			m.Target.Except = append(m.Target.Except, sid)
		}
	}
	data := []byte(w.Data)
	if w.Binary {
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			return err
		}
		if len(list) < 2 {
			return fmt.Errorf("%w: no binary", errFormat)
		}
		data = list[0]
		for _, text := range list[1:] {
			var a *[]byte // in base64
			if err := json.Unmarshal(text, &a); err != nil {
				return err
			}
			if a == nil || text[0] != '"' {
				return fmt.Errorf("%w: no binary", errFormat)
			}
			m.Payload.Attachments = append(m.Payload.Attachments, *a)
		}
	}
	args := [][]byte{data}
	if data[0] == '[' {
		var err error
		if args, err = sio.SplitArray(data, nil, 0); err != nil {
			return err
		}
	}
	if len(args) == 1 && string(args[0]) == "null" {
		args = nil // so Python reads it
	}
	event := sio.AppendString([]byte{'['}, *w.Event)
	for _, arg := range args {
		event = append(append(event, ','), arg...)
	}
	m.Payload.JSON = append(event, ']')
	if len(w.Callback) > 0 && string(w.Callback) != "null" {
		var list []json.RawMessage
		if err := json.Unmarshal(w.Callback, &list); err != nil {
			return err
		}
		if len(list) == 3 { // the reference ignores other ones
			m.RequestID = answerTo(d.host, list)
		}
	}
	return cluster.Check(m)
}

// answerTo begins the message with the answer to an event.
func answerTo(host string, callback []json.RawMessage) string {
	text := sio.AppendString([]byte(`{"method":"callback","host_id":`), host)
	for i, field := range []string{"sid", "namespace", "id"} {
		text = append(append(append(append(text, `,"`...), field...), `":`...), callback[i]...)
	}
	return string(append(text, `,"args":`...))
}
