package ws

import (
	"cmp"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
)

// This file is the sending side of permessage-deflate (RFC 7692); inflate.go
// is the receiving one, extension.go has the negotiation.

// DeflateConfig configures permessage-deflate, the compression of WebSocket
// messages. No window is kept from one message to the next, in neither direction:
// an idle connection costs as much as one without, and a broadcast is compressed
// once. In each field 0 means the default.
type DeflateConfig struct {
	// Threshold is the size, in bytes, from which on messages are compressed.
	// Default 1,024. Negative: all are.
	Threshold int

	// Level is compress/flate's, from flate.HuffmanOnly (-2) to flate.BestCompression
	// (9). Default, also for numbers that are none: flate.BestSpeed (1). Those up
	// to 6 take some 10 us for a message of 1 KB, and up to twice as long as 1 for
	// large ones; those above take ten times that and more.
	Level int
}

// WithDefaults returns a copy with the defaults filled in.
func (c DeflateConfig) WithDefaults() *DeflateConfig {
	c.Threshold = cmp.Or(c.Threshold, 1_024)
	c.Level = deflateLevel(c.Level)
	return &c
}

func deflateLevel(level int) int {
	if level == 0 || level < flate.HuffmanOnly || level > flate.BestCompression {
		return flate.BestSpeed
	}
	return level
}

// rsv1 marks the first frame of a compressed message (RFC 7692 section 6).
const rsv1 = 0x40

// deflateTail is an empty block without compression, but for its header's bits.
// A sender removes it from the end of a message, and a receiver appends it (RFC
// 7692 sections 7.2.1 and 7.2.2).
const deflateTail = "\x00\x00\xff\xff"

// deflater compresses one message. It is pooled, by level, and holds 0.8 MB at
// flate.BestSpeed, 0.3 to 1.4 MB at others.
type deflater struct {
	w   *flate.Writer // writes to the deflater
	out []byte
}

// Write appends what flate has made.
func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// deflaters are by level, from flate.HuffmanOnly (-2) to 9.
var deflaters [flate.BestCompression - flate.HuffmanOnly + 1]sync.Pool

// maxDeflating bounds the deflaters in use at once, and so their memory. More
// than one for each processor are in use only while goroutines are preempted in
// the middle of large messages.
var (
	maxDeflating = int32(max(16, 2*runtime.GOMAXPROCS(0)))
	deflating    atomic.Int32
)

// AppendDeflatedFrame appends a message as one frame of permessage-deflate, for
// all connections that have agreed to it: it depends on no message before it. level is as in
// DeflateConfig. The frame is longer than an uncompressed one if payload cannot be
// compressed, by 5 bytes for each 16 KiB and a few. So it is if very many goroutines
// do this at once: beyond maxDeflating, payload goes into blocks without
// compression. Any goroutine may call it.
//
// RFC 7692, section 7.2.1.
func AppendDeflatedFrame(dst, payload []byte, binary bool, level int) []byte {
	op := OpText
	if binary {
		op = OpBinary
	}
	// Room for the header that a frame of payload's length has; if the compressed
	// length needs another, its payload is moved.
	start := len(dst)
	dst = AppendFrameHeader(dst, op, len(payload))
	from := len(dst)
	if deflating.Add(1) <= maxDeflating {
		dst = appendDeflated(dst, payload, deflateLevel(level))
	} else {
		dst = appendStored(dst, payload)
	}
	deflating.Add(-1)

	var scratch [FrameHeadroom]byte
	header := AppendFrameHeader(scratch[:0], op, len(dst)-from)
	header[0] |= rsv1
	if n := start + len(header) - from; n < 0 {
		dst = append(dst[:from+n], dst[from:]...)
	} else if n > 0 {
		dst = append(dst, scratch[:n]...)
		copy(dst[from+n:], dst[from:])
	}
	copy(dst[start:], header)
	return dst
}

// appendDeflated appends the compressed form of a message.
func appendDeflated(dst, payload []byte, level int) []byte {
	pool := &deflaters[level-flate.HuffmanOnly]
	d, _ := pool.Get().(*deflater)
	if d == nil {
		d = new(deflater)
		d.w, _ = flate.NewWriter(d, level) // the level is valid
	}
	d.out = dst
	// Nothing that is written to memory fails. The flush ends in deflateTail.
	_, _ = d.w.Write(payload)
	_ = d.w.Flush()
	dst = d.out[:len(d.out)-len(deflateTail)]
	d.out = nil
	d.w.Reset(d) // forgets the message
	pool.Put(d)
	return dst
}

// appendStored appends the form of a message that takes no work: blocks without
// compression (RFC 1951 section 3.2.4; RFC 7692 section 7.2.3.3).
func appendStored(dst, payload []byte) []byte {
	for len(payload) > 0 {
		n := min(len(payload), 1<<16-1)
		dst = append(dst, 0)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(n))
		dst = binary.LittleEndian.AppendUint16(dst, ^uint16(n))
		dst = append(dst, payload[:n]...)
		payload = payload[n:]
	}
	return append(dst, 0) // the header of deflateTail
}
