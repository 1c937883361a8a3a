package netpoll

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/httpvectors"
	"github.com/sockeye-io/sockeye/proto/http1"
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
	var r http1.Request
	if body == nil {
		p, n, err := http1.ParseRequest([]byte(raw))
		if err != nil || n != len(raw) {
			t.Fatalf("%q: %d, %v", raw, n, err)
		}
		r = *p
		body = bytes.NewReader(p.Body)
	} else if n, err := r.ParseHead([]byte(raw), http1.DefaultHeadLimits); err != nil || n != len(raw) {
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
	for _, c := range httpVectors(t) {
		r, n, err := http1.ParseRequest(c.Input)
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
	r, _, _ := http1.ParseRequest([]byte(getRequest))
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

func httpVectors(t *testing.T) []httpvectors.Case {
	t.Helper()
	cases, err := httpvectors.Load("../proto/http1/testdata/http")
	if err != nil {
		t.Fatal(err)
	}
	return cases
}
