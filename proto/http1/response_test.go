package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAppendResponseHead(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{
			string(AppendResponseHead(nil, 200, "text/plain; charset=UTF-8", 5, true, nil)),
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 5\r\n\r\n",
		},
		{
			string(AppendResponseHead([]byte("x"), 400, "application/json", 0, false, []byte("Vary: Origin\r\nX: y\r\n"))),
			"xHTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 0\r\nConnection: close\r\nVary: Origin\r\nX: y\r\n\r\n",
		},
		{
			string(AppendResponseHead(nil, 200, "", -1, true, []byte("Transfer-Encoding: chunked\r\n"))),
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		// RFC 9110 section 8.6: no Content-Length in 1xx and 204.
		{string(AppendResponseHead(nil, 204, "", 0, true, nil)), "HTTP/1.1 204 No Content\r\n\r\n"},
		{string(AppendResponseHead(nil, 304, "", 0, true, nil)), "HTTP/1.1 304 Not Modified\r\n\r\n"},
		{string(AppendResponseHead(nil, 101, "", 0, true, nil)), "HTTP/1.1 101 Switching Protocols\r\n\r\n"},
		// RFC 9112 section 4: the reason may be empty, the space before it stays.
		{string(AppendResponseHead(nil, 299, "", 0, true, nil)), "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"},
	} {
		if c.got != c.want {
			t.Errorf("got  %q\nwant %q", c.got, c.want)
		}
	}
}

func TestAppendError(t *testing.T) {
	for _, e := range []*Error{errNotHTTP, errVersion, errHeadTooLarge, errExpect, {408, "too slow"}} {
		b := AppendError([]byte{}, e, nil)
		in := bufio.NewReader(bytes.NewReader(b))
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != e.Status || !res.Close || string(body) != e.Reason+"\n" || in.Buffered() != 0 {
			t.Errorf("%q: status %d, close %v, body %q, %v", b, res.StatusCode, res.Close, body, err)
		}
		if !strings.Contains(e.Error(), e.Reason) || !strings.Contains(e.Error(), http.StatusText(e.Status)) {
			t.Errorf("Error() = %q", e.Error())
		}
	}
}

func TestAppendResponseHeadAllocations(t *testing.T) {
	if raceBuild {
		t.Skip("race build")
	}
	dst := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() {
		dst = AppendResponseHead(dst[:0], 200, "text/plain; charset=UTF-8", 12345, false, nil)
		dst = AppendError(dst[:0], errNotHTTP, nil)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
