package sockeye

import (
	"encoding/json"
	"fmt"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Parser is another wire form of packets than Socket.IO's own, which peers must
// have as well: each packet is one message. Its methods are called from any
// goroutine; those that read must not recurse over, nor allocate by, a number
// of the peer's, and return errors for what they cannot read, which end the
// session. With Recovery a text must stand in what Append makes as it is: offsets
// are put in afterwards, in place of one as long.
type Parser interface {
	// Binary tells whether messages are binary; the others are refused.
	Binary() bool

	// Append appends a packet: the header of p, and data: for an event a []any
	// of its name and arguments, for an answer a []any of its arguments, else a
	// struct with json tags, a map[string]any, any value of the application's (a
	// ConnectError's data) or, for no data, nil. Arguments of received events
	// come as Argument, whose JSON field is in the parser's own form.
	Append(dst []byte, p Packet, data any) ([]byte, error)

	// Consume reads a packet's header from a message. Data is a view of what the
	// packet has for data, nil if it has none.
	Consume(message []byte) (Packet, error)

	// Split appends views of the elements of an array to dst.
	Split(data []byte, dst [][]byte) ([][]byte, error)

	// EventName returns the name that the first element of an event stands for.
	EventName(element []byte) ([]byte, error)

	// Unmarshal decodes an element, or a packet's data, into what v points to.
	Unmarshal(data []byte, v any) error
}

// split returns views of the elements of an event's or answer's data.
func (srv *Server) split(data []byte, dst [][]byte) ([][]byte, error) {
	if srv.cfg.Parser != nil {
		return srv.splitByParser(data, dst)
	}
	return sio.SplitArray(data, dst, srv.cfg.MaxJSONDepth)
}

// splitByParser is split for Config.Parser: a peer that finds a panic in it ends its own
// session, whoever's goroutine it is on.
func (srv *Server) splitByParser(data []byte, dst [][]byte) (list [][]byte, err error) {
	defer srv.parserPanicked(&err)
	return srv.cfg.Parser.Split(data, dst)
}

// nameByParser is sio.EventName for Config.Parser.
func (srv *Server) nameByParser(element []byte) (name []byte, err error) {
	defer srv.parserPanicked(&err)
	return srv.cfg.Parser.EventName(element)
}

// parserPanicked makes a panic an error; it is to be deferred.
func (srv *Server) parserPanicked(err *error) {
	if v := recover(); v != nil {
		srv.stats.panics.Add(1)
		*err = fmt.Errorf("sockeye: Config.Parser has panicked: %v", v)
		srv.log.Error("Parser", "sockeye: Config.Parser panicked", "panic", v, "stack", string(debug.Stack()))
	}
}

// unmarshal decodes one of those elements, which has no attachments.
func (srv *Server) unmarshal(data []byte, v any) error {
	if p := srv.cfg.Parser; p != nil {
		return p.Unmarshal(data, v)
	}
	return srv.cfg.Codec.Unmarshal(data, v)
}

// consume reads a packet.
func (srv *Server) consume(message []byte) (Packet, error) {
	if p := srv.cfg.Parser; p != nil {
		return p.Consume(message)
	}
	return sio.Limits{MaxAttachments: srv.cfg.MaxAttachments}.ConsumePacket(message)
}

// encodePacket encodes a packet that is neither an event nor an answer. If data
// cannot be encoded its message is left, which can.
func (srv *Server) encodePacket(p Packet, data any) *engine.Message {
	if parser := srv.cfg.Parser; parser != nil {
		msg := engine.NewMessage(parser.Binary())
		b, err := parser.Append(msg.B, p, data)
		if m, ok := data.(map[string]any); err != nil && ok {
			b, _ = parser.Append(msg.B, p, map[string]any{"message": m["message"]})
		}
		msg.B = b
		return msg.Seal()
	}
	msg := engine.NewMessage(false)
	msg.B = sio.AppendHeader(msg.B, p)
	if data != nil {
		b, err := srv.cfg.Codec.Marshal(data)
		if m, ok := data.(map[string]any); err != nil && ok {
			b, _ = json.Marshal(map[string]any{"message": m["message"]})
		}
		msg.B = append(msg.B, b...)
	}
	return msg.Seal()
}
