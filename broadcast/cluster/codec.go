package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// The reference's form of a message is {type, data, uid, nsp}, as JSON, or, when there is
// binary in it, as MessagePack; n is the Number, of those that have one. Both are made from,
// and read as, the same JSON text, in which placeholders stand for binary.

var errMessage = errors.New("no message of a cluster")

// AppendJSON appends m. The payload's attachments stay outside: see AppendMsgpack.
func AppendJSON(dst []byte, m *Message) []byte {
	dst = append(dst, `{"type":`...)
	dst = strconv.AppendUint(dst, uint64(m.Type), 10)
	if m.Type.hasData() {
		dst = AppendDataJSON(append(dst, `,"data":`...), m)
	}
	dst = sio.AppendString(append(dst, `,"uid":`...), m.UID)
	dst = sio.AppendString(append(dst, `,"nsp":`...), m.Namespace)
	if m.Number != 0 { // the reference knows none; Own takes such a message for another's
		dst = strconv.AppendUint(append(dst, `,"n":`...), m.Number, 10)
	}
	return append(dst, '}')
}

// AppendMsgpack appends m in MessagePack, binary included.
func AppendMsgpack(dst []byte, m *Message) ([]byte, error) {
	return msgpack.AppendValue(dst, AppendJSON(nil, m), m.Payload.Attachments)
}

// AppendDataMsgpack appends what AppendDataJSON does in MessagePack, binary included.
func AppendDataMsgpack(dst []byte, m *Message) ([]byte, error) {
	return msgpack.AppendValue(dst, AppendDataJSON(nil, m), m.Payload.Attachments)
}

// hasData tells whether messages say more than their type.
func (t Type) hasData() bool { return t != InitialHeartbeat && t != Heartbeat && t != AdapterClose }

// AppendDataJSON appends what m says besides its type, sender and namespace.
func AppendDataJSON(dst []byte, m *Message) []byte {
	dst = append(dst, '{')
	more := func(name string) {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), name...), '"', ':')
	}
	if m.RequestID != "" {
		more("requestId")
		dst = sio.AppendString(dst, m.RequestID)
	}
	switch m.Type {
	case Broadcast:
		more("packet")
		dst = append(append(append(dst, `{"type":2,"data":`...), m.Payload.JSON...), '}')
	case ServerSideEmit:
		more("packet")
		dst = append(dst, m.Payload.JSON...)
		if m.Payload.Passed {
			more("passed") // other servers do not look at it
			dst = append(dst, "true"...)
		}
	case ServerSideEmitResponse, BroadcastAck:
		more("packet")
		dst = append(dst, Value(m.Payload.JSON)...)
	}
	switch m.Type {
	case Broadcast, SocketsJoin, SocketsLeave, DisconnectSockets, FetchSockets:
		more("opts")
		dst = AppendTargetJSON(dst, m)
	}
	switch m.Type {
	case SocketsJoin, SocketsLeave:
		more("rooms")
		dst = AppendNames(dst, m.Rooms)
	case DisconnectSockets:
		more("close")
		dst = strconv.AppendBool(dst, m.Close)
	case FetchSocketsResponse:
		more("sockets")
		dst = AppendSockets(dst, m.Sockets)
	case BroadcastClientCount:
		more("clientCount")
		dst = strconv.AppendInt(dst, int64(m.Count), 10)
	}
	return append(dst, '}')
}

// AppendTargetJSON appends whom m addresses: {rooms, except, flags}.
func AppendTargetJSON(dst []byte, m *Message) []byte {
	dst = AppendNames(append(dst, `{"rooms":`...), m.Target.Rooms)
	dst = AppendNames(append(dst, `,"except":`...), m.Target.Except)
	dst = append(dst, `,"flags":{`...)
	sep := ""
	flag := func(text string) {
		dst = append(append(dst, sep...), text...)
		sep = ","
	}
	if m.Target.Volatile {
		flag(`"volatile":true`)
	}
	if m.Target.NoCompress {
		flag(`"compress":false`)
	}
	if m.Target.Passed {
		flag(`"passed":true`) // other servers do not look at it
	}
	if m.Timeout > 0 {
		flag(`"timeout":`)
		dst = strconv.AppendInt(dst, max(m.Timeout.Milliseconds(), 1), 10)
	}
	return append(dst, "}}"...)
}

// AppendNames appends names as an array.
func AppendNames(dst []byte, names []string) []byte {
	dst = append(dst, '[')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = sio.AppendString(dst, name)
	}
	return append(dst, ']')
}

// AppendSockets appends sockets as an array.
func AppendSockets(dst []byte, sockets []broadcast.SocketInfo) []byte {
	or := func(b json.RawMessage, other string) json.RawMessage {
		if len(b) == 0 {
			return json.RawMessage(other)
		}
		return b
	}
	dst = append(dst, '[')
	for i := range sockets {
		s := &sockets[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = sio.AppendString(append(dst, `{"id":`...), s.ID)
		dst = append(append(dst, `,"handshake":`...), or(s.Handshake, "{}")...)
		dst = AppendNames(append(dst, `,"rooms":`...), s.Rooms)
		dst = append(append(append(dst, `,"data":`...), or(s.Data, "{}")...), '}')
	}
	return append(dst, ']')
}

// Value is the only element of an array, null if there is none.
func Value(array []byte) []byte {
	elements, err := sio.SplitArray(array, nil, 0)
	if err != nil || len(elements) == 0 {
		return []byte("null")
	}
	return elements[0]
}

// firstOf is p with one value, if it has more.
func firstOf(p broadcast.Payload) broadcast.Payload {
	elements, err := sio.SplitArray(p.JSON, nil, 0)
	if err != nil || len(elements) < 2 {
		return p
	}
	p.JSON = Array(elements[0])
	n := 0 // its placeholders come first
	for n < len(p.Attachments) && sio.CheckPlaceholders(p.JSON, n) != nil {
		n++
	}
	p.Attachments = p.Attachments[:n]
	return p
}

// Array is an array of one value.
func Array(value []byte) []byte {
	if len(value) == 0 {
		value = []byte("null")
	}
	return append(append([]byte{'['}, value...), ']')
}

// Names are the names of rooms. JavaScript's may be numbers.
type Names []string

// UnmarshalJSON reads an array of strings and numbers.
func (n *Names) UnmarshalJSON(b []byte) error {
	var list []any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&list); err != nil {
		return err
	}
	*n = make(Names, 0, len(list))
	for _, v := range list {
		switch v := v.(type) {
		case string:
			*n = append(*n, v)
		case json.Number:
			*n = append(*n, v.String())
		default:
			return fmt.Errorf("%w: a room's name is %T", errMessage, v)
		}
	}
	return nil
}

// Opts is how the reference writes whom a message addresses.
type Opts struct {
	Rooms  Names `json:"rooms"`
	Except Names `json:"except"`
	Flags  struct {
		Volatile bool    `json:"volatile"`
		Compress *bool   `json:"compress"`
		Passed   bool    `json:"passed"`
		Timeout  float64 `json:"timeout"` // ms
	} `json:"flags"`
}

// Set sets whom m addresses.
func (o *Opts) Set(m *Message) {
	m.Target = broadcast.Target{Rooms: o.Rooms, Except: o.Except, Volatile: o.Flags.Volatile, Passed: o.Flags.Passed}
	m.Target.NoCompress = o.Flags.Compress != nil && !*o.Flags.Compress
	if ms := o.Flags.Timeout; ms > 0 {
		m.Timeout = time.Duration(min(ms, float64(maxWait.Milliseconds()))) * time.Millisecond
	}
}

type envelope struct {
	Type Type            `json:"type"`
	Data json.RawMessage `json:"data"`
	UID  string          `json:"uid"`
	NSP  string          `json:"nsp"`
	N    uint64          `json:"n"`
}

type content struct {
	RequestID   string                 `json:"requestId"`
	Packet      json.RawMessage        `json:"packet"`
	Opts        Opts                   `json:"opts"`
	Rooms       Names                  `json:"rooms"`
	Close       bool                   `json:"close"`
	Sockets     []broadcast.SocketInfo `json:"sockets"`
	ClientCount int                    `json:"clientCount"`
	Passed      bool                   `json:"passed"`
}

// Decode reads a message, in JSON or in MessagePack. What it returns is a copy of JSON,
// and a view of the attachments in b.
func Decode(b []byte) (*Message, error) {
	var attachments [][]byte
	if len(b) == 0 || b[0] != '{' {
		var err error
		if b, err = msgpack.AppendJSON(nil, b, &attachments); err != nil {
			return nil, err
		}
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	m := &Message{Type: e.Type, UID: e.UID, Namespace: e.NSP, Number: e.N}
	if m.Namespace == "" {
		m.Namespace = "/"
	}
	return m, decodeData(m, e.Data, attachments)
}

// DecodeData reads what a message says besides its type, which m has: JSON, or, if binary
// is set, MessagePack.
func DecodeData(m *Message, b []byte, binary bool) error {
	var attachments [][]byte
	if binary {
		var err error
		if b, err = msgpack.AppendJSON(nil, b, &attachments); err != nil {
			return err
		}
	}
	return decodeData(m, b, attachments)
}

func decodeData(m *Message, b []byte, attachments [][]byte) error {
	if !m.Type.hasData() {
		return nil
	}
	if m.Type == 0 || m.Type > AdapterClose {
		return fmt.Errorf("%w: type %d", errMessage, m.Type)
	}
	var c content
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	m.RequestID, m.Rooms, m.Close, m.Sockets, m.Count = c.RequestID, c.Rooms, c.Close, c.Sockets, c.ClientCount
	c.Opts.Set(m)
	m.Payload.Attachments = attachments
	switch m.Type {
	case Broadcast:
		var packet struct {
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(c.Packet, &packet); err != nil {
			return err
		}
		m.Payload.JSON = packet.Data
	case ServerSideEmit:
		m.Payload.JSON, m.Payload.Passed = c.Packet, c.Passed
	case ServerSideEmitResponse, BroadcastAck:
		m.Payload.JSON = Array(c.Packet)
	default:
		m.Payload.Attachments = nil
	}
	return Check(m)
}

// maxCount bounds the sockets that a server may say it has asked: sums of it do not overflow.
const maxCount = 1 << 30

// Check tells what is wrong with a message that has been read.
func Check(m *Message) error {
	switch m.Type {
	case Broadcast, ServerSideEmit:
		if len(m.Payload.JSON) == 0 || m.Payload.JSON[0] != '[' {
			return fmt.Errorf("%w: no arguments", errMessage)
		}
	case FetchSockets:
		if m.RequestID == "" {
			return fmt.Errorf("%w: a question without an id", errMessage)
		}
	case BroadcastClientCount:
		if m.Count < 0 || m.Count > maxCount {
			return fmt.Errorf("%w: %d sockets", errMessage, m.Count)
		}
	}
	return CheckPayload(m.Payload)
}

// CheckPayload tells what is wrong with values that have been read. They are JSON by then,
// but encoding/json takes any bytes in a text, and a WebSocket's peer does not.
func CheckPayload(p broadcast.Payload) error {
	if !utf8.Valid(p.JSON) {
		return fmt.Errorf("%w: a text that is not UTF-8", errMessage)
	}
	if n := len(p.Attachments); n > 0 {
		return sio.CheckPlaceholders(p.JSON, n)
	}
	return nil
}

// Channel is where the reference's adapters send a message: that of the namespace, of a
// server, or, for a broadcast to one room, of that. privateRooms says whether a socket's own
// room has one.
func Channel(prefix string, m *Message, privateRooms bool) string {
	all := prefix + "#" + m.Namespace + "#"
	switch rooms := m.Target.Rooms; {
	case m.To != "":
		return all + m.To + "#"
	case m.Type == Broadcast && m.RequestID == "" && len(rooms) == 1 && (privateRooms || utf16Len(rooms[0]) != idLen):
		return all + rooms[0] + "#"
	}
	return all
}

// idLen is the length of sockets' IDs.
const idLen = 20

// utf16Len is a text's length in JavaScript.
func utf16Len(s string) (n int) {
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}
