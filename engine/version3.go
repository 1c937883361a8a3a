package engine

import (
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/eio"
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
		return eio.AppendJSONP(nil, l.jsonp, payload), typeScript
	case binary:
		return payload, typeBinary
	}
	return payload, typePayload
}

// appendPayloadV3 appends the queue as a payload of version 3.
func (q *pollQueue) appendPayloadV3(dst []byte, binary bool) []byte {
	appendPacket := eio.AppendPayloadV3
	if binary {
		appendPacket = eio.AppendBinaryPayloadV3
	}
	for _, item := range q.items {
		if item.m != nil {
			dst = appendPacket(dst, item.m.packet())
			continue
		}
		for rest := item.run.B; len(rest) > 0; {
			var p eio.Packet
			p, _, rest = cutRecord(rest)
			dst = appendPacket(dst, p)
		}
	}
	return dst
}

func consumeFrameV3(data []byte, binary bool) (eio.Packet, error) {
	if binary {
		return eio.ConsumeBinaryPacketV3(data)
	}
	return eio.ConsumePacketV3(data)
}

func consumePayloadV3(b []byte, binary bool) (eio.Packet, int, error) {
	if binary {
		return eio.ConsumeBinaryPayloadV3(b)
	}
	return eio.ConsumePayloadV3(b)
}

func (s *Session) sendBinaryFrameV3(c *netpoll.Conn, m *Message) {
	buf := netpoll.NewBuffer(ws.FrameHeadroom + 2 + len(m.B)*4/3)
	buf.B = buf.B[:ws.FrameHeadroom]
	b64 := s.poll.legacy.b64
	if b64 {
		buf.B = eio.AppendPacketV3(buf.B, m.packet())
	} else {
		buf.B = eio.AppendBinaryPacketV3(buf.B, m.packet())
	}
	c.Send(buf, buf.B[ws.PutFrameHeader(buf.B, ws.FrameHeadroom, !b64):])
	buf.Release()
}
