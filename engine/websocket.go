package engine

import (
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"
)

// handleFrame is given each WebSocket message of the session's connections.
func (s *Session) handleFrame(c *netpoll.Conn, data []byte, binary bool) {
	if len(data) > s.engine.cfg.MaxPayload {
		s.engine.tellTooLarge("engine: a message is larger than MaxPayload")
		c.CloseWebSocket(1009, "") // engine.io-client expects no reason
		return
	}
	if u := s.probing(); u != nil && u.conn == c {
		s.handleProbe(data, binary)
		return
	}
	if s.conn != c || s.state != sessionOpen {
		return
	}
	p, err := s.consumeFrame(data, binary)
	if err != nil {
		s.parseError(err)
		return
	}
	s.handlePacket(p)
}

// consumeFrame reads a packet from a WebSocket message.
//
// Engine.IO v4, "WebSocket": binary is as it is.
func (s *Session) consumeFrame(data []byte, binary bool) (eio.Packet, error) {
	switch {
	case s.version == 3:
		return consumeFrameV3(data, binary)
	case binary:
		return eio.Packet{Type: eio.Message, Binary: true, Data: data}, nil
	}
	return eio.ConsumePacket(data)
}

// sendFrame sends one message on a WebSocket.
func (s *Session) sendFrame(c *netpoll.Conn, m *Message) {
	if s.version == 3 && m.binary {
		s.sendBinaryFrameV3(c, m)
		return
	}
	m.sendOn(c)
}

// sendOn sends m on a WebSocket, compressed if that was agreed and is of use.
func (m *Message) sendOn(c *netpoll.Conn) {
	if c.Deflates() && !m.NoCompress {
		cfg := c.Loop().Group().Config().Deflate
		size := len(m.B) - messageHeadroom
		if size >= cfg.Threshold && size < c.MaxDeflated() && (size <= deflateLater || m.deflated.Load() != nil) {
			if b := m.deflate(cfg); len(b.B) < len(m.frame) {
				c.Send(b, b.B)
				return
			}
		}
	}
	c.Send(m.buf, m.frame)
}
