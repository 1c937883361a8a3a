package main

import (
	"bytes"
	"strings"
	"testing"
)

// serverFrame is an unmasked frame.
func serverFrame(op byte, body string) []byte {
	b := []byte{0x80 | op}
	switch n := len(body); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, body...)
}

func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		want := strings.Repeat("a", size)
		stream := append(serverFrame(opText, want), serverFrame(opPing, "p")...)
		for cut := range min(len(stream)-3, 20) {
			if _, _, rest, ok, err := nextFrame(stream[:cut]); size > 18 && (ok || err != nil || len(rest) != cut) {
				t.Fatalf("%d bytes of a frame of %d: ok %v, %v, %d left", cut, size, ok, err, len(rest))
			}
		}
		op, body, rest, ok, err := nextFrame(stream)
		if op != opText || string(body) != want || !ok || err != nil {
			t.Fatalf("size %d: op %d, %d bytes, ok %v, %v", size, op, len(body), ok, err)
		}
		if op, body, rest, ok, err = nextFrame(rest); op != opPing || string(body) != "p" || len(rest) != 0 || !ok || err != nil {
			t.Fatalf("second frame: op %d, %q, ok %v, %v", op, body, ok, err)
		}
	}
	for _, bad := range []byte{0x01, 0xc1, 0x80} { // no FIN, compressed, continuation
		if _, _, _, _, err := nextFrame([]byte{bad, 0}); err == nil {
			t.Errorf("first byte %#x is taken", bad)
		}
	}
}

func TestClientFrames(t *testing.T) {
	for _, size := range []int{0, 125, 126, maxPayload} {
		body := bytes.Repeat([]byte("b"), size)
		b := appendFrame(nil, opText, body)
		if b[1]&0x80 == 0 {
			t.Fatal("not masked")
		}
		head := len(b) - size
		if !bytes.Equal(b[head-4:head], make([]byte, 4)) || !bytes.Equal(b[head:], body) {
			t.Fatalf("size %d: mask %x", size, b[head-4:head])
		}
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []struct {
		name, stream, body, rest string
		status                   int
		closes                   bool
	}{
		{"length", "HTTP/1.1 200 OK\r\ncontent-Length: 3\r\n\r\nabcHTTP", "abc", "HTTP", 200, false},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\na\r\n0123456789\r\n0\r\n\r\n.", "ab0123456789", ".", 200, false},
		{"upgrade", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n\x81\x00", "", "\x81\x00", 101, false},
		{"closing", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", "", 400, true},
	} {
		whole := len(c.stream) - len(c.rest)
		for cut := range whole {
			if _, rest, ok, err := nextResponse([]byte(c.stream[:cut])); ok || err != nil || len(rest) != cut {
				t.Fatalf("%s, %d of %d bytes: ok %v, %v, %d left", c.name, cut, whole, ok, err, len(rest))
			}
		}
		r, rest, ok, err := nextResponse([]byte(c.stream))
		if !ok || err != nil || r.status != c.status || r.closes != c.closes || string(r.body) != c.body || string(rest) != c.rest {
			t.Errorf("%s: %+v, rest %q, ok %v, %v", c.name, r, rest, ok, err)
		}
	}
	for _, bad := range []string{
		"SMTP\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nwithout length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		if _, _, _, err := nextResponse([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMatching(t *testing.T) {
	text, ok := argument([]byte(`42["bcast","17-1700000000-xxx"]`), bcastStart)
	if !ok {
		t.Fatal("no match")
	}
	seq, text, ok := leadingNumber(text)
	if seq != 17 || !ok {
		t.Fatalf("sequence number %d, ok %v", seq, ok)
	}
	at, text, ok := leadingNumber(text)
	if at != 1700000000 || string(text) != `xxx"]` || !ok {
		t.Fatalf("time %d, ok %v, rest %q", at, ok, text)
	}
	for _, other := range []string{``, `42`, `42["auth",{}]`, `42["echo","1-x"]`, `43["bcast","1-x"]`} {
		if _, ok := argument([]byte(other), bcastStart); ok {
			t.Errorf("%q matches", other)
		}
	}
	for _, bad := range []string{"", "-", "12"} {
		if _, _, ok := leadingNumber([]byte(bad)); ok {
			t.Errorf("%q begins with a number and '-'", bad)
		}
	}
}
