package sockeye

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
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
	full    int32         // sockets whose mailbox is full
	count   int32         // sockets
}

// partial is a packet that waits for its attachments.
//
// Socket.IO v5, "Packet encoding": attachments follow the packet, in order.
type partial struct {
	link        *link
	timer       netpoll.Timer
	packet      sio.Packet
	socket      *Socket
	payload     *netpoll.Buffer
	attachments [][]byte
	bytes       int
	charged     int // of attachments, to the group's memory
}

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
	l.session.CloseNow(ForcedServerClose)
}

// Expire is for the loop's timers only: attachments did not arrive.
func (p *partial) Expire(*netpoll.Timer) {
	p.link.srv.stats.protocolErrors.Add(1)
	p.link.session.CloseNow(ForcedClose)
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

// OnMessage is for the engine.
func (h *sessionHandler) OnMessage(s *engine.Session, data []byte, binary bool) {
	l := linkOf(s)
	var err error
	switch parser := h.cfg.Parser; {
	case parser != nil && binary != parser.Binary():
		err = errUnexpected
	case parser == nil && binary:
		err = l.handleAttachment(data)
	default:
		err = l.handlePacket(data)
	}
	if err != nil {
		h.stats.protocolErrors.Add(1)
		s.CloseNow(ForcedClose)
	}
}

// OnUpgrade is for the engine.
func (h *sessionHandler) OnUpgrade(s *engine.Session) {
	for x := linkOf(s).sockets; x != nil; x = x.next {
		if x.ns.onUpgrade.get() != nil {
			x.push(mail{kind: mailUpgrade})
		}
	}
}

// OnClose is for the engine.
func (h *sessionHandler) OnClose(s *engine.Session, reason engine.CloseReason) {
	l := linkOf(s)
	l.stopTimer()
	l.dropPartial()
	s.Loop().Rank(l, 0)
	for l.sockets != nil {
		l.remove(l.sockets, reason)
	}
}

// What a peer must not do. Any of these ends the session.
var (
	errNotConnected  = errors.New("sockeye: packet for a namespace that is not joined")
	errConnectTwice  = errors.New("sockeye: namespace joined twice")
	errUnexpected    = errors.New("sockeye: unexpected packet")
	errTooManySpaces = errors.New("sockeye: too many namespaces")
)

// handlePacket is the one switch over the packets of a peer.
func (l *link) handlePacket(data []byte) error {
	if l.partial != nil {
		return errUnexpected // text while attachments are missing
	}
	cfg := &l.srv.cfg
	p, err := l.srv.consume(data)
	if err != nil {
		return err
	}
	if p.Type == sio.Connect {
		return l.handleConnect(p)
	}
	s := l.find(p.Namespace)
	if s == nil || s.state != socketConnected && p.Type != sio.Disconnect {
		return errNotConnected
	}
	switch p.Type {
	case sio.Disconnect:
		if p.Data != nil {
			return errUnexpected
		}
		l.remove(s, ClientNamespaceDisconnect)
	case sio.Event:
		if cfg.Inline {
			s.handleEvent(p, p.Data, nil) // where it lies
			return nil
		}
		l.pushEvent(s, p, copyOf(p.Data), nil)
	case sio.Ack:
		l.pushAck(s, p, copyOf(p.Data), nil)
	case sio.BinaryEvent, sio.BinaryAck:
		if p.Attachments == 0 {
			return errUnexpected
		}
		b := &partial{link: l, packet: p, socket: s, payload: copyOf(p.Data), bytes: len(data)}
		l.partial = b
		b.payload.Charge(l.srv.group.Memory())
		l.session.Loop().Arm(&b.timer, b, cfg.AttachmentTimeout)
	default:
		return errUnexpected
	}
	return nil
}

func copyOf(b []byte) *netpoll.Buffer {
	buf := netpoll.NewBuffer(len(b))
	buf.B = append(buf.B, b...)
	return buf
}

// handleAttachment takes a binary message.
func (l *link) handleAttachment(data []byte) error {
	b := l.partial
	if b == nil {
		return errUnexpected
	}
	if b.bytes += len(data); b.bytes > l.srv.engine.Config().MaxPayload {
		return errUnexpected
	}
	b.attachments = append(b.attachments, bytes.Clone(data))
	b.charge(len(data))
	if len(b.attachments) < b.packet.Attachments {
		return nil
	}
	l.partial = nil
	l.session.Loop().Stop(&b.timer)
	b.charge(-b.charged)
	switch {
	case b.socket.state != socketConnected:
		b.payload.Release()
	case b.packet.Type == sio.BinaryEvent:
		l.pushEvent(b.socket, b.packet, b.payload, b.attachments)
	default:
		l.pushAck(b.socket, b.packet, b.payload, b.attachments)
	}
	return nil
}

// charge charges n more bytes of attachments to the group's memory.
func (p *partial) charge(n int) {
	p.charged += n
	p.link.srv.group.Memory().Add(n)
	p.link.session.Loop().Rank(p.link, p.charged)
}

// Shed is for the group's memory: the session holds most of what is spent.
func (l *link) Shed() { l.session.CloseNow(engine.ForcedClose) }

func (l *link) dropPartial() {
	if l.partial != nil {
		l.session.Loop().Stop(&l.partial.timer)
		l.partial.charge(-l.partial.charged)
		l.partial.payload.Release()
		l.partial = nil
	}
}

// pushEvent puts an event into the socket's mailbox, or runs its handler.
func (l *link) pushEvent(s *Socket, p sio.Packet, payload *netpoll.Buffer, attachments [][]byte) {
	m := mail{kind: mailEvent, id: p.ID, hasID: p.HasID, payload: payload, attachments: attachments}
	if l.srv.cfg.Inline {
		s.handleEvent(p, payload.B, attachments)
		payload.Release()
		return
	}
	if s.push(m) {
		l.srv.stats.paused.Add(1)
		l.full++
		l.session.Pause()
	}
}

// pushAck finds who waits for an answer; an unknown or repeated id is ignored.
func (l *link) pushAck(s *Socket, p sio.Packet, payload *netpoll.Buffer, attachments [][]byte) {
	call := s.takeAck(p.ID)
	if !p.HasID || call == nil {
		payload.Release()
		return
	}
	l.session.Loop().Stop(&call.timer)
	if call.now { // Call waits for it: the handler's own mailbox may be blocked by it
		args, err := l.srv.split(payload.B, nil)
		if err != nil {
			call.finish(Args{}, ErrDisconnected)
			l.session.CloseNow(ForcedClose)
		} else {
			call.finish(newArgs(l.srv, args, attachments).clone(), nil)
		}
		payload.Release()
		return
	}
	s.push(mail{kind: mailAck, payload: payload, attachments: attachments, call: call})
}

// resumeReading follows when a mailbox has room again.
func resumeReading(a, _ any) {
	s := a.(*Socket)
	if l := linkOf(s.session()); l.full > 0 {
		if l.full--; l.full == 0 {
			s.session().Resume()
		}
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
	name, query, _ := bytes.Cut(p.Namespace, []byte{'?'})
	if l.find(name) != nil {
		return errConnectTwice
	}
	if int(l.count) >= srv.cfg.MaxNamespaces {
		return errTooManySpaces
	}
	auth := bytes.Clone(p.Data)
	if l.session.Version() == 3 {
		auth = queryAsAuth(query)
	}
	ns := srv.enter(name, auth)
	if ns == nil {
		srv.stats.refused.Add(1)
		l.sendConnectError(string(name), errInvalidNamespace)
		return nil
	}
	l.join(ns, auth)
	return nil
}

// join makes a socket, whose handlers decide whether it may stay.
func (l *link) join(ns *Namespace, auth []byte) {
	s := newSocket(ns, l.session, auth)
	s.next, l.sockets = l.sockets, s
	l.count++
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
		return engine.NewID()
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

func acceptPosted(a, _ any) {
	s := a.(*Socket)
	if s.state != socketConnecting {
		return
	}
	l := linkOf(s.session())
	l.stopTimer()
	l.session.Establish()
	s.state = socketConnected
	who := s.who()
	if who.saved != nil {
		for _, msg := range who.saved.missed {
			s.session().Send(msg)
		}
		who.saved.release()
	}
	var answer any
	if s.session().Version() == 4 {
		answer = connectAnswer{s.member.ID, who.pid}
	}
	s.sendPacket(sio.Connect, answer)
	if h := s.held; h != nil {
		s.held = nil
		for _, msg := range h.messages {
			s.session().Send(msg)
		}
		h.release()
	}
}

func refusePosted(a, b any) {
	s := a.(*Socket)
	if s.state == socketClosed {
		return
	}
	l := linkOf(s.session())
	l.srv.stats.refused.Add(1)
	l.remove(s, ServerNamespaceDisconnect)
	refusal := &ConnectError{Message: b.(error).Error()}
	errors.As(b.(error), &refusal)
	l.sendConnectError(s.ns.name, refusal)
}

var errInvalidNamespace = &ConnectError{Message: "Invalid namespace"}

// sendConnectError refuses a namespace. Socket.IO v5, "Connection to a
// namespace"; v4 has the data or the message alone, except for namespaces that
// do not exist.
func (l *link) sendConnectError(namespace string, refusal *ConnectError) {
	var body any
	switch {
	case l.session.Version() == 3 && refusal.Data != nil:
		body = refusal.Data
	case l.session.Version() == 3 && refusal != errInvalidNamespace:
		body = refusal.Message
	case refusal.Data != nil:
		body = map[string]any{"message": refusal.Message, "data": refusal.Data}
	default:
		body = map[string]any{"message": refusal.Message}
	}
	msg := l.srv.encodePacket(sio.Packet{Type: sio.ConnectError, Namespace: []byte(namespace)}, body)
	l.session.Send(msg)
	msg.Release()
}

// disconnect takes a socket out of its namespace and tells the peer.
func (l *link) disconnect(s *Socket) {
	if s.state == socketClosed {
		return
	}
	s.ns.rooms.Settle(&s.member)
	if s.state == socketConnected {
		s.sendPacket(sio.Disconnect, nil)
	}
	l.remove(s, ServerNamespaceDisconnect)
}

// remove ends a socket; its handlers see that as their last mail.
func (l *link) remove(s *Socket, reason Reason) {
	var rooms []string
	who := s.who()
	if s.is(socketEntered) && (s.ns.onDisconnecting.get() != nil || who.pid != "") {
		rooms = s.Rooms()
	}
	s.setLastRooms(rooms)
	s.ns.adapter.Remove(&s.member) // delivers what is under way first
	if who.saved != nil {
		who.saved.release()
	}
	if who.pid != "" && recoverable(reason) && (s.state == socketConnected || who.saved != nil) {
		s.remember(rooms)
	}
	s.state = socketClosed
	s.flags.Or(socketGone)
	s.endContext()
	s.stopAcks()
	s.held.release()
	s.held = nil
	for p := &l.sockets; *p != nil; p = &(*p).next {
		if *p == s {
			*p, s.next = s.next, nil
			l.count--
			break
		}
	}
	s.push(mail{kind: mailDisconnect, reason: reason})
}
