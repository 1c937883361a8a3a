package netpoll

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// deflatedFrame is a client's frame with RSV1.
func deflatedFrame(op ws.OpCode, fin, rsv bool, payload []byte) []byte {
	f := ws.NewFrame(op, fin, bytes.Clone(payload))
	if rsv {
		f.Header.Rsv = ws.Rsv(true, false, false)
	}
	return ws.MustCompileFrame(ws.MaskFrame(f))
}

// readDeflated reads frames that arrive in pieces cut at every byte, and in one
// piece; what comes out must be the same.
func readDeflated(t *testing.T, maxBytes int, stream []byte) []string {
	t.Helper()
	read := func(cut int) (events []string) {
		var r wsReader
		defer r.release()
		var kept []byte
		for _, piece := range [][]byte{stream[:cut], stream[cut:]} {
			b := append(bytes.Clone(kept), piece...)
			for len(b) > 0 {
				ev, n, err := r.consumeExtended(b, maxBytes, true)
				if err != nil {
					return append(events, fmt.Sprintf("error %d", err.Code))
				}
				if ev.kind == wsMessage {
					events = append(events, fmt.Sprintf("%v %q", ev.binary, ev.data))
					r.messageDone()
				}
				if n == 0 {
					break
				}
				b = b[n:]
			}
			kept = b
		}
		return events
	}
	want := read(len(stream))
	for cut := range stream {
		if got := read(cut); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("cut at %d: %q, want %q", cut, got, want)
		}
	}
	return want
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 7692, section 7.2.3, "Examples".
func TestInflateExamples(t *testing.T) {
	const text = "false \"Hello\""
	hello := unhex(t, "f2 48 cd c9 c9 07 00")
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"7.2.3.1 one block", deflatedFrame(ws.OpText, true, true, hello), text},
		{"7.2.3.1 fragmented", append(deflatedFrame(ws.OpText, false, true, hello[:3]), deflatedFrame(ws.OpContinuation, true, false, hello[3:])...), text},
		{"7.2.3.2 window of the last message, which is not kept", append(deflatedFrame(ws.OpText, true, true, hello), deflatedFrame(ws.OpText, true, true, unhex(t, "f2 00 11 00 00"))...), text + " error 1007"},
		{"7.2.3.3 no compression", deflatedFrame(ws.OpText, true, true, unhex(t, "00 05 00 fa ff 48 65 6c 6c 6f 00")), text},
		{"7.2.3.4 BFINAL", deflatedFrame(ws.OpText, true, true, unhex(t, "f3 48 cd c9 c9 07 00 00")), text},
		{"7.2.3.5 two blocks", deflatedFrame(ws.OpText, true, true, unhex(t, "f2 48 05 00 00 00 ff ff ca c9 c9 07 00")), text},
		{"not compressed", deflatedFrame(ws.OpText, true, false, []byte("Hello")), text},
		{"empty", deflatedFrame(ws.OpBinary, true, true, []byte{0}), `true ""`},
		{"empty without a byte", deflatedFrame(ws.OpBinary, true, true, nil), "error 1007"},
		{"a ping between fragments", append(append(deflatedFrame(ws.OpText, false, true, hello[:3]), deflatedFrame(ws.OpPing, true, false, nil)...), deflatedFrame(ws.OpContinuation, true, false, hello[3:])...), text},

		{"RSV1 on a continuation", append(deflatedFrame(ws.OpText, false, true, hello[:3]), deflatedFrame(ws.OpContinuation, true, true, hello[3:])...), "error 1002"},
		{"RSV1 on a ping", deflatedFrame(ws.OpPing, true, true, nil), "error 1002"},
		{"garbage", deflatedFrame(ws.OpText, true, true, []byte("not deflated")), "error 1007"},
		{"cut off", deflatedFrame(ws.OpText, true, true, hello[:4]), "error 1007"},
		{"not UTF-8 inside", deflatedFrame(ws.OpText, true, true, deflated([]byte("\xff"))), "error 1007"},
		{"too long inside", deflatedFrame(ws.OpBinary, true, true, deflated(make([]byte, 1001))), "error 1009"},
		{"as long as may be", deflatedFrame(ws.OpBinary, true, true, deflated(make([]byte, 1000))), fmt.Sprintf("true %q", make([]byte, 1000))},
		{"too long outside", deflatedFrame(ws.OpBinary, true, true, make([]byte, 1001)), "error 1009"},
	} {
		if got := strings.Join(readDeflated(t, 1000, c.stream), " "); got != c.want {
			t.Errorf("%s: %.100s, want %.100s", c.name, got, c.want)
		}
	}
	var r wsReader // nothing was agreed
	if _, _, err := r.consume(deflatedFrame(ws.OpText, true, true, hello), 100); err == nil || err.Code != 1002 {
		t.Errorf("without the extension: %v", err)
	}
}

// deflated is what a client sends for a message.
func deflated(payload []byte) []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, 9)
	_, _ = w.Write(payload)
	_ = w.Flush()
	return bytes.TrimSuffix(buf.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// A message that would inflate to a thousand times the limit costs the limit.
func TestDeflateBomb(t *testing.T) {
	bomb := deflated(make([]byte, 100<<20))
	const limit = 200_000
	if len(bomb) > limit {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := inflate(bomb, limit); err != errMessageTooBig {
				b.Fatal(err)
			}
		}
	})
	if got := r.AllocedBytesPerOp(); got > 4*limit {
		t.Errorf("%d bytes were taken for a limit of %d", got, limit)
	}
}

func TestAppendDeflatedFrame(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 10, 125, 126, 1000, 65_535, 70_000, 300_000} {
		for _, random := range []bool{false, true} {
			payload := bytes.Repeat([]byte("abcdefgh"), n/8+1)[:n]
			if random {
				for i := range payload {
					payload[i] = byte(rnd.Uint32())
				}
			}
			for _, level := range []int{flate.HuffmanOnly, flate.BestSpeed, 9} {
				b := AppendDeflatedFrame([]byte("before"), payload, true, level)
				h, err := ws.ReadHeader(bytes.NewReader(b[6:]))
				size := ws.HeaderSize(h)
				if string(b[:6]) != "before" || err != nil || !h.Fin || h.Masked || h.OpCode != ws.OpBinary || h.Rsv != 4 || int(h.Length) != len(b)-6-size {
					t.Fatalf("%d bytes: %+v, %v, %d", n, h, err, len(b))
				}
				got, wsErr := inflate(b[6+size:], n)
				if wsErr != nil || !bytes.Equal(got.B, payload) {
					t.Fatalf("%d bytes: %v", n, wsErr)
				}
			}
		}
	}
}

func TestOffersDeflate(t *testing.T) {
	text, err := os.ReadFile("testdata/wsext/rfc7692-7.1-offers.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		verdict, header, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || verdict == "#" {
			continue
		}
		n++
		raw := "GET / HTTP/1.1\r\nHost: h\r\n"
		for h := range strings.SplitSeq(header, " | ") { // several header lines
			raw += "Sec-WebSocket-Extensions: " + strings.TrimSpace(h) + "\r\n"
		}
		r, _, err := ParseRequest([]byte(raw + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := offersDeflate(r); got != (verdict == "yes") {
			t.Errorf("%s: %v", header, got)
		}
	}
	if n == 0 {
		t.Fatal("no vectors")
	}
}

func TestDeflateAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("the race detector allocates")
	}
	frame := deflatedFrame(ws.OpText, true, true, deflated(bytes.Repeat([]byte("hello "), 500)))
	scratch := make([]byte, len(frame))
	var r wsReader
	if n := testing.AllocsPerRun(200, func() {
		copy(scratch, frame)
		ev, _, err := r.consumeExtended(scratch, 10_000, true)
		if err != nil || len(ev.data) != 3000 {
			t.Fatal(err, len(ev.data))
		}
		r.messageDone()
	}); n > 0 {
		t.Errorf("%v allocations for a message", n)
	}
}

func BenchmarkInflate(b *testing.B) {
	payload := []byte(strings.Repeat(`{"text":"some chat message","n":12345},`, 1_000_000/39))
	in := deflated(payload)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		buf, err := inflate(in, 1_000_000)
		if err != nil {
			b.Fatal(err)
		}
		releaseInput(buf)
	}
}
