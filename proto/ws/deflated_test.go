package ws

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/internal/vectors"
)

// outcome is what a frame comes to, however it is inflated.
type outcome struct {
	data   string
	binary bool
	err    *Error
	apart  bool
}

// consumeApart consumes one compressed message in steps, and inflates it apart if
// the Reader leaves that.
func consumeApart(t *testing.T, b []byte, step int, lim Limits) (o outcome) {
	t.Helper()
	var r Reader
	defer r.Release()
	b = bytes.Clone(b)
	for kept, end := 0, 0; kept < len(b); {
		ev, n, err := r.ConsumeFrame(b[kept:end:end], lim)
		kept += n
		if n == 0 && end == len(b) {
			t.Fatal("nothing is used")
		}
		if n == 0 || kept == end {
			end = min(end+step, len(b))
		}
		switch {
		case err != nil:
			return outcome{err: err}
		case ev.Kind == Message:
			return outcome{data: string(ev.Data), binary: ev.Binary}
		case ev.Kind == Deflated:
			if kept != len(b) || ev.Data != nil {
				t.Fatalf("%d bytes of %d are used; data %q", kept, len(b), ev.Data)
			}
			if r.m != nil || r.Held() != 0 {
				t.Fatalf("the reader still holds %d bytes", r.Held())
			}
			buf, err := Inflate(ev.Payload, ev.Binary, lim.MaxBytes)
			if err != nil {
				return outcome{err: err, apart: true}
			}
			defer put(buf)
			return outcome{data: string(buf.B), binary: ev.Binary, apart: true}
		}
	}
	t.Fatal("no event")
	return o
}

// TestInflateApart: a message is the same, or refused for the same reason,
// wherever it is inflated and however it arrives.
func TestInflateApart(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 7692))
	random := make([]byte, 70_000)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	const limit = 300_000
	for _, c := range []struct {
		name    string
		payload []byte
		op      byte
		want    *Error
	}{
		{"empty", []byte{0}, 2, nil},
		{"without a byte", nil, 1, errInflate},
		{"small", deflated([]byte("Hello")), 1, nil},
		{"json", deflated(chatMessages(1000)), 1, nil},
		{"large json", deflated(chatMessages(200_000)), 1, nil},
		{"random", deflated(random), 2, nil},
		{"at the limit", deflated(make([]byte, limit)), 2, nil},
		{"above the limit", deflated(make([]byte, limit+1)), 2, errMessageTooBig},
		{"small and not UTF-8", deflated([]byte("\xff")), 1, errTextUTF8},
		{"large and not UTF-8", deflated(append(chatMessages(5000), 0xc3)), 1, errTextUTF8},
		{"invalid", []byte{0x06}, 2, errInflate},
		{"invalid at its end", append(deflated(chatMessages(5000)), 0x06), 2, errInflate},
		{"a few final blocks", finalBlocks(200), 2, nil},
		{"more final blocks", finalBlocks(400), 2, nil},
		{"too many final blocks", finalBlocks(5000), 2, errFinalBlocks},
		{"short tables", repeatedBlocks(2000, (*bitWriter).shortTables), 2, nil},
	} {
		frame := clientFrame(vectors.Frame{Op: c.op, Rsv: 4}, string(c.payload))
		whole := consumeApart(t, frame, len(frame), Limits{MaxBytes: limit, Deflate: true, InflateHere: -1})
		if whole.err != c.want || whole.apart {
			t.Errorf("%s: %v, want %v", c.name, whole.err, c.want)
		}
		half := len(c.payload) / 2
		fragments := append(
			clientFrame(vectors.Frame{Op: c.op, Rsv: 4, Part: true}, string(c.payload[:half])),
			clientFrame(vectors.Frame{}, string(c.payload[half:]))...)
		for _, here := range []int{-1, 0, 100, InflateHere, math.MaxInt} {
			lim := Limits{MaxBytes: limit, Deflate: true, InflateHere: here}
			for _, b := range [][]byte{frame, fragments} {
				for _, step := range []int{1 + len(b)/500, 1 + len(b)/7, len(b)} {
					got := consumeApart(t, b, step, lim)
					apart := got.apart
					got.apart = false
					if got != whole {
						t.Fatalf("%s, inflated here up to %d, in steps of %d: %v, %d bytes", c.name, here, step, got.err, len(got.data))
					}
					if must := here >= 0 && len(c.payload) > here; must && !apart || here < 0 && apart {
						t.Errorf("%s of %d bytes, inflated here up to %d: apart %v", c.name, len(c.payload), here, apart)
					}
				}
			}
		}
	}
}

// TestInflateHere: what a loop inflates is little work, though it be small.
func TestInflateHere(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		apart   bool
	}{
		{"a message", deflated(chatMessages(1100)), false},
		{"64 KiB", deflated(make([]byte, 1<<16)), true},
		{"less", deflated(make([]byte, 1<<16-1)), false},
		{"a bomb", deflated(make([]byte, 400_000)), true},
		{"final blocks", finalBlocks(50 + 2*hereFinalBlocks), false},
		{"more final blocks", finalBlocks(InflateHere), true},
		{"tables", repeatedBlocks(InflateHere, (*bitWriter).longTables), false},
		{"more tables", repeatedBlocks(InflateHere+100, (*bitWriter).longTables), true},
	} {
		frame := deflatedFrame(c.payload)
		got := consumeApart(t, frame, len(frame), Limits{MaxBytes: 1_000_000, Deflate: true, InflateHere: InflateHere})
		if got.err != nil || got.apart != c.apart {
			t.Errorf("%s of %d bytes: %v, apart %v, want %v", c.name, len(c.payload), got.err, got.apart, c.apart)
		}
	}
}

// TestInflateWhileReading: a message that is inflated apart has nothing in common
// with its Reader, which may go on, or be released.
func TestInflateWhileReading(t *testing.T) {
	payload := chatMessages(100_000)
	frame := clientFrame(vectors.Frame{Op: 1, Rsv: 4}, string(deflated(payload)))
	next := clientFrame(vectors.Frame{Op: 1, Rsv: 4}, string(deflated([]byte("next"))))
	lim := Limits{MaxBytes: 200_000, Deflate: true, InflateHere: InflateHere}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, step := range []int{len(frame), 1000} {
				var r Reader
				b := bytes.Clone(frame)
				for kept, end := 0, 0; end < len(b); {
					end = min(end+step, len(b))
					ev, n, err := r.ConsumeFrame(b[kept:end], lim)
					if err != nil {
						t.Error(err)
						return
					}
					kept += n
					if ev.Kind != Deflated {
						continue
					}
					done := make(chan string)
					go func() {
						buf, err := Inflate(ev.Payload, ev.Binary, lim.MaxBytes)
						if err != nil {
							t.Error(err)
							close(done)
							return
						}
						done <- string(buf.B)
						put(buf)
					}()
					clear(b) // the next reading from the socket goes there
					for range 3 {
						ev, _, err := r.ConsumeFrame(bytes.Clone(next), lim)
						if err != nil || string(ev.Data) != "next" {
							t.Errorf("%v, %q", err, ev.Data)
						}
						r.MessageDone()
					}
					_, _, _ = r.ConsumeFrame(bytes.Clone(frame[:500]), lim)
					r.Release()
					if got := <-done; got != string(payload) {
						t.Errorf("other content, %d bytes", len(got))
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestHeld: what a Reader holds counts with its capacity and with what is around it,
// in every state.
func TestHeld(t *testing.T) {
	var r Reader
	around := int(unsafe.Sizeof(assembly{}))
	check := func(state string, buffer bool) {
		t.Helper()
		want := around
		switch {
		case r.m == nil:
			want = 0
		case buffer:
			want += int(unsafe.Sizeof(bytepool.Buffer{})) + cap(r.m.buf.B)
		}
		if got := r.Held(); got != want || buffer && r.m == nil {
			t.Errorf("%s: %d bytes, want %d", state, got, want)
		}
	}
	lim := Limits{MaxBytes: 1 << 20, Deflate: true, InflateHere: InflateHere}
	consume := func(b []byte) Event {
		t.Helper()
		ev, n, err := r.ConsumeFrame(bytes.Clone(b), lim)
		if err != nil || n != len(b) {
			t.Fatal(n, err)
		}
		return ev
	}
	check("at the beginning", false)
	for _, rsv := range []byte{0, 4} {
		payload := chatMessages(100)
		if rsv != 0 {
			payload = deflated(payload)
		}
		first := clientFrame(vectors.Frame{Op: 1, Rsv: rsv, Part: true}, string(payload))
		consume(first[:6])
		if check("after a header", false); r.Held() != around {
			t.Errorf("a header: %d", r.Held())
		}
		consume(first[6:20])
		check("within a frame", true)
		consume(first[20:])
		check("between fragments", true)
		if ev := consume(clientFrame(vectors.Frame{}, "")); ev.Kind != Message {
			t.Fatal(ev.Kind)
		}
		check("while the message is handled", true)
		r.MessageDone()
		check("after it", false)
	}
	if ev := consume(clientFrame(vectors.Frame{Op: 1}, "whole")); ev.Kind != Message {
		t.Fatal(ev.Kind)
	}
	check("a view", false)
	if ev := consume(deflatedFrame(deflated([]byte("small")))); ev.Kind != Message {
		t.Fatal(ev.Kind)
	}
	check("inflated", true)
	ev := consume(deflatedFrame(deflated(chatMessages(10_000))))
	if ev.Kind != Deflated {
		t.Fatal(ev.Kind)
	}
	check("left to others", false)
	put(ev.Payload)
	consume(clientFrame(vectors.Frame{Op: 1, Part: true}, "part"))
	r.Release()
	check("released", false)
}

// TestHugeLimit: a limit that is none does not overflow.
func TestHugeLimit(t *testing.T) {
	payload := chatMessages(10_000)
	for _, limit := range []int{math.MaxInt, math.MaxInt - 1, math.MaxInt - 50, math.MaxInt/17*16 + 17, math.MaxInt / 2} {
		if n := maxDeflated(limit); n < limit-2*len(inflateEnd) || n > math.MaxInt-len(inflateEnd) {
			t.Errorf("%d: a compressed message may have %d", limit, n)
		}
		for _, here := range []int{-1, InflateHere, math.MaxInt} {
			for _, frames := range [][]byte{
				clientFrame(vectors.Frame{Op: 1}, string(payload)),
				clientFrame(vectors.Frame{Op: 1, Rsv: 4}, string(deflated(payload))),
				slices.Concat(
					clientFrame(vectors.Frame{Op: 1, Part: true}, string(payload[:6000])),
					clientFrame(vectors.Frame{}, string(payload[6000:]))),
			} {
				for _, step := range []int{700, len(frames)} {
					got := consumeApart(t, frames, step, Limits{MaxBytes: limit, Deflate: true, InflateHere: here})
					if got.err != nil || got.data != string(payload) {
						t.Errorf("limit %d, in steps of %d: %v, %d bytes", limit, step, got.err, len(got.data))
					}
				}
			}
		}
		// A header that declares as much takes no memory.
		var r Reader
		header := []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}
		ev, _, err := r.ConsumeFrame(header, Limits{MaxBytes: limit, Deflate: true})
		if ev.Kind != None || err == nil && r.Held() > 1000 || err != nil && err != errMessageTooBig {
			t.Errorf("limit %d: %v, %d bytes held", limit, err, r.Held())
		}
		r.Release()
	}
	for _, limit := range []int{0, 1, 16, 1000, 1_000_000} {
		if got, want := maxDeflated(limit), limit+limit/16+64; got != want {
			t.Errorf("%d: %d, want %d", limit, got, want)
		}
	}
}

// TestReleasedIsPoisoned: in race builds a view that is kept too long reads other
// bytes, in large messages, too.
func TestReleasedIsPoisoned(t *testing.T) {
	if !raceBuild {
		t.Skip("memory is poisoned in race builds")
	}
	lim := Limits{MaxBytes: 1 << 20, Deflate: true, InflateHere: -1}
	for _, size := range []int{100, 10_000, 200_000} {
		text := strings.Repeat("a", size)
		for name, b := range map[string][]byte{
			"assembled": slices.Concat(clientFrame(vectors.Frame{Op: 1, Part: true}, text), clientFrame(vectors.Frame{}, "")),
			"inflated":  deflatedFrame(deflated([]byte(text))),
		} {
			var r Reader
			var ev Event
			for len(b) > 0 {
				var n int
				var err *Error
				if ev, n, err = r.ConsumeFrame(b, lim); err != nil {
					t.Fatal(err)
				}
				b = b[n:]
			}
			if string(ev.Data) != text {
				t.Fatal(fmt.Sprint(name, len(ev.Data)))
			}
			r.MessageDone()
			if i := bytes.IndexByte(ev.Data, 'a'); i >= 0 {
				t.Errorf("%s, %d bytes: byte %d is as it was", name, size, i)
			}
		}
	}
}
