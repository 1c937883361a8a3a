package load

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strconv"
)

// Opcodes of WebSocket frames.
const (
	opMore   = 0
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// frame is one of a server's. Its body is part of the stream.
type frame struct {
	op   byte
	last bool // of its message
	body []byte
}

// nextFrame takes the first frame off the stream. If there is no whole one yet, it is not
// ok, and all is left as it was. A size above most is a fault before its bytes are there.
func nextFrame(d []byte, most int) (f frame, rest []byte, ok bool, fault *Fault) {
	if len(d) < 2 {
		return f, d, false, nil
	}
	size, head := uint64(d[1]&0x7f), 2
	switch size {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	f = frame{op: d[0] & 0x0f, last: d[0]&0x80 != 0}
	control := f.op >= opClose
	switch {
	case d[0]&0x70 != 0:
		return f, d, false, faultf(KindProtocol, "frame with reserved bits set (first byte %#x)", d[0])
	case d[1]&0x80 != 0:
		return f, d, false, faultf(KindProtocol, "masked frame from a server")
	case f.op > opPong || f.op > opBinary && !control:
		return f, d, false, faultf(KindProtocol, "frame of unknown type %d", f.op)
	case control && (!f.last || size > 125):
		return f, d, false, faultf(KindProtocol, "long or fragmented control frame")
	case len(d) < head:
		return f, d, false, nil
	}
	switch head {
	case 4:
		size = uint64(binary.BigEndian.Uint16(d[2:]))
	case 10:
		size = binary.BigEndian.Uint64(d[2:])
	}
	if size > uint64(most) {
		return f, d, false, faultf(KindTooLarge, "frame of %d bytes", size)
	}
	if uint64(len(d)-head) < size {
		return f, d, false, nil
	}
	end := head + int(size)
	f.body = d[head:end]
	return f, d[end:], true, nil
}

// appendFrame appends a client's frame. Its mask is zero: legal, and free.
func appendFrame(dst []byte, op byte, body []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(body); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, body...)
}

// response is one HTTP response. Its slices are parts of the stream, but for the
// body of a chunked one.
type response struct {
	status int
	body   []byte
	accept []byte // Sec-WebSocket-Accept
	closes bool   // the server closes the connection after it
}

var (
	crlf      = []byte("\r\n")
	emptyLine = []byte("\r\n\r\n")
)

// maxHead is how long the head of a response may be.
const maxHead = 64 << 10

// nextResponse takes the first HTTP response off the stream. If there is no whole one yet,
// it is not ok, and all is left as it was. At the stream's end a body without a length is
// whole. A size above most is a fault before its bytes are there.
func nextResponse(d []byte, most int, ended bool) (r response, rest []byte, ok bool, fault *Fault) {
	end := bytes.Index(d, emptyLine)
	if n := min(len(d), 7); string(d[:n]) != "HTTP/1."[:n] {
		return r, d, false, faultf(KindProtocol, "not HTTP: %s", said(d))
	}
	if end < 0 {
		if len(d) > maxHead {
			return r, d, false, faultf(KindTooLarge, "head of an HTTP response above %d bytes", maxHead)
		}
		return r, d, false, nil
	}
	malformed := func() (response, []byte, bool, *Fault) {
		return response{}, d, false, faultf(KindProtocol, "malformed HTTP response: %s", said(d))
	}
	size, chunked, good := -1, false, true
	first, lines, _ := bytes.Cut(d[:end], crlf)
	if len(first) < 12 || first[8] != ' ' {
		return malformed()
	}
	if r.status, good = decimal(first[9:12]); !good || r.status < 100 {
		return malformed()
	}
	r.closes = first[7] == '0'
	for line := range bytes.SplitSeq(lines, crlf) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if size, good = decimal(value); !good {
				return malformed()
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("sec-websocket-accept")):
			r.accept = value
		case bytes.EqualFold(name, []byte("connection")):
			switch {
			case bytes.EqualFold(value, []byte("close")):
				r.closes = true
			case bytes.EqualFold(value, []byte("keep-alive")):
				r.closes = false
			}
		}
	}
	after := d[end+len(emptyLine):]
	switch {
	case r.status == 101 || r.status == 204 || r.status == 304:
		return r, after, true, nil
	case r.status < 200: // the response comes after it
		return nextResponse(after, most, ended)
	case size > most:
		return r, d, false, faultf(KindTooLarge, "HTTP body of %d bytes", size)
	case chunked:
		r.body, rest, ok, fault = nextChunks(after, most)
	case size >= 0:
		if ok = len(after) >= size; ok {
			r.body, rest = after[:size], after[size:]
		}
	default: // the body ends with the connection
		if len(after) > most {
			return r, d, false, faultf(KindTooLarge, "HTTP body above %d bytes", most)
		}
		r.body, r.closes, ok = after, true, ended
	}
	if !ok || fault != nil {
		return r, d, false, fault
	}
	return r, rest, true, nil
}

// nextChunks joins the chunks of a body.
func nextChunks(d []byte, most int) (body, rest []byte, ok bool, fault *Fault) {
	for {
		line, after, found := bytes.Cut(d, crlf)
		if !found {
			if len(d) > maxHead {
				return nil, nil, false, faultf(KindProtocol, "endless head of a chunk")
			}
			return nil, nil, false, nil
		}
		line, _, _ = bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return nil, nil, false, faultf(KindProtocol, "malformed chunk: %s", said(line))
		}
		if len(body)+int(size) > most {
			return nil, nil, false, faultf(KindTooLarge, "HTTP body of %d bytes", len(body)+int(size))
		}
		end := int(size)
		if len(after) < end+len(crlf) {
			return nil, nil, false, nil
		}
		if !bytes.HasPrefix(after[end:], crlf) {
			return nil, nil, false, faultf(KindProtocol, "chunk longer than it says")
		}
		body, d = append(body, after[:end]...), after[end+len(crlf):]
		if size == 0 {
			return body, d, true, nil
		}
	}
}

// decimal reads a number that fits into an int.
func decimal(digits []byte) (v int, ok bool) {
	n, err := strconv.ParseUint(string(digits), 10, strconv.IntSize-1)
	return int(n), err == nil
}

// LeadingNumber takes a number, such as a time in nanoseconds, and the '-' behind it off a text.
func LeadingNumber(text []byte) (v int64, rest []byte, ok bool) {
	digits, rest, found := bytes.Cut(text, []byte{'-'})
	n, err := strconv.ParseUint(string(digits), 10, 63)
	return int64(n), rest, found && err == nil
}

// Types of Socket.IO packets.
const (
	typeConnect      = '0'
	typeDisconnect   = '1'
	typeEvent        = '2'
	typeAck          = '3'
	typeConnectError = '4'
	typeBinaryEvent  = '5'
	typeBinaryAck    = '6'
)

// Packet is a Socket.IO packet. Attachments of a binary one follow it, and are not kept.
type Packet struct {
	Type      byte
	Namespace []byte // "/" has none
	ID        int    // of an acknowledgement; -1 if there is none
	Data      []byte // JSON, not checked
}

// IsEvent tells whether it is an event, with attachments or without.
func (p *Packet) IsEvent() bool { return p.Type == typeEvent || p.Type == typeBinaryEvent }

// IsAck tells whether it answers an event.
func (p *Packet) IsAck() bool { return p.Type == typeAck || p.Type == typeBinaryAck }

// Parse reads a Socket.IO packet, which is what follows the 4 of Engine.IO's message. Its
// JSON is only looked at from outside.
func Parse(b []byte) (p Packet, ok bool) {
	if len(b) == 0 || b[0] < typeConnect || b[0] > typeBinaryAck {
		return p, false
	}
	p.Type, p.ID, b = b[0], -1, b[1:]
	if p.Type >= typeBinaryEvent {
		i := bytes.IndexByte(b, '-')
		if i < 1 {
			return p, false
		}
		if _, ok := decimal(b[:i]); !ok {
			return p, false
		}
		b = b[i+1:]
	}
	if len(b) > 0 && b[0] == '/' {
		i := bytes.IndexByte(b, ',')
		if i < 0 {
			i = len(b)
		}
		p.Namespace, b = b[:i], b[min(len(b), i+1):]
		if i := bytes.IndexByte(p.Namespace, '?'); i >= 0 {
			p.Namespace = p.Namespace[:i]
		}
		if len(p.Namespace) == 1 {
			p.Namespace = nil
		}
	}
	i := 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if i > 0 {
		if p.ID, ok = decimal(b[:i]); !ok {
			return p, false
		}
	}
	p.Data = b[i:]
	switch p.Type {
	case typeEvent, typeBinaryEvent, typeAck, typeBinaryAck:
		if len(p.Data) < 2 || p.Data[0] != '[' || p.Data[len(p.Data)-1] != ']' {
			return p, false
		}
	}
	return p, !p.IsAck() || p.ID >= 0
}

// EventName is an event's name as it is looked for in packets.
type EventName struct {
	name  string
	start []byte // of the data: ["name"
}

// NewEventName is the one of that name.
func NewEventName(name string) EventName {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(name) // a string: cannot fail
	return EventName{name, append([]byte("["), bytes.TrimSpace(b.Bytes())...)}
}

// Start is the data of an event up to its arguments: ["name"
func (e EventName) Start() []byte { return e.start }

// Is tells whether this is the name of the event whose data is given. Other escapes than
// Go's are read, too.
func (e EventName) Is(data []byte) bool {
	if bytes.HasPrefix(data, e.start) {
		return true
	}
	if len(data) < 2 || data[1] != '"' {
		return false
	}
	for i := 2; i < len(data); i++ {
		switch data[i] {
		case '"':
			if bytes.IndexByte(data[2:i], '\\') < 0 {
				return false
			}
			var name string
			return json.Unmarshal(data[1:i+1], &name) == nil && name == e.name
		case '\\':
			i++
		}
	}
	return false
}
