package sockeye

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/bytebufferpool"

	"github.com/sockeye-io/sockeye/engine"
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
	msg := engine.NewMessage(false)
	enc := encoder{codec: srv.cfg.Codec}
	if !hasBinary(args) {
		msg.B = sio.AppendHeader(msg.B, p)
		msg.B = enc.appendArray(msg.B, p.Type, event, args)
	} else {
		// The header tells the number of attachments, so the array is first.
		scratch := bytebufferpool.Get()
		defer bytebufferpool.Put(scratch)
		scratch.B = enc.appendArray(scratch.B, p.Type, event, args)
		if p.Attachments = len(enc.attachments); p.Attachments > 0 {
			p.Type += sio.BinaryEvent - sio.Event
		}
		msg.B = append(sio.AppendHeader(msg.B, p), scratch.B...)
		for _, a := range enc.attachments {
			part := engine.NewMessage(true)
			part.B = append(part.B, a...)
			msg.Attach(part)
		}
	}
	if enc.err != nil {
		msg.Seal().Release()
		return nil, fmt.Errorf("sockeye: encode %q: %w", event, enc.err)
	}
	return msg.Seal(), nil
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

// encoder turns arguments into JSON with placeholders for binary.
type encoder struct {
	codec       Codec
	attachments [][]byte
	depth       int
	err         error
}

// maxDepth bounds the nesting of values with binary in them, as of JSON from peers.
const maxDepth = 512

var errTooDeep = fmt.Errorf("nested more than %d deep, or without end", maxDepth)

func (e *encoder) appendArray(dst []byte, t sio.PacketType, event string, args []any) []byte {
	dst = append(dst, '[')
	if t == sio.Event {
		dst = appendJSONString(dst, event)
		if len(args) > 0 {
			dst = append(dst, ',')
		}
	}
	for i, a := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.append(dst, a)
	}
	return append(dst, ']')
}

// append appends one value: the common ones directly, the others by the Codec.
func (e *encoder) append(dst []byte, v any) []byte {
	if e.err != nil {
		return dst
	}
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return appendJSONString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case []byte:
		e.attachments = append(e.attachments, v)
		return sio.AppendPlaceholder(dst, len(e.attachments)-1)
	case Argument:
		return e.appendArgument(dst, v)
	case json.RawMessage:
		if err := sio.Valid(v, 0); err != nil {
			e.err = err
		}
		return append(dst, v...)
	case [][]byte:
		return e.nested(dst, func(dst []byte) []byte { return e.appendArray(dst, sio.Ack, "", asAny(v)) })
	case []any:
		if hasBinary(v) {
			return e.nested(dst, func(dst []byte) []byte { return e.appendArray(dst, sio.Ack, "", v) })
		}
	case map[string][]byte:
		return e.nested(dst, func(dst []byte) []byte { return appendMap(e, dst, v) })
	case map[string]any:
		if valueHasBinary(v, 0) {
			return e.nested(dst, func(dst []byte) []byte { return appendMap(e, dst, v) })
		}
	}
	b, err := e.codec.Marshal(v)
	if err != nil && e.err == nil {
		e.err = err
	}
	return append(dst, b...)
}

// nested appends what is one level deeper: a value may hold itself.
func (e *encoder) nested(dst []byte, f func(dst []byte) []byte) []byte {
	if e.depth == maxDepth {
		e.err = errTooDeep
		return dst
	}
	e.depth++
	dst = f(dst)
	e.depth--
	return dst
}

func asAny(list [][]byte) []any {
	all := make([]any, len(list))
	for i, b := range list {
		all[i] = b
	}
	return all
}

func appendMap[V any](e *encoder, dst []byte, m map[string]V) []byte {
	dst = append(dst, '{')
	first := true
	for k, v := range m {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendJSONString(dst, k), ':')
		dst = e.append(dst, v)
	}
	return append(dst, '}')
}

// appendArgument passes a received argument on; its placeholders get the
// numbers of this packet.
func (e *encoder) appendArgument(dst []byte, a Argument) []byte {
	if len(a.attachments) == 0 {
		return append(dst, a.JSON...)
	}
	dst, err := sio.AppendRenumbered(dst, a.JSON, func(num int) (int, bool) {
		if num < 0 || num >= len(a.attachments) {
			return 0, false
		}
		e.attachments = append(e.attachments, a.attachments[num])
		return len(e.attachments) - 1, true
	})
	if err != nil && e.err == nil {
		e.err = err
	}
	return dst
}

// hasBinary tells whether values may hold binary that is to be sent as such.
func hasBinary(values []any) bool {
	for _, v := range values {
		if valueHasBinary(v, 0) {
			return true
		}
	}
	return false
}

// valueHasBinary looks into the application's own value; what is nested too deep is
// taken for one that has, which the encoder refuses then.
func valueHasBinary(v any, depth int) bool {
	if depth > maxDepth {
		return true
	}
	switch v := v.(type) {
	case []byte, [][]byte, map[string][]byte:
		return true
	case Argument:
		return len(v.attachments) > 0
	case []any:
		for _, x := range v {
			if valueHasBinary(x, depth+1) {
				return true
			}
		}
	case map[string]any:
		for _, x := range v {
			if valueHasBinary(x, depth+1) {
				return true
			}
		}
	}
	return false
}

// appendJSONString appends s as JSON.stringify writes it; what is not UTF-8
// becomes U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			start = i + 1
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}
