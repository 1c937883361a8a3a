package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
)

// Opcodes of WebSocket frames.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

var errFragment = errors.New("fragmented or compressed message from server")

// nextFrame takes the first frame off the stream. If there is no whole one yet,
// it is not ok, and all is left as it was.
func nextFrame(d []byte) (op byte, body, rest []byte, ok bool, err error) {
	if len(d) < 2 {
		return 0, nil, d, false, nil
	}
	size, head := uint64(d[1]&0x7f), 2
	switch size {
	case 126:
		head = 4
		if len(d) < head {
			return 0, nil, d, false, nil
		}
		size = uint64(binary.BigEndian.Uint16(d[2:]))
	case 127:
		head = 10
		if len(d) < head {
			return 0, nil, d, false, nil
		}
		size = binary.BigEndian.Uint64(d[2:])
	}
	if d[0]&0xf0 != 0x80 || d[0]&0x0f == 0 {
		return 0, nil, d, false, errFragment
	}
	if uint64(len(d)-head) < size {
		return 0, nil, d, false, nil
	}
	end := head + int(size)
	return d[0] & 0x0f, d[head:end], d[end:], true, nil
}

// appendFrame appends a client's frame. Its mask is zero: legal, and free.
func appendFrame(dst []byte, op byte, body []byte) []byte {
	if len(body) < 126 {
		dst = append(dst, 0x80|op, 0x80|byte(len(body)))
	} else {
		dst = append(dst, 0x80|op, 0x80|126, byte(len(body)>>8), byte(len(body)))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, body...)
}

// response is one HTTP response. Its slices are parts of the stream, but for the
// body of a chunked one.
type response struct {
	status int
	body   []byte
	closes bool // the server closes the connection after it
}

var (
	crlf      = []byte("\r\n")
	emptyLine = []byte("\r\n\r\n")
	errHTTP   = errors.New("malformed HTTP response")
)

// nextResponse takes the first HTTP response off the stream. If there is no
// whole one yet, it is not ok, and all is left as it was.
func nextResponse(d []byte) (r response, rest []byte, ok bool, err error) {
	end := bytes.Index(d, emptyLine)
	if end < 0 {
		return r, d, false, nil
	}
	size, chunked := -1, false
	for i, line := range bytes.Split(d[:end], crlf) {
		if i == 0 {
			if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
				return r, d, false, errHTTP
			}
			r.status = int(number(line[9:12]))
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			size = int(number(value))
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")):
			r.closes = bytes.EqualFold(value, []byte("close"))
		}
	}
	after := d[end+len(emptyLine):]
	switch {
	case chunked:
		r.body, rest, ok, err = nextChunks(after)
	case r.status == 101:
		rest, ok = after, true
	case size >= 0:
		if ok = len(after) >= size; ok {
			r.body, rest = after[:size], after[size:]
		}
	default:
		err = errHTTP
	}
	if !ok || err != nil {
		return r, d, false, err
	}
	return r, rest, true, nil
}

// nextChunks joins the chunks of a body.
func nextChunks(d []byte) (body, rest []byte, ok bool, err error) {
	for {
		line, after, found := bytes.Cut(d, crlf)
		if !found {
			return nil, nil, false, nil
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return nil, nil, false, errHTTP
		}
		end := int(size)
		if len(after) < end+len(crlf) {
			return nil, nil, false, nil
		}
		body, d = append(body, after[:end]...), after[end+len(crlf):]
		if size == 0 {
			return body, d, true, nil
		}
	}
}

// Beginnings of the packets that are awaited, up to the text of their argument.
var (
	bcastStart = []byte(`42["bcast","`)
	echoStart  = []byte(`42["echo","`)
)

// argument is the text of an event's argument, if the packet is such an event.
// The text is what this client has sent: numbers, each followed by '-', and a
// filler.
func argument(packet, start []byte) ([]byte, bool) {
	if !bytes.HasPrefix(packet, start) {
		return nil, false
	}
	return packet[len(start):], true
}

// leadingNumber takes a number and the '-' behind it off the text.
func leadingNumber(text []byte) (v int64, rest []byte, ok bool) {
	i := bytes.IndexByte(text, '-')
	if i < 1 {
		return 0, nil, false
	}
	return number(text[:i]), text[i+1:], true
}

// number reads decimal digits.
func number(digits []byte) (v int64) {
	for _, c := range digits {
		v = v*10 + int64(c-'0')
	}
	return v
}
