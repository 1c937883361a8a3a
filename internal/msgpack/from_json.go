package msgpack

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/sockeye-io/sockeye/proto/sio"
)

// AppendValue appends JSON as a MessagePack value. If there are attachments, each
// placeholder becomes the one that it stands for; what is one, and what its number, is as in package
// sio, but a number may repeat: the caller bounds what that makes of a peer's packet
// (sio.CheckPlaceholders). Integers, which have neither fraction nor exponent, have
// their shortest form if an int64 or a uint64 holds them; other numbers have 64 bits
// of floating point, and so has -0. Half a surrogate pair becomes U+FFFD.
//
// The JSON must be what sio.Valid takes, with a depth of MaxDepth. The error, with
// which AppendValue returns nil, is a *sio.SyntaxError, or a *SyntaxError for a number
// that a float64 cannot hold, and for sizes of 4 GiB.
func AppendValue(dst, json []byte, attachments [][]byte) ([]byte, error) {
	if len(json) > math.MaxInt32 {
		return nil, &SyntaxError{0, ErrSize}
	}
	if err := sio.Valid(json, MaxDepth); err != nil {
		return nil, err
	}
	// A container's head tells how much it has: they are counted first. The counts
	// are kept in dst, and what follows is moved over them in the end.
	start := len(dst)
	var room [shallow]counted
	marks := len(attachments) > 0
	dst, ok := appendCounts(dst, json, room[:], marks)
	if !ok {
		dst = appendDeepCounts(dst[:start], json, marks)
	}
	values := len(dst)
	dst, err := appendValues(dst, json, dst[start:values], attachments)
	if err != nil || values == start {
		return dst, err
	}
	return dst[:start+copy(dst[start:], dst[values:])], nil
}

// A count has 32 bits: of the items of an array or the pairs of an object, or, with
// the highest bit, the number of a placeholder. They are in the order of the
// containers' begin; placeholders are whole.
const (
	countSize         = 4
	countPlaceholder  = 1 << 31
	noSuchPlaceholder = countPlaceholder - 1
)

// counted is an open container.
type counted struct {
	slot   int // where in dst its count goes
	n      uint32
	num    uint32 // of the placeholder that it is, if mark
	object bool
	mark   bool
}

//go:noinline
func appendDeepCounts(dst, json []byte, marks bool) []byte {
	var room [MaxDepth]counted
	dst, _ = appendCounts(dst, json, room[:], marks)
	return dst
}

// appendCounts appends the counts of valid JSON. It is false if it is nested deeper
// than room. Placeholders count if marks is set.
func appendCounts(dst, json []byte, room []counted, marks bool) (_ []byte, ok bool) {
	open := 0
	isName := false // the next string is one
	for i := 0; i < len(json); {
		switch c := json[i]; c {
		case '{', '[':
			if open == len(room) {
				return dst, false
			}
			room[open] = counted{slot: len(dst), num: noSuchPlaceholder, object: c == '{'}
			dst = append(dst, 0, 0, 0, 0)
			if i = skipSpace(json, i+1); json[i] != c+2 { // '}' is '{' + 2, ']' is '[' + 2
				room[open].n = 1
				isName = c == '{'
			}
			open++
		case '}', ']':
			open--
			o := &room[open]
			if o.mark {
				o.n = countPlaceholder | o.num
				dst = dst[:o.slot+countSize] // what is in it does not count
			}
			binary.LittleEndian.PutUint32(dst[o.slot:], o.n)
			i++
		case ',':
			room[open-1].n++
			isName = room[open-1].object
			i++
		case '"':
			end := skipString(json, i)
			if !isName {
				i = end
				break
			}
			name := json[i:end]
			i = skipSpace(json, skipSpace(json, end)+1)
			if marks {
				setMember(&room[open-1], name, json[i:])
			}
			isName = false
		default:
			i++
		}
	}
	return dst, true
}

// setMember notes a member of an object if a placeholder has it. The value is what
// begins rest. Names may be written with escapes, and the last of the same counts.
func setMember(o *counted, name, rest []byte) {
	const longest = 2 + 6*len("_placeholder")
	if len(name) > longest {
		return
	}
	var decoded [longest]byte
	if bytes.IndexByte(name, '\\') >= 0 {
		name, _ = sio.Unquote(decoded[:0], name)
	} else {
		name = name[1 : len(name)-1]
	}
	switch string(name) {
	case "_placeholder":
		o.mark = rest[0] == 't'
	case "num":
		o.num = noSuchPlaceholder
		if rest[0]-'0' > 9 {
			return
		}
		literal := rest[:skipLiteral(rest, 0)]
		if n, isInt := parseUint(literal); isInt && n < noSuchPlaceholder {
			o.num = uint32(n)
		}
	}
}

// appendValues appends the values of valid JSON, for which there are counts.
func appendValues(dst, json, counts []byte, attachments [][]byte) ([]byte, error) {
	for i := 0; i < len(json); {
		switch c := json[i]; c {
		case '{', '[':
			n := binary.LittleEndian.Uint32(counts)
			counts = counts[countSize:]
			if n&countPlaceholder != 0 {
				num := int(n &^ countPlaceholder)
				if num >= len(attachments) {
					return nil, &sio.SyntaxError{Offset: i, Err: sio.ErrPlaceholder}
				}
				if uint64(len(attachments[num])) > math.MaxUint32 {
					return nil, &SyntaxError{i, ErrSize}
				}
				dst = AppendBinary(dst, attachments[num])
				i = skipContainer(json, i)
				break
			}
			if c == '{' {
				dst = AppendMapHead(dst, int(n))
			} else {
				dst = AppendArrayHead(dst, int(n))
			}
			i++
		case '"':
			end := skipString(json, i)
			dst = appendLiteral(dst, json[i:end])
			i = end
		case 't':
			dst = append(dst, 0xc3)
			i += len("true")
		case 'f':
			dst = append(dst, 0xc2)
			i += len("false")
		case 'n':
			dst = append(dst, 0xc0)
			i += len("null")
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			end := skipLiteral(json, i)
			var ok bool
			if dst, ok = appendNumber(dst, json[i:end]); !ok {
				return nil, &SyntaxError{i, ErrNumber}
			}
			i = end
		default: // white space, and what is between values or behind them
			i++
		}
	}
	return dst, nil
}

// appendLiteral appends a JSON string.
func appendLiteral(dst, literal []byte) []byte {
	if bytes.IndexByte(literal, '\\') < 0 {
		return AppendString(dst, literal[1:len(literal)-1])
	}
	// Without its escapes it is shorter, and so may be its head.
	start := len(dst)
	dst = appendStringHead(dst, len(literal))
	text := len(dst)
	dst, _ = sio.Unquote(dst, literal)
	n := len(dst) - text
	head := len(appendStringHead(dst[:start], n)) - start
	return dst[:start+head+copy(dst[start+head:], dst[text:])]
}

// appendNumber appends a JSON number; it is false if that is too large.
func appendNumber(dst, literal []byte) ([]byte, bool) {
	digits := literal
	if literal[0] == '-' {
		digits = literal[1:]
	}
	if n, isInt := parseUint(digits); isInt {
		switch negative := len(digits) < len(literal); {
		case !negative:
			return AppendUint(dst, n), true
		case n > 0 && n <= 1<<63: // -0 is no integer
			return AppendInt(dst, -int64(n)), true
		}
	}
	f, err := strconv.ParseFloat(stringView(literal), 64)
	return AppendFloat(dst, f), err == nil
}

// parseUint reads digits; it is false if there is anything else, or too much.
func parseUint(digits []byte) (n uint64, ok bool) {
	for _, c := range digits {
		if c -= '0'; c > 9 || n > math.MaxUint64/10 || n == math.MaxUint64/10 && c > math.MaxUint64%10 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, true
}

// The following walk over JSON that is known to be valid.

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r' {
		i++
	}
	return i
}

// skipString returns the end of the string that begins at b[i].
func skipString(b []byte, i int) int {
	i++
	n := bytes.IndexByte(b[i:], '"')
	if bytes.IndexByte(b[i:i+n], '\\') < 0 {
		return i + n + 1
	}
	for ; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipLiteral returns the end of the number that begins at b[i].
func skipLiteral(b []byte, i int) int {
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c-'0' <= 9, c == '-', c == '+', c == '.', c|0x20 == 'e':
		default:
			return i
		}
	}
	return i
}

// skipContainer returns the end of the container that begins at b[i].
func skipContainer(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
}
