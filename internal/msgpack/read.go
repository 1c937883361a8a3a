package msgpack

import (
	"encoding/binary"
	"math"
	"time"
)

// Split checks an array and appends its elements to dst: views into it. It allocates
// only if dst has no space. The error, with which it returns nil, is a *SyntaxError.
func Split(array []byte, dst [][]byte) ([][]byte, error) {
	h, err := headOf(array, KindArray)
	if err != nil {
		return nil, err
	}
	i := h.Size
	for range h.Items {
		s, err := scan(array[i:], MaxDepth-1)
		if err != nil {
			return nil, &SyntaxError{i + s.end, err}
		}
		dst = append(dst, array[i:i+s.end:i+s.end])
		i += s.end
	}
	if i < len(array) {
		return nil, &SyntaxError{i, ErrRest}
	}
	return dst, nil
}

// Pairs checks a map and calls f for each of its pairs, in their order, until it
// returns an error, which Pairs returns then. The key is f's to keep; the value is a
// view into the map. Keys that are not strings are passed over. Other errors are a
// *SyntaxError, and come before the first call.
func Pairs(m []byte, f func(key string, value []byte) error) error {
	h, err := headOf(m, KindMap)
	if err != nil {
		return err
	}
	if _, err := scanWhole(m); err != nil {
		return err
	}
	i := h.Size
	for range h.Items / 2 {
		key := m[i : i+sizeOf(m[i:])]
		i += len(key)
		end := i + sizeOf(m[i:])
		if text, ok := TextView(key); ok {
			if err := f(keyName(text), m[i:end:end]); err != nil {
				return err
			}
		}
		i = end
	}
	return nil
}

// headOf reads the head of a value that must be of one kind.
func headOf(b []byte, want Kind) (Head, error) {
	h, err := readHead(b)
	if err == nil && h.Kind != want {
		err = ErrKind
	}
	if err != nil {
		return h, &SyntaxError{0, err}
	}
	return h, nil
}

// sizeOf is the length of the value that begins b, which has been scanned.
func sizeOf(b []byte) int {
	if h, _ := readHead(b); h.Items == 0 {
		return h.Size + h.Body
	}
	s, _ := scan(b, MaxDepth)
	return s.end
}

// keyName is string(b), without an allocation for the names that envelopes have.
func keyName(b []byte) string {
	switch string(b) {
	case "uid":
		return "uid"
	case "nsp":
		return "nsp"
	case "type":
		return "type"
	case "data":
		return "data"
	case "id":
		return "id"
	case "opts":
		return "opts"
	case "packet":
		return "packet"
	case "rooms":
		return "rooms"
	case "except":
		return "except"
	case "flags":
		return "flags"
	case "requestId":
		return "requestId"
	case "sockets":
		return "sockets"
	case "handshake":
		return "handshake"
	case "timeout":
		return "timeout"
	case "volatile":
		return "volatile"
	case "compress":
		return "compress"
	case "broadcast":
		return "broadcast"
	case "local":
		return "local"
	case "close":
		return "close"
	case "clientCount":
		return "clientCount"
	}
	return string(b)
}

// whole reads the head of a value that is exactly b and has no items.
func whole(b []byte) (h Head, ok bool) {
	h, err := readHead(b)
	return h, err == nil && h.Size+h.Body == len(b) // items would be behind that
}

// Text returns a string.
func Text(value []byte) (string, bool) {
	b, ok := TextView(value)
	return string(b), ok
}

// TextView returns a string as a view into its value.
func TextView(value []byte) ([]byte, bool) {
	h, ok := whole(value)
	if !ok || h.Kind != KindString {
		return nil, false
	}
	return value[h.Size:len(value):len(value)], true
}

// Int returns an integer. A floating-point number without a fraction is one, up to
// 2^53: JavaScript has no other numbers.
func Int(value []byte) (int64, bool) {
	h, ok := whole(value)
	if !ok {
		return 0, false
	}
	if h.Kind == KindInt {
		n := integer(value)
		return n, n >= 0 || value[0] != 0xcf
	}
	f, ok := float(value)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// integer is an integer; above what an int64 has it is negative, and value[0] 0xcf.
func integer(value []byte) int64 {
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
	case c == 0xd2:
		return int64(int32(binary.BigEndian.Uint32(body)))
	default:
		return int64(binary.BigEndian.Uint64(body))
	}
}

// Float returns a floating-point number of either size.
func Float(value []byte) (float64, bool) {
	if _, ok := whole(value); !ok {
		return 0, false
	}
	return float(value)
}

func float(value []byte) (float64, bool) {
	switch value[0] {
	case 0xca:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(value[1:]))), true
	case 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(value[1:])), true
	}
	return 0, false
}

// Bool returns a boolean.
func Bool(value []byte) (v, ok bool) {
	if len(value) != 1 || value[0]&^1 != 0xc2 {
		return false, false
	}
	return value[0] == 0xc3, true
}

// The extension types of notepack.io 2.2, which socket.io-msgpack-parser uses, and of
// MessagePack's own timestamps.
const (
	extJavaScript = 0 // undefined, Date or ArrayBuffer
	extTimestamp  = -1
)

// IsNil tells whether a value is nil, or undefined as notepack.io 2.2 writes it.
func IsNil(value []byte) bool {
	return len(value) == 1 && value[0] == 0xc0 || string(value) == "\xd4\x00\x00"
}

// Binary returns bytes as a view into their value: binary, or an ArrayBuffer as
// notepack.io 2.2 writes it for Node, which is every extension of type 0 that is
// neither undefined nor a Date.
func Binary(value []byte) ([]byte, bool) {
	h, ok := whole(value)
	if !ok {
		return nil, false
	}
	return binaryBody(h, value)
}

func binaryBody(h Head, value []byte) ([]byte, bool) {
	switch {
	case h.Kind == KindBinary:
	case h.Kind == KindExt && h.Ext == extJavaScript && value[0] != 0xd7 && !IsNil(value):
	default:
		return nil, false
	}
	return value[h.Size:len(value):len(value)], true
}

// Time returns MessagePack's timestamp, or a Date as notepack.io 2.2 writes it: eight
// bytes behind the code d7. An ArrayBuffer of eight bytes has another code (c7).
func Time(value []byte) (time.Time, bool) {
	h, ok := whole(value)
	if !ok || h.Kind != KindExt {
		return time.Time{}, false
	}
	return timeBody(h, value)
}

func timeBody(h Head, value []byte) (t time.Time, ok bool) {
	body := value[h.Size:]
	switch {
	case h.Ext == extJavaScript && value[0] == 0xd7:
		return time.UnixMilli(int64(binary.BigEndian.Uint64(body))), true
	case h.Ext != extTimestamp:
	case len(body) == 4:
		return time.Unix(int64(binary.BigEndian.Uint32(body)), 0), true
	case len(body) == 8:
		v := binary.BigEndian.Uint64(body)
		return time.Unix(int64(v&(1<<34-1)), int64(v>>34)), true
	case len(body) == 12:
		return time.Unix(int64(binary.BigEndian.Uint64(body[4:])), int64(binary.BigEndian.Uint32(body))), true
	}
	return time.Time{}, false
}
