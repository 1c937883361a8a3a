package bench

import (
	"bytes"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"github.com/gobwas/ws/wsutil"
	"github.com/sockeye-io/sockeye/proto/ws"

	"github.com/sockeye-io/sockeye/internal/vectors"
)

// BenchmarkWebSocketRead reads one message a round, from memory.
func BenchmarkWebSocketRead(b *testing.B) {
	// The mask is removed in place each round: only one of zeros leaves the text
	// what it is.
	frame := func(f vectors.Frame, payload string) []byte {
		f.Payload = []byte(payload)
		return f.Append(nil)
	}
	join := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	const (
		text   = 1
		binary = 2
	)
	ascii := strings.Repeat("The quick brown fox. ", 1<<16/20)
	greek := strings.Repeat("κόσμε ", 1<<16/11)
	quarter := ascii[:16<<10]
	fragments := frame(vectors.Frame{Op: text, Part: true}, "x")
	for range 998 {
		fragments = append(fragments, frame(vectors.Frame{Part: true}, "x")...)
	}
	fragments = append(fragments, frame(vectors.Frame{}, "x")...)

	for _, c := range []struct {
		name   string
		stream []byte
		piece  int // bytes that arrive at a time
	}{
		{"text-20B", frame(vectors.Frame{Op: text}, `42["chat","hello you`), 1 << 20},
		{"text-100B", frame(vectors.Frame{Op: text}, ascii[:100]), 1 << 20},
		{"binary-100B", frame(vectors.Frame{Op: binary}, ascii[:100]), 1 << 20},
		{"binary-64KiB", frame(vectors.Frame{Op: binary}, ascii[:1<<16]), 1 << 20},
		{"text-64KiB", frame(vectors.Frame{Op: text}, ascii[:1<<16]), 1 << 20},
		{"text-64KiB-greek", frame(vectors.Frame{Op: text}, greek), 1 << 20},
		{"text-64KiB-in-4KiB-pieces", frame(vectors.Frame{Op: text}, ascii[:1<<16]), 4 << 10},
		{"text-1MB-in-64KiB-pieces", frame(vectors.Frame{Op: text}, strings.Repeat(ascii[:1000], 1000)), 64 << 10},
		{"text-4-fragments-of-16KiB", join(
			frame(vectors.Frame{Op: text, Part: true}, quarter), frame(vectors.Frame{Part: true}, quarter),
			frame(vectors.Frame{Part: true}, quarter), frame(vectors.Frame{}, quarter)), 1 << 20},
		{"text-1000-fragments-of-1B", fragments, 1 << 20},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.stream)))
			var r ws.Reader
			for b.Loop() {
				messages := 0
				for from, end := 0, 0; end < len(c.stream); {
					end = min(end+c.piece, len(c.stream))
					for from < end {
						e, n, _ := r.Consume(c.stream[from:end], 1<<20, false)
						if n == 0 {
							break
						}
						from += n
						if e.Kind != ws.None {
							messages++
						}
					}
				}
				if messages != 1 {
					b.Fatalf("%d messages", messages)
				}
			}
		})
	}

	// For comparison: the blocking reader of gobwas/ws.
	stream := frame(vectors.Frame{Op: text}, ascii[:100])
	b.Run("text-100B/wsutil", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(stream)))
		in := bytes.NewReader(stream)
		for b.Loop() {
			in.Reset(stream)
			if _, _, err := wsutil.ReadData(struct {
				*bytes.Reader
				discard
			}{Reader: in}, gobwas.StateServerSide); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkWebSocketFrameHeader writes the header in front of a payload.
func BenchmarkWebSocketFrameHeader(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"100B", 100}, {"1KiB", 1 << 10}, {"64KiB", 1 << 16}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			message := make([]byte, ws.FrameHeadroom+c.size)
			for b.Loop() {
				if ws.PutFrameHeader(message, ws.FrameHeadroom, false) > 8 {
					b.Fatal("no room was used")
				}
			}
		})
	}
}
