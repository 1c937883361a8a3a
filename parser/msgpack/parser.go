package msgpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/sockeye-io/sockeye"
	wire "github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Parser is a sockeye.Parser. Its zero value is ready to use; its methods may be
// called from any goroutine.
type Parser struct {
	// MaxDepth bounds the nesting of what peers send. Default 512, which is also
	// the most.
	MaxDepth int

	// Dates sends a time.Time as JavaScript's Date, as socket.io-msgpack-parser
	// has it. Default: as a string (RFC 3339), which every peer understands.
	Dates bool
}

var _ sockeye.Parser = Parser{}

// What can be wrong with a packet whose MessagePack is right.
var (
	errRest    = errors.New("msgpack: something follows the packet")
	errPacket  = errors.New("msgpack: the message is no packet")
	errElement = errors.New("msgpack: an event's name must be a string or a number")
)

// Binary is true.
func (Parser) Binary() bool { return true }

// The extension types of notepack.io, which JavaScript's parser uses, and of
// MessagePack's own timestamps.
const (
	extJavaScript = 0
	extTimestamp  = -1
)

// Append appends a packet: a map of type, data, nsp and id, the last two only
// where they are.
func (p Parser) Append(dst []byte, h sio.Packet, data any) ([]byte, error) {
	fields := 2
	if data != nil {
		fields++
	}
	if h.HasID {
		fields++
	}
	dst = wire.AppendMapHead(dst, fields)
	dst = wire.AppendUint(wire.AppendString(dst, "type"), uint64(h.Type))
	if data != nil {
		encoded, err := p.marshal(data)
		if err != nil {
			return nil, err
		}
		dst = append(wire.AppendString(dst, "data"), encoded...)
	}
	dst = wire.AppendString(wire.AppendString(dst, "nsp"), h.Namespace)
	if h.HasID {
		dst = wire.AppendUint(wire.AppendString(dst, "id"), h.ID)
	}
	return dst, nil
}

// marshal encodes data; timestamps as strings or dates, which JavaScript's
// parser knows.
func (p Parser) marshal(data any) ([]byte, error) {
	var buf bytes.Buffer
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	enc.Reset(&buf)
	enc.SetCustomStructTag("json")
	enc.UseCompactInts(true)
	if err := enc.Encode(raw(data, 0)); err != nil {
		return nil, err
	}
	b := buf.Bytes()
	_, ext, err := wire.Scan(b, 0)
	if err != nil {
		return nil, err
	}
	if ext {
		b = wire.Rewrite(b, p.appendOwnValue)
	}
	return b, nil
}

// raw puts received arguments, which are encoded already, into place.
func raw(v any, depth int) any {
	switch v := v.(type) {
	case sockeye.Argument:
		return msgpack.RawMessage(v.JSON)
	case []any:
		if depth > 64 {
			return v
		}
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = raw(x, depth+1)
		}
		return list
	case map[string]any:
		if depth > 64 {
			return v
		}
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = raw(x, depth+1)
		}
		return m
	}
	return v
}

// appendOwnValue appends what stands for a value that marshal has made: another
// one only for timestamps.
func (p Parser) appendOwnValue(dst []byte, h wire.Head, value []byte) []byte {
	if h.Kind != wire.KindExt || h.Ext != extTimestamp {
		return append(dst, value...)
	}
	t, ok := wire.Time(value)
	switch {
	case !ok:
		return append(dst, value...)
	case p.Dates:
		return binary.BigEndian.AppendUint64(append(dst, 0xd7, extJavaScript), uint64(t.UnixMilli()))
	}
	return wire.AppendString(dst, t.UTC().Format(time.RFC3339Nano))
}

// appendPeerValue appends what stands for a peer's value: another one only for
// extensions and numbers.
func appendPeerValue(dst []byte, h wire.Head, value []byte) []byte {
	switch h.Kind {
	case wire.KindInt: // all of one size
		if n, ok := wire.Int(value); ok {
			return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n))
		}
	case wire.KindOther:
		if f, ok := wire.Float(value); ok {
			return wire.AppendFloat(dst, f)
		}
	case wire.KindExt:
		if wire.IsNil(value) {
			return wire.AppendNil(dst)
		}
		if t, ok := wire.Time(value); ok {
			dst = binary.BigEndian.AppendUint32(append(dst, 0xc7, 12, 0xff), uint32(t.Nanosecond()))
			return binary.BigEndian.AppendUint64(dst, uint64(t.Unix()))
		}
		b, ok := wire.Binary(value)
		if !ok {
			b = value[h.Size:]
			dst = binary.BigEndian.AppendUint64(append(wire.AppendArrayHead(dst, 2), 0xd3), uint64(h.Ext))
		}
		return wire.AppendBinary(dst, b)
	}
	return append(dst, value...)
}

// Consume reads a packet's header. Fields that it does not know are passed over:
// socket.io-client adds its options.
func (p Parser) Consume(message []byte) (sio.Packet, error) {
	packet := sio.Packet{Namespace: []byte("/")}
	h, err := wire.ReadHead(message)
	if err != nil {
		return packet, err
	}
	if h.Kind != wire.KindMap {
		return packet, errPacket
	}
	hasType := false
	b := message[h.Size:]
	for range h.Items / 2 {
		key, value, rest, err := p.pair(b)
		if err != nil {
			return packet, err
		}
		b = rest
		switch key {
		case "type":
			if len(value) != 1 || value[0] > byte(sio.ConnectError) {
				return packet, errPacket // types 5 and 6 are the JSON form's
			}
			packet.Type, hasType = sio.PacketType(value[0]), true
		case "nsp":
			h, _ := wire.ReadHead(value)
			if h.Kind != wire.KindString {
				return packet, errPacket
			}
			packet.Namespace = value[h.Size:]
		case "id":
			if !wire.IsNil(value) {
				if err := msgpack.Unmarshal(value, &packet.ID); err != nil {
					return packet, errPacket
				}
				packet.HasID = true
			}
		case "data":
			if !wire.IsNil(value) {
				packet.Data = value
			}
		}
	}
	switch {
	case len(b) > 0:
		return packet, errRest
	case !hasType, len(packet.Namespace) == 0, len(packet.Namespace) > 257:
		return packet, errPacket
	}
	return packet, checkData(packet)
}

// checkData checks that a packet has the data that its type wants.
func checkData(p sio.Packet) error {
	want := wire.KindArray
	switch p.Type {
	case sio.Connect:
		if p.Data == nil {
			return nil
		}
		want = wire.KindMap
	case sio.Disconnect, sio.ConnectError:
		return nil
	}
	h, err := wire.ReadHead(p.Data)
	switch {
	case err != nil || h.Kind != want:
		return errPacket
	case want == wire.KindArray && h.Items > sio.MaxArguments:
		return sio.ErrArguments // a view of one is many times its size
	}
	return nil
}

// pair reads a key, which must be a string, and a value.
func (p Parser) pair(b []byte) (key string, value, rest []byte, err error) {
	h, err := wire.ReadHead(b)
	if err != nil {
		return "", nil, nil, err
	}
	if h.Kind != wire.KindString {
		return "", nil, nil, errPacket
	}
	key = string(b[h.Size : h.Size+h.Body])
	b = b[h.Size+h.Body:]
	end, _, err := wire.Scan(b, p.MaxDepth)
	if err != nil {
		return "", nil, nil, err
	}
	return key, b[:end:end], b[end:], nil
}

// Split returns views of the elements of an array.
func (p Parser) Split(data []byte, dst [][]byte) ([][]byte, error) {
	h, err := wire.ReadHead(data)
	if err != nil {
		return nil, err
	}
	if h.Kind != wire.KindArray {
		return nil, errPacket
	}
	b := data[h.Size:]
	for range h.Items {
		end, _, err := wire.Scan(b, p.MaxDepth)
		if err != nil {
			return nil, err
		}
		dst = append(dst, b[:end:end])
		b = b[end:]
	}
	if len(b) > 0 {
		return nil, errRest
	}
	return dst, nil
}

// EventName returns the name that an event's first element stands for.
func (Parser) EventName(element []byte) ([]byte, error) {
	h, err := wire.ReadHead(element)
	if err != nil {
		return nil, err
	}
	switch h.Kind {
	case wire.KindString:
		return element[h.Size : h.Size+h.Body], nil
	case wire.KindInt:
		var n int64
		if err := msgpack.Unmarshal(element, &n); err != nil {
			return nil, err
		}
		return strconv.AppendInt(nil, n, 10), nil
	}
	return nil, errElement
}

// Unmarshal decodes an element into what v points to. In an any, integers are
// int64 (uint64 beyond), other numbers float64.
func (p Parser) Unmarshal(data []byte, v any) error {
	end, ext, err := wire.Scan(data, p.MaxDepth)
	if err != nil {
		return err
	}
	if end != len(data) {
		return errRest
	}
	switch v.(type) {
	case *string, *int, *int64, *float64, *bool, *[]byte:
	default:
		ext = true // an any may be in it, and wants numbers of one size
	}
	if ext {
		data = wire.Rewrite(data, appendPeerValue)
	}
	dec := msgpack.GetDecoder()
	defer msgpack.PutDecoder(dec)
	dec.Reset(bytes.NewReader(data))
	dec.SetCustomStructTag("json")
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("msgpack: %w", err)
	}
	return nil
}
