package netpoll

import (
	"bytes"
	"compress/flate"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/valyala/bytebufferpool"
)

// DeflateConfig configures permessage-deflate (RFC 7692), the compression of
// WebSocket messages. No window is kept from one message to the next. In each
// field 0 means the default.
type DeflateConfig struct {
	// Threshold is the size, in bytes, from which on messages are compressed.
	// Default 1,024. Negative: all are.
	Threshold int

	// Level is compress/flate's. Default, also for numbers that are none:
	// flate.BestSpeed.
	Level int
}

// WithDefaults returns a copy with the defaults filled in.
func (c DeflateConfig) WithDefaults() *DeflateConfig {
	if c.Threshold == 0 {
		c.Threshold = 1_024
	}
	if c.Level == 0 || c.Level < flate.HuffmanOnly || c.Level > flate.BestCompression {
		c.Level = flate.BestSpeed
	}
	return &c
}

var (
	errInflate = &wsError{closeInvalidData, "the message is not deflated as it should be"}

	// deflateTail is what a sender has removed from the end of a message (RFC
	// 7692, section 7.2.2), and an empty last block, so that the reader ends.
	deflateTail = []byte{0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff}
)

// inflater inflates one message. It is pooled: a connection has none.
type inflater struct {
	src inflateSource
	r   io.ReadCloser // compress/flate's, reset for each message
}

// inflateSource is a message and deflateTail behind it. It is an io.ByteReader,
// so that compress/flate reads no further than it must.
type inflateSource struct{ b, next []byte }

func (s *inflateSource) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		if s.b, s.next = s.next, nil; len(s.b) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

func (s *inflateSource) ReadByte() (byte, error) {
	if len(s.b) == 0 {
		if s.b, s.next = s.next, nil; len(s.b) == 0 {
			return 0, io.EOF
		}
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c, nil
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	z.r = flate.NewReader(&z.src)
	return z
}}

// inflate decompresses a message into a buffer from the pool. It takes memory as
// bytes come out, and ends at maxBytes: a message that would inflate to more
// costs no more than that. A message of 1 MB takes some 1 ms (BenchmarkInflate).
//
// RFC 7692, section 7.2.2.
func inflate(payload []byte, maxBytes int) (*bytebufferpool.ByteBuffer, *wsError) {
	z := inflaters.Get().(*inflater)
	buf := bytebufferpool.Get()
	err := z.run(payload, buf, maxBytes)
	z.src = inflateSource{}
	inflaters.Put(z)
	if err != nil {
		releaseInput(buf)
		return nil, err
	}
	return buf, nil
}

func (z *inflater) run(payload []byte, buf *bytebufferpool.ByteBuffer, maxBytes int) *wsError {
	z.src = inflateSource{payload, deflateTail}
	_ = z.r.(flate.Resetter).Reset(&z.src, nil) // never fails
	b := buf.B[:0]
	defer func() { buf.B = b }()
	for {
		if len(b) == cap(b) {
			size := min(max(2*cap(b), 4*len(payload), 512), maxBytes+1)
			if size <= len(b) {
				return errMessageTooBig
			}
			b = append(make([]byte, 0, size), b...)
		}
		n, err := z.r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxBytes:
			return errMessageTooBig
		case err == io.EOF && z.src.next != nil && len(z.src.b) > 0:
			// Section 7.2.3.4: a last block, and another behind it, which may refer
			// to what came before. Each round uses up a byte at least.
			_ = z.r.(flate.Resetter).Reset(&z.src, b[max(0, len(b)-32<<10):])
		case err == io.EOF:
			return nil
		case err != nil:
			return errInflate
		}
	}
}

// inflated makes a whole compressed message the one to be delivered.
func (r *wsReader) inflated(payload []byte, text bool, maxBytes int) (ev wsEvent, err *wsError) {
	buf, err := inflate(payload, maxBytes)
	if err != nil {
		return ev, err
	}
	if text && !utf8.Valid(buf.B) {
		releaseInput(buf)
		return ev, errTextUTF8
	}
	m := r.m
	if m == nil {
		m = assemblies.Get().(*assembly)
		r.m = m
	} else {
		releaseInput(m.buf)
	}
	m.buf, m.state = buf, delivered
	ev.kind, ev.binary, ev.data = wsMessage, !text, buf.B
	return ev, nil
}

// deflaters are writers, by level from flate.HuffmanOnly (-2) to 9.
var deflaters [12]sync.Pool

// AppendDeflatedFrame appends a message as a frame of permessage-deflate, to be
// sent on connections that Deflate. It may be longer than payload. level is
// compress/flate's.
//
// RFC 7692, section 7.2.1.
func AppendDeflatedFrame(dst, payload []byte, binary bool, level int) []byte {
	const most = 10 // of a header
	from := len(dst) + most
	out := bytes.NewBuffer(append(dst, make([]byte, most)...))
	pool := &deflaters[level+2]
	w, _ := pool.Get().(*flate.Writer)
	if w == nil {
		w, _ = flate.NewWriter(out, level) // the level is valid, or the index was not
	} else {
		w.Reset(out)
	}
	_, _ = w.Write(payload) // a bytes.Buffer takes everything
	_ = w.Flush()
	w.Reset(nil)
	pool.Put(w)
	b := bytes.TrimSuffix(out.Bytes(), deflateTail[:4])
	op := opText
	if binary {
		op = opBinary
	}
	var room [most]byte
	header := appendFrameHeader(room[:0], op, len(b)-from)
	header[0] |= rsv1
	// The header is as long as it has to be: the payload moves up to it.
	n := copy(b[len(dst):], header)
	return append(b[:len(dst)+n], b[from:]...)
}

// rsv1 marks the first frame of a compressed message.
const rsv1 = 0x40

// Deflates tells whether the peer has agreed to permessage-deflate.
func (c *Conn) Deflates() bool { return c.is(connDeflate) }
