package ws

import (
	"compress/flate"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/bytepool"
)

// This file is the receiving side of permessage-deflate (RFC 7692 section 7.2.2).
// A message is inflated when all of it is here, on the loop, from memory into
// memory. What it holds meanwhile is its compressed form, which is bounded like
// any message (see maxDeflated), and what has come out, which is bounded by
// Config.MaxMessageBytes as it comes out.
//
// How long a loop is busy with a message of 1,000,000 bytes (BenchmarkInflate; one
// core of an Intel Xeon, Go 1.26): 1 ms if it repeats itself, 6 ms for JSON, 11 ms
// for base64, 0.4 ms for what cannot be compressed. That is what compressors make.
// Who wants to can make blocks of 32 bytes for whose tables compress/flate takes
// 30 us and allocates 35 KB: 1 s within the same limit, and 1 GB of garbage, of
// which little is in use at a time. That is linear in the compressed bytes, 1 us
// for each, so that Config.MaxMessageBytes bounds it.

var (
	errInflate     = &Error{closeInvalidData, "the message is not deflated as it should be"}
	errFinalBlocks = &Error{closePolicy, "the message has too many final blocks"}
)

// maxFinalBlocks bounds the blocks with BFINAL set that others follow in a
// message: compress/flate begins anew after each, which takes it 1.5 us. Senders
// that make such blocks make one for a message or a fragment.
const maxFinalBlocks = 1000

// windowBytes is the size of a window of 15 bits.
const windowBytes = 1 << 15

// maxDeflated is the limit of the compressed form of a message. It is a sixteenth
// above that of the message: content that cannot be compressed becomes longer, by
// 0.03 % from zlib and by 4 % where that is set to its smallest memory.
func maxDeflated(maxBytes int) int { return maxBytes + maxBytes/16 + 64 }

// inflater inflates one message. It is pooled, and holds 40 KB; as many are in use
// as there are loops, at most.
type inflater struct {
	src inflateSource
	r   io.ReadCloser // compress/flate's; reads src
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	z.r = flate.NewReader(&z.src)
	return z
}}

// inflateSource is a message and inflateEnd behind it. It is an io.ByteReader, so
// that compress/flate takes no byte beyond the end of a block.
type inflateSource struct {
	b     []byte
	ended bool // b is what is left of inflateEnd
}

// inflateEnd is what the sender has removed, and behind it an empty block with
// BFINAL set, at which compress/flate ends.
var inflateEnd = []byte(deflateTail + "\x01\x00\x00\xff\xff")

// more tells whether there is a byte in b, or moves on to inflateEnd.
func (s *inflateSource) more() bool {
	if len(s.b) == 0 && !s.ended {
		s.b, s.ended = inflateEnd, true
	}
	return len(s.b) > 0
}

// Read is for compress/flate.
func (s *inflateSource) Read(p []byte) (int, error) {
	if !s.more() {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

// ReadByte is for compress/flate.
func (s *inflateSource) ReadByte() (byte, error) {
	if !s.more() {
		return 0, io.EOF
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c, nil
}

// inflate decompresses a message into a buffer from the pool. It takes memory as
// bytes come out, at most twice as much as have, and ends at maxBytes: a message
// that would inflate to more costs no more than one that does not.
func inflate(payload []byte, maxBytes int) (*bytepool.Buffer, *Error) {
	z := inflaters.Get().(*inflater)
	buf, err := z.inflate(payload, maxBytes)
	z.src = inflateSource{}
	inflaters.Put(z)
	if err != nil {
		bytepool.Put(buf)
		return nil, err
	}
	return buf, nil
}

// inflate returns the buffer with an error, too: it is for the caller to give back.
func (z *inflater) inflate(payload []byte, maxBytes int) (buf *bytepool.Buffer, err *Error) {
	z.src = inflateSource{b: payload}
	z.begin(nil)
	// The first size is a guess from the bytes that are here.
	buf = bytepool.Get(min(4*len(payload), maxBytes+1))
	b := buf.B
	defer func() { buf.B = b }()
	finals := 0
	for {
		if len(b) == cap(b) {
			grown := bytepool.Get(min(2*cap(b), maxBytes+1))
			grown.B = append(grown.B, b...)
			buf.B = b
			bytepool.Put(buf)
			buf, b = grown, grown.B
		}
		n, err := z.r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxBytes:
			return buf, errMessageTooBig
		case err == nil:
		case err != io.EOF:
			return buf, errInflate
		case len(z.src.b) == 0:
			// All is used up: with inflateEnd, or, as other servers take it too,
			// with a final block that nothing follows.
			return buf, nil
		case z.src.ended:
			return buf, errInflate // a block has used a part of inflateEnd
		default:
			// "The next DEFLATE block follows the padded data if any" (section 7.2.1).
			// It may refer to what came before.
			if finals++; finals > maxFinalBlocks {
				return buf, errFinalBlocks
			}
			z.begin(b[max(0, len(b)-windowBytes):])
		}
	}
}

// begin has compress/flate expect a block at the next byte of src.
func (z *inflater) begin(window []byte) {
	_ = z.r.(flate.Resetter).Reset(&z.src, window) // it never fails
}

// deliverInflated makes a compressed message, which is complete, the one that is
// delivered.
func (r *Reader) deliverInflated(payload []byte, text bool, maxBytes int) (ev Event, err *Error) {
	buf, err := inflate(payload, maxBytes)
	if err != nil {
		return ev, err
	}
	if text && !utf8.Valid(buf.B) { // it is the content that is UTF-8: RFC 7692 section 6.2
		bytepool.Put(buf)
		return ev, errTextUTF8
	}
	m := r.m
	if m == nil { // it has come as a whole
		m = assemblies.Get().(*assembly)
		r.m = m
	} else {
		bytepool.Put(m.buf)
	}
	m.buf, m.state = buf, delivered
	ev.Kind, ev.Binary, ev.Data = Message, !text, buf.B
	return ev, nil
}
