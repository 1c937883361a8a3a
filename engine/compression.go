package engine

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/netpoll"
)

// encoding is a content coding of HTTP that a client of polling accepts.
type encoding uint8

const (
	identity encoding = iota
	gzipCoding
	deflateCoding // RFC 9110, section 8.4.1.2: the zlib format
)

var encodingNames = [...]string{gzipCoding: "gzip", deflateCoding: "deflate"}

// compressOnLoop is the largest payload that is compressed on the loop itself,
// in well under a millisecond; larger ones are on a goroutine.
const compressOnLoop = 32 << 10

// maxCompressing bounds those goroutines; beyond, payloads go out as they are.
const maxCompressing = 64

// acceptedEncoding chooses from an Accept-Encoding header: the higher weight wins, and
// gzip if both have the same.
//
// RFC 9110, section 12.5.3.
func acceptedEncoding(header []byte) encoding {
	if header == nil {
		return identity
	}
	best, weight := identity, 0.0
	for item := range strings.SplitSeq(string(header), ",") {
		name, params, _ := strings.Cut(item, ";")
		coding := identity
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip", "*":
			coding = gzipCoding
		case "deflate":
			coding = deflateCoding
		default:
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q="); ok {
			if x, err := strconv.ParseFloat(v, 64); err == nil {
				q = x
			}
		}
		if q > weight || q == weight && q > 0 && coding < best {
			best, weight = coding, q
		}
	}
	return best
}

// compressor is a writer from a pool.
type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

var compressors = [...]sync.Pool{
	gzipCoding: {New: func() any {
		w, _ := gzip.NewWriterLevel(nil, flate.BestSpeed) // the level is valid
		return w
	}},
	deflateCoding: {New: func() any {
		w, _ := zlib.NewWriterLevel(nil, flate.BestSpeed)
		return w
	}},
}

func (enc encoding) compress(payload []byte) []byte {
	w := compressors[enc].Get().(compressor)
	defer compressors[enc].Put(w)
	var out bytes.Buffer
	out.Grow(len(payload) / 4)
	w.Reset(&out)
	_, _ = w.Write(payload) // a bytes.Buffer takes everything
	_ = w.Close()
	w.Reset(nil)
	return out.Bytes()
}

// compressible tells whether an answer of that size to the poll that waits is
// worth compressing.
func (s *Session) compressible(size int) bool {
	return s.poll.encoding != identity && size >= s.engine.cfg.HTTPCompressionThreshold && s.poll.queue.compress
}

// pollAnswer is an answer to a poll that is being compressed.
type pollAnswer struct {
	s           *Session
	c           *netpoll.Conn
	contentType string
	payload     []byte
	extra       []byte
}

// respondCompressed answers a poll with a compressed payload.
func (s *Session) respondCompressed(c *netpoll.Conn, contentType string, payload []byte) {
	enc := s.poll.encoding
	a := &pollAnswer{s, c, contentType, payload, s.pollHeaders(c)}
	a.extra = append(a.extra, "Vary: Accept-Encoding\r\n"...)
	if len(payload) <= compressOnLoop {
		a.compress(enc)
		respondOnLoop(a, nil)
		return
	}
	select {
	case s.engine.compressing <- struct{}{}:
		go func() {
			a.compress(enc)
			<-s.engine.compressing
			s.loop.Post(respondOnLoop, a, nil, len(a.payload))
		}()
	default:
		respondOnLoop(a, nil)
	}
}

func (a *pollAnswer) compress(enc encoding) {
	a.payload = enc.compress(a.payload)
	a.extra = append(append(append(a.extra, "Content-Encoding: "...), encodingNames[enc]...), "\r\n"...)
}

func respondOnLoop(x, _ any) {
	a := x.(*pollAnswer)
	if !a.c.Open() {
		return
	}
	buf := netpoll.NewBuffer(512 + len(a.payload))
	buf.B = appendHead(buf.B, a.c, 200, a.contentType, len(a.payload), a.extra)
	buf.B = append(buf.B, a.payload...)
	a.c.Respond(buf)
	buf.Release()
}
