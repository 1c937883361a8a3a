package ws

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/internal/vectors"
)

// TestRFC7692 runs each case of testdata/wsdeflate, as TestRFC6455 does.
func TestRFC7692(t *testing.T) {
	cases := vectors.Load(t, "testdata/wsdeflate", vectors.WebSocket)
	for _, c := range cases {
		file, _, _ := strings.Cut(filepath.Base(c.Pos), ".txt")
		t.Run(strings.TrimPrefix(file, "rfc7692-")+"/"+c.Name, func(t *testing.T) {
			checkInPieces(t, c, ParseDeflatedFrames)
		})
	}
}

// TestRFC6455WithDeflate: what is not compressed is read as without the extension;
// only the words for the bit that must not be set differ.
func TestRFC6455WithDeflate(t *testing.T) {
	for _, c := range vectors.Load(t, "testdata/ws", vectors.WebSocket) {
		want := ParseFrames(c.Max, c.Input)
		got := ParseDeflatedFrames(c.Max, c.Input)
		if bytes.Contains(fmt.Append(nil, want), []byte("rsv bits")) {
			continue // testdata/wsdeflate has them
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %s\ngot:  %v\nwant: %v", c.Pos, c.Name, got, want)
		}
	}
}

// TestDeflateNotAgreed: RFC 6455 section 5.2, RSV1 "MUST be 0 unless an extension
// is negotiated".
func TestDeflateNotAgreed(t *testing.T) {
	cases := vectors.Load(t, "testdata/wsdeflate", vectors.WebSocket)
	for _, c := range cases {
		if len(c.Input) == 0 || c.Input[0]&rsv1 == 0 {
			continue
		}
		if got := ParseFrames(c.Max, c.Input); len(got) != 1 || got[0].Kind != "error" || got[0].Code != 1002 {
			t.Errorf("%s: %v, want 1002", c.Pos, got)
		}
	}
}

// deflated is what a client sends for a message.
func deflated(payload []byte) []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, 9)
	_, _ = w.Write(payload)
	_ = w.Flush()
	return bytes.TrimSuffix(buf.Bytes(), []byte(deflateTail))
}

// chatMessages is n bytes as applications send them.
func chatMessages(n int) (b []byte) {
	rnd := rand.New(rand.NewPCG(1, 7692))
	for len(b) < n {
		b = fmt.Appendf(b, `{"text":"%x says %d","n":%d},`, rnd.Uint32()%1000, rnd.Uint32()%50, rnd.Uint32())
	}
	return b[:n]
}

func deflatedFrame(payload []byte) []byte {
	return clientFrame(vectors.Frame{Op: 2, Rsv: 4}, string(payload))
}

// inflateWhole inflates the payload of a message.
func inflateWhole(payload []byte, maxBytes int) (*bytepool.Buffer, *Error) {
	return inflate(append(bytes.Clone(payload), inflateEnd...), maxBytes, maxFinalBlocks)
}

// consumeDeflated consumes b as if it arrived in steps of so many bytes, up to
// a first event or error.
func consumeDeflated(r *Reader, b []byte, step, maxBytes int) (Event, *Error) {
	for kept, end := 0, 0; end < len(b); {
		end = min(end+step, len(b))
		ev, n, err := r.Consume(b[kept:end:end], maxBytes, true)
		if err != nil || ev.Kind != None {
			return ev, err
		}
		kept += n
	}
	return Event{}, nil
}

// TestInflateSizes: content of any size and kind, whole and in pieces.
func TestInflateSizes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 692))
	for _, n := range []int{0, 1, 2, 511, 512, 513, 32_767, 32_768, 32_769, 65_535, 65_536, 200_000} {
		random := make([]byte, n)
		for i := range random {
			random[i] = byte(rnd.Uint32())
		}
		for _, payload := range [][]byte{make([]byte, n), chatMessages(n), random} {
			b := deflatedFrame(deflated(payload))
			for _, step := range []int{len(b), 1 + len(b)/3, 1 + len(b)/100} {
				for _, maxBytes := range []int{n, n + 1, 1 << 20} {
					var r Reader
					ev, err := consumeDeflated(&r, bytes.Clone(b), step, maxBytes)
					if err != nil || ev.Kind != Message || !ev.Binary || !bytes.Equal(ev.Data, payload) {
						t.Fatalf("%d bytes in steps of %d with a limit of %d: %v, %+v", n, step, maxBytes, err, ev.Kind)
					}
					r.MessageDone()
					if r.m != nil {
						t.Fatal("something is left between messages")
					}
				}
				if n == 0 {
					continue
				}
				var r Reader
				if _, err := consumeDeflated(&r, bytes.Clone(b), step, n-1); err != errMessageTooBig {
					t.Fatalf("%d bytes with a limit of %d: %v", n, n-1, err)
				}
				r.Release()
			}
		}
	}
}

// TestZipBomb: a message that would inflate to a hundred times the limit costs
// the limit, in memory taken altogether.
func TestZipBomb(t *testing.T) {
	const limit = 200_000
	bomb := deflated(make([]byte, 100*limit))
	if len(bomb) > limit {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	if _, err := inflateWhole(deflated([]byte("warm")), limit); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		if buf, err := inflateWhole(bomb, limit); err != errMessageTooBig || buf != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 10; got > 3*limit {
		t.Errorf("%d bytes were taken for a limit of %d", got, limit)
	}
	if cap(bomb) < 10_000 {
		t.Errorf("the bomb is small: %d", len(bomb))
	}
}

// TestCompressedMemoryFollowsBytes: the compressed form of a message takes memory
// as it arrives, whatever its frame declares, and no more than its limit.
func TestCompressedMemoryFollowsBytes(t *testing.T) {
	const limit = 1 << 20
	b := deflatedFrame(make([]byte, 900_000))
	var r Reader
	defer r.Release()
	for at := 0; at < len(b)-1000; {
		end := at + 1000
		_, n, err := r.Consume(b[at:end], limit, true)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		at += n
		if room := cap(r.m.buf.B); room > max(2*at, bytepool.MaxPooled) || room > maxDeflated(limit) {
			t.Fatalf("%d bytes have arrived, the buffer has %d", at, room)
		}
	}
}

// TestInflatedStaysReadable: a handler that closes the connection still reads the
// message it was given.
func TestInflatedStaysReadable(t *testing.T) {
	for _, step := range []int{1 << 20, 3} {
		var r Reader
		ev, err := consumeDeflated(&r, deflatedFrame(deflated([]byte("Hello"))), step, 100)
		if err != nil {
			t.Fatal(err)
		}
		r.Release() // as Close does, within the handler
		for range 10 {
			var o Reader
			if _, err := consumeDeflated(&o, deflatedFrame(deflated([]byte("other"))), step, 100); err != nil {
				t.Fatal(err)
			}
			defer o.Release()
		}
		if string(ev.Data) != "Hello" {
			t.Errorf("the message has become %q", ev.Data)
		}
		r.MessageDone()
	}
}

// TestHostileBlocks: messages that are made to be slow are read, or refused; how
// long it takes is BenchmarkInflate's.
func TestHostileBlocks(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		want    *Error
	}{
		{"short tables", repeatedBlocks(10_000, (*bitWriter).shortTables), nil},
		{"long tables", repeatedBlocks(10_000, (*bitWriter).longTables), nil},
		{"final blocks", finalBlocks(10_000), errFinalBlocks},
	} {
		if _, err := inflateWhole(c.payload, 100_000); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestInflateAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are counted without the race detector")
	}
	for _, c := range []struct {
		name    string
		payload []byte
		step    int
	}{
		{"json", chatMessages(5000), 1 << 20},
		{"whole", bytes.Repeat([]byte("hello "), 500), 1 << 20},
		{"in pieces", bytes.Repeat([]byte("hello "), 5000), 20},
		{"without compression", []byte("\x00\xff"), 1 << 20},
	} {
		frame := deflatedFrame(deflated(c.payload))
		scratch := make([]byte, len(frame))
		var r Reader
		if n := testing.AllocsPerRun(200, func() {
			copy(scratch, frame)
			ev, err := consumeDeflated(&r, scratch, c.step, 100_000)
			if err != nil || len(ev.Data) != len(c.payload) {
				panic("no message")
			}
			r.MessageDone()
		}); n > 0 {
			t.Errorf("%s: %v allocations for a message", c.name, n)
		}
	}
}

// bitWriter writes a DEFLATE stream (RFC 1951 section 3.1.1).
type bitWriter struct {
	b    []byte
	acc  uint64
	have int
}

// bits writes a number, the lowest bit first.
func (w *bitWriter) bits(v uint64, n int) {
	w.acc |= v << w.have
	for w.have += n; w.have >= 8; w.have -= 8 {
		w.b = append(w.b, byte(w.acc))
		w.acc >>= 8
	}
}

// code writes a Huffman code, the highest bit first.
func (w *bitWriter) code(v, n int) {
	for n--; n >= 0; n-- {
		w.bits(uint64(v>>n&1), 1)
	}
}

// flushed ends the stream as a sender of permessage-deflate does.
func (w *bitWriter) flushed() []byte {
	w.bits(0, 3) // the header of an empty stored block, whose other bytes are removed
	if w.have > 0 {
		w.bits(0, 8-w.have)
	}
	return w.b
}

// codeLengthOrder is that of section 3.2.7.
var codeLengthOrder = []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicBlock writes a block without content that brings tables of its own
// (RFC 1951 section 3.2.7).
func (w *bitWriter) dynamicBlock(hlit int, codeLengths map[int]int, lengths []int, repeats []uint64, eob, eobBits int) {
	order := codeLengthOrder
	w.bits(0b100, 3) // not the last; dynamic
	w.bits(uint64(hlit), 5)
	w.bits(0, 5)
	w.bits(uint64(len(order)-4), 4)
	for _, s := range order {
		w.bits(uint64(codeLengths[s]), 3)
	}
	codes := canonical(codeLengths)
	for i, l := range lengths {
		w.code(codes[l], codeLengths[l])
		switch l {
		case 16:
			w.bits(repeats[i], 2)
		case 18:
			w.bits(repeats[i], 7)
		}
	}
	w.code(eob, eobBits)
}

// canonical makes the codes of an alphabet from their lengths (section 3.2.2).
func canonical(lengths map[int]int) map[int]int {
	codes := map[int]int{}
	code := 0
	for n := 1; n <= 7; n++ {
		for s := range 19 {
			if lengths[s] == n {
				codes[s] = code
				code++
			}
		}
		code <<= 1
	}
	return codes
}

// shortTables is the shortest block with tables: its one code ends it.
func (w *bitWriter) shortTables() {
	w.dynamicBlock(0, map[int]int{18: 1, 1: 1}, []int{18, 18, 1, 1}, []uint64{138 - 11, 118 - 11, 0, 0}, 0, 1)
}

// longTables is a block of 32 bytes that needs 128 second tables of 64 entries: 261
// codes of more than 9 bits, some of 15.
func (w *bitWriter) longTables() {
	lengths := []int{1, 2, 10}
	repeats := make([]uint64, 3, 64)
	for range 42 {
		lengths, repeats = append(lengths, 16), append(repeats, 6-3)
	}
	lengths = append(lengths, 10, 10, 11, 12, 13, 14, 15, 15, 1)
	repeats = append(repeats, make([]uint64, 9)...)
	codes := map[int]int{16: 1}
	for _, l := range []int{1, 2, 10, 11, 12, 13, 14, 15} {
		codes[l] = 4
	}
	// Symbols 2 to 256 have the codes 0b1100000000 and following; 256 ends the block.
	w.dynamicBlock(263-257, codes, lengths, repeats, 0b1100000000+254, 10)
}

// repeatedBlocks is a message of about size bytes that consists of blocks.
func repeatedBlocks(size int, block func(*bitWriter)) []byte {
	var w bitWriter
	for len(w.b) < size-40 {
		block(&w)
	}
	return w.flushed()
}

// finalBlocks is a message of size bytes: 32 KiB of content, then empty blocks
// with BFINAL set, which have the reader begin anew each time.
func finalBlocks(size int) []byte {
	var buf bytes.Buffer
	z, _ := flate.NewWriter(&buf, flate.BestSpeed)
	_, _ = z.Write(make([]byte, 32<<10))
	_ = z.Close()
	for buf.Len() < size-2 {
		buf.Write([]byte{0x03, 0x00})
	}
	return append(buf.Bytes(), 0x00)
}

// BenchmarkInflate inflates messages of the default limit: what compressors
// make, and what costs most for its size.
func BenchmarkInflate(b *testing.B) {
	const size = 1_000_000
	rnd := rand.New(rand.NewPCG(1, 7692))
	random := make([]byte, size)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	for _, c := range []struct {
		name    string
		payload []byte
		want    *Error
	}{
		{"repeated", deflated(bytes.Repeat([]byte(`{"text":"some chat message","n":12345},`), size/39)), nil},
		{"json", deflated(chatMessages(size)), nil},
		{"json of 1 kB", deflated(chatMessages(1000)), nil},
		{"base64", deflated([]byte(base64.StdEncoding.EncodeToString(random)[:size])), nil},
		{"random", deflated(random), nil},
		{"bomb", deflated(make([]byte, 100*size)), errMessageTooBig},
		{"short tables", repeatedBlocks(size, (*bitWriter).shortTables), nil},
		{"long tables", repeatedBlocks(size, (*bitWriter).longTables), nil},
		{"final blocks", finalBlocks(size), errFinalBlocks},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.payload)))
			payload := append(bytes.Clone(c.payload), inflateEnd...)
			for b.Loop() {
				buf, err := inflate(payload, size, maxFinalBlocks)
				if err != c.want {
					b.Fatal(err)
				}
				bytepool.Put(buf)
			}
		})
	}
}

// BenchmarkInflateHere is what messages cost that are not left to a goroutine: the
// most that InflateHere lets pass of what compressors make, and of what costs most.
func BenchmarkInflateHere(b *testing.B) {
	greek := []byte(strings.Repeat("κόσμε ", hereBytes/11)) // for the check of UTF-8, too
	for _, c := range []struct {
		name    string
		payload []byte
		kind    EventKind
	}{
		{"json", deflated(chatMessages(1100)), Message},
		{"repeated", deflated(greek), Message},
		{"bomb", deflated(make([]byte, 400_000)), Deflated},
		{"short tables", repeatedBlocks(InflateHere, (*bitWriter).shortTables), Message},
		{"long tables", repeatedBlocks(InflateHere, (*bitWriter).longTables), Message},
		{"final blocks", finalBlocks(InflateHere), Deflated},
	} {
		b.Run(c.name, func(b *testing.B) {
			frame := clientFrame(vectors.Frame{Op: 1, Rsv: 4}, string(c.payload))
			if len(c.payload) > InflateHere || len(c.payload) < InflateHere/4 {
				b.Fatal(len(c.payload))
			}
			b.ReportAllocs()
			lim := Limits{MaxBytes: 1_000_000, Deflate: true, InflateHere: InflateHere}
			scratch := make([]byte, len(frame))
			var r Reader
			for b.Loop() {
				copy(scratch, frame)
				ev, _, err := r.ConsumeFrame(scratch, lim)
				if err != nil || ev.Kind != c.kind {
					b.Fatal(ev.Kind, err)
				}
				put(ev.Payload)
				r.MessageDone()
			}
		})
	}
}
