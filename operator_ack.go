package sockeye

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sockeye-io/sockeye/netpoll"
)

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

	asked []*pendingAck // by the one who asks
}

// Call sends an event to the sockets addressed and waits for their answers,
// until ctx is done or, if it has no deadline, for Config.AckTimeout. It returns
// those that came, and ErrAckTimeout, with ctx's error if that is why, if others
// did not, or if their sockets have gone. The event is encoded once.
//
// The socket of the handler that calls is not waited for if its peer has not been
// told yet that it is in: in OnConnect it counts as one that has not answered. On an event loop Call returns ErrWouldBlock.
func (op Operator) Call(ctx context.Context, event string, args ...any) ([]Answer, error) {
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case netpoll.OnLoop() && len(op.Sockets()) > 0:
		return nil, ErrWouldBlock
	}
	a, err := op.ask(event, args)
	if err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, op.server().cfg.AckTimeout, ErrAckTimeout)
		defer cancel()
	}
	return a.wait(ctx)
}

// EmitWithAck is Call for who does not wait: it sends the event, and calls f with
// Call's results on a goroutine of its own, after Timeout at the latest. If
// EmitWithAck returns an error it does not call f.
func (op Operator) EmitWithAck(f func(answers []Answer, err error), event string, args ...any) error {
	srv := op.server()
	a, err := op.ask(event, args)
	if err != nil {
		return err
	}
	go func() {
		ctx, cancel := context.WithTimeoutCause(context.Background(), srv.ackTimeout(op.timeout), ErrAckTimeout)
		defer cancel()
		answers, err := a.wait(ctx)
		srv.protect(event, func() { f(answers, err) })
	}()
	return nil
}

// ask sends the event. What it returns must be waited for.
func (op Operator) ask(event string, args []any) (*answers, error) {
	a := &answers{all: make(chan struct{}), left: 1} // one until all have been asked
	for _, ns := range op.namespaces() {
		ns.tellOutgoing(nil, event, args)
		id := ns.ackID.Add(1) - 1
		msg, err := ns.srv.encodeEvent(ns.name, event, args, int64(id))
		if err != nil {
			a.forget()
			return nil, err
		}
		for _, m := range ns.rooms.Members(op.o) {
			s := m.Owner.(*Socket)
			a.mu.Lock()
			a.left++
			a.mu.Unlock()
			p := &pendingAck{s: s, id: id, now: true, answer: func(args Args, err error) { a.add(s, args, err) }}
			err := s.addAck(p)
			if err == nil && !s.life.state().answered() && s.inHandler() {
				s.takeAck(id)
				err = ErrConnecting
			}
			if err != nil {
				p.finish(Args{}, err)
				continue
			}
			a.asked = append(a.asked, p)
			if s.mailboxFull() {
				s.engineSession().Loop().Post(paceOnLoop, s, nil, 0)
			}
		}
		if err := op.send(ns, msg); err != nil {
			a.forget()
			return nil, err
		}
	}
	a.add(nil, Args{}, nil)
	return a, nil
}

// forget gives up those that have not answered.
func (a *answers) forget() {
	for _, p := range a.asked {
		p.s.takeAck(p.id)
	}
}

func (a *answers) wait(ctx context.Context) ([]Answer, error) {
	var err error
	select {
	case <-a.all:
	case <-ctx.Done():
		select {
		case <-a.all: // at the same time
			return a.result(nil)
		default:
		}
		if err = ErrAckTimeout; !errors.Is(context.Cause(ctx), ErrAckTimeout) {
			err = fmt.Errorf("%w: %w", ErrAckTimeout, ctx.Err())
		}
		a.forget()
	}
	return a.result(err)
}

func (a *answers) result(err error) ([]Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost > 0 && err == nil {
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

func (op Operator) server() *Server {
	if op.parent != nil {
		return op.parent.srv
	}
	return op.ns.srv
}
