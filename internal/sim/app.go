package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
)

// life is a Socket, as the application has seen it.
type life struct {
	w      *world
	s      *sockeye.Socket
	name   int
	peer   *peer
	nonce  string // the peer's own word for this connection
	stream *stream
	rng    *rand.Rand // of what its handlers do

	// The handlers'; no two of them run at once, which inside checks.
	inside      atomic.Int32
	asked       bool
	accepted    bool
	connections int
	leavings    int
	disconnects int
	events      int // that have been handled
	goneAt      time.Duration

	// Any goroutine (atomic).
	dismissed atomic.Bool  // Disconnect has returned
	entered   atomic.Bool  // OnConnect has been called
	passes    atomic.Int32 // events that may be handled all the same
	session   atomic.Bool  // somebody is in WithSession
}

// rooms that sockets join by themselves, and those that operators put them into.
var (
	ownRooms   = []string{"r0", "r1", "r2"}
	looseRooms = []string{"w0", "w1"}
)

// register makes the application.
func (w *world) register() {
	srv := w.srv
	pattern := srv.OfPattern(regexp.MustCompile(`/d\d`))
	for _, h := range []registry{srv, srv.Of("/a"), pattern} {
		w.handle(h)
	}
	w.parent = pattern
	srv.OnError(func(s *sockeye.Socket, event string, err error) {})
	for _, ns := range []string{"/", "/a"} {
		counts := map[string]int{}
		w.rooms = append(w.rooms, counts)
		a := &actor{w: w, stream: w.newStream(), rng: rand.New(rand.NewPCG(w.seed, 3<<32))}
		srv.Of(ns).OnRoom(func(e broadcast.RoomEvent) {
			w.mu.Lock()
			switch e.Kind {
			case broadcast.JoinRoom:
				counts[e.Room]++
			case broadcast.LeaveRoom:
				counts[e.Room]--
			}
			if n := counts[e.Room]; n < 0 {
				defer w.fault("rooms", "OnRoom tells of %d in %q", n, e.Room)
			}
			w.mu.Unlock()
			w.schedule.maybe()
			if a.rng.IntN(8) == 0 && !w.calm.Load() {
				x := w.ledger.begin(a.stream, "broadcast in OnRoom", address{ns: ns, rooms: []string{e.Room}})
				w.ledger.end(x, srv.Of(ns).To(e.Room).Emit("m", x.id, a.payload(x)))
			}
		})
	}
}

// A registry takes hooks and handlers: a Server, a Namespace or a ParentNamespace.
type registry interface {
	Use(func(*sockeye.Socket) error) func()
	UseEvents(func(*sockeye.Socket, *sockeye.Event) error) func()
	OnConnect(func(*sockeye.Socket) error) func()
	OnConnection(func(*sockeye.Socket)) func()
	OnDisconnecting(func(*sockeye.Socket, sockeye.Reason)) func()
	OnDisconnect(func(*sockeye.Socket, sockeye.Reason)) func()
	OnUpgrade(func(*sockeye.Socket)) func()
	OnAny(func(*sockeye.Socket, *sockeye.Event)) func()
	OnAnyOutgoing(func(*sockeye.Socket, string, []any)) func()
	OnUnhandled(func(*sockeye.Socket, *sockeye.Event) error) func()
	On(string, any) func()
}

func (w *world) handle(h registry) {
	h.Use(w.middleware)
	h.OnConnect(w.onConnect)
	h.OnConnection(w.onConnection)
	h.OnDisconnecting(w.onDisconnecting)
	h.OnDisconnect(w.onDisconnect)
	h.OnUpgrade(func(s *sockeye.Socket) { w.lifeOf(s).in("upgrade", func(*life) {}) })
	h.OnAny(w.onAny)
	h.OnAnyOutgoing(func(*sockeye.Socket, string, []any) { w.schedule.maybe() })
	h.UseEvents(func(s *sockeye.Socket, e *sockeye.Event) error {
		w.schedule.maybe()
		if e.Name() == "filtered" {
			return errors.New(secret + " of a filter")
		}
		return nil
	})
	h.OnUnhandled(func(s *sockeye.Socket, e *sockeye.Event) error {
		return e.Ack("unhandled")
	})
	h.On("typed", func(s *sockeye.Socket, seq int, pad string) string {
		w.lifeOf(s).in("typed", func(l *life) { l.act(3) })
		return "done"
	})
	h.On("with context", func(ctx context.Context, s *sockeye.Socket, seq int, pad any) (int, error) {
		w.lifeOf(s).in("with context", func(l *life) { l.act(2) })
		switch seq % 3 {
		case 0:
			return 0, &sockeye.AckError{Message: "no", Data: seq}
		case 1:
			return 0, errors.New(secret + " of a handler")
		}
		return seq, nil
	})
	h.On("panics", func(s *sockeye.Socket, seq int, pad any) int {
		w.lifeOf(s).in("panics", func(l *life) { l.act(1) })
		panic(secret + " of a panic")
	})
	h.On("exits", func(s *sockeye.Socket, seq int, pad any) int {
		w.lifeOf(s).in("exits", func(l *life) { l.act(1) })
		if w.schedule.current() != nil { // no loop's goroutine
			runtime.Goexit()
		}
		return seq
	})
	h.On("cannot be encoded", func(s *sockeye.Socket, seq int, pad any) any {
		return map[string]any{"f": func() {}}
	})
	h.On("raw", func(s *sockeye.Socket, e *sockeye.Event) error {
		w.lifeOf(s).in("raw", func(l *life) { l.act(2) })
		return e.Ack("raw")
	})
	h.On("later", func(s *sockeye.Socket, e *sockeye.Event) error {
		l := w.lifeOf(s)
		later := e.AckLater()
		if later == nil {
			return nil
		}
		w.spawn(l.rng.Uint64(), func(*actor) {
			w.schedule.gate()
			_ = later("later")
			_ = later("twice")
		})
		return nil
	})
	h.On("gate", func(s *sockeye.Socket, seq int, pad any) int {
		w.lifeOf(s).in("gate", func(l *life) { w.schedule.gate(); l.act(1) })
		return seq
	})
	h.On("leave", func(s *sockeye.Socket, seq int, pad any) int {
		w.lifeOf(s).in("leave", func(l *life) { l.disconnect(l.rng.IntN(3) == 0, true); l.act(2) })
		return seq
	})
}

// lifeOf is the record of a Socket.
func (w *world) lifeOf(s *sockeye.Socket) *life {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	return w.ledger.lives[s]
}

// in runs a hook or a handler.
func (l *life) in(what string, f func(l *life)) {
	if l == nil {
		panic("sim: a handler of a socket that no middleware has seen")
	}
	if l.inside.Add(1) != 1 {
		l.w.fault("concurrency", "%q of l%d runs beside another of its handlers", what, l.name)
	}
	defer l.inside.Add(-1)
	l.w.note("l%d %s", l.name, what)
	if l.dismissed.Load() && (what == "connection" || what == "upgrade") && l.passes.Add(-1) < 0 {
		l.w.fault("dismissed", "%q of l%d is called after Disconnect", what, l.name)
	}
	l.w.schedule.maybe()
	f(l)
}

func (w *world) middleware(s *sockeye.Socket) error {
	l, wish := w.enter(s)
	var err error
	l.in("middleware", func(l *life) {
		l.asked = true
		w.ledger.joining(l.peer, all)
		w.schedule.maybe()
		switch wish {
		case "refused":
			err = &sockeye.ConnectError{Message: "refused", Data: 1}
		case "failed":
			err = errors.New(secret + " of a middleware")
		case "panics":
			panic(secret + " of a middleware's panic")
		case "slow":
			w.schedule.gate()
		case "crowd":
			a := &actor{w, l.stream, l.rng, l}
			a.join(l, ownRooms[0])
		case "busy":
			l.act(2)
		}
	})
	return err
}

// enter makes the record of a Socket that is seen for the first time, by a
// middleware, or, if it has been recovered, in OnConnect; and tells what its peer
// wishes.
func (w *world) enter(s *sockeye.Socket) (_ *life, wish string) {
	var auth struct{ Nonce, Wish string }
	_ = s.Auth(&auth)
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.lives[s]; x != nil {
		return x, auth.Wish
	}
	key := s.Namespace().Name() + " " + s.ID()
	p := l.peers[key]
	if p == nil {
		p = &peer{name: len(l.peers), id: s.ID(), ns: s.Namespace().Name(), rooms: map[string]membership{}, got: map[*stream]int{}}
		l.peers[key] = p
	} else if !s.Recovered() {
		w.fault("identity", "a new socket has the ID of p%d", p.name)
	}
	p.lives++
	x := &life{w: w, s: s, name: len(l.lives), peer: p, nonce: auth.Nonce}
	p.last = x
	x.stream = w.newStream()
	x.rng = rand.New(rand.NewPCG(w.seed, 1<<32|uint64(x.name)))
	l.lives[s] = x
	w.lives = append(w.lives, x)
	return x, auth.Wish
}

func (w *world) onConnect(s *sockeye.Socket) error {
	l, wish := w.enter(s)
	var err error
	l.in("connect", func(l *life) {
		if l.accepted || l.connections+l.disconnects > 0 {
			w.fault("life", "OnConnect of l%d comes late", l.name)
		}
		l.entered.Store(true)
		w.ledger.joining(l.peer, all)
		if s.Connected() {
			w.ledger.joined(l.peer, all)
		}
		w.schedule.maybe()
		switch wish {
		case "refused late":
			w.refused(l)
			err = &sockeye.ConnectError{Message: "refused"}
			return
		case "panics late":
			w.refused(l)
			panic(secret + " of OnConnect's panic")
		case "slow late":
			w.schedule.gate()
		case "leaves":
			l.disconnect(false, true)
		case "asks":
			_, callErr := s.Call(context.Background(), "ask", -1)
			if callErr == nil {
				w.fault("call", "Call in OnConnect of l%d has been answered", l.name)
			}
			w.schedule.yield()
		}
		l.act(3)
		l.accepted = true
	})
	return err
}

// refused notes that the peer is let out again.
func (w *world) refused(l *life) {
	w.ledger.leaving(l.peer, all)
	l.peer.out = true
}

func (w *world) onConnection(s *sockeye.Socket) {
	w.lifeOf(s).in("connection", func(l *life) {
		l.connections++
		if !l.accepted || l.connections > 1 || l.events > 0 || l.disconnects > 0 {
			w.fault("life", "OnConnection of l%d: accepted %v, %d times, events %d, disconnects %d", l.name, l.accepted, l.connections, l.events, l.disconnects)
		}
		l.act(2)
	})
}

func (w *world) onDisconnecting(s *sockeye.Socket, _ sockeye.Reason) {
	w.lifeOf(s).in("disconnecting", func(l *life) {
		if l.leavings++; l.leavings > 1 || l.disconnects > 0 || !l.accepted {
			w.fault("life", "OnDisconnecting of l%d: %d times", l.name, l.leavings)
		}
		l.act(1)
	})
}

func (w *world) onDisconnect(s *sockeye.Socket, reason sockeye.Reason) {
	w.lifeOf(s).in("disconnect", func(l *life) {
		w.note("l%d goes: %s", l.name, reason)
		l.goneAt = w.kernel.Now()
		if l.disconnects++; l.disconnects > 1 || !l.accepted || l.leavings != 1 {
			w.fault("life", "OnDisconnect of l%d: %d times, accepted %v, OnDisconnecting %d times", l.name, l.disconnects, l.accepted, l.leavings)
		}
		if s.Connected() || len(s.Rooms()) > 0 && s.Rooms()[0] != s.ID() {
			w.fault("life", "l%d is connected in OnDisconnect, in %q", l.name, s.Rooms())
		}
		if w.cfg.recovery == nil {
			w.ledger.leaving(l.peer, all)
		}
		l.act(1)
	})
}

// onAny checks what a peer has sent: each of its events, in order, to nobody else.
func (w *world) onAny(s *sockeye.Socket, e *sockeye.Event) {
	l := w.lifeOf(s)
	if l.dismissed.Load() && l.passes.Add(-1) < 0 {
		w.fault("dismissed", "an event of l%d is handled after Disconnect", l.name)
	}
	var seq int
	var pad any
	if err := e.Decode(&seq, &pad); err != nil {
		return // a forger's
	}
	text, _ := pad.(string)
	nonce, _, _ := strings.Cut(text, ";")
	switch {
	case nonce == "":
		return
	case nonce != l.nonce:
		w.fault("crossed", "l%d (%s) handles an event of %s", l.name, l.nonce, nonce)
	case seq != l.events:
		w.fault("event order", "l%d handles event %d; %d was due", l.name, seq, l.events)
	}
	if l.disconnects > 0 {
		w.fault("life", "l%d handles event %d after OnDisconnect", l.name, seq)
	}
	l.events++
}

// disconnect calls Disconnect, in a handler of the socket's own or elsewhere. It has an effect on who is in the namespace only.
func (l *life) disconnect(session, own bool) {
	w := l.w
	connected := l.s.Connected()
	if connected || Deep && l.disconnects == 0 { // it may be connected by when it is called
		w.ledger.mu.Lock()
		l.peer.out = true
		w.ledger.mu.Unlock()
		w.ledger.leaving(l.peer, all)
		w.excuse(l, session)
	}
	if session {
		l.s.CloseSession()
	} else {
		l.s.Disconnect()
	}
	if connected {
		if Deep && !own {
			l.passes.Add(1) // an event may be on its way to its handler at this moment
		}
		l.dismissed.Store(true)
	}
	w.note("l%d is dismissed, session %v", l.name, session)
}

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

// codec is encoding/json, at which the schedule looks.
type codec struct{ w *world }

func (c codec) Marshal(v any) ([]byte, error) {
	c.w.schedule.maybe()
	return json.Marshal(v)
}

func (c codec) Unmarshal(data []byte, v any) error {
	c.w.schedule.maybe()
	return json.Unmarshal(data, v)
}
