package sockeye

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// pendingAck is an answer that is waited for. It ends once: by the answer, by its
// deadline, by the socket's end, or by whoever waits no longer.
type pendingAck struct {
	// Immutable after addAck.
	s       *Socket
	id      uint64
	timeout time.Duration              // 0: whoever waits has a deadline of its own
	now     bool                       // who has the answer calls answer at once; else the mailbox does
	answer  func(args Args, err error) // what is done with it

	// Loop-owned.
	timer netpoll.Timer

	// Any goroutine (atomic).
	done atomic.Bool
}

// finish gives the answer to who waits for it, once.
func (p *pendingAck) finish(args Args, err error) {
	if p.done.CompareAndSwap(false, true) {
		p.answer(args, err)
	}
}

// Expire is for the loop's timers only: no answer came in time.
func (p *pendingAck) Expire(*netpoll.Timer) {
	switch {
	case p.s.takeAck(p.id) != p:
	case p.now:
		p.finish(Args{}, ErrAckTimeout)
	default:
		p.s.push(mail{kind: mailNoAck, call: p})
	}
}

type ackAnswer struct {
	args Args
	err  error
}

// Call sends an event and waits for the peer's answer, which may be kept: until
// ctx is done or, if it has no deadline, for Config.AckTimeout. Its error is ctx's,
// ErrAckTimeout, ErrDisconnected as soon as the peer has gone, ErrTooManyAcks or one
// of Emit's.
//
// Where no answer can come it returns at once: ErrConnecting in a middleware and in
// OnConnect, before the peer has been told that it is in (ask in OnConnection), and
// ErrWouldBlock on an event loop, as in a handler of Config.Inline (use EmitWithAck). A
// handler that waits in Call keeps the later events of its socket waiting: the peer
// must not need one of them to be handled before it answers.
func (s *Socket) Call(ctx context.Context, event string, args ...any) (Args, error) {
	switch {
	case ctx.Err() != nil:
		return Args{}, ctx.Err()
	case netpoll.OnLoop():
		return Args{}, ErrWouldBlock
	case !s.life.state().answered() && s.inHandler():
		return Args{}, ErrConnecting
	}
	waits := make(chan ackAnswer, 1)
	p := &pendingAck{now: true, answer: func(args Args, err error) { waits <- ackAnswer{args, err} }}
	if _, ok := ctx.Deadline(); !ok {
		p.timeout = s.ns.srv.cfg.AckTimeout
	}
	if err := s.emitAsking(p, emission{ctx: ctx}, event, args); err != nil {
		return Args{}, err
	}
	select {
	case a := <-waits:
		return a.args, a.err
	case <-ctx.Done():
		if s.takeAck(p.id) != p { // it has ended at the same time
			a := <-waits
			return a.args, a.err
		}
		s.engineSession().Loop().Post(stopAckOnLoop, p, nil, 0)
		return Args{}, ctx.Err()
	}
}

// EmitWithAck sends an event and calls f once: with the peer's answer, with
// ErrAckTimeout after Config.AckTimeout, or with ErrDisconnected. It is for who
// asks and does not wait: a Call holds its goroutine, and in a handler the events
// of its socket, until the answer is there. f runs as a handler of the socket
// does, in the order of its events. The answer is valid until f returns. If
// EmitWithAck returns an error it does not call f.
func (s *Socket) EmitWithAck(f func(answer Args, err error), event string, args ...any) error {
	return s.emitWithAck(f, emission{}, event, args)
}

func (s *Socket) emitWithAck(f func(answer Args, err error), em emission, event string, args []any) error {
	p := &pendingAck{timeout: s.ns.srv.ackTimeout(em.timeout), answer: func(args Args, err error) {
		_ = s.guard(event, func() error { f(args, err); return nil })
	}}
	return s.emitAsking(p, em, event, args)
}

// startAckOnLoop starts an answer's deadline, unless the answer is here already, and has
// the session read on for it.
func startAckOnLoop(a, b any) {
	s, p := a.(*Socket), b.(*pendingAck)
	s.mu.Lock()
	waiting := s.acks()[p.id] == p
	s.mu.Unlock()
	if !waiting {
		return
	}
	if p.timeout > 0 {
		s.engineSession().Loop().Arm(&p.timer, p, p.timeout)
	}
	linkOf(s.engineSession()).pace()
}

func stopAckOnLoop(a, _ any) {
	p := a.(*pendingAck)
	p.s.engineSession().Loop().Stop(&p.timer)
}

func (srv *Server) ackTimeout(d time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return srv.cfg.AckTimeout
}

func (s *Socket) emitAsking(p *pendingAck, em emission, event string, args []any) error {
	if !s.life.state().sends() {
		return ErrDisconnected
	}
	s.ns.tellOutgoing(s, event, args, true)
	if err := s.waitForSpace(em); err != nil {
		return err
	}
	p.s, p.id = s, s.ns.ackID.Add(1)-1
	s.ns.watchAnswer(p, event)
	msg, err := s.ns.srv.encodeEvent(s.ns.name, event, args, int64(p.id)) // first: it may panic
	if err != nil {
		return err
	}
	if err := s.addAck(p); err != nil {
		msg.Release()
		return err
	}
	s.count(tallyEventsOut)
	s.post(msg, em)
	s.engineSession().Loop().Post(startAckOnLoop, s, p, 0)
	return nil
}

// addAck enters who waits for an answer.
func (s *Socket) addAck(p *pendingAck) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.life.state().sends():
		return ErrDisconnected
	case len(s.acks()) >= s.ns.srv.cfg.MaxPendingAcks:
		return ErrTooManyAcks
	case s.acks() == nil:
		s.extra().acks = map[uint64]*pendingAck{}
	}
	s.acks()[p.id] = p
	if p.now {
		s.extras.calls++
	}
	return nil
}

// acks are those who wait for answers, by id; mu is held.
func (s *Socket) acks() map[uint64]*pendingAck {
	if s.extras == nil {
		return nil
	}
	return s.extras.acks
}

// takeAck removes who waits for answer id.
func (s *Socket) takeAck(id uint64) *pendingAck {
	s.mu.Lock()
	defer s.mu.Unlock()
	acks := s.acks()
	p := acks[id]
	if p == nil {
		return nil
	}
	if p.now {
		s.extras.calls--
	}
	if delete(acks, id); len(acks) == 0 {
		s.extras.acks = nil
	}
	return p
}

// endCalls ends those who wait in Call, and the deadlines of all: the socket is
// gone. The others are told in the order of the socket's events. Loop-owned.
func (s *Socket) endCalls() {
	s.mu.Lock()
	var calls []*pendingAck
	for _, id := range slices.Sorted(maps.Keys(s.acks())) { // in the order in which they were asked
		p := s.extras.acks[id]
		s.engineSession().Loop().Stop(&p.timer)
		if p.now {
			calls = append(calls, p)
			delete(s.extras.acks, id)
		}
	}
	if len(calls) > 0 {
		s.extras.calls = 0
	}
	s.mu.Unlock()
	for _, p := range calls {
		p.finish(Args{}, ErrDisconnected)
	}
}

// failAcks ends every wait that is left. Mailbox-owned.
func (s *Socket) failAcks() {
	s.mu.Lock()
	acks := s.acks()
	if acks != nil {
		s.extras.acks = nil
	}
	s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(acks)) {
		acks[id].finish(Args{}, ErrDisconnected)
	}
}
