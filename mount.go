package sockeye

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// Handler serves Socket.IO inside of another HTTP server: net/http's, or that of a
// router that takes an http.Handler.
//
//	mux.Handle("/socket.io/", srv.Handler())
//
// A plain connection is taken over (http.Hijacker) and moves to an event loop, for
// WebSocket and for long-polling alike: no goroutine stays. Each handshake comes through
// the handlers in front, and later requests of its session do not. Requests for other
// paths that come on such a connection go to the http.Server's own handler.
//
// What cannot move works through a bridge, at the cost of goroutines: TLS that net/http
// has ended, HTTP/2, an http.ResponseWriter without Hijack, which has long-polling only.
// See docs/mount.md. Shutdown of the http.Server does not know of the connections that
// have moved: call the server's own, too.
func (srv *Server) Handler() http.Handler {
	srv.mounted.Store(true)
	return mountHandler{srv}
}

type mountHandler struct{ srv *Server }

// Errors that a request gets before it comes to a loop.
const (
	mountClosed = "the server is shutting down"
	mountFull   = "the server is full"
	mountHidden = "sockeye: a WebSocket needs the connection, and this http.ResponseWriter (%T) does not give it: a handler in front has to pass Hijack on, by a method Unwrap() http.ResponseWriter or Hijack. Long-polling works without"
	mountPath   = "sockeye: %s is served here, and not %s: mount the handler where clients ask for it, as mux.Handle(%q, srv.Handler()), or set Config.Path"
)

func (m mountHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	srv := m.srv
	if f := srv.files; f != nil && f.files[r.URL.Path] != nil {
		f.ServeHTTP(w, r)
		return
	}
	q := mountRequest{srv: srv, w: w, r: r, rc: http.NewResponseController(w), target: r.URL.RequestURI()}
	// As a loop will see it: one with escapes may be ours for a router alone.
	if path, _, _ := strings.Cut(q.target, "?"); !srv.claims.Claims([]byte(path)) {
		http.Error(w, fmt.Sprintf(mountPath, srv.Path(), path, srv.Path()), http.StatusNotFound)
		return
	}
	q.user, _ = r.Context().Value(http.ServerContextKey).(*http.Server)
	if !q.valid() {
		http.Error(w, "malformed request", http.StatusBadRequest)
		return
	}
	if !q.readBody() {
		return
	}
	// Without an http.Server nobody would serve other paths on a connection that has moved.
	movable := q.websocket() || q.user != nil && srv.group.Movable(r.Context())
	if r.ProtoMajor >= 2 || !movable || !q.hijack() {
		q.bridge()
	}
}

// mountRequest is a request that is on its way to a loop.
type mountRequest struct {
	srv      *Server
	w        http.ResponseWriter
	r        *http.Request
	user     *http.Server // the request's; nil if it is none of net/http's
	rc       *http.ResponseController
	target   string
	body     []byte
	oversize bool // body is not all of it
}

// valid tells whether the request can be written down: it may have been changed.
func (q *mountRequest) valid() bool {
	return !strings.ContainsFunc(q.r.Method+q.target+q.r.Host, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// readBody reads the content, in its time. It is false if the request has been answered.
// Meanwhile it has a place, as it has behind, and what has come is charged.
func (q *mountRequest) readBody() bool {
	r := q.r
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || q.extendedConnect() {
		return true
	}
	cfg := q.srv.group.Config()
	if q.oversize = r.ContentLength > int64(cfg.MaxBodyBytes); q.oversize {
		return true
	}
	place := q.place(r.Context())
	if place == nil {
		return false
	}
	defer place.GiveUp()
	memory, charged := q.srv.group.Memory(), 0
	defer func() { memory.Add(-charged) }()
	timed := cfg.BodyTimeout > 0 && (q.user == nil || q.user.ReadTimeout <= 0)
	begun := time.Now()
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(min(r.ContentLength, 16<<10)) + bytes.MinRead)
	}
	// No more at once than who sends at MinRate has sent before the first deadline.
	piece := int64(16 << 10)
	if timed {
		piece = max(1, min(piece, int64(cfg.BodyTimeout.Seconds()*float64(cfg.MinRate))))
	}
	for {
		if timed { // a second more for each MinRate bytes
			more := time.Duration(float64(b.Len()) / float64(cfg.MinRate) * float64(time.Second))
			timed = q.rc.SetReadDeadline(begun.Add(cfg.BodyTimeout+more)) == nil
		}
		n, err := io.CopyN(&b, r.Body, min(piece, int64(cfg.MaxBodyBytes+1-b.Len())))
		switch tooLarge := (*http.MaxBytesError)(nil); {
		case b.Len() > cfg.MaxBodyBytes:
			q.oversize = true
			return true
		case errors.Is(err, io.EOF):
			if timed {
				_ = q.rc.SetReadDeadline(time.Time{})
			}
			q.body = b.Bytes()
			return true
		case err == nil && n > 0:
			memory.Add(b.Cap() - charged)
			charged = b.Cap()
			if !memory.Near() {
				continue
			}
			q.refuse(mountFull, http.StatusServiceUnavailable)
		case errors.As(err, &tooLarge):
			q.refuse("the body is too large", http.StatusRequestEntityTooLarge)
		case errors.Is(err, os.ErrDeadlineExceeded):
			q.refuse("the request did not arrive in time", http.StatusRequestTimeout)
		default:
			q.refuse("the body could not be read", http.StatusBadRequest)
		}
		return false
	}
}

// refuse answers, and has the connection closed.
func (q *mountRequest) refuse(why string, status int) {
	if q.r.ProtoMajor == 1 {
		q.w.Header().Set("Connection", "close")
	}
	http.Error(q.w, why, status)
}

// place reserves a place; nil if the request has been answered.
func (q *mountRequest) place(ctx context.Context) *netpoll.Place {
	place, err := q.srv.group.Place(ctx)
	switch {
	case errors.Is(err, netpoll.ErrFull):
		q.refuse(mountFull, http.StatusServiceUnavailable)
	case err != nil:
		q.refuse(mountClosed, http.StatusServiceUnavailable)
	}
	return place
}

// websocket tells whether the request opens a WebSocket, of HTTP/1.1.
func (q *mountRequest) websocket() bool {
	return q.r.ProtoMajor == 1 && strings.Contains(strings.ToLower(q.r.Header.Get("Upgrade")), "websocket")
}

// hijack moves the connection; it is false if it cannot be had.
func (q *mountRequest) hijack() bool {
	place := q.place(q.r.Context())
	if place == nil {
		return true
	}
	in, ctx := q.append(nil, false), q.context() // fasthttp may use the request again then
	defer ctx.end()
	conn, brw, err := q.rc.Hijack()
	if err != nil {
		place.GiveUp()
		return false
	}
	if n := brw.Reader.Buffered(); n > 0 {
		rest, _ := brw.Reader.Peek(n)
		in = append(in, rest...)
	}
	_ = place.Adopt(conn, netpoll.Adoption{In: in, Server: q.user, Context: ctx, Keep: len(ctx.keys) > 0}) // closed, if it cannot be
	return true
}

// append writes the request down. Unless alone the connection stays.
func (q *mountRequest) append(dst []byte, alone bool) []byte {
	r := q.r
	b := bytes.NewBuffer(dst)
	minor, method := 1, r.Method
	if r.ProtoMajor == 1 {
		minor = r.ProtoMinor
	}
	upgrade := q.extendedConnect()
	if upgrade {
		method = http.MethodGet
	}
	fmt.Fprintf(b, "%s %s HTTP/1.%d\r\n", method, q.target, minor)
	if r.Host != "" {
		fmt.Fprintf(b, "Host: %s\r\n", r.Host)
	}
	skip := map[string]bool{"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Expect": true, "Trailer": true}
	if alone {
		skip["Connection"], skip["Keep-Alive"], skip["Upgrade"], skip["Te"], skip["Proxy-Connection"] = true, true, true, true, true
	}
	_ = r.Header.WriteSubset(b, skip) // a bytes.Buffer takes everything
	switch {
	case upgrade:
		fmt.Fprintf(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: %s\r\n", websocketKey())
	case alone:
		b.WriteString("Connection: close\r\n")
	case r.Close && r.Header.Get("Connection") == "":
		b.WriteString("Connection: close\r\n")
	}
	switch {
	case q.oversize: // the loop refuses it by its length
		fmt.Fprintf(b, "Content-Length: %d\r\n\r\n", max(r.ContentLength, int64(q.srv.group.Config().MaxBodyBytes)+1))
	case len(q.body) > 0 || r.Method == http.MethodPost && !upgrade:
		fmt.Fprintf(b, "Content-Length: %d\r\n\r\n", len(q.body))
		b.Write(q.body)
	default:
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// mountContext is a request's context: all of it while the handshake is decided on, and
// then the values of Config.ContextValues. It never ends.
type mountContext struct {
	keys, values []any // those that are kept

	// Any goroutine (atomic).
	live atomic.Pointer[context.Context]
}

func (q *mountRequest) context() *mountContext {
	ctx := q.r.Context()
	c := new(mountContext)
	c.live.Store(&ctx)
	for _, key := range q.srv.cfg.ContextValues {
		if v := ctx.Value(key); v != nil {
			c.keys, c.values = append(c.keys, key), append(c.values, v)
		}
	}
	return c
}

func (c *mountContext) end() { c.live.Store(nil) }

func (*mountContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*mountContext) Done() <-chan struct{}       { return nil }
func (*mountContext) Err() error                  { return nil }

func (c *mountContext) Value(key any) any {
	if ctx := c.live.Load(); ctx != nil {
		return (*ctx).Value(key)
	}
	for i := range c.keys {
		if c.keys[i] == key {
			return c.values[i]
		}
	}
	return nil
}
