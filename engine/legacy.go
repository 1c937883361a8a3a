package engine

import (
	"bytes"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"

	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// legacy is what the sessions of old clients need in addition, with
// Config.AllowEIO3: version 3 of the protocol, and JSONP.
//
// Engine.IO v3 differs in its polling payloads, in the form of binary data, and
// in its heartbeat: the client pings.
type legacy struct {
	v3    bool
	b64   bool   // the transport takes no binary: "b64" in its query
	jsonp []byte // the number of the callback that the waiting poll names, or nil
}

// setLegacy notes what the query of a handshake says.
func (s *Session) setLegacy(q query) {
	if !s.engine.cfg.AllowEIO3 {
		return
	}
	if v3 := string(q.eio) != "4"; v3 || q.jsonp != nil {
		if v3 {
			s.version = 3
		}
		s.poll = &polling{legacy: &legacy{v3: v3, b64: q.b64}}
	}
}

// Version is the version of the protocol that the peer speaks: 4, or 3. Any
// goroutine.
func (s *Session) Version() int { return int(s.version) }

// speaks tells whether a request's EIO parameter fits the session.
func (s *Session) speaks(version []byte) bool {
	if s.Version() == 3 {
		return string(version) != "4"
	}
	return len(version) == 0 || string(version) == "4"
}

// callbackIndex is the number of a JSONP callback as it may stand in a script;
// nil for a poll that is none.
func callbackIndex(j []byte) []byte {
	if j == nil {
		return nil
	}
	index := make([]byte, 0, len(j))
	for _, c := range j {
		if c-'0' <= 9 && len(index) < 20 {
			index = append(index, c)
		}
	}
	return index
}

// legacyPayload is the queue as the body of an answer to a poll, and its type.
func (s *Session) legacyPayload() (payload []byte, contentType string) {
	l := s.poll.legacy
	q := &s.poll.queue
	binary := q.binary && l.v3 && !l.b64 && l.jsonp == nil
	payload = make([]byte, 0, q.size+8*q.count)
	if l.v3 {
		payload = q.appendPayloadV3(payload, binary)
	} else {
		payload = q.appendPayload(payload)
	}
	switch {
	case l.jsonp != nil:
		return eio.AppendJSONP(nil, l.jsonp, payload), "text/javascript; charset=UTF-8"
	case binary:
		return payload, "application/octet-stream"
	}
	return payload, textPlain
}

// packet is the message as a packet.
func (m *Message) packet() eio.Packet {
	if m.binary {
		return eio.Packet{Type: eio.Message, Binary: true, Data: m.B[messageRoom:]}
	}
	return eio.Packet{Type: eio.PacketType(m.B[messageRoom-1]), Data: m.B[messageRoom:]}
}

// sendFrame sends one message on a WebSocket, in the session's version.
func (s *Session) sendFrame(c *netpoll.Conn, m *Message) {
	if s.version == 4 || !m.binary {
		m.sendOn(c)
		return
	}
	buf := netpoll.NewBuffer(ws.FrameRoom + 2 + len(m.B)*4/3)
	buf.B = buf.B[:ws.FrameRoom]
	if s.poll.legacy.b64 {
		buf.B = eio.AppendPacketV3(buf.B, m.packet())
	} else {
		buf.B = eio.AppendBinaryPacketV3(buf.B, m.packet())
	}
	c.Send(buf, buf.B[ws.PutFrameHeader(buf.B, ws.FrameRoom, !s.poll.legacy.b64):])
	buf.Release()
}

// consumeFrame reads a packet from a WebSocket message.
func (s *Session) consumeFrame(data []byte, binary bool) (eio.Packet, error) {
	v3 := s.Version() == 3
	switch {
	case binary && v3:
		return eio.ConsumeBinaryPacketV3(data)
	case binary:
		return eio.Packet{Type: eio.Message, Binary: true, Data: data}, nil
	case v3:
		return eio.ConsumePacketV3(data)
	}
	return eio.ConsumePacket(data)
}

// consumePayload reads the first packet of a request's body.
func (s *Session) consumePayload(b []byte, binary bool) (eio.Packet, int, error) {
	switch {
	case s.Version() == 4:
		return eio.ConsumePayload(b)
	case binary:
		return eio.ConsumeBinaryPayloadV3(b)
	}
	return eio.ConsumePayloadV3(b)
}

// body is the payload in a POST, and its form. JSONP wraps it in a form's field.
func (s *Session) body(r *http1.Request, q query) (payload []byte, binary bool, err error) {
	binary = bytes.Equal(r.Header("Content-Type"), []byte("application/octet-stream"))
	switch {
	case s.poll.legacy != nil && q.jsonp != nil:
		payload, err = eio.ConsumeJSONP(r.Body)
		return payload, false, err
	case binary && s.Version() == 4:
		return nil, true, errMismatch
	}
	return r.Body, binary, nil
}
