package netpoll

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

var (
	extensionsField = []byte("Sec-WebSocket-Extensions")
	protocolField   = []byte("Sec-WebSocket-Protocol")
)

// Upgrade answers a WebSocket request: with 101, after which messages come to
// Handler.HandleMessage, or, if the request is not right, with an error, which
// is also returned; ErrClosed if the peer has gone. extra are complete header lines. With Config.Deflate an
// offer of permessage-deflate is accepted; see Deflates.
//
// RFC 6455, section 4.2.
func (c *Conn) Upgrade(r *http1.Request, extra []byte) error {
	c.loop.Check()
	refused := ws.Handshake{
		Method: r.Method, Minor: r.Minor, Upgrade: r.UpgradeWebSocket, Content: r.ContentLength != 0, Fields: r,
	}.Check()
	answer := ws.Response{Extra: extra}
	x := ws.Extensions{SmallWindows: true}
	if refused == nil {
		var p ws.Protocols
		r.EachHeader(func(name, value []byte) {
			switch {
			case bytes.EqualFold(name, protocolField):
				p.Add(value)
			case c.loop.cfg.Deflate != nil && bytes.EqualFold(name, extensionsField):
				x.Add(value)
			}
		})
		if answer.Protocol, refused = p.Accept(); refused == nil {
			answer.Extensions, refused = x.Accept()
		}
	}
	if refused != nil {
		c.failWith(&http1.Error{Status: refused.Status, Reason: refused.Reason}, refused.Extra)
		return refused
	}
	if answer.Extensions != "" {
		c.flags |= connDeflate
		c.window = uint8(bits.Len(uint(x.MaxWindow())) - 1)
	}
	answer.Key = r.Header("Sec-WebSocket-Key")
	buf := NewBuffer(256 + len(answer.Protocol) + len(answer.Extensions) + len(extra))
	buf.B = answer.Append(buf.B)
	c.send(buf, buf.B)
	buf.Release()
	if c.phase >= phaseClosing {
		return ErrClosed // sending has found that the peer is gone
	}
	c.flags = c.flags&^connKeepAlive | connWS
	c.enter(phaseOpen)
	c.setMounted(nil)
	c.readOn() // what a client has sent that did not wait for the answer
	return nil
}

// Deflates tells whether the peer has agreed to permessage-deflate: frames of
// ws.AppendDeflatedFrame may be sent. Others may be, too.
func (c *Conn) Deflates() bool {
	c.loop.Check()
	return c.is(connDeflate)
}

// MaxDeflated is the size, in bytes, up to which messages may be sent compressed if
// Deflates: the peer keeps no larger window.
func (c *Conn) MaxDeflated() int {
	if c.window == 15 {
		return math.MaxInt // the whole window of the format
	}
	return 1 << c.window
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
// connection. Code 0 sends a frame without a code. A code from 1002 on is for what the
// peer has done: HandleClose gets a *CloseError.
func (c *Conn) CloseWebSocket(code uint16, reason string) {
	c.loop.Check()
	if code >= 1002 {
		c.closeWebSocket(code, reason, &CloseError{Code: code, Reason: reason})
		return
	}
	c.closeWebSocket(code, reason, ErrClosed)
}

func (c *Conn) closeWebSocket(code uint16, reason string, err error) {
	if c.phase >= phaseClosing {
		return
	}
	buf := NewBuffer(128)
	buf.B = ws.AppendClose(buf.B, code, reason)
	c.send(buf, buf.B)
	buf.Release()
	c.close(err)
}

// consumeFrames consumes what it can of b, and handles at most one message.
func (c *Conn) consumeFrames(b []byte) int {
	l := c.loop
	ev, n, err := c.ws.ConsumeFrame(b, ws.Limits{
		MaxBytes: l.cfg.MaxMessageBytes, Deflate: c.is(connDeflate), InflateHere: ws.InflateHere,
	})
	if err != nil {
		c.violated(err.Code, err.Reason)
		return len(b)
	}
	switch ev.Kind {
	case ws.Message:
		c.handleMessage(ev.Data, ev.Binary)
		c.ws.MessageDone()
	case ws.Deflated:
		c.inflate(ev)
	case ws.Ping:
		c.CountControl()
		c.pong(ev.Data)
	case ws.Pong:
		c.CountControl()
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

// handleMessage hands a message to the handler, unless there are too many.
func (c *Conn) handleMessage(data []byte, binary bool) {
	l := c.loop
	if l.cfg.MaxMessagesPerSecond > 0 && !c.countMessage() || len(l.addresses) > 0 && !c.takeMessage() {
		l.group.stats.floods.Add(1)
		c.violated(1008, "too many messages in a second")
		return
	}
	before := c.controls
	l.h.HandleMessage(c, data, binary)
	if c.controls == before {
		c.controls = 0
	}
}

// violated ends a WebSocket whose peer has broken the protocol or a limit.
func (c *Conn) violated(code uint16, reason string) {
	c.loop.group.stats.badFrames.Add(1)
	c.closeWebSocket(code, reason, &CloseError{Code: code, Reason: reason})
}

// maxControls bounds the pings, pongs and what the layer above counts as such, in a
// row without a message between them. They cost their sender next to nothing, and
// a client needs few.
const maxControls = 1000

// CountControl counts a packet that is no message; see maxControls. The layer
// above calls it for the message that it is handling.
func (c *Conn) CountControl() {
	if c.phase != phaseOpen {
		return
	}
	if c.controls++; c.controls > maxControls {
		c.violated(1008, "too many control frames")
	}
}

// countMessage counts a message against Config.MaxMessagesPerSecond.
func (c *Conn) countMessage() bool {
	if now := uint16(c.loop.now / int64(time.Second)); now != c.second {
		c.second, c.messages = now, 0
	}
	if int(c.messages) >= c.loop.cfg.MaxMessagesPerSecond {
		return false
	}
	c.messages++
	return true
}

// pong answers a ping. While the peer does not read, one answer waits for it: that
// to the latest (RFC 6455, section 5.5.3).
func (c *Conn) pong(payload []byte) {
	if c.phase >= phaseClosing {
		return
	}
	buf := NewBuffer(2 + len(payload))
	buf.B = append(ws.AppendFrameHeader(buf.B, ws.OpPong, len(payload)), payload...)
	if c.watch&WatchWrite == 0 {
		c.send(buf, buf.B)
		buf.Release()
		return
	}
	if q := c.out; q.pong != nil {
		q.pong.Release()
	}
	c.out.pong = buf
}
