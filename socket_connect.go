package sockeye

import (
	"errors"
	"slices"

	"github.com/sockeye-io/sockeye/engine"
)

// handleConnect asks middlewares and OnConnect. Mailbox-owned.
func (s *Socket) handleConnect() {
	s.box.check()
	v := &verdict{err: errEnded} // unless it is overwritten
	s.box.verdict = v
	defer func() {
		if v.err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.extra().refused = true
		}
	}()
	if v.err = s.ask(); v.err != nil {
		v.answer = s.refusal(v.err)
	}
}

// verdict is what middlewares and OnConnect have said.
type verdict struct {
	err    error
	answer *engine.Message // to the peer, for err; nil if there is none yet
}

// refusal reports why a CONNECT is refused, and encodes what the peer is told. It is here,
// and not on the loop, since errors and their data have methods of the application's.
func (s *Socket) refusal(err error) (answer *engine.Message) {
	public := &ConnectError{Message: internalMessage}
	_ = s.guard("connect", func() error {
		if own := (*ConnectError)(nil); errors.As(err, &own) && own != nil {
			public = own
		} else if p := (*PanicError)(nil); !errors.As(err, &p) && !errors.Is(err, ErrDisconnected) && !errors.Is(err, errEnded) {
			s.report("connect", err)
		}
		answer = s.ns.srv.encodeConnectError(s.engineSession(), s.ns.name, public)
		return nil
	})
	if answer == nil { // it has panicked
		answer = s.ns.srv.encodeConnectError(s.engineSession(), s.ns.name, &ConnectError{Message: public.Message})
	}
	return answer
}

// ask asks middlewares and OnConnect, in between putting the socket into its
// namespace.
func (s *Socket) ask() error {
	if !s.who().recovered() || !s.ns.past.skipMiddlewares() {
		for _, m := range s.ns.middlewares.get() {
			if err := s.guard("connect", func() error { return (*m)(s) }); err != nil {
				return err
			}
		}
	}
	if !s.enter() {
		return ErrDisconnected
	}
	for _, f := range s.ns.onConnect.get() {
		if err := s.guard("connect", func() error { return (*f)(s) }); err != nil {
			return err
		}
	}
	return nil
}

// enter puts the socket into the namespace's index, and into the rooms that it had and
// that middlewares have joined for it, in one step; false if it has gone.
func (s *Socket) enter() bool {
	s.mu.Lock()
	joins := s.earlyRooms() != nil
	s.mu.Unlock()
	if joins {
		s.ns.rooms.WaitToJoin()
	}
	h, shared := s.ns.history, s.ns.shared.Load()
	if h != nil {
		h.mu.Lock() // until it is there for events that have an offset
	}
	if shared != nil {
		shared.mu.Lock()
	}
	s.mu.Lock() // nobody finds it without its rooms, nor takes it out before it is in
	_, ok := s.life.change(admitted)
	rooms := s.earlyRooms()
	if ok {
		s.ns.rooms.Add(&s.member, rooms...)
	}
	if ok && rooms != nil {
		s.extras.rooms = nil
	}
	s.mu.Unlock()
	switch {
	case !ok || !s.recovers(): // or an old client
	case h != nil:
		h.enter(s, rooms)
	case shared != nil:
		shared.enter(s, rooms)
	}
	if h != nil {
		h.mu.Unlock()
	}
	if shared != nil {
		shared.mu.Unlock()
	}
	return ok
}

// handleDisconnect is the last mail. Mailbox-owned.
func (s *Socket) handleDisconnect(m *mail) {
	s.box.check()
	if m.step == 0 {
		s.failAcks()
	}
	if s.accepted() {
		call := func(f func(*Socket, Reason)) { f(s, m.reason) }
		before := s.ns.onDisconnecting.get()
		runHooks(s, m, "disconnecting", before, call)
		s.forgetRooms()
		runHooks(s, m, "disconnect", slices.Concat(before, s.ns.onDisconnect.get()), call)
	}
	s.ns.srv.leave(s.ns)
}

// accepted tells whether OnConnect has let the socket in.
func (s *Socket) accepted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.extras == nil || !s.extras.refused
}

func (s *Socket) forgetRooms() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras != nil {
		s.extras.rooms = nil
	}
}
