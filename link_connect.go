package sockeye

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// connectTimer is the deadline by which a namespace has to be joined, from a
// pool: an idle session has none.
type connectTimer struct {
	netpoll.Timer
	l *link
}

var connectTimers = sync.Pool{New: func() any { return new(connectTimer) }}

func (l *link) startTimer(d time.Duration) {
	t := connectTimers.Get().(*connectTimer)
	t.l, l.timer = l, t
	l.session.Loop().Arm(&t.Timer, t, d)
}

func (l *link) stopTimer() {
	if t := l.timer; t != nil {
		l.session.Loop().Stop(&t.Timer)
		t.l, l.timer = nil, nil
		connectTimers.Put(t)
	}
}

// Expire is for the loop's timers only: no namespace was joined in time.
func (t *connectTimer) Expire(*netpoll.Timer) {
	l := t.l
	l.stopTimer()
	l.srv.stats.connectTimeouts.Add(1)
	l.srv.tell(l.session, "ConnectTimeout", "sockeye: a session is ended, it has joined no namespace within ConnectTimeout")
	l.session.CloseNowFor(ForcedServerClose, CauseNotJoined, "the peer has joined no namespace within ConnectTimeout")
}

// handleConnect begins a connection to a namespace; the mailbox's goroutine
// asks middlewares and OnConnect.
//
// Socket.IO v5, "Connection to a namespace".
func (l *link) handleConnect(p sio.Packet) error {
	srv := l.srv
	if len(p.Data) > 0 && srv.cfg.Parser == nil {
		if err := sio.ScanObject(p.Data, srv.cfg.MaxJSONDepth); err != nil {
			return err
		}
	}
	name, auth := p.Namespace, p.Data
	if l.session.Version() == 3 {
		var query []byte
		name, query, _ = bytes.Cut(name, []byte{'?'})
		auth = queryAsAuth(query)
	}
	if l.find(name) != nil {
		return errConnectTwice
	}
	sockets, auths := 0, len(auth)
	for s := l.sockets; s != nil; s = s.next {
		sockets++
		auths += cap(s.who().auth)
	}
	if sockets >= srv.cfg.MaxNamespaces {
		return errTooManySpaces
	}
	refusal, why := errAuthTooLarge, refusedAuth
	var ns *Namespace
	if auths <= srv.cfg.MaxAuthBytes {
		refusal, why, auth = errInvalidNamespace, refusedNamespace, bytes.Clone(auth)
		ns = srv.enter(name, auth)
	}
	if ns == nil {
		srv.stats.refused[why].Add(1)
		srv.tell(l.session, refusal.Message, "sockeye: a connect is refused", slog.Any("why", refusal), slog.String("namespace", string(name)))
		msg := srv.encodeConnectError(l.session, string(name), refusal)
		l.session.Send(msg)
		msg.Release()
		return nil
	}
	l.join(ns, auth)
	return nil
}

// join makes a socket, whose handlers decide whether it may stay.
func (l *link) join(ns *Namespace, auth []byte) {
	s := newSocket(ns, l.session, auth)
	p := &l.sockets
	for *p != nil {
		p = &(*p).next
	}
	*p = s
	l.srv.group.Memory().Add(cap(s.who().auth))
	if h := ns.shared.Load(); h != nil && s.recovers() && h.prepare(s) {
		return // preparedOnLoop goes on
	}
	s.push(mail{kind: mailConnect})
}

// queryAsAuth is what clients of Socket.IO v4 give instead of an auth object: a
// query behind the namespace's name.
func queryAsAuth(query []byte) []byte {
	auth := map[string]string{}
	values, _ := url.ParseQuery(string(query)) // what is malformed is left out
	for k, v := range values {
		auth[k] = v[0]
	}
	b, _ := json.Marshal(auth) // cannot fail
	return b
}

// socketID makes a socket's ID. Clients of Socket.IO v4 take the session's sid
// for it.
func socketID(ns *Namespace, s *engine.Session) string {
	switch {
	case s.Version() == 4:
		return engine.NewIDWith(ns.srv.id)
	case ns.name == "/":
		return s.ID()
	}
	return ns.name + "#" + s.ID()
}

// connectAnswer is the data of the packet that answers CONNECT.
type connectAnswer struct {
	SID string `json:"sid"`
	PID string `json:"pid,omitempty"`
}

// verdictOnLoop lets a socket in, or not.
func verdictOnLoop(a, b any) {
	s := a.(*Socket)
	if v := b.(*verdict); v.err != nil {
		linkOf(s.engineSession()).refuse(s, v)
	} else if _, ok := s.life.change(accepted); ok {
		linkOf(s.engineSession()).accept(s)
	}
}

// accept tells the peer that it is in, after what it has missed and before what has
// been sent to it since.
func (l *link) accept(s *Socket) {
	l.srv.stats.connects.Add(1)
	l.stopTimer()
	l.session.Establish()
	var answer any
	if l.session.Version() == 4 {
		answer = connectAnswer{s.member.ID, s.who().pid}
	}
	msg := l.srv.encodePacket(sio.Packet{Type: sio.Connect, Namespace: []byte(s.ns.name)}, answer)
	saved, back := s.who().saved, s.who().back
	unwritten := back == nil && s.ns.shared.Load() != nil && s.recovers() && s.life.state() == connected
	if s.held == nil && (saved == nil || saved.missed.empty()) && (back == nil || back.empty()) && !unwritten && !l.session.Full() {
		l.session.Send(msg)
		msg.Release()
		s.told()
		return
	}
	h := &held{answer: msg, back: back, unwritten: unwritten}
	if saved != nil {
		h.missed = &saved.missed
	}
	h.messages = append(h.messages, msg)
	if s.held != nil {
		h.messages = append(h.messages, s.held.messages...)
	}
	for _, m := range h.messages {
		h.bytes += m.Memory()
	}
	s.held = h
	if unwritten {
		s.ns.shared.Load().admitted(s)
		return
	}
	s.pump(false)
}

// told follows when the peer has been told that it is in.
func (s *Socket) told() {
	if len(s.ns.onConnection.get()) > 0 {
		s.push(mail{kind: mailConnected})
	}
}

// refuse answers a CONNECT with an error.
func (l *link) refuse(s *Socket, v *verdict) {
	if v.answer == nil { // a function has ended its goroutine
		v.answer = l.srv.encodeConnectError(l.session, s.ns.name, &ConnectError{Message: internalMessage})
	}
	defer v.answer.Release()
	if s.life.state().over() {
		return
	}
	l.end(s.ns.name) // first, as in disconnect
	if !l.remove(s, l.session.Describe(ServerNamespaceDisconnect, CauseRefused, "a middleware or OnConnect has refused it"), refused) {
		return
	}
	l.srv.stats.refused[refusedByApplication].Add(1)
	s.tell("refused", "sockeye: a connect is refused", slog.Any("why", v.err))
	l.session.Send(v.answer)
}

// encodeConnectError refuses a namespace. Socket.IO v5, "Connection to a
// namespace"; v4 has the data or the message alone, except for namespaces that
// do not exist.
func (srv *Server) encodeConnectError(s *engine.Session, namespace string, refusal *ConnectError) *engine.Message {
	var body any
	switch {
	case s.Version() == 3 && refusal.Data != nil:
		body = refusal.Data
	case s.Version() == 3 && refusal != errInvalidNamespace:
		body = refusal.Message
	case refusal.Data != nil:
		body = map[string]any{"message": refusal.Message, "data": refusal.Data}
	default:
		body = map[string]any{"message": refusal.Message}
	}
	return srv.encodePacket(sio.Packet{Type: sio.ConnectError, Namespace: []byte(namespace)}, body)
}
