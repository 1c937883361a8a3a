package msgpack

import "encoding/binary"

// MaxDepth is the deepest nesting that is followed, as in package sio.
const MaxDepth = 512

// Most values are nested less than shallow deep: room for that many open containers
// is taken on the stack, and for MaxDepth only where they are there.
const shallow = 32

// Kind is what a value is.
type Kind uint8

// The kinds.
const (
	KindOther Kind = iota // a boolean or a floating-point number
	KindNil
	KindInt
	KindString
	KindBinary
	KindArray
	KindMap
	KindExt
)

// Head is the first bytes of a value: b[:Size]. Size+Body is where the value ends,
// or the first of its items begins.
type Head struct {
	Kind  Kind
	Size  int  // of the head itself; of an extension with its type
	Body  int  // bytes that follow and are the value's own
	Items int  // values that follow: of a map two for each pair
	Ext   int8 // the type of an extension
}

// ReadHead reads the head of the value that begins b. The body is there, and of the
// items a byte each may be. The error is a *SyntaxError.
func ReadHead(b []byte) (Head, error) {
	h, err := readHead(b)
	if err != nil {
		return Head{}, &SyntaxError{0, err}
	}
	return h, nil
}

func readHead(b []byte) (h Head, err error) {
	if len(b) == 0 {
		return h, ErrShort
	}
	c := b[0]
	h.Size = 1
	length := func(n int) int { // the big-endian number in the n bytes behind the first
		if len(b) < 1+n {
			err = ErrShort
			return 0
		}
		h.Size += n
		var wide [8]byte
		copy(wide[8-n:], b[1:1+n])
		v := binary.BigEndian.Uint64(wide[:])
		if v > uint64(len(b)) { // of bytes, items or pairs: none is shorter than a byte
			err = ErrShort
			return 0
		}
		return int(v)
	}
	switch {
	case c < 0x80:
		h.Kind = KindInt
	case c < 0x90:
		h.Kind, h.Items = KindMap, 2*int(c&15)
	case c < 0xa0:
		h.Kind, h.Items = KindArray, int(c&15)
	case c < 0xc0:
		h.Kind, h.Body = KindString, int(c&31)
	case c >= 0xe0:
		h.Kind = KindInt
	case c == 0xc0:
		h.Kind = KindNil
	case c == 0xc1:
		return h, ErrFormat
	case c <= 0xc3: // booleans
	case c <= 0xc6:
		h.Kind = KindBinary
		h.Body = length(1 << (c - 0xc4))
	case c <= 0xc9:
		h.Kind = KindExt
		h.Body = length(1 << (c - 0xc7))
		h.Size++
	case c == 0xca, c == 0xcb:
		h.Body = 4 << (c - 0xca)
	case c <= 0xcf:
		h.Kind, h.Body = KindInt, 1<<(c-0xcc)
	case c <= 0xd3:
		h.Kind, h.Body = KindInt, 1<<(c-0xd0)
	case c <= 0xd8:
		h.Kind, h.Body = KindExt, 1<<(c-0xd4)
		h.Size++
	case c <= 0xdb:
		h.Kind = KindString
		h.Body = length(1 << (c - 0xd9))
	case c <= 0xdd:
		h.Kind = KindArray
		h.Items = length(2 << (c - 0xdc))
	default:
		h.Kind = KindMap
		h.Items = 2 * length(2<<(c-0xde))
	}
	// An item has a byte at least.
	if err == nil && h.Size+h.Body+h.Items > len(b) {
		err = ErrShort
	}
	if err == nil && h.Kind == KindExt {
		h.Ext = int8(b[h.Size-1])
	}
	return h, err
}

// isContainer tells whether a value has items, or could have.
func (h Head) isContainer() bool { return h.Kind == KindArray || h.Kind == KindMap }

// Scan returns the end of the value that begins b, and whether there are extensions
// in it. Its containers may be nested maxDepth deep (0 or less, or more than
// MaxDepth: MaxDepth). The error is a *SyntaxError.
func Scan(b []byte, maxDepth int) (end int, ext bool, err error) {
	if maxDepth <= 0 || maxDepth > MaxDepth {
		maxDepth = MaxDepth
	}
	s, err := scan(b, maxDepth)
	if err != nil {
		return 0, false, &SyntaxError{s.end, err}
	}
	return s.end, s.ext, nil
}

// scanWhole is Scan, of a value that nothing follows.
func scanWhole(b []byte) (scanned, error) {
	s, err := scan(b, MaxDepth)
	if err == nil && s.end != len(b) {
		err = ErrRest
	}
	if err != nil {
		return s, &SyntaxError{s.end, err}
	}
	return s, nil
}

// scanned is what a scan has found.
type scanned struct {
	end   int
	depth int // of the deepest container
	ext   bool
}

// scan is Scan; in case of an error, which is a sentinel, end is where it is.
func scan(b []byte, maxDepth int) (s scanned, err error) {
	var room [shallow]int
	if s, err = scanWithin(b, room[:min(maxDepth, shallow)]); err == ErrDepth && maxDepth > shallow {
		s, err = scanDeep(b, maxDepth)
	}
	return s, err
}

//go:noinline
func scanDeep(b []byte, maxDepth int) (scanned, error) {
	var room [MaxDepth]int
	return scanWithin(b, room[:maxDepth])
}

// scanWithin scans without recursion: what is open is in room, as the items that
// each container still has to come. In case of an error end is where it is.
func scanWithin(b []byte, room []int) (s scanned, err error) {
	open := 0
	for {
		h, err := readHead(b[s.end:])
		if err != nil {
			return s, err
		}
		if h.isContainer() {
			if open == len(room) {
				return s, ErrDepth
			}
			s.depth = max(s.depth, open+1)
		}
		s.end += h.Size + h.Body
		s.ext = s.ext || h.Kind == KindExt
		if h.Items > 0 {
			room[open] = h.Items
			open++
			continue
		}
		for {
			if open == 0 {
				return s, nil
			}
			if room[open-1]--; room[open-1] > 0 {
				break
			}
			open--
		}
	}
}

// Rewrite copies a value that has been scanned: replace appends what stands for each
// of its values, or for a container's head. value is a view.
func Rewrite(b []byte, replace func(dst []byte, h Head, value []byte) []byte) []byte {
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		h, err := readHead(b)
		if err != nil {
			return out // cannot be: it has been scanned
		}
		whole := h.Size + h.Body
		out = replace(out, h, b[:whole])
		b = b[whole:]
	}
	return out
}
