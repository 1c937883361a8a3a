package msgpack

import (
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// AppendJSON appends a value as JSON. Binary is appended to attachments as a view into
// value, and a placeholder with its index there stands in its place. Undefined, and
// numbers that JSON does not have, become null; times become strings as of
// JavaScript's toISOString; other extensions become an array of their type and their
// bytes; what is not UTF-8 becomes U+FFFD. Integers keep all their digits, and become
// text as keys.
//
// The JSON is nested at most MaxDepth deep, placeholders included. A map that has the
// key "_placeholder" is an error if there are attachments, as it would be taken for one.
// The whole value is scanned first. The error, with which AppendJSON returns nil and leaves attachments
// as they were, is a *SyntaxError.
func AppendJSON(dst, value []byte, attachments *[][]byte) ([]byte, error) {
	s, err := scanWhole(value)
	if err != nil {
		return nil, err
	}
	before := len(*attachments)
	if s.depth <= shallow {
		var room [shallow]level
		dst, err = appendJSON(dst, value, attachments, room[:])
	} else {
		dst, err = appendDeepJSON(dst, value, attachments)
	}
	if err != nil {
		clear((*attachments)[before:])
		*attachments = (*attachments)[:before]
		return nil, err
	}
	return dst, nil
}

//go:noinline
func appendDeepJSON(dst, value []byte, attachments *[][]byte) ([]byte, error) {
	var room [MaxDepth]level
	return appendJSON(dst, value, attachments, room[:])
}

// level is an open container.
type level struct {
	left int // items to come; of a map they alternate
	end  byte
}

// appendJSON appends a scanned value, nested at most len(room) deep.
func appendJSON(dst, value []byte, attachments *[][]byte, room []level) ([]byte, error) {
	open := 0
	looksLikeOne := -1 // where a map looks like a placeholder
	for i := 0; i < len(value); {
		h, err := readHead(value[i:])
		if err != nil {
			return nil, &SyntaxError{i, err} // cannot be: it has been scanned
		}
		at, item := i, value[i:i+h.Size+h.Body]
		i += len(item)
		switch {
		case open > 0 && room[open-1].end == '}' && room[open-1].left%2 == 0:
			if dst, err = appendKey(dst, h, item); string(item[h.Size:]) == "_placeholder" {
				looksLikeOne = at
			}
		case h.isContainer():
			begin, end := byte('['), byte(']')
			if h.Kind == KindMap {
				begin, end = '{', '}'
			}
			if dst = append(dst, begin); h.Items > 0 {
				room[open] = level{h.Items, end}
				open++
				continue
			}
			dst = append(dst, end)
		default:
			dst, err = appendScalar(dst, h, item, attachments, open)
		}
		if err != nil {
			return nil, &SyntaxError{at, err}
		}
		for open > 0 {
			l := &room[open-1]
			if l.left--; l.left > 0 {
				if l.end == '}' && l.left%2 == 1 {
					dst = append(dst, ':')
				} else {
					dst = append(dst, ',')
				}
				break
			}
			dst = append(dst, l.end)
			open--
		}
	}
	if looksLikeOne >= 0 && len(*attachments) > 0 {
		return nil, &SyntaxError{looksLikeOne, ErrPlaceholder}
	}
	return dst, nil
}

func appendKey(dst []byte, h Head, item []byte) ([]byte, error) {
	switch h.Kind {
	case KindString:
		return sio.AppendString(dst, stringView(item[h.Size:])), nil
	case KindInt:
		return append(appendInteger(append(dst, '"'), item), '"'), nil
	}
	return nil, ErrKey
}

// appendScalar appends what is no container; depth is how deep it is nested.
func appendScalar(dst []byte, h Head, item []byte, attachments *[][]byte, depth int) ([]byte, error) {
	switch h.Kind {
	case KindNil:
		return append(dst, "null"...), nil
	case KindInt:
		return appendInteger(dst, item), nil
	case KindString:
		return sio.AppendString(dst, stringView(item[h.Size:])), nil
	case KindOther:
		if v, ok := Bool(item); ok {
			return strconv.AppendBool(dst, v), nil
		}
		f, _ := float(item)
		return appendJSONFloat(dst, f), nil
	}
	if IsNil(item) {
		return append(dst, "null"...), nil
	}
	if h.Kind == KindExt {
		if t, ok := timeBody(h, item); ok {
			return appendTime(dst, t), nil
		}
	}
	body, plain := binaryBody(h, item)
	if !plain {
		body = item[h.Size:len(item):len(item)]
		dst = append(strconv.AppendInt(append(dst, '['), int64(h.Ext), 10), ',')
		depth++
	}
	if depth >= MaxDepth {
		return nil, ErrDepth // of the JSON: the placeholder is a container
	}
	*attachments = append(*attachments, body)
	if dst = sio.AppendPlaceholder(dst, len(*attachments)-1); !plain {
		dst = append(dst, ']')
	}
	return dst, nil
}

func appendInteger(dst, item []byte) []byte {
	n := integer(item)
	if item[0] == 0xcf {
		return strconv.AppendUint(dst, uint64(n), 10)
	}
	return strconv.AppendInt(dst, n, 10)
}

// appendJSONFloat appends a number as JSON.stringify and encoding/json do: with an
// exponent only below 1e-6 and from 1e21.
func appendJSONFloat(dst []byte, f float64) []byte {
	abs := math.Abs(f)
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return append(dst, "null"...)
	case abs != 0 && abs < 1e-6 || abs >= 1e21:
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		if n := len(dst); dst[n-3] == '-' && dst[n-2] == '0' { // e-07
			dst = append(dst[:n-2], dst[n-1])
		}
		return dst
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendTime appends what JavaScript's toISOString gives, or null for a time that a
// Date cannot have.
func appendTime(dst []byte, t time.Time) []byte {
	const maxSeconds = 8_640_000_000_000 // to either side of 1970; ECMA-262, "Time Values and Time Range"
	if s := t.Unix(); s < -maxSeconds || s > maxSeconds || s == maxSeconds && t.Nanosecond() > 0 {
		return append(dst, "null"...)
	}
	t = t.UTC()
	dst = append(dst, '"')
	if year := t.Year(); year >= 0 && year <= 9999 {
		dst = t.AppendFormat(dst, "2006")
	} else { // six digits and a sign
		sign := byte('+')
		if year < 0 {
			sign, year = '-', -year
		}
		dst = append(dst, sign)
		for d := 100_000; d > 0; d /= 10 {
			dst = append(dst, '0'+byte(year/d%10))
		}
	}
	return t.AppendFormat(dst, `-01-02T15:04:05.000Z"`)
}

// stringView is string(b) without a copy, for what does not keep it.
func stringView(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
