// Package wiretest speaks Engine.IO and raw WebSocket to a server under test, byte
// by byte where a test wants that: a client for tests that knows no rules.
package wiretest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Limit is how long a test waits for what must come.
const Limit = 10 * time.Second

// WS is a WebSocket to a server under test.
type WS struct {
	T    testing.TB
	Conn net.Conn
	br   *bufio.Reader
}

// Dial opens a TCP connection.
func Dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// DialWS opens a WebSocket; target is the path with its query.
func DialWS(t testing.TB, addr, target string) *WS {
	t.Helper()
	c := Dial(t, addr)
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target, addr)
	if err != nil {
		t.Fatal(err)
	}
	w := &WS{T: t, Conn: c, br: bufio.NewReader(c)}
	_ = c.SetReadDeadline(time.Now().Add(Limit))
	resp, err := http.ReadResponse(w.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("upgrade: %s %s", resp.Status, body)
	}
	return w
}

// Write sends a text frame.
func (w *WS) Write(text string) { w.T.Helper(); w.frame(ws.OpText, []byte(text)) }

// WriteBinary sends a binary frame.
func (w *WS) WriteBinary(b []byte) { w.T.Helper(); w.frame(ws.OpBinary, b) }

func (w *WS) frame(op ws.OpCode, b []byte) {
	w.T.Helper()
	f, err := ws.CompileFrame(ws.MaskFrame(ws.NewFrame(op, true, b)))
	if err == nil {
		_, err = w.Conn.Write(f)
	}
	if err != nil {
		w.T.Errorf("write %q: %v", b, err)
	}
}

// ErrClosed is what Read returns when the server has closed; Code is that of
// the close frame, 0 for none, -1 if the connection ended without a frame.
type ErrClosed struct{ Code int }

func (e ErrClosed) Error() string { return fmt.Sprint("closed with ", e.Code) }

// Read returns the next message; pings of Engine.IO are answered and left out.
func (w *WS) Read() (data []byte, binary bool, err error) {
	_ = w.Conn.SetReadDeadline(time.Now().Add(Limit))
	for {
		f, err := ReadFrame(w.br)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err != nil && strings.Contains(err.Error(), "reset by peer"):
			return nil, false, ErrClosed{-1}
		case err != nil:
			return nil, false, err
		}
		switch f.Header.OpCode {
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(f.Payload)
			return nil, false, ErrClosed{int(code)}
		case ws.OpText:
			if string(f.Payload) == "2" {
				w.frame(ws.OpText, []byte("3"))
				continue
			}
			return f.Payload, false, nil
		case ws.OpBinary:
			return f.Payload, true, nil
		}
	}
}

// ReadFrame reads a frame of a server under test.
func ReadFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err == nil {
		f.Payload, err = io.ReadAll(io.LimitReader(r, f.Header.Length))
		if err == nil && int64(len(f.Payload)) < f.Header.Length {
			err = io.ErrUnexpectedEOF
		}
	}
	return f, err
}

// Expect reads the next message and wants it to be this text; a trailing "*"
// stands for anything.
func (w *WS) Expect(text string) string {
	w.T.Helper()
	got, binary, err := w.Read()
	if err != nil || binary || !matches(string(got), text) {
		w.T.Fatalf("got %q (binary %v, %v), want %q", got, binary, err, text)
	}
	return string(got)
}

// ExpectBinary reads the next message and wants it to be these bytes.
func (w *WS) ExpectBinary(b []byte) {
	w.T.Helper()
	got, binary, err := w.Read()
	if err != nil || !binary || !bytes.Equal(got, b) {
		w.T.Fatalf("got %q (binary %v, %v), want binary %q", got, binary, err, b)
	}
}

// ExpectClosed reads until the server has closed, and returns the code.
func (w *WS) ExpectClosed() int {
	w.T.Helper()
	for {
		data, _, err := w.Read()
		var closed ErrClosed
		if errors.As(err, &closed) {
			return closed.Code
		}
		if err != nil {
			w.T.Fatalf("the server did not close: %v", err)
		}
		w.T.Logf("before the end: %.200q", data)
	}
}

func matches(got, want string) bool {
	if p, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(got, p)
	}
	return got == want
}

// Connect opens a WebSocket and joins the default namespace.
func Connect(t testing.TB, addr string) *WS {
	t.Helper()
	w := DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	w.Write("40")
	w.Expect(`40{"sid":"*`)
	return w
}

// Poll is a polling session under test.
type Poll struct {
	T   testing.TB
	URL string // with sid
	SID string
}

// OpenPoll makes a polling session.
func OpenPoll(t testing.TB, addr string) *Poll {
	t.Helper()
	p := &Poll{T: t, URL: "http://" + addr + "/socket.io/?EIO=4&transport=polling"}
	status, body := p.Get()
	if status != 200 || !strings.HasPrefix(body, `0{"sid":"`) {
		t.Fatalf("handshake: %d %q", status, body)
	}
	p.SID = body[9:29]
	p.URL += "&sid=" + p.SID
	return p
}

// ConnectPoll makes a polling session and joins the default namespace.
func ConnectPoll(t testing.TB, addr string) *Poll {
	t.Helper()
	p := OpenPoll(t, addr)
	p.Post("40", 200, "ok")
	if _, body := p.Get(); !strings.HasPrefix(body, `40{"sid":"`) {
		t.Fatalf("connect: %q", body)
	}
	return p
}

var httpClient = &http.Client{Timeout: 2 * Limit}

// Get polls.
func (p *Poll) Get() (status int, body string) {
	p.T.Helper()
	return p.read(httpClient.Get(p.URL))
}

// Post sends packets and wants this answer.
func (p *Poll) Post(body string, wantStatus int, want string) {
	p.T.Helper()
	status, got := p.read(httpClient.Post(p.URL, "text/plain;charset=UTF-8", strings.NewReader(body)))
	if status != wantStatus || got != want {
		p.T.Errorf("POST %.80q: %d %q, want %d %q", body, status, got, wantStatus, want)
	}
}

func (p *Poll) read(resp *http.Response, err error) (int, string) {
	p.T.Helper()
	if err != nil {
		p.T.Errorf("request: %v", err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.T.Errorf("answer: %v", err)
	}
	return resp.StatusCode, string(b)
}
