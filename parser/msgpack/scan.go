package msgpack

import (
	"encoding/binary"
	"errors"
)

// What can be wrong with a message.
var (
	errShort   = errors.New("msgpack: the message ends too early")
	errDepth   = errors.New("msgpack: the message is nested too deeply")
	errFormat  = errors.New("msgpack: a byte that begins no value")
	errRest    = errors.New("msgpack: something follows the packet")
	errPacket  = errors.New("msgpack: the message is no packet")
	errElement = errors.New("msgpack: an event's name must be a string or a number")
)

// kind is what a value is.
type kind uint8

const (
	kindOther kind = iota
	kindNil
	kindInt
	kindString
	kindBinary
	kindArray
	kindMap
	kindExt
)

// head is the first bytes of a value: b[0:size], and size+body is where it, or
// the first of its items, ends.
type head struct {
	kind  kind
	size  int // of the head itself
	body  int // bytes that follow and are the value's own
	items int // values that follow: of a map two for each pair
	ext   int8
}

// readHead reads the head of the value that begins b. Sizes have been checked
// against what is there.
func readHead(b []byte) (h head, err error) {
	if len(b) == 0 {
		return h, errShort
	}
	c := b[0]
	h.size = 1
	length := func(n int) int { // the big-endian number in the n bytes behind the first
		if len(b) < 1+n {
			err = errShort
			return 0
		}
		h.size += n
		var wide [8]byte
		copy(wide[8-n:], b[1:1+n])
		return int(min(binary.BigEndian.Uint64(wide[:]), 1<<40))
	}
	switch {
	case c < 0x80:
		h.kind = kindInt
	case c < 0x90:
		h.kind, h.items = kindMap, 2*int(c&15)
	case c < 0xa0:
		h.kind, h.items = kindArray, int(c&15)
	case c < 0xc0:
		h.kind, h.body = kindString, int(c&31)
	case c >= 0xe0:
		h.kind = kindInt
	case c == 0xc0:
		h.kind = kindNil
	case c == 0xc1:
		return h, errFormat
	case c <= 0xc3: // booleans
	case c <= 0xc6:
		h.kind = kindBinary
		h.body = length(1 << (c - 0xc4))
	case c <= 0xc9:
		h.kind = kindExt
		h.body = length(1 << (c - 0xc7))
		h.size++
	case c == 0xca, c == 0xcb:
		h.body = 4 << (c - 0xca)
	case c <= 0xcf:
		h.kind, h.body = kindInt, 1<<(c-0xcc)
	case c <= 0xd3:
		h.kind, h.body = kindInt, 1<<(c-0xd0)
	case c <= 0xd8:
		h.kind, h.body = kindExt, 1<<(c-0xd4)
		h.size++
	case c <= 0xdb:
		h.kind = kindString
		h.body = length(1 << (c - 0xd9))
	case c <= 0xdd:
		h.kind = kindArray
		h.items = length(2 << (c - 0xdc))
	default:
		h.kind = kindMap
		h.items = 2 * length(2<<(c-0xde))
	}
	// An item has a byte at least.
	if err == nil && h.size+h.body+h.items > len(b) {
		err = errShort
	}
	if err == nil && h.kind == kindExt {
		h.ext = int8(b[h.size-1])
	}
	return h, err
}

// scan returns the end of the value that begins b, and whether there are
// extensions in it. It does not recurse: what is open is a list no longer than
// maxDepth.
func scan(b []byte, maxDepth int) (end int, ext bool, err error) {
	var room [64]int
	open := room[:0] // the items that each open container still has to come
	for {
		h, err := readHead(b[end:])
		if err != nil {
			return 0, false, err
		}
		end += h.size + h.body
		ext = ext || h.kind == kindExt
		if h.items > 0 {
			if len(open) == maxDepth {
				return 0, false, errDepth
			}
			open = append(open, h.items)
			continue
		}
		for {
			if len(open) == 0 {
				return end, ext, nil
			}
			if open[len(open)-1]--; open[len(open)-1] > 0 {
				break
			}
			open = open[:len(open)-1]
		}
	}
}

// rewrite copies a value that has been scanned: replace appends what stands for
// each of its values, or for a container's head.
func rewrite(b []byte, replace func(dst []byte, h head, value []byte) []byte) []byte {
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		h, err := readHead(b)
		if err != nil {
			return out // cannot be: it has been scanned
		}
		whole := h.size + h.body
		out = replace(out, h, b[:whole])
		b = b[whole:]
	}
	return out
}
