package sockeye

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// pendingAck is an answer that is waited for.
type pendingAck struct {
	done atomic.Bool
	now  bool                         // then may be called by whoever has the answer, at once
	then func(answer Args, err error) // else in the order of the socket's events

	// Loop-owned.
	timer netpoll.Timer

	// Immutable after emitAsking.
	s       *Socket // nil without a deadline
	id      uint64
	timeout time.Duration
}

// finish gives the answer to who waits for it, once.
func (p *pendingAck) finish(args Args, err error) {
	if p.done.CompareAndSwap(false, true) {
		p.then(args, err)
	}
}

// Expire is for the loop's timers only: no answer came in time.
func (p *pendingAck) Expire(*netpoll.Timer) {
	if p.s.takeAck(p.id) == p {
		p.s.push(mail{kind: mailNoAck, call: p})
	}
}

type ackAnswer struct {
	args Args
	err  error
}

// Call sends an event and waits for the peer's answer, until ctx is done. The
// answer may be kept. Its error is also ErrDisconnected or ErrTooManyAcks. It
// must not be called by an Inline handler: it would wait for its own loop.
func (s *Socket) Call(ctx context.Context, event string, args ...any) (Args, error) {
	waits := make(chan ackAnswer, 1)
	p := &pendingAck{now: true, then: func(args Args, err error) { waits <- ackAnswer{args, err} }}
	id, err := s.emitAsking(p, emission{}, event, args)
	if err != nil {
		return Args{}, err
	}
	select {
	case a := <-waits:
		return a.args, a.err
	case <-ctx.Done():
		s.takeAck(id)
		return Args{}, ctx.Err()
	}
}

// EmitWithAck sends an event and has then called with the peer's answer, in
// the order of the socket's events, or with ErrAckTimeout after
// Config.AckTimeout, or with ErrDisconnected. The answer is valid until then
// returns.
func (s *Socket) EmitWithAck(then func(answer Args, err error), event string, args ...any) error {
	return s.emitWithAck(then, emission{}, event, args)
}

func (s *Socket) emitWithAck(then func(answer Args, err error), em emission, event string, args []any) error {
	p := &pendingAck{then: func(answer Args, err error) {
		_, _ = s.guard(event, func() error { then(answer, err); return nil })
	}}
	p.s = s
	_, err := s.emitAsking(p, em, event, args)
	return err
}

// startAck starts an answer's deadline, unless the answer is here already.
func startAck(a, b any) {
	s, p := a.(*Socket), b.(*pendingAck)
	s.mu.Lock()
	waiting := s.acks()[p.id] == p
	s.mu.Unlock()
	if waiting {
		s.session().Loop().Arm(&p.timer, p, p.timeout)
	}
}

func (srv *Server) ackTimeout(d time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return srv.cfg.AckTimeout
}

func (s *Socket) emitAsking(p *pendingAck, em emission, event string, args []any) (id uint64, err error) {
	id = s.ns.ackID.Add(1) - 1
	p.id, p.timeout = id, s.ns.srv.ackTimeout(em.timeout)
	if err := s.addAck(id, p); err != nil {
		return 0, err
	}
	s.outgoing(event, args)
	msg, err := s.ns.srv.encodeEvent(s.ns.name, event, args, int64(id))
	if err != nil {
		s.takeAck(id)
		return 0, err
	}
	msg.NoCompress = em.noCompress
	s.post(msg, em.volatile)
	if p.s != nil {
		s.session().Loop().Post(startAck, s, p, 0)
	}
	return id, nil
}

// addAck enters who waits for answer id.
func (s *Socket) addAck(id uint64, p *pendingAck) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.is(socketGone):
		return ErrDisconnected
	case len(s.acks()) >= s.ns.srv.cfg.MaxPendingAcks:
		return ErrTooManyAcks
	case s.acks() == nil:
		s.extra().acks = map[uint64]*pendingAck{}
	}
	s.acks()[id] = p
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
	if delete(acks, id); acks != nil && len(acks) == 0 {
		s.extras.acks = nil
	}
	return p
}

// stopAcks stops the deadlines of all waits. Loop-owned.
func (s *Socket) stopAcks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.acks() {
		s.session().Loop().Stop(&p.timer)
	}
}

// failAcks ends every wait: the socket is gone.
func (s *Socket) failAcks() {
	s.mu.Lock()
	acks := s.acks()
	if acks != nil {
		s.extras.acks = nil
	}
	s.mu.Unlock()
	for _, p := range acks {
		p.finish(Args{}, ErrDisconnected)
	}
}

// ack answers the peer's acknowledgement id.
func (s *Socket) ack(id uint64, args []any) error {
	if s.is(socketGone) {
		return ErrDisconnected
	}
	msg, err := s.ns.srv.encode(sio.Packet{Type: sio.Ack, ID: id, HasID: true}, s.ns.name, "", args)
	if err != nil {
		return err
	}
	s.post(msg, false)
	return nil
}

// Answer is what one of several sockets has acknowledged.
type Answer struct {
	SocketID string
	Args     Args // may be kept
}

// answers gathers those of a broadcast.
type answers struct {
	// Guarded by mu.
	mu   sync.Mutex
	list []Answer
	left int           // that have not answered
	lost int           // that have gone without an answer
	all  chan struct{} // closed when none is left
}

// Call sends an event to the sockets addressed and waits for their answers,
// until ctx is done. It returns those that came, and ErrAckTimeout if others
// did not: the socket has gone, or ctx was done. The event is encoded once.
func (op Operator) Call(ctx context.Context, event string, args ...any) ([]Answer, error) {
	a := &answers{all: make(chan struct{}), left: 1} // one until all have been asked
	type asked struct {
		s  *Socket
		id uint64
	}
	var waiting []asked
	for _, ns := range op.namespaces() {
		ns.tellOutgoing(nil, event, args)
		id := ns.ackID.Add(1) - 1
		msg, err := ns.srv.encodeEvent(ns.name, event, args, int64(id))
		if err != nil {
			return nil, err
		}
		for _, m := range ns.rooms.Members(op.o) {
			s := m.Owner.(*Socket)
			a.mu.Lock()
			a.left++
			a.mu.Unlock()
			p := &pendingAck{now: true, then: func(args Args, err error) { a.add(s, args, err) }}
			if err := s.addAck(id, p); err != nil {
				p.finish(Args{}, err)
				continue
			}
			waiting = append(waiting, asked{s, id})
		}
		op.send(ns, msg)
	}
	a.add(nil, Args{}, nil)
	var err error
	select {
	case <-a.all:
	case <-ctx.Done():
		err = ErrAckTimeout
		for _, w := range waiting {
			w.s.takeAck(w.id)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost > 0 {
		err = ErrAckTimeout
	}
	return a.list, err
}

func (a *answers) add(s *Socket, args Args, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case s == nil:
	case err != nil:
		a.lost++
	default:
		a.list = append(a.list, Answer{s.ID(), args})
	}
	if a.left--; a.left == 0 {
		close(a.all)
	}
}

// EmitWithAck is Call with a function that gets its results, on a goroutine of
// its own, after Timeout at the latest.
func (op Operator) EmitWithAck(then func(answers []Answer, err error), event string, args ...any) {
	srv := op.server()
	go func() {
		defer srv.recoverCallback(event, nil)
		ctx, cancel := context.WithTimeout(context.Background(), srv.ackTimeout(op.timeout))
		defer cancel()
		then(op.Call(ctx, event, args...))
	}()
}

func (op Operator) server() *Server {
	if op.parent != nil {
		return op.parent.srv
	}
	return op.ns.srv
}
