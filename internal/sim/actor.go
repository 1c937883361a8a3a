package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
)

// actor does things with the API, in one stream.
type actor struct {
	w      *world
	stream *stream
	rng    *rand.Rand
	self   *life // nil for one that is no handler
}

// act has a life's handlers do up to n things.
func (l *life) act(n int) {
	a := &actor{l.w, l.stream, l.rng, l}
	for range l.rng.IntN(n + 1) {
		a.act()
	}
}

// spawn starts a goroutine of the application's.
func (w *world) spawn(seed uint64, f func(a *actor)) {
	a := &actor{w: w, stream: w.newStream(), rng: rand.New(rand.NewPCG(seed, 1))}
	w.schedule.spawn(false, func() {
		w.schedule.yield()
		f(a)
	})
}

func (a *actor) background() {
	for range 3 + a.rng.IntN(12) {
		a.w.schedule.yield()
		a.act()
	}
}

// someone is a socket that the application knows; it may have gone.
func (a *actor) someone() *life {
	a.w.ledger.mu.Lock()
	defer a.w.ledger.mu.Unlock()
	if a.self != nil && (a.rng.IntN(2) == 0 || len(a.w.lives) == 0) {
		return a.self
	}
	if len(a.w.lives) == 0 {
		return nil
	}
	if n := len(a.w.lives); n > 8 && a.rng.IntN(3) > 0 {
		return a.w.lives[n-1-a.rng.IntN(8)]
	}
	return a.w.lives[a.rng.IntN(len(a.w.lives))]
}

// payload is an entry's argument. Some go through the codec, some have attachments.
func (a *actor) payload(e *entry) any {
	size := a.rng.IntN(30)
	if a.rng.IntN(6) == 0 {
		size = a.rng.IntN(a.w.cfg.large)
	}
	text := strings.Repeat("x", size)
	switch a.rng.IntN(8) {
	case 0:
		return map[string]any{"b": fmt.Appendf(nil, "%d %s", e.id, text)}
	case 1, 2:
		return map[string]string{"t": text}
	case 3:
		return text // which socket.io-client takes for an offset, if it is the last
	}
	return []string{text}
}

// act does one thing.
func (a *actor) act() {
	w := a.w
	l := a.someone()
	if l == nil || w.calm.Load() {
		return
	}
	s := l.s
	ns := w.srv.Of(l.peer.ns) // that of a socket which has gone may be forgotten
	a.w.schedule.maybe()
	switch kind := a.rng.IntN(100); {
	case kind < 22:
		a.emit(l, kind)
	case kind < 40:
		a.broadcast(l, kind)
	case kind < 52:
		room := a.room(ownRooms)
		if a.rng.IntN(3) > 0 {
			a.join(l, room)
		} else {
			a.leave(l, room)
		}
	case kind < 56:
		a.loose(ns, a.room(looseRooms))
	case kind < 66:
		a.call(l)
	case kind < 74:
		a.emitWithAck(l)
	case kind < 78:
		a.callAll(ns)
	case kind < 80:
		a.emitWithAckAll(ns)
	case kind < 82:
		if a.rng.IntN(2) == 0 {
			l.disconnect(a.rng.IntN(3) == 0, a.self == l)
		}
	case kind < 85:
		// Who waited for another's would wait for a mutex, which the world does not see.
		if l.session.Swap(true) {
			return
		}
		defer l.session.Store(false)
		s.WithSession(func(m map[string]any) {
			w.schedule.maybe()
			n, _ := m["n"].(int)
			m["n"] = n + 1
		})
		_ = s.Session()
		s.SetData(s.Data())
	case kind < 88:
		a.flush(l)
	case kind < 91:
		_, _, _, _ = s.Rooms(), s.Transport(), s.Request().Header("Host"), s.QueuedBytes()
		if got := ns.Socket(s.ID()); got != nil && got.ID() != s.ID() {
			w.fault("identity", "Socket(%s) is %s", s.ID(), got.ID())
		}
		if s.QueuedBytes() < 0 {
			w.fault("memory", "QueuedBytes of l%d is %d", l.name, s.QueuedBytes())
		}
	case kind < 94:
		_, _, _ = ns.Len(), ns.Sockets(), ns.To(a.room(ownRooms)).Sockets()
	case kind < 96:
		remove := s.On("own", func(s *sockeye.Socket) {})
		w.schedule.maybe()
		remove()
	case kind < 98:
		ctx := s.Context()
		w.spawn(a.rng.Uint64(), func(*actor) {
			<-ctx.Done()
			w.schedule.yield()
			if l.s.Connected() {
				w.fault("life", "the context of l%d is done before it has gone", l.name)
			}
		})
	default:
		w.schedule.gate()
	}
}

func (a *actor) room(rooms []string) string { return rooms[a.rng.IntN(len(rooms))] }

// patience is a context that the schedule looks into when the server does.
type patience struct {
	context.Context
	w *world
}

func (p patience) Err() error {
	p.w.schedule.maybe()
	return p.Context.Err()
}

func (a *actor) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+a.rng.Int64N(int64(3*time.Second))))
	return patience{ctx, a.w}, cancel
}

func (a *actor) emit(l *life, kind int) {
	w, s := a.w, l.s
	e := w.ledger.begin(a.stream, "Emit", address{ns: l.peer.ns, only: l.peer})
	if !s.Connected() || Deep && !l.entered.Load() {
		w.ledger.mu.Lock()
		e.must = map[*peer]bool{}
		w.ledger.mu.Unlock()
	}
	p := a.payload(e)
	var err error
	switch kind % 5 {
	case 0:
		e.volatile = true
		err = s.Volatile().Emit("m", e.id, p)
	case 1:
		ctx, cancel := a.context()
		err = s.WithContext(ctx).Emit("m", e.id, p)
		cancel()
	case 2:
		err = s.Compress(false).Timeout(time.Second).Emit("m", e.id, p)
	default:
		err = s.Emit("m", e.id, p)
	}
	a.waitsNot("Emit", err)
	w.ledger.end(e, err)
	a.after("Emit", e, err)
}

// waitsNot checks that a call has not waited on a loop.
func (a *actor) waitsNot(what string, err error) {
	if a.w.schedule.current() == nil && errors.Is(err, sockeye.ErrQueueFull) {
		a.w.fault("time", "%s has waited on a loop", what)
	}
}

func (a *actor) after(what string, e *entry, err error) {
	a.w.schedule.yield()
	a.w.note("e%d %s to %v by %d: %v", e.id, what, e.to, a.stream.name, err)
}

// target addresses some rooms of a namespace.
func (a *actor) target(l *life) (sockeye.Operator, address) {
	ns := a.w.srv.Of(l.peer.ns)
	op, to := ns.All(), address{ns: l.peer.ns}
	if a.rng.IntN(3) == 0 && l.s.Connected() {
		op, to.without = l.s.Broadcast(), l.peer
	}
	for range a.rng.IntN(3) {
		room := a.room(ownRooms)
		if a.rng.IntN(4) == 0 {
			room = l.peer.id
		}
		op, to.rooms = op.To(room), append(to.rooms, room)
	}
	if a.rng.IntN(4) == 0 {
		room := a.room(ownRooms)
		op, to.except = op.Except(room), append(to.except, room)
	}
	return op, to
}

func (a *actor) broadcast(l *life, kind int) {
	w := a.w
	op, to := a.target(l)
	if kind == 25 { // to all children, whichever there are by then
		op, to = w.parent.To(ownRooms[0]), address{ns: children, rooms: ownRooms[:1]}
	}
	e := w.ledger.begin(a.stream, "broadcast", to)
	if kind%6 == 0 {
		e.volatile = true
		op = op.Volatile()
	}
	err := op.Emit("m", e.id, a.payload(e))
	w.ledger.end(e, err)
	a.after("broadcast", e, err)
}

func (a *actor) join(l *life, room string) {
	w := a.w
	w.note("p%d joins %s", l.peer.name, room)
	end := w.ledger.call(l.peer, room)
	w.ledger.joining(l.peer, room)
	before := l.s.Connected() && l.entered.Load()
	err := l.s.Join(room)
	end(err == nil && before && l.s.Connected() && l.peer.last == l, false)
	w.note("p%d has joined %s: %v", l.peer.name, room, err)
	w.schedule.maybe()
}

func (a *actor) leave(l *life, room string) {
	w := a.w
	w.note("p%d leaves %s", l.peer.name, room)
	end := w.ledger.call(l.peer, room)
	w.ledger.leaving(l.peer, room)
	before := l.s.Connected() && l.entered.Load()
	l.s.Leave(room)
	end(false, before && l.s.Connected() && l.peer.last == l)
	w.note("p%d has left %s", l.peer.name, room)
	w.schedule.maybe()
}

// loose changes rooms by operators: who is in them is not kept account of.
func (a *actor) loose(ns *sockeye.Namespace, room string) {
	switch a.rng.IntN(3) {
	case 0:
		ns.To(a.room(ownRooms)).Join(room)
	case 1:
		ns.Except(a.room(ownRooms)).Leave(room)
	default:
		ns.CloseRoom(room)
	}
	a.w.schedule.maybe()
}

func (a *actor) checkAnswer(e *entry, l *life, args sockeye.Args) {
	var id int
	var nonce string
	if err := args.Decode(&id, &nonce); err != nil || nonce == "forged" {
		return
	}
	if id != e.id {
		a.w.fault("answer", "the question e%d got the answer to e%d", e.id, id)
	}
	if l != nil && nonce != l.nonce {
		a.w.fault("answer", "the question e%d to %s was answered by %s", e.id, l.nonce, nonce)
	}
}

func (a *actor) call(l *life) {
	w := a.w
	e := a.question("Call", address{ns: l.peer.ns, only: l.peer})
	w.ledger.ask(e, l, true)
	ctx, cancel := context.Background(), func() {}
	if a.rng.IntN(2) == 0 {
		ctx, cancel = a.context()
	}
	args, err := l.s.Call(ctx, "ask", e.id, a.payload(e))
	a.waitsNot("Call", err)
	cancel()
	w.ledger.answered(e)
	if errors.Is(err, context.DeadlineExceeded) {
		w.ledger.unsure(e) // it may have waited for room until then
	}
	w.ledger.end(e, sent(err))
	a.after("Call", e, err)
	if err == nil {
		a.checkAnswer(e, l, args)
	}
}

// question is an entry that asks. It is not recorded for recovery.
func (a *actor) question(what string, to address) *entry {
	e := a.w.ledger.begin(a.stream, what, to)
	if a.w.cfg.recovery != nil || to.only != nil && !to.only.last.s.Connected() {
		e.volatile = true
	}
	return e
}

// sent is the error of a call that has sent nothing.
func sent(err error) error {
	nothing := []error{sockeye.ErrConnecting, sockeye.ErrWouldBlock, sockeye.ErrTooManyAcks, sockeye.ErrQueueFull}
	if slices.ContainsFunc(nothing, func(target error) bool { return errors.Is(err, target) }) {
		return err
	}
	return nil
}

func (a *actor) emitWithAck(l *life) {
	w := a.w
	e := a.question("EmitWithAck", address{ns: l.peer.ns, only: l.peer})
	w.ledger.ask(e, l, false)
	then := func(args sockeye.Args, err error) {
		w.ledger.answered(e)
		w.schedule.maybe()
		w.note("e%d answered: %v", e.id, err)
		if err == nil {
			a.checkAnswer(e, l, args)
		}
	}
	timeout := time.Duration(0) // the default
	if a.rng.IntN(2) == 0 {
		timeout = time.Duration(1 + a.rng.Int64N(int64(2*time.Second)))
	}
	err := l.s.Timeout(timeout).EmitWithAck(then, "ask", e.id, a.payload(e))
	if err != nil {
		w.ledger.answered(e)
	}
	w.ledger.end(e, err)
	a.after("EmitWithAck", e, err)
}

func (a *actor) callAll(ns *sockeye.Namespace) {
	w := a.w
	e := a.question("Operator.Call", address{ns: ns.Name(), rooms: []string{a.room(ownRooms)}})
	w.ledger.ask(e, nil, false)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+a.rng.Int64N(int64(2*time.Second))))
	answers, err := ns.To(e.to.rooms...).Call(ctx, "ask", e.id, a.payload(e))
	cancel()
	w.ledger.answered(e)
	w.ledger.end(e, sent(err))
	a.after("Operator.Call", e, err)
	a.checkAnswers(e, answers)
}

func (a *actor) checkAnswers(e *entry, answers []sockeye.Answer) {
	var ids []string
	for _, x := range answers {
		if slices.Contains(ids, x.SocketID) {
			a.w.fault("answer", "the question e%d got two answers of %s", e.id, x.SocketID)
		}
		ids = append(ids, x.SocketID)
		a.checkAnswer(e, nil, x.Args)
	}
}

func (a *actor) emitWithAckAll(ns *sockeye.Namespace) {
	w := a.w
	e := a.question("Operator.EmitWithAck", address{ns: ns.Name(), rooms: []string{a.room(ownRooms)}})
	w.ledger.ask(e, nil, false)
	err := ns.To(e.to.rooms...).Timeout(time.Second).EmitWithAck(func(answers []sockeye.Answer, err error) {
		defer w.schedule.adopt(e.id)()
		w.ledger.answered(e)
		w.schedule.yield()
		w.note("e%d answered: %d, %v", e.id, len(answers), err)
		a.checkAnswers(e, answers)
	}, "ask", e.id, a.payload(e))
	if err != nil {
		w.ledger.answered(e)
	}
	w.ledger.end(e, err)
	a.after("Operator.EmitWithAck", e, err)
}

func (a *actor) flush(l *life) {
	ctx, cancel := a.context()
	defer cancel()
	err := l.s.Flush(ctx)
	a.w.schedule.yield()
	a.w.note("flush of l%d: %v", l.name, err)
}
