package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
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
	close()
	name() string
}

// address is the URL of a request.
func (m *manager) address(transport, sid string) string {
	u := *m.url
	u.Path = m.cfg.Path
	q := url.Values{}
	for k, v := range m.cfg.Query {
		q[k] = v
	}
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
}

func newPolling(m *manager) *polling {
	p := &polling{m: m}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *polling) name() string { return "polling" }
func (p *polling) close()       { p.cancel() }

func (p *polling) do(method string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(p.ctx, method, p.m.address("polling", p.sid), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range p.m.cfg.Header {
		r.Header[k] = v
	}
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
		body = body[:0]
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
}

func (m *manager) dialWebSocket(ctx context.Context, sid string) (*webSocket, error) {
	d := ws.Dialer{Header: ws.HandshakeHeaderHTTP(m.cfg.Header), TLSConfig: m.cfg.TLS}
	conn, early, _, err := d.Dial(ctx, m.address("websocket", sid))
	if err != nil {
		return nil, fmt.Errorf("client: WebSocket: %w", err)
	}
	w := &webSocket{m: m, conn: conn, in: conn}
	if early != nil {
		rest, _ := early.Peek(early.Buffered())
		w.in = io.MultiReader(bytes.NewReader(bytes.Clone(rest)), conn)
		ws.PutReader(early)
	}
	return w, nil
}

func (w *webSocket) name() string { return "websocket" }
func (w *webSocket) close()       { _ = w.conn.Close() }

// writeTimeout bounds how long the server may take to read.
const writeTimeout = 30 * time.Second

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
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := w.conn.Write(out.Bytes())
	return err
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
			pong := ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewPongFrame(payload)))
			_, _ = w.conn.Write(pong) // whole frames: writers of conn do not mix
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
