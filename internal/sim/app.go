package sim

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"regexp"
	"runtime"
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
	left        bool // the peer has left by itself

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
	UseEvents(func(context.Context, *sockeye.Event, func(context.Context) error) error) func()
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
	h.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
		w.schedule.maybe()
		if e.Name() == "filtered" {
			return errors.New(secret + " of a filter")
		}
		return next(ctx)
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
		l.goneAt, l.left = w.kernel.Now(), reason == sockeye.ClientNamespaceDisconnect
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
