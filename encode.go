package sockeye

import (
	"fmt"

	"github.com/valyala/bytebufferpool"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/proto/sio"
)

const noAck = -1

// encodeEvent encodes an event once, for any number of sockets.
func (srv *Server) encodeEvent(namespace, event string, args []any, ackID int64) (*engine.Message, error) {
	if sio.IsReserved([]byte(event)) {
		return nil, fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	p := sio.Packet{Type: sio.Event}
	if ackID != noAck {
		p.ID, p.HasID = uint64(ackID), true
	}
	return srv.encode(p, namespace, event, args)
}

// encode encodes an event, or, with no event name, an answer.
func (srv *Server) encode(p sio.Packet, namespace, event string, args []any) (*engine.Message, error) {
	if srv.cfg.Parser != nil {
		return srv.encodeByParser(p, namespace, event, args)
	}
	return srv.encodeJSON(p, namespace, event, args)
}

func (srv *Server) encodeJSON(p sio.Packet, namespace, event string, args []any) (*engine.Message, error) {
	p.Namespace = []byte(namespace)
	enc := arguments.Encoder{Codec: srv.cfg.Codec, Received: received}
	var msg *engine.Message
	if !arguments.HasBinary(args, received) {
		msg = engine.NewMessage(false)
		msg.B = sio.AppendHeader(msg.B, p)
		msg.B = appendList(&enc, msg.B, p.Type, event, args)
		msg.Seal()
	} else {
		// The header tells the number of attachments, so the array is first.
		scratch := bytebufferpool.Get()
		defer bytebufferpool.Put(scratch)
		scratch.B = appendList(&enc, scratch.B, p.Type, event, args)
		msg = assemble(p, scratch.B, enc.Attachments)
	}
	if enc.Err != nil {
		msg.Release()
		return nil, fmt.Errorf("sockeye: encode %q: %w", event, enc.Err)
	}
	return msg, nil
}

// assemble makes a message of a packet's parts, which it copies.
func assemble(p sio.Packet, json []byte, attachments [][]byte) *engine.Message {
	if p.Attachments = len(attachments); p.Attachments > 0 {
		p.Type += sio.BinaryEvent - sio.Event
	}
	msg := engine.NewMessage(false)
	msg.B = append(sio.AppendHeader(msg.B, p), json...)
	for _, a := range attachments {
		part := engine.NewMessage(true)
		part.B = append(part.B, a...)
		msg.Attach(part)
	}
	return msg.Seal()
}

// deflate compresses a large message on the goroutine that emits it.
func (srv *Server) deflate(msg *engine.Message) {
	if !msg.NoCompress {
		msg.Deflate(srv.cfg.Deflate)
	}
}

// encodeByParser is encode for Config.Parser. It gives that a copy of args, which
// may so stay on the stack of who emits without one.
func (srv *Server) encodeByParser(p sio.Packet, namespace, event string, args []any) (*engine.Message, error) {
	p.Namespace = []byte(namespace)
	data := append([]any(nil), args...)
	if p.Type == sio.Event {
		data = append([]any{event}, args...)
	}
	msg := engine.NewMessage(srv.cfg.Parser.Binary())
	b, err := srv.cfg.Parser.Append(msg.B, p, data)
	if err != nil {
		msg.Seal().Release()
		return nil, fmt.Errorf("sockeye: encode %q: %w", event, err)
	}
	msg.B = b
	return msg.Seal(), nil
}

func appendList(enc *arguments.Encoder, dst []byte, t sio.PacketType, event string, args []any) []byte {
	if t == sio.Event {
		return enc.AppendEvent(dst, event, args)
	}
	return enc.AppendArray(dst, args)
}

// received is for package arguments: an Argument is passed on as it is.
func received(v any) (json []byte, attachments [][]byte, ok bool) {
	a, ok := v.(Argument)
	return a.JSON, a.attachments, ok
}
