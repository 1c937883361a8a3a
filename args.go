package sockeye

import (
	"bytes"
	"fmt"

	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// Argument is one argument of a received event or answer, undecoded. Given to
// Emit, it is passed on as it is, binary included. It is valid until the
// handler returns; see Args.Clone.
type Argument struct {
	// JSON is the argument's JSON text, in which a placeholder object stands
	// for each binary attachment. With a Parser it is in that one's form.
	JSON []byte

	attachments [][]byte
}

// Args are the arguments of a received event or answer, undecoded. They are
// valid until the handler returns.
type Args struct {
	srv         *Server
	list        [][]byte
	attachments [][]byte
	json        bool // they are JSON though there is a Parser: of another server
}

func newArgs(srv *Server, list, attachments [][]byte) Args {
	return Args{srv: srv, list: list, attachments: attachments}
}

// Len is the number of arguments.
func (a *Args) Len() int { return len(a.list) }

// Argument is argument i, from 0.
func (a *Args) Argument(i int) Argument { return Argument{a.list[i], a.attachments} }

// Arguments are all arguments, ready to be given to Emit or Ack.
func (a *Args) Arguments() []any {
	all := make([]any, len(a.list))
	for i := range a.list {
		if all[i] = a.Argument(i); a.json && a.srv.cfg.Parser != nil {
			var v any // the Parser's form is another
			_ = a.decode(i, &v)
			all[i] = v
		}
	}
	return all
}

// parser reads the arguments; nil for JSON.
func (a *Args) parser() Parser {
	if a.json {
		return nil
	}
	return a.srv.cfg.Parser
}

// Decode decodes the first arguments into what dst point to. A *[]byte takes
// binary, at the top and in structs; in a *any, *[]any or *map[string]any binary
// is []byte at any depth. The error is ErrMissingArgument or the Codec's.
func (a *Args) Decode(dst ...any) error {
	for i, p := range dst {
		if i >= len(a.list) {
			return ErrMissingArgument
		}
		if err := a.decode(i, p); err != nil {
			return fmt.Errorf("sockeye: argument %d: %w", i, err)
		}
	}
	return nil
}

func (a *Args) decode(i int, dst any) error {
	arg := a.list[i]
	if parser := a.parser(); parser != nil {
		if p, ok := dst.(*Argument); ok {
			*p = Argument{JSON: bytes.Clone(arg)}
			return nil
		}
		return parser.Unmarshal(arg, dst)
	}
	switch p := dst.(type) {
	case *[]byte:
		if num, ok := sio.IsPlaceholder(arg); ok {
			if num < 0 || num >= len(a.attachments) {
				return sio.ErrPlaceholder
			}
			*p = a.attachments[num] // the attachment is the event's own memory: no copy is needed
			return nil
		}
	case *string:
		if text, ok := a.plain(i); ok {
			*p = text
			return nil
		}
	case *Argument:
		*p = Argument{bytes.Clone(arg), a.attachments}
		return nil
	}
	if len(a.attachments) > 0 && untyped(dst) {
		err := a.srv.cfg.Codec.Unmarshal(arg, dst)
		arguments.Restore(dst, a.attachments)
		return err
	}
	if len(a.attachments) > 0 {
		resolved, err := sio.AppendResolved(nil, arg, a.attachments)
		if err != nil {
			return err
		}
		arg = resolved
	}
	return a.srv.cfg.Codec.Unmarshal(arg, dst)
}

// plain is argument i if it is a string that stands in the JSON as it is.
func (a *Args) plain(i int) (text string, ok bool) {
	arg := a.list[i]
	if n := len(arg); n >= 2 && arg[0] == '"' && a.parser() == nil && bytes.IndexByte(arg, '\\') < 0 {
		return string(arg[1 : n-1]), true
	}
	return "", false
}

// untyped tells whether dst takes values of any kind: []byte for binary, then.
func untyped(dst any) bool {
	switch dst.(type) {
	case *any, *[]any, *map[string]any:
		return true
	}
	return false
}

// Clone copies the arguments, so that they may be kept.
func (a *Args) Clone() Args { return a.clone() }

func (a Args) clone() Args {
	list := make([][]byte, len(a.list))
	for i, b := range a.list {
		list[i] = bytes.Clone(b)
	}
	a.list = list // attachments are never reused
	return a
}
