package ws

import (
	"bytes"
	"io"
	"math"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"github.com/sockeye-io/sockeye/internal/bytepool"
)

// This file is the receiving side of permessage-deflate (RFC 7692 section 7.2.2).
// A message is inflated when all of it is here, from memory into memory. What it
// holds meanwhile is its compressed form, which is bounded like any message (see
// maxDeflated), and what has come out, which is bounded by Limits.MaxBytes as it
// comes out.
//
// How long that takes (BenchmarkInflate; one core of an AMD EPYC, Go 1.26), for a
// message of 1,000,000 bytes: 1 ms if it repeats itself, 6 ms for JSON, 5 ms for
// base64, 0.3 ms for what cannot be compressed. That is what compressors make. Who
// wants to can make blocks of 32 bytes that are nothing but tables: 0.4 s within
// the same limit. That is linear in the compressed bytes, 0.4 us for each. So a
// loop inflates what is small, see InflateHere, and leaves the rest to goroutines.

var (
	errInflate     = &Error{closeInvalidData, "the message is not deflated as it should be"}
	errFinalBlocks = &Error{closePolicy, "the message has too many final blocks"}
)

// maxFinalBlocks bounds the blocks with BFINAL set that others follow in a
// message: the reader begins anew after each, which takes it 1.5 us. Senders that
// make such blocks make one for a message or a fragment.
const maxFinalBlocks = 1000

// InflateHere is the Limits.InflateHere for a loop, in bytes. With it no message
// keeps a loop for more than some 0.2 ms, whatever the peer sends: nothing but
// tables takes 0.15 ms, 64 KiB of text that repeats itself 0.17 ms, and JSON, of
// which it is a message of 1.1 to 1.5 KB, 15 us (BenchmarkInflateHere).
const InflateHere = 512

// What a message that is inflated on a loop may come to, besides its size: few
// bytes can stand for a thousand times as many, at 1 us for each 1,000.
const (
	hereBytes       = bytepool.MaxPooled - 1 // so that the buffers are pooled
	hereFinalBlocks = 32
)

// windowBytes is the size of a window of 15 bits.
const windowBytes = 1 << 15

// maxDeflated is the limit of the compressed form of a message. It is a sixteenth
// above that of the message: content that cannot be compressed becomes longer, by
// 0.03 % from zlib and by 4 % where that is set to its smallest memory.
func maxDeflated(maxBytes int) int {
	if more := maxBytes/16 + 64; maxBytes <= math.MaxInt-len(inflateEnd)-more {
		return maxBytes + more
	}
	return math.MaxInt - len(inflateEnd)
}

// inflateEnd is what the sender has removed, and behind it an empty block with
// BFINAL set, at which package flate ends.
const inflateEnd = deflateTail + "\x01\x00\x00\xff\xff"

// inflater inflates one message. It is pooled, and holds 40 KB, or 60 KB after
// tables of the longest codes; as many are in use as there are goroutines that inflate.
type inflater struct {
	src bytes.Reader  // flate is faster from it than from others, and takes no byte too much
	r   io.ReadCloser // flate's; reads src
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	z.r = flate.NewReader(&z.src)
	return z
}}

// Inflate decompresses the payload of a Deflated event, which it takes over; binary
// is the event's, and maxBytes the limit that Consume had. The message is the
// caller's, for bytepool.Put. Any goroutine may call it: the payload is no longer
// the Reader's.
func Inflate(payload *bytepool.Buffer, binary bool, maxBytes int) (*bytepool.Buffer, *Error) {
	buf, err := inflate(payload.B, maxBytes, maxFinalBlocks)
	put(payload)
	return checkText(buf, binary, err)
}

// inflate decompresses a message, with inflateEnd behind it, into a buffer from the
// pool. It takes memory as bytes come out, at most twice as much as have, and ends
// at maxBytes: a message that would inflate to more costs no more than one that
// does not.
func inflate(payload []byte, maxBytes, maxFinals int) (*bytepool.Buffer, *Error) {
	z := inflaters.Get().(*inflater)
	buf, err := z.inflate(payload, maxBytes, maxFinals)
	z.src.Reset(nil)
	inflaters.Put(z)
	if err != nil {
		put(buf)
		return nil, err
	}
	return buf, nil
}

// inflate returns the buffer with an error, too: it is for the caller to give back.
func (z *inflater) inflate(payload []byte, maxBytes, maxFinals int) (buf *bytepool.Buffer, err *Error) {
	z.src.Reset(payload)
	z.begin(nil)
	// One byte more than the limit tells that there are more.
	most := max(maxBytes, maxBytes+1)
	// The first size is a guess from the bytes that are here.
	buf = bytepool.Get(int(min(4*int64(len(payload)), int64(most))))
	b := buf.B
	defer func() { buf.B = b }()
	finals := 0
	for {
		if len(b) == cap(b) {
			grown := bytepool.Get(cap(b) + min(cap(b), most-cap(b)))
			grown.B = append(grown.B, b...)
			buf.B = b
			put(buf)
			buf, b = grown, grown.B
		}
		n, err := z.r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxBytes:
			return buf, errMessageTooBig
		case err == nil:
			continue
		case err != io.EOF:
			return buf, errInflate
		}
		// A final block has ended: that of inflateEnd, or the sender's own.
		switch rest := z.src.Len(); {
		case rest == 0 || rest == len(inflateEnd):
			return buf, nil // other servers, too, take a final block that nothing follows
		case rest < len(inflateEnd):
			return buf, errInflate // a block has used a part of inflateEnd
		}
		// "The next DEFLATE block follows the padded data if any" (section 7.2.1).
		// It may refer to what came before.
		if finals++; finals > maxFinals {
			return buf, errFinalBlocks
		}
		z.begin(b[max(0, len(b)-windowBytes):])
	}
}

// begin has flate expect a block at the next byte of src.
func (z *inflater) begin(window []byte) {
	_ = z.r.(flate.Resetter).Reset(&z.src, window) // it never fails
}

// deliverDeflated makes an event of a compressed message, which is complete: a
// Message if it can be inflated here, or else Deflated. payload has inflateEnd
// behind it, and is taken over.
func (r *Reader) deliverDeflated(payload *bytepool.Buffer, binary bool, lim Limits) (ev Event, err *Error) {
	later := Event{Kind: Deflated, Binary: binary, Payload: payload}
	maxBytes, maxFinals := lim.MaxBytes, maxFinalBlocks
	if lim.InflateHere >= 0 {
		if len(payload.B)-len(inflateEnd) > lim.InflateHere {
			return later, nil
		}
		maxBytes, maxFinals = min(maxBytes, hereBytes), hereFinalBlocks
	}
	buf, err := inflate(payload.B, maxBytes, maxFinals)
	if maxBytes < lim.MaxBytes && err == errMessageTooBig || maxFinals < maxFinalBlocks && err == errFinalBlocks {
		return later, nil // it begins anew there
	}
	put(payload)
	if buf, err = checkText(buf, binary, err); err != nil {
		return ev, err
	}
	m := assemblies.Get().(*assembly)
	m.buf, m.state = buf, delivered
	r.m = m
	return Event{Kind: Message, Binary: binary, Data: buf.B}, nil
}

// checkText gives text back that is not UTF-8. It is the content that is: RFC 7692
// section 6.2.
func checkText(buf *bytepool.Buffer, binary bool, err *Error) (*bytepool.Buffer, *Error) {
	if err == nil && !binary && !utf8.Valid(buf.B) {
		put(buf)
		return nil, errTextUTF8
	}
	return buf, err
}
