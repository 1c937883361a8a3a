package msgpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/sockeye-io/sockeye"
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

const maxDepth = 512

func (p Parser) depth() int {
	if p.MaxDepth <= 0 || p.MaxDepth > maxDepth {
		return maxDepth
	}
	return p.MaxDepth
}

// Binary is true.
func (Parser) Binary() bool { return true }

// The extension types of notepack.io, which JavaScript's parser uses, and of
// MessagePack's own timestamps.
const (
	extJavaScript = 0 // undefined, Date or ArrayBuffer, by size
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
	dst = append(dst, 0x80|byte(fields))
	dst = append(appendString(dst, "type"), byte(h.Type))
	if data != nil {
		encoded, err := p.marshal(data)
		if err != nil {
			return nil, err
		}
		dst = append(appendString(dst, "data"), encoded...)
	}
	dst = appendString(appendString(dst, "nsp"), string(h.Namespace))
	if h.HasID {
		dst = appendUint(appendString(dst, "id"), h.ID)
	}
	return dst, nil
}

// appendString appends a string.
func appendString(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n < 1<<8:
		dst = append(dst, 0xd9, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}

// appendUint appends a number in its shortest form.
func appendUint(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<7:
		return append(dst, byte(n))
	case n < 1<<8:
		return append(dst, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
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
	_, ext, err := scan(b, maxDepth)
	if err != nil {
		return nil, err
	}
	if ext {
		b = rewrite(b, p.appendOwnValue)
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
func (p Parser) appendOwnValue(dst []byte, h head, value []byte) []byte {
	if h.kind != kindExt {
		return append(dst, value...)
	}
	ext, body := h.ext, value[h.size:]
	t, ok := timestamp(body)
	switch {
	case ext != extTimestamp || !ok:
		return appendExt(dst, ext, body)
	case p.Dates:
		return binary.BigEndian.AppendUint64(append(dst, 0xd7, extJavaScript), uint64(t.UnixMilli()))
	}
	return appendString(dst, t.UTC().Format(time.RFC3339Nano))
}

// timestamp reads the body of MessagePack's timestamp extension.
func timestamp(body []byte) (time.Time, bool) {
	switch len(body) {
	case 4:
		return time.Unix(int64(binary.BigEndian.Uint32(body)), 0), true
	case 8:
		v := binary.BigEndian.Uint64(body)
		return time.Unix(int64(v&(1<<34-1)), int64(v>>34)), true
	case 12:
		return time.Unix(int64(binary.BigEndian.Uint64(body[4:])), int64(binary.BigEndian.Uint32(body))), true
	}
	return time.Time{}, false
}

// appendExt appends an extension as it is.
func appendExt(dst []byte, ext int8, body []byte) []byte {
	switch n := len(body); n {
	case 1, 2, 4, 8, 16:
		dst = append(dst, 0xd4+map[int]byte{1: 0, 2: 1, 4: 2, 8: 3, 16: 4}[n])
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc9), uint32(n))
	}
	return append(append(dst, byte(ext)), body...)
}

// appendPeerValue appends what stands for a peer's value: another one only for
// extensions and numbers.
func appendPeerValue(dst []byte, h head, value []byte) []byte {
	ext, body := h.ext, value[h.size:]
	switch {
	case h.kind == kindInt && len(value) == 9, h.kind != kindInt && h.kind != kindExt && value[0] != 0xca:
		return append(dst, value...)
	case h.kind == kindInt:
		return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(smallInt(value)))
	case h.kind == kindOther: // float32
		f := math.Float32frombits(binary.BigEndian.Uint32(body))
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(float64(f)))
	case ext == extJavaScript && len(body) == 1 && body[0] == 0: // undefined
		return append(dst, 0xc0)
	case ext == extJavaScript && len(body) == 8: // Date
		t := time.UnixMilli(int64(binary.BigEndian.Uint64(body)))
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc7, 12, 0xff), uint32(t.Nanosecond()))
		return binary.BigEndian.AppendUint64(dst, uint64(t.Unix()))
	case ext == extJavaScript: // ArrayBuffer
		return appendBinary(dst, body)
	case ext == extTimestamp:
		if _, ok := timestamp(body); ok {
			return appendExt(dst, ext, body)
		}
	}
	return appendBinary(binary.BigEndian.AppendUint64(append(dst, 0x92, 0xd3), uint64(ext)), body)
}

// smallInt is an integer of less than nine bytes.
func smallInt(value []byte) int64 {
	c := value[0]
	switch body := value[1:]; {
	case c < 0x80 || c >= 0xe0:
		return int64(int8(c))
	case c == 0xcc:
		return int64(body[0])
	case c == 0xcd:
		return int64(binary.BigEndian.Uint16(body))
	case c == 0xce:
		return int64(binary.BigEndian.Uint32(body))
	case c == 0xd0:
		return int64(int8(body[0]))
	case c == 0xd1:
		return int64(int16(binary.BigEndian.Uint16(body)))
	default:
		return int64(int32(binary.BigEndian.Uint32(body)))
	}
}

func appendBinary(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(len(b))), b...)
}

// Consume reads a packet's header. Fields that it does not know are passed over:
// socket.io-client adds its options.
func (p Parser) Consume(message []byte) (sio.Packet, error) {
	packet := sio.Packet{Namespace: []byte("/")}
	h, err := readHead(message)
	if err != nil {
		return packet, err
	}
	if h.kind != kindMap {
		return packet, errPacket
	}
	hasType := false
	b := message[h.size:]
	for range h.items / 2 {
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
			h, _ := readHead(value)
			if h.kind != kindString {
				return packet, errPacket
			}
			packet.Namespace = value[h.size:]
		case "id":
			if !absent(value) {
				if err := msgpack.Unmarshal(value, &packet.ID); err != nil {
					return packet, errPacket
				}
				packet.HasID = true
			}
		case "data":
			if !absent(value) {
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
	want := kindArray
	switch p.Type {
	case sio.Connect:
		if p.Data == nil {
			return nil
		}
		want = kindMap
	case sio.Disconnect, sio.ConnectError:
		return nil
	}
	if h, err := readHead(p.Data); err != nil || h.kind != want {
		return errPacket
	}
	return nil
}

// absent tells whether a value is nil or undefined.
func absent(value []byte) bool {
	return len(value) == 1 && value[0] == 0xc0 || bytes.Equal(value, []byte{0xd4, 0, 0})
}

// pair reads a key, which must be a string, and a value.
func (p Parser) pair(b []byte) (key string, value, rest []byte, err error) {
	h, err := readHead(b)
	if err != nil {
		return "", nil, nil, err
	}
	if h.kind != kindString {
		return "", nil, nil, errPacket
	}
	key = string(b[h.size : h.size+h.body])
	b = b[h.size+h.body:]
	end, _, err := scan(b, p.depth())
	if err != nil {
		return "", nil, nil, err
	}
	return key, b[:end:end], b[end:], nil
}

// Split returns views of the elements of an array.
func (p Parser) Split(data []byte, dst [][]byte) ([][]byte, error) {
	h, err := readHead(data)
	if err != nil {
		return nil, err
	}
	if h.kind != kindArray {
		return nil, errPacket
	}
	b := data[h.size:]
	for range h.items {
		end, _, err := scan(b, p.depth())
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
	h, err := readHead(element)
	if err != nil {
		return nil, err
	}
	switch h.kind {
	case kindString:
		return element[h.size : h.size+h.body], nil
	case kindInt:
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
	end, ext, err := scan(data, p.depth())
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
		data = rewrite(data, appendPeerValue)
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
