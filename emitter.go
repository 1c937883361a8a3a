package sockeye

import "time"

// Emitter emits to one socket with other than the default options. It is
// immutable: each method returns a new one. Its methods may be called from any
// goroutine.
type Emitter struct {
	s *Socket
	emission
}

// emission are the options of one emit.
type emission struct {
	volatile   bool
	noCompress bool
	timeout    time.Duration
}

// Volatile emits events that are dropped if the peer cannot take them at once:
// it has not read what was sent before, or waits in no poll.
func (s *Socket) Volatile() Emitter { return Emitter{s: s}.Volatile() }

// Compress tells whether the transport may compress the events.
func (s *Socket) Compress(on bool) Emitter { return Emitter{s: s}.Compress(on) }

// Timeout sets how long EmitWithAck waits.
func (s *Socket) Timeout(d time.Duration) Emitter { return Emitter{s: s}.Timeout(d) }

// Volatile is Socket.Volatile.
func (e Emitter) Volatile() Emitter {
	e.volatile = true
	return e
}

// Compress is Socket.Compress.
func (e Emitter) Compress(on bool) Emitter {
	e.noCompress = !on
	return e
}

// Timeout is Socket.Timeout.
func (e Emitter) Timeout(d time.Duration) Emitter {
	e.timeout = d
	return e
}

// Emit is Socket.Emit.
func (e Emitter) Emit(event string, args ...any) error { return e.s.emit(event, args, e.emission) }

// Send emits the "message" event.
func (e Emitter) Send(args ...any) error { return e.Emit("message", args...) }

// EmitWithAck is Socket.EmitWithAck.
func (e Emitter) EmitWithAck(then func(answer Args, err error), event string, args ...any) error {
	return e.s.emitWithAck(then, e.emission, event, args)
}
