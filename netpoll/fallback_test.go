package netpoll

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// memoryConn is a fallbackConn in memory.
type memoryConn struct {
	t    *testing.T
	ctx  context.Context
	body io.Reader

	mu        sync.Mutex
	writes    []string
	gone      bool
	finished  bool
	keepAlive bool
}

func (c *memoryConn) writeFromGoroutine(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		c.t.Errorf("%q is written after the response was complete", b)
	}
	if c.gone {
		return net.ErrClosed
	}
	if len(b) == 0 {
		c.t.Error("nothing is written")
	}
	c.writes = append(c.writes, string(b))
	return nil
}

func (c *memoryConn) finishFromGoroutine(keepAlive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		c.t.Error("the response is complete twice")
	}
	c.finished, c.keepAlive = true, keepAlive
}

func (c *memoryConn) readBody(p []byte) (int, error) { return c.body.Read(p) }
func (c *memoryConn) remoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234}
}

func (c *memoryConn) localAddr() net.Addr      { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80} }
func (c *memoryConn) context() context.Context { return c.ctx }

func (c *memoryConn) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.writes, "")
}

// fallback is what came of one request.
type fallback struct {
	*memoryConn
	panicked any
	stack    []byte
}

// serveRaw has h serve a request given as text.
func serveRaw(t *testing.T, raw string, h http.HandlerFunc) fallback {
	t.Helper()
	return serveBody(t, raw, nil, h)
}

// serveBody has h serve a request of which raw is the head; its content comes
// from body, or if that is nil, from raw.
func serveBody(t *testing.T, raw string, body io.Reader, h http.HandlerFunc) fallback {
	t.Helper()
	var r Request
	if body == nil {
		p, n, err := ParseRequest([]byte(raw))
		if err != nil || n != len(raw) {
			t.Fatalf("%q: %d, %v", raw, n, err)
		}
		r = *p
		body = bytes.NewReader(p.Body)
	} else if n, err := r.parseHead([]byte(raw), testLimits); err != nil || n != len(raw) {
		t.Fatalf("%q: %d, %v", raw, n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &memoryConn{t: t, ctx: ctx, body: body}
	panicked, stack := serveFallback(c, r.Clone(), h)
	if !c.finished {
		t.Error("the response is never complete")
	}
	return fallback{c, panicked, stack}
}

// response parses the output, which must be one response and nothing else.
func (f fallback) response(method string) (*http.Response, string) {
	f.t.Helper()
	in := bufio.NewReader(strings.NewReader(f.output()))
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		f.t.Fatalf("%q: %v", f.output(), err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatalf("%q: %v", f.output(), err)
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		f.t.Fatalf("%q follows the response", rest)
	}
	if res.Close == f.keepAlive {
		f.t.Errorf("Connection: close is %v, and the connection stays: %v", res.Close, f.keepAlive)
	}
	return res, string(body)
}

const getRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// TestFallbackRequest: a handler gets what net/http's server would give it.
func TestFallbackRequest(t *testing.T) {
	compared := 0
	for _, c := range vectors(t) {
		r, n, err := ParseRequest(c.Input)
		if err != nil || n == 0 || r.HeaderCount("Trailer") > 0 {
			continue
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(c.Input, []byte("\r\n")))))
		if err != nil {
			continue // compared by the fuzz target
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil || want.RequestURI == "*" {
			continue
		}
		f := serveRaw(t, string(c.Input[:n]), func(w http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			if err != nil || !bytes.Equal(body, wantBody) {
				t.Errorf("%s: content %q, %v, want %q", c.Pos, body, err, wantBody)
			}
			compared++
			got := *req
			if got.RemoteAddr != "192.0.2.1:1234" {
				t.Errorf("%s: RemoteAddr %q", c.Pos, got.RemoteAddr)
			}
			if a, _ := got.Context().Value(http.LocalAddrContextKey).(net.Addr); a == nil || a.String() != "192.0.2.2:80" {
				t.Errorf("%s: local address %v", c.Pos, a)
			}
			for _, p := range []struct {
				name      string
				got, want any
			}{
				{"Method", got.Method, want.Method},
				{"URL", got.URL, want.URL},
				{"Proto", got.Proto, want.Proto},
				{"ProtoMajor", got.ProtoMajor, want.ProtoMajor},
				{"ProtoMinor", got.ProtoMinor, want.ProtoMinor},
				{"Header", got.Header, want.Header},
				{"ContentLength", got.ContentLength, want.ContentLength},
				{"TransferEncoding", got.TransferEncoding, want.TransferEncoding},
				{"Close", got.Close, want.Close},
				{"Host", got.Host, want.Host},
				{"RequestURI", got.RequestURI, want.RequestURI},
				{"no Body", got.Body == http.NoBody, want.Body == http.NoBody},
			} {
				if !reflect.DeepEqual(p.got, p.want) {
					t.Errorf("%s: %s is %#v, net/http's %#v", c.Pos, p.name, p.got, p.want)
				}
			}
		})
		if f.panicked != nil {
			t.Fatalf("%s: %v\n%s", c.Pos, f.panicked, f.stack)
		}
	}
	if compared < 80 {
		t.Errorf("only %d requests compared", compared)
	}
}

// TestFallbackTarget: what net/url does not understand is refused.
func TestFallbackTarget(t *testing.T) {
	f := serveRaw(t, "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", func(http.ResponseWriter, *http.Request) {
		t.Error("served")
	})
	if res, _ := f.response("GET"); res.StatusCode != 400 || f.keepAlive {
		t.Errorf("status %d, keep alive %v", res.StatusCode, f.keepAlive)
	}
}

// TestFallbackOptions: "*" is the server's own, as in net/http.
func TestFallbackOptions(t *testing.T) {
	f := serveRaw(t, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", func(http.ResponseWriter, *http.Request) {
		t.Error("served")
	})
	if res, _ := f.response("OPTIONS"); res.StatusCode != 200 || res.ContentLength != 0 || !f.keepAlive {
		t.Errorf("status %d, length %d, keep alive %v", res.StatusCode, res.ContentLength, f.keepAlive)
	}
}

func TestFallbackPanic(t *testing.T) {
	f := serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Secret", "x")
		_, _ = io.WriteString(w, "not sent yet")
		panic("oh")
	})
	res, body := f.response("GET")
	if res.StatusCode != 500 || res.Header.Get("X-Secret") != "" || strings.Contains(body, "oh") || f.keepAlive {
		t.Errorf("nothing sent: %q, keep alive %v", f.output(), f.keepAlive)
	}
	if f.panicked != "oh" || !bytes.Contains(f.stack, []byte("TestFallbackPanic")) {
		t.Errorf("reported: %v\n%s", f.panicked, f.stack)
	}

	f = serveRaw(t, getRequest, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "more")
		panic(errors.New("oh"))
	})
	if out := f.output(); !strings.HasSuffix(out, "\r\n4\r\npart\r\n") || f.keepAlive || f.panicked == nil {
		t.Errorf("part sent: %q, keep alive %v, reported %v", out, f.keepAlive, f.panicked)
	}

	f = serveRaw(t, getRequest, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if f.output() != "" || f.keepAlive || f.panicked != nil {
		t.Errorf("ErrAbortHandler: %q, keep alive %v, reported %v", f.output(), f.keepAlive, f.panicked)
	}

	// Goexit ends the goroutine; the connection must not wait for ever.
	c := &memoryConn{t: t, ctx: t.Context(), body: strings.NewReader("")}
	r, _, _ := ParseRequest([]byte(getRequest))
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveFallback(c, r, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }))
	}()
	<-done
	if !c.finished || c.keepAlive || c.output() != "" {
		t.Errorf("Goexit: complete %v, keep alive %v, %q", c.finished, c.keepAlive, c.output())
	}
}

// TestFallbackDrain: content that the handler leaves is read up to a bound, so
// that the connection can be kept.
func TestFallbackDrain(t *testing.T) {
	const bound = maxDrainBytes
	for _, c := range []struct {
		name      string
		field     string
		sent      int64 // by the peer
		read      int   // by the handler
		early     bool  // the handler flushes
		keepAlive bool
		announced bool // Connection: close
	}{
		{"small", "Content-Length: 1000", 1000, 0, false, true, false},
		{"small, flushed", "Content-Length: 1000", 1000, 0, true, true, false},
		{"partly read", "Content-Length: 1000", 1000, 10, false, true, false},
		{"read whole", "Content-Length: 1000", 1000, 1000, false, true, false},
		{"at the bound", fmt.Sprintf("Content-Length: %d", bound), bound, 0, false, true, false},
		{"beyond the bound", fmt.Sprintf("Content-Length: %d", bound+1), bound + 1, 0, false, false, true},
		{"beyond the bound, flushed", fmt.Sprintf("Content-Length: %d", bound+1), bound + 1, 0, true, false, true},
		{"read down to the bound", fmt.Sprintf("Content-Length: %d", bound+9), bound + 9, 9, false, true, false},
		{"chunked", "Transfer-Encoding: chunked", 1000, 0, false, true, false},
		{"chunked, beyond the bound", "Transfer-Encoding: chunked", 2 * bound, 0, false, false, true},
		{"chunked, beyond the bound, flushed", "Transfer-Encoding: chunked", 2 * bound, 0, true, false, false},
		{"shorter than declared", "Content-Length: 1000", 999, 0, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := &countingReader{r: io.LimitReader(zeros{}, c.sent), short: c.name == "shorter than declared"}
			f := serveBody(t, "POST / HTTP/1.1\r\nHost: a\r\n"+c.field+"\r\n\r\n", body, func(w http.ResponseWriter, req *http.Request) {
				if _, err := io.ReadFull(req.Body, make([]byte, c.read)); err != nil {
					t.Error(err)
				}
				if c.early {
					w.(http.Flusher).Flush()
				}
			})
			if f.keepAlive != c.keepAlive {
				t.Errorf("keep alive %v, want %v", f.keepAlive, c.keepAlive)
			}
			if announced := strings.Contains(f.output(), "Connection: close\r\n"); announced != c.announced {
				t.Errorf("close announced %v, want %v", announced, c.announced)
			}
			if body.n > int64(c.read)+bound+8<<10 {
				t.Errorf("%d bytes drained", body.n)
			}
			if c.keepAlive && body.n != c.sent {
				t.Errorf("%d bytes of %d read, and the connection is kept", body.n, c.sent)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type countingReader struct {
	r     io.Reader
	n     int64
	short bool // the end is not the content's
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err == io.EOF && c.short {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// TestFallbackContinue: RFC 9110 section 10.1.1.
func TestFallbackContinue(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	f := serveRaw(t, head+"ping", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if string(body) != "ping" || err != nil {
			t.Errorf("content %q, %v", body, err)
		}
		w.WriteHeader(201)
	})
	if !strings.HasPrefix(f.output(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n") || !f.keepAlive {
		t.Errorf("read: %q, keep alive %v", f.output(), f.keepAlive)
	}
	if n := strings.Count(f.output(), "100 Continue"); n != 1 {
		t.Errorf("100 Continue %d times", n)
	}

	// The peer holds its content back, and may send it or not.
	f = serveBody(t, head, failingReader{t}, func(w http.ResponseWriter, req *http.Request) { w.WriteHeader(401) })
	if res, _ := f.response("POST"); res.StatusCode != 401 || !res.Close {
		t.Errorf("not read: %q", f.output())
	}

	f = serveBody(t, head, failingReader{t}, func(w http.ResponseWriter, req *http.Request) {
		w.(http.Flusher).Flush()
		if n, err := req.Body.Read(make([]byte, 9)); n != 0 || err == nil {
			t.Errorf("read after the response began: %d, %v", n, err)
		}
	})
	if strings.Contains(f.output(), "100 Continue") || f.keepAlive {
		t.Errorf("read too late: %q, keep alive %v", f.output(), f.keepAlive)
	}

	f = serveRaw(t, head+"ping", func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(100)
		w.WriteHeader(202)
		_, _ = io.Copy(w, req.Body)
	})
	if !strings.HasPrefix(f.output(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ") || !strings.HasSuffix(f.output(), "\r\nping") {
		t.Errorf("by WriteHeader: %q", f.output())
	}

	f = serveRaw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nping", func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.ReadAll(req.Body)
	})
	if strings.Contains(f.output(), "100 Continue") {
		t.Errorf("not asked for: %q", f.output())
	}
}

type failingReader struct{ t *testing.T }

func (r failingReader) Read([]byte) (int, error) {
	r.t.Error("content is read that the peer did not send")
	return 0, io.ErrUnexpectedEOF
}

// TestFallbackBodyAfter: the content is not the handler's any more when it has
// returned.
func TestFallbackBodyAfter(t *testing.T) {
	var kept io.ReadCloser
	serveRaw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nping", func(w http.ResponseWriter, req *http.Request) {
		kept = req.Body
		b := make([]byte, 9)
		if n, err := kept.Read(b); n != 4 || (err != nil && err != io.EOF) {
			t.Errorf("read: %d, %v", n, err)
		}
		if n, err := kept.Read(b); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		_ = kept.Close()
		if _, err := kept.Read(b); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("after Close: %v", err)
		}
	})
	if _, err := kept.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("after the handler: %v", err)
	}
}

// TestFallbackMultipart: files of a form do not outlive the request.
func TestFallbackMultipart(t *testing.T) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("f", "a.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(make([]byte, 1000))
	_ = form.Close()
	var name string
	raw := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", form.FormDataContentType(), body.Len())
	serveBody(t, raw, &body, func(w http.ResponseWriter, req *http.Request) {
		if err := req.ParseMultipartForm(0); err != nil {
			t.Fatal(err)
		}
		file, err := req.MultipartForm.File["f"][0].Open()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		name = file.(*os.File).Name()
	})
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", name, err)
	}
}

// TestFallbackDuplex: a handler may read and write at the same time.
func TestFallbackDuplex(t *testing.T) {
	pr, pw := io.Pipe()
	f := make(chan fallback)
	out := make(chan string)
	go func() {
		f <- serveBody(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", pr, func(w http.ResponseWriter, req *http.Request) {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			lines := make(chan string)
			go func() {
				defer close(lines)
				in := bufio.NewScanner(req.Body)
				for in.Scan() {
					lines <- in.Text()
				}
			}()
			for line := range lines {
				_, _ = io.WriteString(w, strings.ToUpper(line))
				w.(http.Flusher).Flush()
				out <- line
			}
		})
	}()
	for _, line := range []string{"one", "two", "three"} {
		if _, err := io.WriteString(pw, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if got := <-out; got != line {
			t.Errorf("got %q, want %q", got, line)
		}
	}
	_ = pw.Close()
	res := <-f
	if !strings.HasSuffix(res.output(), "\r\n3\r\nONE\r\n3\r\nTWO\r\n5\r\nTHREE\r\n0\r\n\r\n") || !res.keepAlive {
		t.Errorf("%q, keep alive %v", res.output(), res.keepAlive)
	}
}
