package sockeye

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// pendingAck is an answer that is waited for.
type pendingAck struct {
	done  atomic.Bool
	waits chan ackAnswer               // Call waits here
	then  func(answer Args, err error) // or this is called
	timer *time.Timer
}

type ackAnswer struct {
	args Args
	err  error
}

// finish gives the answer to who waits for it, once.
func (p *pendingAck) finish(args Args, err error) {
	if !p.done.CompareAndSwap(false, true) {
		return
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.waits != nil {
		p.waits <- ackAnswer{args, err}
	} else {
		p.then(args, err)
	}
}

// Call sends an event and waits for the peer's answer, until ctx is done. The
// answer may be kept. Its error is also ErrDisconnected or ErrTooManyAcks. It
// must not be called by an Inline handler: it would wait for its own loop.
func (s *Socket) Call(ctx context.Context, event string, args ...any) (Args, error) {
	p := &pendingAck{waits: make(chan ackAnswer, 1)}
	id, err := s.emitAsking(p, event, args)
	if err != nil {
		return Args{}, err
	}
	select {
	case a := <-p.waits:
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
	p := &pendingAck{then: func(answer Args, err error) {
		_ = s.guard(event, func() error { then(answer, err); return nil })
	}}
	var id atomic.Uint64
	p.timer = time.AfterFunc(s.ns.srv.cfg.AckTimeout, func() {
		s.takeAck(id.Load())
		p.finish(Args{}, ErrAckTimeout)
	})
	n, err := s.emitAsking(p, event, args)
	id.Store(n)
	if err != nil {
		p.timer.Stop()
	}
	return err
}

func (s *Socket) emitAsking(p *pendingAck, event string, args []any) (id uint64, err error) {
	s.mu.Lock()
	switch {
	case s.gone.Load():
		err = ErrDisconnected
	case len(s.acks) >= s.ns.srv.cfg.MaxPendingAcks:
		err = ErrTooManyAcks
	default:
		if s.acks == nil {
			s.acks = map[uint64]*pendingAck{}
		}
		id = s.nextID
		s.nextID++
		s.acks[id] = p
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	msg, err := s.ns.srv.encodeEvent(s.ns.name, event, args, int64(id))
	if err != nil {
		s.takeAck(id)
		return 0, err
	}
	s.post(msg, false)
	return id, nil
}

// takeAck removes who waits for answer id.
func (s *Socket) takeAck(id uint64) *pendingAck {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.acks[id]
	delete(s.acks, id)
	if len(s.acks) == 0 {
		s.acks = nil
	}
	return p
}

// failAcks ends every wait: the socket is gone.
func (s *Socket) failAcks() {
	s.mu.Lock()
	acks := s.acks
	s.acks = nil
	s.mu.Unlock()
	for _, p := range acks {
		p.finish(Args{}, ErrDisconnected)
	}
}

// ack answers the peer's acknowledgement id.
func (s *Socket) ack(id uint64, args []any) error {
	if s.gone.Load() {
		return ErrDisconnected
	}
	var msg *engine.Message
	msg, err := s.ns.srv.encode(sio.Packet{Type: sio.Ack, ID: id, HasID: true}, s.ns.name, "", args)
	if err != nil {
		return err
	}
	s.post(msg, false)
	return nil
}
