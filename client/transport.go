package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/proto/eio"
)

// transport carries packets. send and receive may be called at the same time, by
// one goroutine each.
type transport interface {
	send(packets []eio.Packet) error
	// receive waits for packets, which are the caller's own.
	receive() ([]eio.Packet, error)
	// farewell is sent last, and leads to the end of receive.
	farewell() error
	// close ends send and receive. It does not wait, and may be called again, by any
	// goroutine.
	close()
	// opened tells the server's handshake, before anything is sent.
	opened(h handshake)
	// progress grows when the server has taken something. Any goroutine may call it.
	progress() uint64
	name() string
}

// dialTransport makes a transport; sid is that of the session to be upgraded.
func (m *manager) dialTransport(ctx context.Context, name, sid string) (transport, error) {
	if name == "polling" {
		return newPolling(m), nil
	}
	return m.dialWebSocket(ctx, sid)
}

// address is the URL of a request.
func (m *manager) address(transport, sid string) string {
	u := *m.url
	u.Path = m.cfg.Path
	q := maps.Clone(m.cfg.Query)
	q.Set("EIO", "4")
	q.Set("transport", transport)
	if sid != "" {
		q.Set("sid", sid)
	}
	u.RawQuery = q.Encode()
	if transport == "websocket" {
		u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	}
	return u.String()
}

// polling is HTTP long-polling.
type polling struct {
	m      *manager
	ctx    context.Context
	cancel context.CancelFunc
	sid    string
	max    int // bytes of a request's body, by the handshake

	// Any goroutine (atomic).
	taken atomic.Uint64
}

func newPolling(m *manager) *polling {
	p := &polling{m: m}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *polling) name() string { return "polling" }
func (p *polling) close()       { p.cancel() }

func (p *polling) progress() uint64 { return p.taken.Load() }

func (p *polling) opened(h handshake) { p.sid, p.max = h.SID, h.MaxPayload }

func (p *polling) farewell() error {
	err := p.send([]eio.Packet{{Type: eio.Close}})
	p.close() // the server has it
	return err
}

// once is an empty body that keeps net/http from sending a request again, as it does
// with a GET when a connection that it has used before breaks: what the server has
// answered to the first would be lost.
type once struct{}

func (once) Read([]byte) (int, error) { return 0, io.EOF }

func (p *polling) do(method string, body []byte) ([]byte, error) {
	ctx := p.ctx
	if method == http.MethodPost {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, writeTimeout)
		defer cancel()
	}
	var content io.Reader = bytes.NewReader(body)
	if body == nil {
		content = once{}
	}
	r, err := http.NewRequestWithContext(ctx, method, p.m.address("polling", p.sid), content)
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, p.m.cfg.Header)
	if body != nil {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := p.m.cfg.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, int64(p.m.cfg.MaxMessageBytes)+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > p.m.cfg.MaxMessageBytes:
		return nil, errors.New("client: an answer is over MaxMessageBytes")
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("client: the server answered %s: %.200s", resp.Status, b)
	}
	return b, nil
}

func (p *polling) receive() ([]eio.Packet, error) {
	b, err := p.do(http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	var packets []eio.Packet
	for len(b) > 0 {
		packet, n, err := eio.ConsumePayload(b)
		if err != nil {
			return nil, err
		}
		packets = append(packets, packet)
		b = b[n:]
	}
	return packets, nil
}

func (p *polling) send(packets []eio.Packet) error {
	var body []byte
	flush := func() error {
		if len(body) == 0 {
			return nil
		}
		_, err := p.do(http.MethodPost, body)
		p.taken.Add(1)
		body = nil // who sends it may have it for longer
		return err
	}
	for _, packet := range packets {
		record := eio.AppendPacket(nil, packet)
		if len(body) > 0 && p.max > 0 && len(body)+1+len(record) > p.max {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(body) > 0 {
			body = append(body, eio.Separator)
		}
		body = append(body, record...)
	}
	return flush()
}

// webSocket is the other transport.
type webSocket struct {
	m    *manager
	conn net.Conn
	in   io.Reader // bytes that came with the handshake, then conn

	writing sync.Mutex // held while whole frames are written

	// Any goroutine (atomic).
	ponging atomic.Bool // a pong is being sent
	taken   atomic.Uint64
}

func (m *manager) dialWebSocket(ctx context.Context, sid string) (*webSocket, error) {
	d := ws.Dialer{Header: ws.HandshakeHeaderHTTP(m.withCookies()), TLSConfig: m.webSocketTLS}
	conn, early, _, err := d.Dial(ctx, m.address("websocket", sid))
	if err != nil {
		return nil, err
	}
	w := &webSocket{m: m, conn: conn, in: conn}
	if early != nil {
		rest, _ := early.Peek(early.Buffered())
		w.in = io.MultiReader(bytes.NewReader(bytes.Clone(rest)), conn)
		ws.PutReader(early)
	}
	return w, nil
}

// withCookies are the fields of a WebSocket's request: those of the configuration, and
// the cookies that polling has got. A balancer may know its server by one.
func (m *manager) withCookies() http.Header {
	jar := m.cfg.HTTPClient.Jar
	if jar == nil {
		return m.cfg.Header
	}
	r := http.Request{Header: m.cfg.Header.Clone()}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	u := *m.url
	u.Path = m.cfg.Path
	for _, c := range jar.Cookies(&u) {
		r.AddCookie(c)
	}
	return r.Header
}

func (w *webSocket) name() string { return "websocket" }
func (w *webSocket) close()       { _ = w.conn.Close() }

func (w *webSocket) opened(handshake) {}
func (w *webSocket) progress() uint64 { return w.taken.Load() }

// farewell is a close frame; the server's own ends receive.
func (w *webSocket) farewell() error {
	return w.writeAll(ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))))
}

// writeAll gives the server time for each part, so that one that takes little is not
// taken for one that has gone.
func (w *webSocket) writeAll(b []byte) error {
	const part = 64 << 10
	w.writing.Lock()
	defer w.writing.Unlock()
	for len(b) > 0 {
		n := min(len(b), part)
		_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.conn.Write(b[:n]); err != nil {
			return err
		}
		w.taken.Add(1)
		b = b[n:]
	}
	return nil
}

func (w *webSocket) send(packets []eio.Packet) error {
	var out bytes.Buffer
	for _, p := range packets {
		f := ws.NewBinaryFrame(bytes.Clone(p.Data))
		if !p.Binary {
			f = ws.NewTextFrame(eio.AppendPacket(nil, p))
		}
		if err := ws.WriteFrame(&out, ws.MaskFrameInPlace(f)); err != nil {
			return err
		}
	}
	return w.writeAll(out.Bytes())
}

// pong answers a ping, and none that comes meanwhile (RFC 6455, 5.5.3). The reader
// does not wait for the server to read.
func (w *webSocket) pong(payload []byte) {
	if w.ponging.Swap(true) {
		return
	}
	go func() {
		defer w.ponging.Store(false)
		_ = w.writeAll(ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewPongFrame(payload))))
	}()
}

// receive reads one message; control frames on the way are answered.
func (w *webSocket) receive() ([]eio.Packet, error) {
	message := []byte{}
	text, begun := false, false
	for {
		h, err := ws.ReadHeader(w.in)
		if err != nil {
			return nil, err
		}
		if h.OpCode.IsControl() && h.Length > ws.MaxControlFramePayloadSize {
			return nil, ws.ErrProtocolControlPayloadOverflow
		}
		if h.Length > int64(w.m.cfg.MaxMessageBytes-len(message)) {
			return nil, errors.New("client: a message is over MaxMessageBytes")
		}
		payload, err := io.ReadAll(io.LimitReader(w.in, h.Length))
		if err != nil {
			return nil, err
		}
		if int64(len(payload)) < h.Length {
			return nil, io.ErrUnexpectedEOF
		}
		switch h.OpCode {
		case ws.OpPing:
			w.pong(payload)
			continue
		case ws.OpPong:
			continue
		case ws.OpClose:
			return nil, io.EOF
		case ws.OpText, ws.OpBinary:
			if begun {
				return nil, errors.New("client: a message in a message")
			}
			text, begun = h.OpCode == ws.OpText, true
		case ws.OpContinuation:
			if !begun {
				return nil, errors.New("client: a continuation of nothing")
			}
		}
		if message = append(message, payload...); !h.Fin {
			continue
		}
		if !text {
			return []eio.Packet{{Type: eio.Message, Binary: true, Data: message}}, nil
		}
		p, err := eio.ConsumePacket(message)
		return []eio.Packet{p}, err
	}
}
