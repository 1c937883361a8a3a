// Package arguments turns the arguments of events into JSON, with placeholders for
// the binary that Socket.IO sends as attachments, and puts binary back into what has
// been decoded. Nothing in it recurses over what a peer has nested, and a value of
// this side's that holds itself is an error.
package arguments

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// maxDepth bounds the nesting of values with binary in them, as of JSON from peers.
const maxDepth = 512

var errTooDeep = fmt.Errorf("nested more than %d deep, or without end", maxDepth)

// Codec encodes the values that an Encoder does not write itself.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// JSON is encoding/json.
type JSON struct{}

// Marshal is json.Marshal.
func (JSON) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal is json.Unmarshal.
func (JSON) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Received tells whether v is an argument of a received event, which is passed on as
// it is: its JSON, and the attachments that its placeholders stand for.
type Received func(v any) (json []byte, attachments [][]byte, ok bool)

// Encoder encodes arguments. Its zero value with a Codec is ready.
type Encoder struct {
	Codec       Codec
	Received    Received // nil: there are none
	Attachments [][]byte
	Err         error // the first

	depth int
}

// AppendEvent appends an event's array: its name and arguments.
func (e *Encoder) AppendEvent(dst []byte, event string, args []any) []byte {
	dst = sio.AppendString(append(dst, '['), event)
	if len(args) > 0 {
		dst = append(dst, ',')
	}
	return e.appendElements(dst, args)
}

// AppendArray appends an array of values.
func (e *Encoder) AppendArray(dst []byte, values []any) []byte {
	return e.appendElements(append(dst, '['), values)
}

func (e *Encoder) appendElements(dst []byte, values []any) []byte {
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.append(dst, v)
	}
	return append(dst, ']')
}

// append appends one value: the common ones directly, the others by the Codec.
func (e *Encoder) append(dst []byte, v any) []byte {
	if e.Err != nil {
		return dst
	}
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return sio.AppendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case []byte:
		e.Attachments = append(e.Attachments, v)
		return sio.AppendPlaceholder(dst, len(e.Attachments)-1)
	case json.RawMessage:
		if err := sio.Valid(v, 0); err != nil {
			e.Err = err
		}
		return append(dst, v...)
	case [][]byte:
		return e.nested(dst, func(dst []byte) []byte { return e.AppendArray(dst, asAny(v)) })
	case []any:
		if HasBinary(v, e.Received) {
			return e.nested(dst, func(dst []byte) []byte { return e.AppendArray(dst, v) })
		}
	case map[string][]byte:
		return e.nested(dst, func(dst []byte) []byte { return appendMap(e, dst, v) })
	case map[string]any:
		if valueHasBinary(v, e.Received, 0) {
			return e.nested(dst, func(dst []byte) []byte { return appendMap(e, dst, v) })
		}
	}
	if e.Received != nil {
		if json, attachments, ok := e.Received(v); ok {
			return e.appendReceived(dst, json, attachments)
		}
	}
	b, err := e.Codec.Marshal(v)
	if err != nil && e.Err == nil {
		e.Err = err
	}
	return append(dst, b...)
}

// nested appends what is one level deeper: a value may hold itself.
func (e *Encoder) nested(dst []byte, f func(dst []byte) []byte) []byte {
	if e.depth == maxDepth {
		e.Err = errTooDeep
		return dst
	}
	e.depth++
	dst = f(dst)
	e.depth--
	return dst
}

func asAny(list [][]byte) []any {
	all := make([]any, len(list))
	for i, b := range list {
		all[i] = b
	}
	return all
}

func appendMap[V any](e *Encoder, dst []byte, m map[string]V) []byte {
	dst = append(dst, '{')
	first := true
	for k, v := range m {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(sio.AppendString(dst, k), ':')
		dst = e.append(dst, v)
	}
	return append(dst, '}')
}

// appendReceived passes a received argument on; its placeholders get the numbers of
// this packet.
func (e *Encoder) appendReceived(dst, json []byte, attachments [][]byte) []byte {
	if len(attachments) == 0 {
		return append(dst, json...)
	}
	dst, err := sio.AppendRenumbered(dst, json, func(num int) (int, bool) {
		if num < 0 || num >= len(attachments) {
			return 0, false
		}
		e.Attachments = append(e.Attachments, attachments[num])
		return len(e.Attachments) - 1, true
	})
	if err != nil && e.Err == nil {
		e.Err = err
	}
	return dst
}

// HasBinary tells whether values may hold binary that is to be sent as such.
func HasBinary(values []any, received Received) bool {
	for _, v := range values {
		if valueHasBinary(v, received, 0) {
			return true
		}
	}
	return false
}

// valueHasBinary looks into the application's own value; what is nested too deep is
// taken for one that has, which the encoder refuses then.
func valueHasBinary(v any, received Received, depth int) bool {
	if depth > maxDepth {
		return true
	}
	switch v := v.(type) {
	case []byte, [][]byte, map[string][]byte:
		return true
	case []any:
		for _, x := range v {
			if valueHasBinary(x, received, depth+1) {
				return true
			}
		}
	case map[string]any:
		for _, x := range v {
			if valueHasBinary(x, received, depth+1) {
				return true
			}
		}
	}
	if received != nil {
		_, attachments, _ := received(v)
		return len(attachments) > 0
	}
	return false
}
