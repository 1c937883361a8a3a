package sockeye

import (
	"errors"
	"slices"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// link is what Socket.IO keeps of a session: the sockets that share it, and a
// packet whose attachments are still arriving. Loop-owned.
type link struct {
	srv     *Server
	session *engine.Session
	sockets *Socket // a list, the latest first
	partial *partial
	timer   *connectTimer // until some namespace has been joined
	ended   *[]string     // namespaces that this side has taken the peer out of; nil for none
}

func linkOf(s *engine.Session) *link { return s.Context.(*link) }

// sessionHandler is the server as the engine sees it.
type sessionHandler Server

// OnOpen is for the engine.
func (h *sessionHandler) OnOpen(s *engine.Session) {
	l := &link{srv: (*Server)(h), session: s}
	s.Context = l
	l.startTimer(h.cfg.ConnectTimeout)
	if s.Version() == 3 {
		l.join(h.Namespace, nil) // Socket.IO v4: the server joins "/" by itself
	}
}

// OnDrain is for the engine.
func (h *sessionHandler) OnDrain(s *engine.Session) {
	linkOf(s).pace()
	for x := linkOf(s).sockets; x != nil; x = x.next {
		x.pump(false)
		x.wake()
	}
}

// OnUpgrade is for the engine.
func (h *sessionHandler) OnUpgrade(s *engine.Session) {
	for x := linkOf(s).sockets; x != nil; x = x.next {
		if len(x.ns.onUpgrade.get()) > 0 && x.life.state().answered() {
			x.push(mail{kind: mailUpgrade})
		}
	}
}

// OnClose is for the engine, which calls OnClosed.
func (h *sessionHandler) OnClose(*engine.Session, engine.CloseReason) {}

// OnClosed is for the engine.
func (h *sessionHandler) OnClosed(s *engine.Session, how *Disconnect) {
	l := linkOf(s)
	l.stopTimer()
	l.dropPartial()
	for l.sockets != nil {
		l.remove(l.sockets, how, ended)
	}
	s.Loop().Rank(l, 0)
}

// What a peer must not do. Any of these ends the session.
var (
	errNotConnected  = errors.New("sockeye: packet for a namespace that is not joined")
	errConnectTwice  = errors.New("sockeye: namespace joined twice")
	errUnexpected    = errors.New("sockeye: unexpected packet")
	errTooManySpaces = errors.New("sockeye: more namespaces than MaxNamespaces")

	errAttachmentsMissing = errors.New("sockeye: attachments did not arrive within AttachmentTimeout")
)

// weigh tells the group's memory how much the session holds here.
func (l *link) weigh() (n int) {
	if !l.session.Open() {
		return 0
	}
	if l.partial != nil {
		n += l.partial.charged
	}
	for s := l.sockets; s != nil; s = s.next {
		if s.held != nil {
			n += s.held.bytes
			if s.held.back != nil {
				n += s.held.back.bytes
			}
		}
		s.mu.Lock()
		if s.box != nil {
			n += s.box.bytes
		}
		s.mu.Unlock()
	}
	l.session.Loop().Rank(l, n)
	return n
}

// shedBytes is what a session must still hold when it is to be ended for it: its
// handlers may have seen it meanwhile.
const shedBytes = 16 << 10

// Shed is for the group's memory: the session holds most of what is spent.
func (l *link) Shed() {
	if l.weigh() >= shedBytes {
		l.srv.tell(l.session, "MaxMemory", "sockeye: a session is ended, MaxMemory is spent and it holds most")
		l.session.CloseNowFor(engine.ForcedClose, CauseMemory, "MaxMemory is spent, and what this session's handlers have not seen is most")
	} else {
		l.session.Loop().Rank(l, 0) // or it were the largest again, for ever
	}
}

func (l *link) find(namespace []byte) *Socket {
	for s := l.sockets; s != nil; s = s.next {
		if s.ns.name == string(namespace) {
			return s
		}
	}
	return nil
}

// end notes that this side has taken the peer out of a namespace: what it has sent
// there before it knows is ignored.
func (l *link) end(namespace string) {
	if l.ended == nil {
		l.ended = new([]string)
	}
	if !slices.Contains(*l.ended, namespace) && len(*l.ended) < l.srv.cfg.MaxNamespaces {
		*l.ended = append(*l.ended, namespace)
	}
}

func (l *link) hasEnded(namespace []byte) bool {
	return l.ended != nil && slices.Contains(*l.ended, string(namespace))
}

var (
	errInvalidNamespace = &ConnectError{Message: "Invalid namespace"}
	errAuthTooLarge     = &ConnectError{Message: "Auth too large"}
)

// disconnect takes a socket, for which Disconnect was called, out of its namespace
// and tells the peer; one that has not been answered yet is answered first.
func (l *link) disconnect(s *Socket) {
	state := s.life.state()
	if state.over() {
		return
	}
	s.ns.rooms.Settle(&s.member)
	if state == dismissing {
		l.accept(s)
	}
	if state == dismissing || state == leaving {
		s.pump(true)
		msg := l.srv.encodePacket(sio.Packet{Type: sio.Disconnect, Namespace: []byte(s.ns.name)}, nil)
		l.session.Send(msg)
		msg.Release()
	}
	e := left
	if state == asking {
		e = ended
	}
	l.end(s.ns.name) // first: what the peer has sent is read on when the socket is removed
	l.remove(s, s.whyDismissed(), e)
}

// remove ends a socket; its handlers see that as their last mail. It tells whether
// e had an effect.
func (l *link) remove(s *Socket, how *Disconnect, e lifeEvent) bool {
	reason := how.Reason
	l.session.Loop().Check()
	from, ok := s.goes(e, reason)
	if !ok {
		return false
	}
	if from.answered() || from == dismissing && e == left { // accept was called
		l.srv.stats.countDisconnect(how)
		s.tellDisconnect(how)
	}
	s.dropClaims()
	s.endContext(how)
	s.endCalls()
	s.dropHeld()
	s.wake()
	l.srv.group.Memory().Add(-cap(s.who().auth))
	for p := &l.sockets; *p != nil; p = &(*p).next {
		if *p == s {
			*p, s.next = s.next, nil
			break
		}
	}
	s.push(mail{kind: mailDisconnect, reason: reason})
	if l.session.Open() {
		l.pace() // its mailbox does not count any more
		l.weigh()
	}
	return true
}

// goes takes the socket out of its namespace; connection state recovery remembers it.
// Loop-owned.
func (s *Socket) goes(e lifeEvent, reason Reason) (from lifeState, ok bool) {
	who, h := s.who(), s.ns.history
	if h != nil && s.recovers() {
		h.mu.Lock() // who emits to it meanwhile finds it here, or remembered
		defer h.mu.Unlock()
	}
	if from, ok = s.life.change(e); !ok {
		return from, false
	}
	rooms := s.takeOut()
	keep := s.recovers() && recoverable(reason) && !from.byServer() && (from == connected || who.recovered())
	if shared := s.ns.shared.Load(); shared != nil {
		if s.identity != nil {
			shared.left(s, keep)
		}
		return from, true
	}
	if !s.recovers() {
		return from, true
	}
	delete(h.coming, who.pid)
	if keep {
		h.remember(s, rooms)
	}
	return from, true
}
