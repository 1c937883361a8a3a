package ws

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/vectors"

	"github.com/sockeye-io/sockeye/internal/bytepool"
)

func clientFrame(f vectors.Frame, payload string) []byte {
	f.Payload, f.Mask = []byte(payload), [4]byte{0x37, 0xfa, 0x21, 0x3d}
	return f.Append(nil)
}

// feed consumes all of b as if it arrived in steps of so many bytes, and
// returns the last event.
func feed(t testing.TB, r *Reader, b []byte, step, maxBytes int) (last Event) {
	t.Helper()
	kept := 0
	for end := min(step, len(b)); ; end = min(end+step, len(b)) {
		for kept < end {
			ev, n, err := r.Consume(b[kept:end:end], maxBytes, false)
			if err != nil {
				t.Fatal(*err)
			}
			if ev.Kind != None {
				last = ev
			}
			if n == 0 {
				break
			}
			kept += n
		}
		if end == len(b) {
			return last
		}
	}
}

// TestReaderIsIdleBetweenMessages: a connection that waits for a message holds
// one nil pointer.
func TestReaderIsIdleBetweenMessages(t *testing.T) {
	var r Reader
	if size := unsafe.Sizeof(r); size != unsafe.Sizeof(uintptr(0)) {
		t.Errorf("a reader has %d bytes", size)
	}
	for _, b := range [][]byte{
		clientFrame(vectors.Frame{Op: 1}, "whole"),
		append(clientFrame(vectors.Frame{Op: 1, Part: true}, "in "), clientFrame(vectors.Frame{}, "fragments")...),
		clientFrame(vectors.Frame{Op: 9}, "ping"),
	} {
		for step := 1; step <= len(b); step++ {
			feed(t, &r, bytes.Clone(b), step, 100)
			r.MessageDone()
			if r.m != nil {
				t.Fatalf("%q in steps of %d leaves %+v", b, step, r.m)
			}
		}
	}
}

// TestWholeFrameIsView: a frame that is there as a whole is delivered where it
// lies, and what follows cannot be reached through it.
func TestWholeFrameIsView(t *testing.T) {
	b := clientFrame(vectors.Frame{Op: 2}, "payload")
	b = append(b, "next"...)
	var r Reader
	ev, n, err := r.Consume(b, 100, false)
	if err != nil || n != len(b)-4 || string(ev.Data) != "payload" {
		t.Fatalf("%+v, %d, %v", ev, n, err)
	}
	if &ev.Data[0] != &b[6] || cap(ev.Data) != len(ev.Data) || r.m != nil {
		t.Errorf("not a view: cap %d, len %d", cap(ev.Data), len(ev.Data))
	}
}

// TestConsumeIsLinear: what consume leaves unused is at most a header and a
// control frame's payload, so that nothing large is given to it twice.
func TestConsumeIsLinear(t *testing.T) {
	b := clientFrame(vectors.Frame{Op: 1, Part: true}, strings.Repeat("ä", 50_000))
	b = append(b, clientFrame(vectors.Frame{Op: 9}, strings.Repeat("p", 125))...)
	b = append(b, clientFrame(vectors.Frame{}, strings.Repeat("ö", 50_000))...)
	var r Reader
	defer r.Release()
	kept, given := 0, 0
	for end := 1; end <= len(b); end++ {
		for kept < end {
			given += end - kept
			_, n, err := r.Consume(b[kept:end:end], 1<<20, false)
			if err != nil {
				t.Fatal(*err)
			}
			if n == 0 {
				if left := end - kept; left > 14+maxControlBytes {
					t.Fatalf("%d bytes are left unused", left)
				}
				break
			}
			kept += n
		}
	}
	if kept != len(b) || given > len(b)+200*200 {
		t.Errorf("%d bytes of %d consumed, %d given", kept, len(b), given)
	}
}

// TestMemoryFollowsBytes: memory is at most a small multiple of the bytes that
// have arrived, whatever a header declares, and above neither the limit nor the
// size of the message, where that is known.
func TestMemoryFollowsBytes(t *testing.T) {
	const limit, size = 950_000, 900_000
	declared := vectors.Frame{Op: 2, Part: true, Payload: make([]byte, size)}.Append(nil)
	for _, final := range []bool{false, true} {
		b := bytes.Clone(declared)
		if final {
			b[0] |= 0x80
		}
		var r Reader
		header := 14
		if _, n, err := r.Consume(b[:header], limit, false); n != header || err != nil {
			t.Fatal(n, err)
		}
		if r.m.buf != nil {
			t.Errorf("a header alone takes a buffer of %d bytes", cap(r.m.buf.B))
		}
		start := 0 // what the pool gave
		for at := header; at < len(b); {
			end := min(at+1000, len(b))
			if _, n, err := r.Consume(b[at:end], limit, false); n != end-at || err != nil {
				t.Fatal(n, err)
			}
			at = end
			if start == 0 {
				start = cap(r.m.buf.B)
			}
			have, room := at-header, cap(r.m.buf.B)
			if room > max(2*have, start) || room > max(limit, start) {
				t.Fatalf("%d bytes have arrived, the buffer has %d", have, room)
			}
		}
		if room := cap(r.m.buf.B); final && room > max(size, start) {
			t.Errorf("a message of %d bytes has a buffer of %d", size, room)
		}
		r.MessageDone()
		r.Release()
	}
}

// TestGrowthIsLinear: many small fragments copy a message a few times at most.
func TestGrowthIsLinear(t *testing.T) {
	var r Reader
	defer r.Release()
	b := clientFrame(vectors.Frame{Op: 2, Part: true}, "x")
	copied, size := 0, 0
	for i := range 300_000 {
		if i == 1 {
			b[0] = 0
		}
		if _, n, err := r.Consume(bytes.Clone(b), 1<<20, false); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
		if c := cap(r.m.buf.B); c != size {
			copied += size
			size = c
		}
	}
	if copied > 2*300_000 {
		t.Errorf("%d bytes were copied", copied)
	}
}

// TestMessageStaysReadable: a handler that closes the connection still reads
// the message it was given; its memory does not go to a pool meanwhile.
func TestMessageStaysReadable(t *testing.T) {
	var r Reader
	b := append(clientFrame(vectors.Frame{Op: 1, Part: true}, "Hel"), clientFrame(vectors.Frame{}, "lo")...)
	ev := feed(t, &r, b, len(b), 100)
	r.Release() // as Close does, within the handler
	var others []*Reader
	for range 10 {
		o := new(Reader)
		feed(t, o, clientFrame(vectors.Frame{Op: 1, Part: true}, "other"), 1, 100)
		others = append(others, o)
	}
	if string(ev.Data) != "Hello" {
		t.Errorf("the message has become %q", ev.Data)
	}
	r.MessageDone() // as the caller does, after the handler
	for _, o := range others {
		o.Release()
		if o.m != nil {
			t.Error("release left something")
		}
	}
}

// TestConsumeEndsDelivery: MessageDone may be left out, since the next consume
// does the same.
func TestConsumeEndsDelivery(t *testing.T) {
	var r Reader
	b := append(clientFrame(vectors.Frame{Op: 1, Part: true}, "a"), clientFrame(vectors.Frame{}, "b")...)
	feed(t, &r, b, len(b), 100)
	if ev := feed(t, &r, clientFrame(vectors.Frame{Op: 1}, "c"), 100, 100); string(ev.Data) != "c" || r.m != nil {
		t.Errorf("%q, %+v", ev.Data, r.m)
	}
}

// TestLargeBufferIsNotPooled: one large message does not pin its memory.
func TestLargeBufferIsNotPooled(t *testing.T) {
	var r Reader
	big := strings.Repeat("x", bytepool.MaxPooled+1)
	b := append(clientFrame(vectors.Frame{Op: 2, Part: true}, big), clientFrame(vectors.Frame{}, "")...)
	ev := feed(t, &r, b, len(b), 1<<20)
	data := ev.Data
	r.MessageDone()
	// Those that the pool hands out now are not the large one.
	var readers []*Reader
	for range 50 {
		o := new(Reader)
		readers = append(readers, o)
		feed(t, o, clientFrame(vectors.Frame{Op: 2, Part: true}, "x"), 100, 100)
		if &o.m.buf.B[0] == &data[0] || cap(o.m.buf.B) > bytepool.MaxPooled {
			t.Fatalf("the pool kept a buffer of %d bytes", cap(o.m.buf.B))
		}
	}
	for _, o := range readers {
		o.Release()
	}
}

func TestReaderAllocations(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are counted without the race detector")
	}
	for _, c := range []struct {
		name string
		b    []byte
		step int
	}{
		{"a small text frame", clientFrame(vectors.Frame{Op: 1}, `42["chat","hello"]`), 1 << 20},
		{"a large text frame", clientFrame(vectors.Frame{Op: 1}, strings.Repeat("ä", 30_000)), 1 << 20},
		{"a binary frame", clientFrame(vectors.Frame{Op: 2}, "\x00\xff"), 1 << 20},
		{"a ping", clientFrame(vectors.Frame{Op: 9}, "ping"), 1 << 20},
		{"a pong", clientFrame(vectors.Frame{Op: 10}, "pong"), 1 << 20},
		{"a frame in two pieces", clientFrame(vectors.Frame{Op: 1}, strings.Repeat("x", 1000)), 600},
		{"fragments", append(clientFrame(vectors.Frame{Op: 1, Part: true}, "Hel"), clientFrame(vectors.Frame{}, "lo")...), 1 << 20},
	} {
		var r Reader
		b := make([]byte, len(c.b))
		if n := testing.AllocsPerRun(200, func() {
			copy(b, c.b)
			if ev := feed(t, &r, b, c.step, 1<<20); ev.Kind == None {
				panic("no event")
			}
			r.MessageDone()
		}); n != 0 {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
}
