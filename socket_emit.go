package sockeye

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// What is sent to one socket goes this way, and no other: those who watch are
// told, the socket's queue has space, it is encoded, and posted to the socket's loop,
// which hands it to the session. What comes before the peer has been told that it
// is in, or while the session's queue is full of what comes first, is held.
//
//	Emit, Call, Ack -> tell -> wait -> encode -> post -> loop: settle -> deliver -> session
//	                                                                        \-> held -> pump -/

// Emit sends an event. Arguments are encoded by the Codec, except that []byte
// is sent as binary, at the top or inside map[string]any and []any, and
// Argument values of a received event are passed on as they are. The JavaScript client
// takes 10 []byte in one event, and closes the connection for more. What one goroutine
// emits arrives in that order.
//
// While more than Config.MaxQueuedBytes wait for this peer Emit waits, for
// Config.EmitTimeout at most; see WithContext and Timeout. A peer that reads too slowly
// is disconnected. On an event loop (Config.Inline) it never waits.
//
// Its error is ErrReservedEvent, ErrDisconnected, ErrQueueFull, ErrConnecting or the
// Codec's; the event has not been sent then.
func (s *Socket) Emit(event string, args ...any) error {
	return s.emit(event, args, emission{})
}

// Send emits the "message" event.
func (s *Socket) Send(args ...any) error { return s.Emit("message", args...) }

func (s *Socket) emit(event string, args []any, em emission) error {
	if !s.life.state().sends() {
		return s.emitGone(event, args, em)
	}
	if !em.told {
		s.ns.tellOutgoing(s, event, args, false)
		em.told = true
	}
	switch err := s.waitForSpace(em); {
	case errors.Is(err, ErrDisconnected):
		return s.emitGone(event, args, em)
	case err != nil:
		return err
	}
	if h := s.ns.shared.Load(); h != nil {
		return h.emit(s, event, args, em)
	}
	if s.ns.history != nil {
		return s.emitRecorded(event, args, em)
	}
	msg, err := s.ns.srv.encodeEvent(s.ns.name, event, args, noAck)
	if err != nil {
		return err
	}
	s.count(tallyEventsOut)
	s.post(msg, em)
	return nil
}

// emitGone is emit of a socket that has gone: connection state recovery may know where it is.
func (s *Socket) emitGone(event string, args []any, em emission) error {
	switch h := s.ns.shared.Load(); {
	case s.life.state() != gone || em.volatile:
	case h != nil:
		return h.emitAway(s, event, args, em)
	case s.ns.history != nil:
		return s.emitAway(event, args, em)
	}
	return ErrDisconnected
}

// ack answers the peer's acknowledgement id.
func (s *Socket) ack(id uint64, args []any) error {
	if !s.life.state().sends() {
		return ErrDisconnected
	}
	if err := s.waitForSpace(emission{}); err != nil {
		return err
	}
	msg, err := s.ns.srv.encode(sio.Packet{Type: sio.Ack, ID: id, HasID: true}, s.ns.name, "", args)
	if err != nil {
		return err
	}
	s.count(tallyAcksOut)
	s.post(msg, emission{})
	return nil
}

// post sends msg and takes over its reference.
func (s *Socket) post(msg *engine.Message, em emission) {
	if h := s.ns.shared.Load(); h != nil && !em.inOrder && s.life.state() != asking && h.defersPost(s, msg, em) {
		return
	}
	msg.NoCompress = em.noCompress
	s.ns.srv.deflate(msg)
	run := sendOnLoop
	switch {
	case s.life.state() == asking:
		run = sendEarlyOnLoop // a middleware's: before the answer
	case em.volatile:
		run = sendVolatileOnLoop
	}
	s.unsent.Add(units(msg))
	loop, posted := s.engineSession().Loop(), false
	if em.noWait {
		posted = loop.PostNow(run, s, msg, msg.Size())
	} else {
		posted = loop.Post(run, s, msg, msg.Size())
	}
	if !posted {
		s.unsent.Add(-units(msg))
		msg.Release()
	}
}

func sendEarlyOnLoop(a, b any) {
	s, msg := a.(*Socket), b.(*engine.Message)
	if !s.life.state().over() {
		s.engineSession().Send(msg)
	}
	s.handedOn(msg)
	msg.Release()
}

func sendOnLoop(a, b any)         { a.(*Socket).sendOwn(b.(*engine.Message), false) }
func sendVolatileOnLoop(a, b any) { a.(*Socket).sendOwn(b.(*engine.Message), true) }

// sendOwn sends what is for this socket alone, after what was broadcast to it
// before. Loop-owned.
func (s *Socket) sendOwn(msg *engine.Message, volatile bool) {
	s.ns.rooms.Settle(&s.member)
	if !s.deliver(msg, volatile) {
		s.handedOn(msg)
	}
	msg.Release()
}

// unsentUnit is the unit of Socket.unsent, in bytes of memory.
const unsentUnit = 64

func units(msg *engine.Message) int32 { return int32((msg.Memory() + unsentUnit - 1) / unsentUnit) }

// handedOn counts off what has reached the session, or nobody. Loop-owned.
func (s *Socket) handedOn(msg *engine.Message) {
	n := units(msg)
	left, limit := s.unsent.Add(-n), s.maxUnsent()
	if left <= limit && left+n > limit {
		s.wake()
	}
}

// maxUnsent is from when on Emit waits though the session's queue is not full, in
// unsentUnit: a quarter of what that takes.
func (s *Socket) maxUnsent() int32 {
	return int32(s.ns.srv.engine.Config().MaxQueuedBytes / 4 / unsentUnit)
}

// deliver hands msg to the session, or holds it until it is its turn. Loop-owned.
func (s *Socket) deliver(msg *engine.Message, volatile bool) (holds bool) {
	switch state := s.life.state(); {
	case state.over():
	case state == connecting, state == dismissing, s.held != nil:
		if volatile {
			s.ns.srv.stats.dropped.Add(1)
			return false
		}
		s.hold(msg)
		return true
	case !volatile:
		s.hand(msg)
	case !s.engineSession().SendVolatile(msg):
		s.ns.srv.stats.dropped.Add(1)
	}
	return false
}

// hand gives msg to the session. Loop-owned.
func (s *Socket) hand(msg *engine.Message) {
	if msg.Tag != 0 && s.identity != nil {
		s.identity.last = msg.Tag
	}
	s.engineSession().Send(msg)
}

// held is what waits for the answer to the peer's CONNECT, and, paced, for space in
// the session's queue. Loop-owned.
type held struct {
	back      *back         // likewise, by an adapter's history
	unwritten bool          // the peer may be told when the session has been written
	missed    *missedEvents // of a socket that has come back: they are first; nil when there are no more
	messages  []*engine.Message
	answer    *engine.Message // the one among them that tells the peer that it is in
	bytes     int             // of memory
}

func (h *held) empty() bool { return h.missed == nil && h.back == nil && len(h.messages) == 0 }

// hold keeps msg until it is its turn. Loop-owned.
func (s *Socket) hold(msg *engine.Message) {
	if s.held == nil {
		s.held = new(held)
	}
	h := s.held
	h.messages = append(h.messages, msg.Retain())
	h.bytes += msg.Memory()
	msg.Charge(s.ns.srv.group.Memory())
	linkOf(s.engineSession()).weigh()
}

// pump hands on what is held, as far as the session has space; all of it if the
// socket is about to go. Loop-owned.
func (s *Socket) pump(all bool) {
	h := s.held
	if h == nil || !s.life.state().answered() && !all || h.unwritten && !all {
		return
	}
	for s.held == h && !h.empty() && (all || !s.engineSession().Full()) {
		if h.missed != nil {
			msg := h.missed.next()
			if msg == nil {
				h.missed = nil
				continue
			}
			s.hand(msg)
			msg.Release()
			continue
		}
		if h.back != nil {
			msg := (*engine.Message)(nil)
			if !h.back.empty() {
				if msg = h.back.take(); msg == nil && !all {
					break // it is being read
				}
			}
			if msg == nil {
				h.back = nil
				continue
			}
			s.hand(msg)
			msg.Release()
			continue
		}
		msg := h.messages[0]
		h.messages[0] = nil
		h.messages = h.messages[1:]
		h.bytes -= msg.Memory()
		s.hand(msg) // which may find that the peer has gone
		if msg == h.answer {
			h.answer = nil
			s.told()
		} else {
			s.handedOn(msg)
		}
		msg.Release()
	}
	if s.held == h {
		if h.empty() {
			s.held = nil
		}
		linkOf(s.engineSession()).weigh()
	}
}

// dropHeld forgets what is held: nobody will get it. Loop-owned.
func (s *Socket) dropHeld() {
	if saved := s.who().saved; saved != nil {
		saved.missed.drop()
	}
	if b := s.who().back; b != nil {
		b.drop()
	}
	if h := s.held; h != nil {
		s.held = nil
		for _, msg := range h.messages {
			if msg != h.answer {
				s.unsent.Add(-units(msg))
			}
			msg.Release()
		}
	}
}

// QueuedBytes is what waits for the peer to read: memory, on the way to its session
// and there, without what the kernel has taken.
func (s *Socket) QueuedBytes() int {
	return int(s.unsent.Load())*unsentUnit + s.engineSession().QueuedBytes()
}

// full tells whether Emit waits. Any goroutine.
func (s *Socket) full() bool {
	return s.engineSession().Full() || s.unsent.Load() > s.maxUnsent()
}

// Flush waits until what was emitted to the socket before has been given to the
// kernel or, by polling, to a poll. Its error is ErrDisconnected or ctx's. On an
// event loop, and in a handler that decides on the connection, it cannot wait:
// ErrWouldBlock, ErrConnecting.
func (s *Socket) Flush(ctx context.Context) error {
	switch {
	case netpoll.OnLoop():
		return ErrWouldBlock
	case !s.life.state().answered() && s.inHandler():
		return ErrConnecting // a bounded wait for anybody else: ctx
	}
	look := time.NewTicker(flushEvery)
	defer look.Stop()
	for {
		room := s.waitRoom()
		switch {
		case s.life.state().over():
			return ErrDisconnected
		case s.QueuedBytes() == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		select {
		case <-room:
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

// flushEvery is how often Flush looks: a queue that empties tells nobody.
const flushEvery = 10 * time.Millisecond

// waitForSpace waits until the socket's queue has space, for a bounded time.
func (s *Socket) waitForSpace(em emission) error {
	ctx := em.context()
	if err := ctx.Err(); err != nil {
		return err
	}
	if em.volatile || !s.full() || netpoll.OnLoop() {
		return nil
	}
	if !s.life.state().answered() {
		// Nothing leaves before OnConnect has returned, and nobody waits for that: it
		// may wait for whoever emits.
		switch {
		case s.unsent.Load() <= 4*s.maxUnsent():
			return nil
		case s.inHandler():
			return ErrConnecting
		}
		return ErrQueueFull
	}
	limit := s.ns.srv.cfg.EmitTimeout
	if em.timeout > 0 {
		limit = em.timeout
	}
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for late := false; ; {
		// What is true now counts, not which of several things has woken it.
		room := s.waitRoom()
		switch {
		case !s.life.state().sends():
			return ErrDisconnected
		case !s.full():
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case late:
			s.ns.srv.stats.emitTimeouts.Add(1)
			s.tell("slow", "sockeye: an emit has ended, its peer reads too slowly", slog.Int("queued", s.QueuedBytes()))
			return ErrQueueFull
		}
		select {
		case <-room:
		case <-deadline.C:
			late = true
		case <-ctx.Done():
		}
	}
}

// waitRoom returns what wake closes next. The caller looks again before it waits:
// whatever changes after this call wakes it.
func (s *Socket) waitRoom() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extra()
	if x.room == nil {
		x.room = make(chan struct{})
	}
	return x.room
}

// wake has all who wait look again.
func (s *Socket) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras != nil && s.extras.room != nil {
		close(s.extras.room)
		s.extras.room = nil
	}
}

// emission are the options of one emit.
type emission struct {
	volatile   bool
	noCompress bool
	timeout    time.Duration
	ctx        context.Context // of one call
	noWait     bool            // for the loop: a lock is held, and it has been waited for
	inOrder    bool            // it is behind what was emitted before
	told       bool            // those who watch know of it
}

func (em *emission) context() context.Context {
	if em.ctx == nil {
		return context.Background()
	}
	return em.ctx
}

// Emitter emits to one socket with other than the default options. It is
// immutable: each method returns a new one. Its methods may be called from any
// goroutine.
type Emitter struct {
	s *Socket
	emission
}

// Volatile emits events that are dropped if the peer cannot take them at once:
// it has not read what was sent before, or waits in no poll.
func (s *Socket) Volatile() Emitter { return Emitter{s: s}.Volatile() }

// Compress tells whether the transport may compress the events.
func (s *Socket) Compress(on bool) Emitter { return Emitter{s: s}.Compress(on) }

// Timeout sets how long Emit waits for space, and EmitWithAck for the answer.
func (s *Socket) Timeout(d time.Duration) Emitter { return Emitter{s: s}.Timeout(d) }

// WithContext makes Emit wait for space until ctx is done at most: the error is
// ctx's then. It is for one emit, or a few, not to be kept.
func (s *Socket) WithContext(ctx context.Context) Emitter { return Emitter{s: s}.Context(ctx) }

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

// Context is Socket.WithContext.
func (e Emitter) Context(ctx context.Context) Emitter {
	e.ctx = ctx
	return e
}

// Emit is Socket.Emit.
func (e Emitter) Emit(event string, args ...any) error { return e.s.emit(event, args, e.emission) }

// Send emits the "message" event.
func (e Emitter) Send(args ...any) error { return e.Emit("message", args...) }

// EmitWithAck is Socket.EmitWithAck.
func (e Emitter) EmitWithAck(f func(answer Args, err error), event string, args ...any) error {
	return e.s.emitWithAck(f, e.emission, event, args)
}
