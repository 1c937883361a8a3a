package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestFallbackBuffer: content has a length up to 4 KiB, and is chunked beyond.
func TestFallbackBuffer(t *testing.T) {
	for _, c := range []struct {
		parts   []int
		chunked bool
	}{
		{[]int{4096}, false},
		{[]int{4000, 96}, false},
		{[]int{4097}, true},
		{[]int{4000, 97}, true},
		{[]int{100_000}, true},
	} {
		f := serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
			for _, n := range c.parts {
				if m, err := w.Write(make([]byte, n)); m != n || err != nil {
					t.Errorf("Write = %d, %v", m, err)
				}
			}
		})
		res, body := f.response("GET")
		want := 0
		for _, n := range c.parts {
			want += n
		}
		if chunked := res.TransferEncoding != nil; chunked != c.chunked || len(body) != want {
			t.Errorf("%v: chunked %v, %d bytes", c.parts, chunked, len(body))
		}
		if !c.chunked && len(f.writes) != 1 {
			t.Errorf("%v: %d writes, want head and content in one", c.parts, len(f.writes))
		}
		for _, w := range f.writes {
			if len(w) > maxResponseChunk+1024 {
				t.Errorf("%v: %d bytes in one write", c.parts, len(w))
			}
		}
	}
}

// TestFallbackFraming: how a response is framed is not the handler's to say,
// except by a Content-Length that is one.
func TestFallbackFraming(t *testing.T) {
	f := serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "+3")
		w.Header().Set("Transfer-Encoding", "gzip, chunked")
		w.Header().Set("Trailer", "X-A")
		fmt.Fprint(w, "abc")
	})
	res, body := f.response("GET")
	if body != "abc" || res.ContentLength != 3 || res.TransferEncoding != nil || res.Trailer != nil {
		t.Errorf("%q", f.output())
	}

	// RFC 9110 section 8.6.
	f = serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		w.WriteHeader(204)
	})
	if res, _ := f.response("GET"); res.StatusCode != 204 || strings.Contains(f.output(), "Content-Length") || !f.keepAlive {
		t.Errorf("%q", f.output())
	}

	f = serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "X-Hop, Close")
	})
	if n := strings.Count(f.output(), "Connection:"); n != 1 || f.keepAlive {
		t.Errorf("%d Connection fields in %q, keep alive %v", n, f.output(), f.keepAlive)
	}
}

// TestFallbackStream: each Flush sends what was written before it.
func TestFallbackStream(t *testing.T) {
	f := serveRaw(t, getRequest, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		c := http.NewResponseController(w)
		conn := w.(*fallbackResponse).c.(*memoryConn)
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			before := len(conn.output())
			if err := c.Flush(); err != nil {
				t.Error(err)
			}
			if sent := conn.output()[before:]; !strings.HasSuffix(sent, fmt.Sprintf("9\r\ndata: %d\n\n\r\n", i)) {
				t.Errorf("flush %d sent %q", i, sent)
			}
		}
		before := len(conn.output())
		_ = c.Flush()
		if len(conn.output()) != before {
			t.Error("a flush of nothing sends something")
		}
	})
	res, body := f.response("GET")
	if body != "data: 0\n\ndata: 1\n\ndata: 2\n\n" || res.Header.Get("Content-Type") != "text/event-stream" || !f.keepAlive {
		t.Errorf("%q", f.output())
	}
	if !strings.HasSuffix(f.output(), "0\r\n\r\n") {
		t.Errorf("no last chunk: %q", f.output())
	}
}

// TestFallbackShort: a handler that writes less than it declared must not have
// the peer take the next response for the rest.
func TestFallbackShort(t *testing.T) {
	f := serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		fmt.Fprint(w, "short")
	})
	if !strings.HasSuffix(f.output(), "\r\n\r\nshort") || f.keepAlive {
		t.Errorf("%q, keep alive %v", f.output(), f.keepAlive)
	}
}

// TestFallbackInjection: a value with line ends stays one field.
func TestFallbackInjection(t *testing.T) {
	f := serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "a\r\nSet-Cookie: x=y\r\n\r\n<html>")
		w.Header().Set("X-B", "a\nb\x00c\rd\x7fe\tf")
		w.Header()["X-C\r\nX-D"] = []string{"x"}
		w.Header()["X-E: y\r\nX-F"] = []string{"x"}
		w.Header().Set("Content-Type", "text/plain\r\nX-G: x")
	})
	res, _ := f.response("GET")
	if len(res.Header) != 5 || res.Header.Get("X-B") != "a b c d e\tf" { // with Date and Content-Length
		t.Errorf("%q", f.output())
	}
}

// TestFallbackInterim: 1xx, which HTTP/1.0 does not have.
func TestFallbackInterim(t *testing.T) {
	hints := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(103)
		w.Header().Del("Link")
		fmt.Fprint(w, "ok")
	}
	f := serveRaw(t, getRequest, hints)
	const interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
	if !strings.HasPrefix(f.output(), interim+"HTTP/1.1 200 OK\r\n") || strings.Count(f.output(), "Link") != 1 {
		t.Errorf("%q", f.output())
	}
	f = serveRaw(t, "GET / HTTP/1.0\r\n\r\n", hints)
	if !strings.HasPrefix(f.output(), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("HTTP/1.0: %q", f.output())
	}
}

// TestFallbackGone: when the connection is gone, a handler can know.
func TestFallbackGone(t *testing.T) {
	f := serveRaw(t, getRequest, func(w http.ResponseWriter, r *http.Request) {
		conn := w.(*fallbackResponse).c.(*memoryConn)
		conn.mu.Lock()
		conn.gone = true
		conn.mu.Unlock()
		if _, err := w.Write(make([]byte, 10_000)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if _, err := io.WriteString(w, "x"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteString: %v", err)
		}
		if err := http.NewResponseController(w).Flush(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Flush: %v", err)
		}
	})
	if f.output() != "" || f.keepAlive {
		t.Errorf("%q, keep alive %v", f.output(), f.keepAlive)
	}
}

// TestFallbackAfter: a writer that a handler left to somebody does nothing.
func TestFallbackAfter(t *testing.T) {
	var kept http.ResponseWriter
	f := serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) { kept = w })
	before := f.output()
	kept.WriteHeader(500)
	if _, err := kept.Write([]byte("x")); err == nil {
		t.Error("Write succeeds")
	}
	kept.(http.Flusher).Flush()
	if f.output() != before {
		t.Errorf("sent %q", strings.TrimPrefix(f.output(), before))
	}
}

// TestFallbackAfterPanic: nor does what a handler left behind when it panicked.
func TestFallbackAfterPanic(t *testing.T) {
	var kept http.ResponseWriter
	var body io.Reader
	raw := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nping"
	f := serveRaw(t, raw, func(w http.ResponseWriter, r *http.Request) {
		kept, body = w, r.Body
		panic(http.ErrAbortHandler)
	})
	kept.WriteHeader(103)
	kept.WriteHeader(200)
	kept.(http.Flusher).Flush()
	if f.output() != "" {
		t.Errorf("sent %q", f.output())
	}
	if n, err := body.Read(make([]byte, 9)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestFallbackInvalidStatus(t *testing.T) {
	for _, status := range []int{-1, 0, 99, 1000} {
		f := serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if res, _ := f.response("GET"); res.StatusCode != 500 || f.panicked == nil {
			t.Errorf("WriteHeader(%d): %d, panic %v", status, res.StatusCode, f.panicked)
		}
	}
}
