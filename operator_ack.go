package sockeye

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Answer is what one of several sockets has acknowledged.
type Answer struct {
	SocketID string // "" for a socket of another server
	Args     Args   // may be kept; of a socket of another server, in most formats, the first alone
}

// answers gathers those of a broadcast.
type answers struct {
	// Immutable after newAnswers.
	each func(id string, args Args) // is called with each, under mu

	// Guarded by mu.
	mu      sync.Mutex
	left    int           // that have not answered: sockets, and other servers' parts
	lost    int           // that have gone without an answer
	all     chan struct{} // closed when none is left
	timer   *time.Timer   // that is not needed any more then; or nil
	missing []error       // of other servers

	asked []*pendingAck  // by the one who asks
	parts sync.WaitGroup // who wait for other servers
}

func newAnswers(each func(id string, args Args)) *answers {
	return &answers{each: each, all: make(chan struct{}), left: 1} // one until all have been asked
}

// Call sends an event to the sockets addressed and waits for their answers,
// until ctx is done or, if it has no deadline, for Config.AckTimeout. It returns
// those that came, and ErrAckTimeout, with ctx's error if that is why, if others
// did not, or if their sockets have gone. The event is encoded once.
//
// With Config.Adapter the sockets of other servers are asked, too. If a server does not
// answer, the error has a *MissingError as well; ErrUnavailable tells that this server's
// own sockets alone were asked.
//
// The socket of the handler that calls is not waited for if its peer has not been
// told yet that it is in: in OnConnect it counts as one that has not answered. On an event loop Call returns ErrWouldBlock.
func (op Operator) Call(ctx context.Context, event string, args ...any) ([]Answer, error) {
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case netpoll.OnLoop() && (op.server().cfg.Adapter != nil || len(op.Sockets()) > 0):
		return nil, ErrWouldBlock
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, op.server().cfg.AckTimeout, ErrAckTimeout)
		defer cancel()
	}
	var list []Answer
	a, err := op.ask(ctx, &list, event, args)
	if err != nil {
		return nil, err
	}
	err = a.wait(ctx)
	return list, err
}

// EmitWithAck is Call for who does not wait: it sends the event, and calls f with
// Call's results on a goroutine of its own, after Timeout at the latest. If
// EmitWithAck returns an error it does not call f.
func (op Operator) EmitWithAck(f func(answers []Answer, err error), event string, args ...any) error {
	srv := op.server()
	ctx, cancel := context.WithTimeoutCause(context.Background(), srv.ackTimeout(op.timeout), ErrAckTimeout)
	var list []Answer
	a, err := op.ask(ctx, &list, event, args)
	if err != nil {
		cancel()
		return err
	}
	go func() {
		defer cancel()
		err := a.wait(ctx)
		srv.protect(event, func() { f(list, err) })
	}()
	return nil
}

// ask sends the event; answers come to list. What it returns must be waited for.
func (op Operator) ask(ctx context.Context, list *[]Answer, event string, args []any) (*answers, error) {
	a := newAnswers(func(id string, args Args) { *list = append(*list, Answer{id, args}) })
	for _, ns := range op.addressed(event, args, true) {
		ns.tellOutgoing(nil, event, args, true)
		if err := a.askIn(ctx, op.in(ns), event, args); err != nil {
			a.forget()
			return nil, err
		}
	}
	a.add("", Args{}, nil)
	return a, nil
}

// askIn sends the event to one namespace, of all servers.
func (a *answers) askIn(ctx context.Context, op Operator, event string, args []any) error {
	ns := op.ns
	if ns.remote == nil || op.o.Local {
		return a.ask(op, event, func(id int64) (*engine.Message, error) { return ns.srv.encodeEvent(ns.name, event, args, id) })
	}
	var p broadcast.Payload
	err := a.ask(op, event, func(id int64) (msg *engine.Message, err error) {
		p, msg, err = ns.encodeForAll(event, args, id)
		return msg, err
	})
	if err != nil {
		return err
	}
	p = p.Clone() // its binary is the caller's
	a.expect()
	a.parts.Go(func() {
		err := ns.remote.Call(ctx, p, op.target(), func(p broadcast.Payload) {
			if args, err := ns.srv.argsOf(p.Clone()); err == nil {
				a.expect()
				a.add("", args, nil)
			}
		})
		a.servers(ns.closedErr(err))
	})
	return nil
}

// expect counts one more that has to answer.
func (a *answers) expect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left++
}

// ask sends an event that encode encodes to this server's own sockets.
func (a *answers) ask(op Operator, event string, encode func(id int64) (*engine.Message, error)) error {
	ns := op.ns
	id := ns.ackID.Add(1) - 1
	msg, err := encode(int64(id))
	if err != nil {
		return err
	}
	for _, m := range ns.rooms.Members(op.o) {
		s := m.Owner.(*Socket)
		a.expect()
		p := &pendingAck{s: s, id: id, now: true, answer: func(args Args, err error) { a.add(s.ID(), args, err) }}
		ns.watchAnswer(p, event)
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
	return op.send(ns, msg)
}

// forget gives up those that have not answered.
func (a *answers) forget() {
	for _, p := range a.asked {
		p.s.takeAck(p.id)
	}
}

// wait waits for all answers, or for ctx. None is given to each afterwards.
func (a *answers) wait(ctx context.Context) error {
	var err error
	select {
	case <-a.all:
	case <-ctx.Done():
		select {
		case <-a.all: // at the same time
		default:
			if err = ErrAckTimeout; !errors.Is(context.Cause(ctx), ErrAckTimeout) {
				err = fmt.Errorf("%w: %w", ErrAckTimeout, ctx.Err())
			}
			a.forget()
			a.parts.Wait() // they end with ctx
		}
	}
	return a.end(err)
}

// end ends the gathering, and says what is missing; err is why it ends.
func (a *answers) end(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.each = nil
	missing := errors.Join(a.missing...)
	if err == nil && (a.lost > 0 || errors.As(missing, new(*MissingError))) {
		err = ErrAckTimeout
	}
	switch {
	case missing == nil:
		return err
	case err == nil:
		return missing
	}
	return fmt.Errorf("%w: %w", err, missing)
}

// add takes an answer, or err for none; with neither, it only counts.
func (a *answers) add(id string, args Args, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		a.lost++
	case args.srv != nil && a.each != nil:
		a.each(id, args)
	}
	a.done()
}

// servers takes what is missing of other servers' answers; nil for nothing.
func (a *answers) servers(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.missing = append(a.missing, err)
	}
	a.done()
}

// done counts one off. mu is held.
func (a *answers) done() {
	if a.left--; a.left == 0 {
		close(a.all)
		if a.timer != nil {
			a.timer.Stop()
		}
	}
}

func (op Operator) server() *Server {
	if op.parent != nil {
		return op.parent.srv
	}
	return op.ns.srv
}
