package http1

import (
	"bytes"
	"strings"
	"testing"
)

// TestAppendForwarded: what is of one connection stays behind, everything else comes as it
// was, and the other server reads the same request.
func TestAppendForwarded(t *testing.T) {
	for _, c := range []struct{ in, body, want string }{
		{
			"GET /s?a=%20 HTTP/1.1\r\nhOST: x\r\nCookie: a=b\r\nConnection: keep-alive, x\r\nkeep-alive: 5\r\nTE: trailers\r\nX: \t\r\n\r\n", "",
			"GET /s?a=%20 HTTP/1.1\r\nhOST: x\r\nCookie: a=b\r\nX: \t\r\n\r\n",
		},
		{
			"GET /s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "",
			"GET /s HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		},
		{
			"POST /s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nTrailer: y\r\n\r\n", "hello",
			"POST /s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
		},
		{"POST /s HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "", "POST /s HTTP/1.0\r\nContent-Length: 0\r\n\r\n"},
		{"GET http://x/s HTTP/1.1\r\nHost: y\r\n\r\n", "", "GET http://x/s HTTP/1.1\r\nHost: y\r\n\r\n"},
	} {
		var r, again Request
		if n, err := r.ParseHead([]byte(c.in), DefaultHeadLimits); n != len(c.in) || err != nil {
			t.Fatalf("%q: %d, %v", c.in, n, err)
		}
		if r.Body = []byte(c.body); c.body == "" {
			r.Body = nil
		}
		got := r.AppendForwarded([]byte("in front "))
		if string(got) != "in front "+c.want {
			t.Errorf("%q: %q", c.in, got)
		}
		n, err := again.ParseHead(got[len("in front "):], DefaultHeadLimits)
		if n != len(c.want) || err != nil || again.ContentLength != int64(len(c.body)) || again.UpgradeWebSocket != r.UpgradeWebSocket || !bytes.Equal(again.Host, r.Host) {
			t.Errorf("%q, read again: %d, %v, %+v", c.in, n, err, again)
		}
	}
}

// TestResponse reads what AppendResponseHead writes, and refuses what does not tell where
// it ends.
func TestResponse(t *testing.T) {
	var r Response
	head := AppendResponseHead(nil, 200, "text/plain", 5, false, []byte("X: y\r\n"))
	for n := range head {
		if k, err := r.ParseHead(head[:n], 1000); k != 0 || err != nil {
			t.Fatalf("%d bytes: %d, %v", n, k, err)
		}
	}
	n, err := r.ParseHead(append(head, "hello"...), 1000)
	if n != len(head) || err != nil || r.Status != 200 || r.ContentLength != 5 || r.KeepAlive {
		t.Errorf("%d, %v, %+v", n, err, r)
	}
	if got := string(r.AppendForwarded(nil, true)); got != "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX: y\r\n\r\n" {
		t.Errorf("%q", got)
	}
	if got := string(r.AppendForwarded(nil, false)); got != "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX: y\r\nConnection: close\r\n\r\n" {
		t.Errorf("%q", got)
	}
	switching := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	if n, err := r.ParseHead([]byte(switching), 1000); n != len(switching) || err != nil || string(r.AppendForwarded(nil, false)) != switching {
		t.Errorf("%d, %v, %q", n, err, r.AppendForwarded(nil, false))
	}
	for head, want := range map[string]int64{
		"HTTP/1.1 204 No Content\r\n\r\n": 0, "HTTP/1.1 200\r\n\r\n": -1, "HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n": 0,
	} {
		if n, err := r.ParseHead([]byte(head), 1000); n != len(head) || err != nil || r.ContentLength != want {
			t.Errorf("%q: %d, %v, %d", head, n, err, r.ContentLength)
		}
	}
	for _, head := range []string{
		"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 \x00\r\n\r\n", "HTTP/1.1 200 OK\n\r\n", "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "HTTP/1.1 200 OK\r\nno field\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 1000) + "\r\n\r\n",
		strings.Repeat("y", 1001),
	} {
		if n, err := r.ParseHead([]byte(head), 1000); err == nil {
			t.Errorf("%.60q: %d, %+v", head, n, r)
		}
	}
}

// FuzzResponse: an answer that is passed on is read as the one that came.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Response
		n, err := r.ParseHead(b, 1000)
		if err != nil || n == 0 {
			return
		}
		if n > len(b) || n > 1000 {
			t.Fatalf("%d of %d", n, len(b))
		}
		head := r.AppendForwarded(nil, true)
		k, err := again.ParseHead(head, len(head))
		if k != len(head) || err != nil || again.Status != r.Status || again.ContentLength != r.ContentLength {
			t.Errorf("%q: %d, %v, %+v", head, k, err, again)
		}
	})
}
