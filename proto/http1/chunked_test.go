package http1

import (
	"bytes"
	"math/rand/v2"
	"net/http/httputil"
	"testing"
)

// TestChunkedReader decodes what net/http encodes, cut at random.
func TestChunkedReader(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var want, coded bytes.Buffer
		w := httputil.NewChunkedWriter(&coded)
		for range rnd.IntN(8) {
			chunk := bytes.Repeat([]byte{byte(rnd.Uint32())}, 1+rnd.IntN(5000))
			want.Write(chunk)
			if _, err := w.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Close()
		coded.WriteString("\r\nrest")

		var c ChunkedReader
		var got []byte
		b := coded.Bytes()
		done := false
		for !done {
			piece := b[:min(len(b), 1+rnd.IntN(700))]
			data, n, d, err := c.Consume(piece)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				t.Fatalf("no progress with %d bytes", len(piece))
			}
			got = append(got, data...)
			b, done = b[n:], d
		}
		if string(b) != "rest" {
			t.Fatalf("%q is left, want %q", b, "rest")
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("got %d bytes, want %d, or they differ", len(got), want.Len())
		}
		if data, n, done, err := c.Consume([]byte("more")); len(data) != 0 || n != 0 || !done || err != nil {
			t.Fatalf("after the end: %q, %d, %v, %v", data, n, done, err)
		}
	}
}

// TestChunkedReaderView: content is a view, not a copy.
func TestChunkedReaderView(t *testing.T) {
	b := []byte("5\r\nhello\r\n0\r\n\r\n")
	var c ChunkedReader
	data, n, done, err := c.Consume(b)
	if string(data) != "hello" || n != 8 || done || err != nil {
		t.Fatalf("%q, %d, %v, %v", data, n, done, err)
	}
	if &data[0] != &b[3] || cap(data) != 5 {
		t.Error("not a view of just the content")
	}
}

func TestChunkedReaderAllocations(t *testing.T) {
	if raceBuild {
		t.Skip("race build")
	}
	body := []byte("5;a=\"b\"\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		var c ChunkedReader
		for b := body; len(b) > 0; {
			_, n, _, err := c.Consume(b)
			if err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
