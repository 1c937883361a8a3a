// Package binary takes binary out of values that are to be encoded as JSON, and
// puts it back: Socket.IO sends it as attachments. It is for values of this side,
// or of servers that are trusted with the stack: it recurses.
package binary

import (
	"encoding/json"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// Extract returns v with placeholders in the place of []byte, at the top or in
// []any and map[string]any, and appends those to attachments.
func Extract(v any, attachments *[][]byte) any {
	switch v := v.(type) {
	case []byte:
		*attachments = append(*attachments, v)
		return json.RawMessage(sio.AppendPlaceholder(nil, len(*attachments)-1))
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = Extract(x, attachments)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = Extract(x, attachments)
		}
		return m
	}
	return v
}

// Restore puts attachments in the place of placeholders in what encoding/json
// has decoded into an any.
func Restore(v any, attachments [][]byte) any {
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			v[i] = Restore(x, attachments)
		}
	case map[string]any:
		if num, ok := v["num"].(float64); ok && v["_placeholder"] == true && num >= 0 && int(num) < len(attachments) {
			return attachments[int(num)]
		}
		for k, x := range v {
			v[k] = Restore(x, attachments)
		}
	}
	return v
}
