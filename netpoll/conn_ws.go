package netpoll

import (
	"bytes"
	"strconv"

	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

var extensionsField = []byte("Sec-WebSocket-Extensions")

// Upgrade answers a WebSocket request: with 101, after which messages come to
// Handler.HandleMessage, or, if the request is not right, with an error, which
// is also returned. extra are complete header lines. With Config.Deflate an
// offer of permessage-deflate is accepted; see Deflates.
//
// RFC 6455, section 4.2.
func (c *Conn) Upgrade(r *http1.Request, extra []byte) error {
	c.loop.Check()
	refused := ws.Handshake{
		Method: r.Method, Minor: r.Minor, Upgrade: r.UpgradeWebSocket, Content: r.ContentLength != 0, Fields: r,
	}.Check()
	extensions := ""
	if refused == nil && c.loop.cfg.Deflate != nil {
		var x ws.Extensions
		r.EachHeader(func(name, value []byte) {
			if bytes.EqualFold(name, extensionsField) {
				x.Add(value)
			}
		})
		extensions, refused = x.Accept()
	}
	if refused != nil {
		c.flags &^= connBusy
		c.failWith(&http1.Error{Status: refused.Status, Reason: refused.Reason}, refused.Extra)
		return refused
	}
	if extensions != "" {
		c.flags |= connDeflate
	}
	buf := NewBuffer(256 + len(extensions) + len(extra))
	buf.B = ws.AppendResponse(buf.B, r.Header("Sec-WebSocket-Key"), extensions, extra)
	c.send(buf, buf.B)
	buf.Release()
	c.flags = c.flags&^(connBusy|connKeepAlive) | connWS
	c.setDeadline(0)
	return nil
}

// Deflates tells whether the peer has agreed to permessage-deflate: frames of
// ws.AppendDeflatedFrame may be sent. Others may be, too.
func (c *Conn) Deflates() bool {
	c.loop.Check()
	return c.is(connDeflate)
}

// Send queues b, a view into buf, on a WebSocket: one or more whole frames.
// The connection takes a reference of its own.
func (c *Conn) Send(buf *Buffer, b []byte) {
	c.loop.Check()
	c.send(buf, b)
}

// CloseError is why a WebSocket was closed by the protocol's own means.
type CloseError struct {
	Code   uint16 // RFC 6455, section 7.4; 1005 if there was none
	Reason string
	Remote bool // the peer closed; otherwise this side did
}

// Error tells who closed, and why.
func (e *CloseError) Error() string {
	who := "this side"
	if e.Remote {
		who = "the peer"
	}
	return "netpoll: WebSocket closed by " + who + ": " + strconv.Itoa(int(e.Code)) + " " + e.Reason
}

// CloseWebSocket sends a close frame, after what is queued, and closes the
// connection. Code 0 sends a frame without a code.
func (c *Conn) CloseWebSocket(code uint16, reason string) {
	c.loop.Check()
	c.closeWebSocket(code, reason, ErrClosed)
}

func (c *Conn) closeWebSocket(code uint16, reason string, err error) {
	if !c.Open() {
		return
	}
	buf := NewBuffer(128)
	buf.B = ws.AppendClose(buf.B, code, reason)
	c.send(buf, buf.B)
	buf.Release()
	c.Close(err)
}

// maxControls bounds the pings and pongs in a row without a message between
// them. They cost their sender next to nothing, and a client needs few.
const maxControls = 1000

// consumeFrames consumes what it can of b, and handles at most one message.
func (c *Conn) consumeFrames(b []byte) int {
	l := c.loop
	ev, n, err := c.ws.Consume(b, l.cfg.MaxMessageBytes, c.is(connDeflate))
	if err != nil {
		l.group.stats.badFrames.Add(1)
		c.closeWebSocket(err.Code, err.Reason, &CloseError{Code: err.Code, Reason: err.Reason})
		return len(b)
	}
	if ev.Kind == ws.Ping || ev.Kind == ws.Pong {
		if c.controls++; c.controls > maxControls {
			l.group.stats.badFrames.Add(1)
			c.closeWebSocket(1008, "too many control frames", &CloseError{Code: 1008, Reason: "too many control frames"})
			return len(b)
		}
	}
	switch ev.Kind {
	case ws.Message:
		c.controls = 0
		l.h.HandleMessage(c, ev.Data, ev.Binary)
		c.ws.MessageDone()
	case ws.Ping:
		c.pong(ev.Data)
	case ws.Close:
		// RFC 6455, section 5.5.1: answered with the same code.
		code := ev.Code
		if code == 1005 {
			code = 0
		}
		c.closeWebSocket(code, "", &CloseError{Code: ev.Code, Reason: ev.Reason, Remote: true})
		return len(b)
	}
	return n
}

// pong answers a ping, unless answers to earlier ones wait for a peer that
// does not read them: one pong answers them all (RFC 6455, section 5.5.3).
func (c *Conn) pong(payload []byte) {
	if !c.Writable() {
		return
	}
	buf := NewBuffer(128)
	buf.B = append(ws.AppendFrameHeader(buf.B, ws.OpPong, len(payload)), payload...)
	c.send(buf, buf.B)
	buf.Release()
}
