package vectors

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// DefaultMax is the limit of a message in cases that set none.
const DefaultMax = 1 << 17

// WebSocket is the form of streams of WebSocket frames: "! limit", "x hex" and
// "f frames".
func WebSocket(c *Case, kind byte, rest string) (err error) {
	switch kind {
	case '!':
		c.Max, err = strconv.Atoi(rest)
	case 'x':
		var b []byte
		b, err = hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		c.Input = append(c.Input, b...)
	case 'f':
		err = c.frames(rest)
	default:
		err = fmt.Errorf("a line begins with %q", kind)
	}
	return err
}

// Frame is a frame as a client sends it, right or wrong.
type Frame struct {
	Op      byte
	Part    bool    // FIN is not set
	Rsv     byte    // 4, 2 and 1 for RSV1 to RSV3
	Bare    bool    // not masked
	Mask    [4]byte // ignored if Bare
	LenForm int     // 16 or 64: a longer form of the length than needed
	Payload []byte
}

// Append appends the frame.
func (f Frame) Append(dst []byte) []byte {
	first := f.Op | f.Rsv<<4
	if !f.Part {
		first |= 0x80
	}
	masked := byte(0x80)
	if f.Bare {
		masked = 0
	}
	switch n := len(f.Payload); {
	case f.LenForm == 64 || n > 0xffff:
		dst = append(dst, first, masked|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	case f.LenForm == 16 || n > 125:
		dst = append(dst, first, masked|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, first, masked|byte(n))
	}
	if f.Bare {
		return append(dst, f.Payload...)
	}
	dst = append(dst, f.Mask[:]...)
	for i, c := range f.Payload {
		dst = append(dst, c^f.Mask[i%4])
	}
	return dst
}

var opcodes = map[string]byte{"cont": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}

// frames appends what a line "[times*]op [flag...] [[times*]"payload"]" says.
func (c *Case) frames(line string) error {
	head, payload := line, ""
	if i := strings.IndexByte(line, '"'); i >= 0 {
		from := strings.LastIndexByte(line[:i], ' ') + 1
		head, payload = line[:from], line[from:]
	}
	words := strings.Fields(head)
	times, op, err := repeated(words[0])
	if err != nil {
		return err
	}
	var f Frame
	var ok bool
	if f.Op, ok = opcodes[op]; !ok {
		n, err := strconv.ParseUint(op, 16, 4)
		if err != nil {
			return err
		}
		f.Op = byte(n)
	}
	for _, word := range words[1:] {
		switch word {
		case "part":
			f.Part = true
		case "bare":
			f.Bare = true
		case "rsv1":
			f.Rsv |= 4
		case "rsv2":
			f.Rsv |= 2
		case "rsv3":
			f.Rsv |= 1
		case "len16":
			f.LenForm = 16
		case "len64":
			f.LenForm = 64
		default:
			return fmt.Errorf("unknown flag %q", word)
		}
	}
	if payload != "" {
		n, quoted, err := repeated(payload)
		if err != nil {
			return err
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return err
		}
		f.Payload = []byte(strings.Repeat(text, n))
	}
	for range times {
		// Each frame has another mask.
		n := byte(len(c.Input))
		f.Mask = [4]byte{0xa1 + n, 0x37 ^ n, 0x5c - n, 0xd2 + 3*n}
		c.Input = f.Append(c.Input)
	}
	return nil
}

// repeated splits "7*x" into 7 and "x"; without a number it is 1.
func repeated(s string) (n int, what string, err error) {
	number, what, ok := strings.Cut(s, "*")
	if !ok || strings.HasPrefix(s, `"`) {
		return 1, s, nil
	}
	n, err = strconv.Atoi(number)
	return n, what, err
}
