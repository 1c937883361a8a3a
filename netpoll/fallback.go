package netpoll

import (
	"context"
	"errors"
	"github.com/sockeye-io/sockeye/proto/http1"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"sync"
)

// maxDrainBytes is how much of a request's content is read and thrown away
// when its handler did not want it, to keep the connection. As in net/http.
const maxDrainBytes = 256 << 10

// fallbackConn is the connection as the goroutine sees that serves a request
// by an http.Handler. The goroutine is borrowed for as long as that lasts.
type fallbackConn interface {
	// writeFromGoroutine queues a copy of b. It blocks while too much waits
	// for the peer, and fails when the connection is gone.
	writeFromGoroutine(b []byte) error
	// finishFromGoroutine is called once, last: the response is complete.
	finishFromGoroutine(keepAlive bool)
	// readBody reads the request's content, chunks decoded. It blocks until
	// some is there, and returns io.EOF at its end.
	readBody(p []byte) (int, error)
	remoteAddr() net.Addr
	localAddr() net.Addr // nil when not known
	// context is cancelled when the connection is gone.
	context() context.Context
}

// serveFallback serves r, a clone, by h, and returns when the response is
// complete. Of what h panicked with it returns the value and the stack, unless
// that was http.ErrAbortHandler; the peer gets 500, or if part of a response is
// out already, a connection that ends early.
func serveFallback(c fallbackConn, r *http1.Request, h http.Handler) (panicked any, stack []byte) {
	body := &fallbackBody{c: c, length: r.ContentLength, done: r.ContentLength == 0}
	req, err := newFallbackRequest(c, r, body)
	if err != nil {
		_ = c.writeFromGoroutine(http1.AppendError(nil, &http1.Error{Status: 400, Reason: "the request target is malformed"}, nil))
		c.finishFromGoroutine(false)
		return nil, nil
	}
	w := &fallbackResponse{c: c, body: body, header: make(http.Header), minor: r.Minor, keepAlive: r.KeepAlive, head: req.Method == http.MethodHead}
	body.w, body.expect = w, r.Expect100

	completed := false
	defer func() {
		// Runs after a panic, and after runtime.Goexit, too.
		w.over.Store(true)
		keepAlive := false
		switch {
		case completed:
			keepAlive = w.finish()
		case panicked != nil && w.pristine():
			_ = c.writeFromGoroutine(http1.AppendError(nil, errHandler, nil))
		}
		body.close()
		c.finishFromGoroutine(keepAlive)
	}()
	defer func() {
		if completed {
			return
		}
		switch v := recover(); {
		case v == nil: // Goexit
		case v == http.ErrAbortHandler:
		default:
			panicked, stack = v, debug.Stack()
		}
	}()
	if req.RequestURI == "*" {
		w.WriteHeader(http.StatusOK) // RFC 9110 section 9.3.7: about the server, not a resource
	} else {
		h.ServeHTTP(w, req)
	}
	if req.MultipartForm != nil {
		_ = req.MultipartForm.RemoveAll()
	}
	completed = true
	return nil, nil
}

var errHandler = &http1.Error{Status: 500, Reason: "the request could not be served"}

// newFallbackRequest makes of r what net/http's own server would have made.
func newFallbackRequest(c fallbackConn, r *http1.Request, body *fallbackBody) (*http.Request, error) {
	target := string(r.Target)
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	req := &http.Request{
		Method:        string(r.Method),
		URL:           u,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    r.Minor,
		Header:        make(http.Header, 16),
		Body:          http.NoBody,
		ContentLength: r.ContentLength,
		Close:         !r.KeepAlive,
		Host:          string(r.Host),
		RemoteAddr:    c.remoteAddr().String(),
		RequestURI:    target,
	}
	if r.Minor == 0 {
		req.Proto = "HTTP/1.0"
	}
	if r.Chunked {
		req.TransferEncoding = []string{"chunked"}
	}
	if r.ContentLength != 0 {
		req.Body = body
	}
	r.EachHeader(func(name, value []byte) {
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		switch key {
		case "Host", "Transfer-Encoding", "Trailer": // trailers are thrown away
		default:
			req.Header[key] = append(req.Header[key], string(value))
		}
	})
	if p := req.Header["Pragma"]; len(p) > 0 && p[0] == "no-cache" && req.Header["Cache-Control"] == nil {
		req.Header["Cache-Control"] = []string{"no-cache"} // as net/http does
	}
	ctx := c.context()
	if a := c.localAddr(); a != nil {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, a)
	}
	return req.WithContext(ctx), nil
}

// fallbackBody is the content of a request.
type fallbackBody struct {
	// Immutable after serveFallback began.
	c      fallbackConn
	w      *fallbackResponse
	length int64 // declared; -1 if chunked

	// Guarded by reading: held while a read waits for the peer.
	reading sync.Mutex

	// Guarded by mu.
	mu     sync.Mutex
	expect bool // the peer waits for 100 Continue before it sends
	read   int64
	done   bool // io.EOF has been seen
	closed bool
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// Read is for the handler; see io.Reader. The first one has the peer told to
// go on when it waits for that.
func (b *fallbackBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	case b.done:
		b.mu.Unlock()
		return 0, io.EOF
	}
	expect := b.expect
	b.expect = false
	b.mu.Unlock()
	if expect && !b.w.sendContinue() {
		// The response has begun: the peer will not send what it held back.
		b.mu.Lock()
		b.expect = true
		b.mu.Unlock()
		return 0, errContinueLate
	}
	return b.next(p)
}

var errContinueLate = errors.New("netpoll: the response began before the content was asked for by 100 Continue")

func (b *fallbackBody) next(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	n, err := b.c.readBody(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read += int64(n)
	// A declared length tells the end before another read does.
	if errors.Is(err, io.EOF) || b.read == b.length {
		b.done = true
	}
	return n, err
}

// Close is for the handler; what is left is drained later.
func (b *fallbackBody) Close() error {
	b.close()
	return nil
}

func (b *fallbackBody) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
}

// drainable tells whether what is left of the content may be read and thrown
// away.
func (b *fallbackBody) drainable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done || (!b.expect && b.length-b.read <= maxDrainBytes)
}

// drain reads what the handler left, and tells whether all of it was.
func (b *fallbackBody) drain() bool {
	b.close()
	if !b.drainable() {
		return false
	}
	if b.length == 0 {
		return true
	}
	scratch := NewBuffer(8 << 10)
	defer scratch.Release()
	left := maxDrainBytes
	for {
		b.mu.Lock()
		done := b.done
		b.mu.Unlock()
		if done || left <= 0 {
			return done
		}
		n, err := b.next(scratch.B[:8<<10])
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		left -= n
	}
}
