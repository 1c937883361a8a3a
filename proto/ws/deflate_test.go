package ws

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	gobwas "github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/bytepool"
)

// checkDeflatedFrame: b is one frame, and payload comes out of it.
func checkDeflatedFrame(t *testing.T, b, payload []byte, binary bool) {
	t.Helper()
	r := bytes.NewReader(b)
	h, err := gobwas.ReadHeader(r)
	op := OpText
	if binary {
		op = OpBinary
	}
	want := gobwas.Header{Fin: true, Rsv: 4, OpCode: op, Length: int64(r.Len())}
	if err != nil || h != want {
		t.Fatalf("header %+v, %v, want %+v", h, err, want)
	}
	if n := len(AppendFrameHeader(nil, op, r.Len())); n != len(b)-r.Len() {
		t.Fatalf("a header of %d bytes, want %d: the shortest", len(b)-r.Len(), n)
	}
	compressed := b[len(b)-r.Len():]
	got, wsErr := inflateWhole(compressed, len(payload))
	if wsErr != nil || !bytes.Equal(got.B, payload) {
		t.Fatalf("%v, or other content", wsErr)
	}
	bytepool.Put(got)
	// As section 7.2.2 has it, by a reader that is not ours.
	whole := append(bytes.Clone(compressed), "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(flate.NewReader(bytes.NewReader(whole))); err != nil || !bytes.Equal(plain.Bytes(), payload) {
		t.Fatalf("read plainly: %v, or other content", err)
	}
}

// TestAppendDeflatedFrame: RFC 7692 section 7.2.1, for each level and each length
// of the header, before and after.
func TestAppendDeflatedFrame(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 10, 119, 120, 121, 124, 125, 126, 1000, 65_520, 65_530, 65_535, 65_536, 140_000} {
		for _, random := range []bool{false, true} {
			payload := bytes.Repeat([]byte("abcdefgh"), n/8+1)[:n]
			if random {
				for i := range payload {
					payload[i] = byte(rnd.Uint32())
				}
			}
			for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
				dsts := [][]byte{nil, []byte("before"), make([]byte, 6, 1<<20)}
				if level != flate.BestSpeed {
					dsts = dsts[:1]
				}
				for _, dst := range dsts {
					b := AppendDeflatedFrame(dst, payload, n%2 == 0, level)
					if !bytes.HasPrefix(b, dst) {
						t.Fatalf("%d bytes: what was there has changed", n)
					}
					checkDeflatedFrame(t, b[len(dst):], payload, n%2 == 0)
					if most := n + 10 + 5*(n/16_383+2); len(b)-len(dst) > most {
						t.Errorf("%d bytes: %d at level %d", n, len(b)-len(dst), level)
					}
				}
			}
		}
	}
}

// TestAppendDeflatedFrameForgets: a frame depends on no frame before it.
func TestAppendDeflatedFrameForgets(t *testing.T) {
	payload := []byte(strings.Repeat("what could be referred to ", 100))
	for _, level := range []int{flate.HuffmanOnly, flate.BestSpeed, 6} {
		first := AppendDeflatedFrame(nil, payload, false, level)
		for range 10 {
			if again := AppendDeflatedFrame(nil, payload, false, level); !bytes.Equal(again, first) {
				t.Fatalf("level %d: the same message becomes another frame", level)
			}
		}
	}
}

// TestDeflateLevels: numbers that are no level are the default.
func TestDeflateLevels(t *testing.T) {
	payload := []byte(strings.Repeat("abc", 1000))
	want := AppendDeflatedFrame(nil, payload, true, flate.BestSpeed)
	for _, level := range []int{0, -3, 10, math.MinInt, math.MaxInt} {
		if got := AppendDeflatedFrame(nil, payload, true, level); !bytes.Equal(got, want) {
			t.Errorf("level %d is not the default", level)
		}
		if got := (DeflateConfig{Level: level}).WithDefaults(); *got != (DeflateConfig{Threshold: 1024, Level: flate.BestSpeed}) {
			t.Errorf("level %d: %+v", level, *got)
		}
	}
	set := DeflateConfig{Threshold: -1, Level: flate.HuffmanOnly}
	if got := set.WithDefaults(); *got != set {
		t.Errorf("%+v", *got)
	}
}

// TestDeflatersAreBounded: beyond maxDeflating no further one is made.
func TestDeflatersAreBounded(t *testing.T) {
	deflating.Add(maxDeflating)
	defer deflating.Add(-maxDeflating)
	for _, n := range []int{0, 1, 125, 126, 65_535, 65_536, 200_000} {
		payload := bytes.Repeat([]byte("a"), n)
		b := AppendDeflatedFrame(nil, payload, false, flate.BestSpeed)
		if len(b) < n+1 {
			t.Errorf("%d bytes were compressed to %d", n, len(b))
		}
		checkDeflatedFrame(t, b, payload, false)
	}
	if n := deflating.Load(); n != maxDeflating {
		t.Errorf("%d are counted as in use, want %d", n, maxDeflating)
	}
}

func TestDeflateByManyGoroutines(t *testing.T) {
	payload := []byte(strings.Repeat("some text ", 2000))
	want := AppendDeflatedFrame(nil, payload, false, flate.BestSpeed)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if got := AppendDeflatedFrame(nil, payload, false, flate.BestSpeed); !bytes.Equal(got, want) {
					t.Error("another frame")
				}
			}
		})
	}
	wg.Wait()
}

func TestDeflateAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are counted without the race detector")
	}
	dst := make([]byte, 0, 1<<16)
	for _, n := range []int{0, 100, 3000, 30_000} {
		payload := bytes.Repeat([]byte("hello, "), n/7+1)[:n]
		if got := testing.AllocsPerRun(200, func() { AppendDeflatedFrame(dst, payload, false, flate.BestSpeed) }); got != 0 {
			t.Errorf("%d bytes: %v allocations", n, got)
		}
	}
}

func BenchmarkAppendDeflatedFrame(b *testing.B) {
	for _, n := range []int{100, 1024, 16 << 10, 1_000_000} {
		payload := chatMessages(n)
		for _, level := range []int{flate.HuffmanOnly, flate.BestSpeed, 6} {
			b.Run(fmt.Sprintf("%d/level%d", n, level), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				var dst []byte
				for b.Loop() {
					dst = AppendDeflatedFrame(dst[:0], payload, false, level)
				}
				b.ReportMetric(float64(len(dst)), "frame-bytes")
			})
		}
	}
}
