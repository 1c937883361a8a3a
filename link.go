package sockeye

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"slices"
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
	ended   *[]string     // namespaces that this side has taken the peer out of; nil for none
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

// await gives the attachments all of their time.
func (p *partial) await() {
	p.link.session.Loop().Arm(&p.timer, p, p.link.srv.cfg.AttachmentTimeout)
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
	l.srv.stats.connectTimeouts.Add(1)
	l.srv.tell(l.session, "ConnectTimeout", "sockeye: a session is ended, it has joined no namespace within ConnectTimeout")
	l.session.CloseNow(ForcedServerClose)
}

// Expire is for the loop's timers only: attachments did not arrive, or have not been
// read.
func (p *partial) Expire(*netpoll.Timer) {
	if p.link.session.Paused() {
		p.await()
		return
	}
	p.link.violated(errAttachmentsMissing)
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
		l.violated(err)
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

// OnClose is for the engine.
func (h *sessionHandler) OnClose(s *engine.Session, reason engine.CloseReason) {
	l := linkOf(s)
	l.stopTimer()
	l.dropPartial()
	for l.sockets != nil {
		l.remove(l.sockets, reason, ended)
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
	if l.session.Version() == 3 {
		p.Namespace, _, _ = bytes.Cut(p.Namespace, []byte{'?'})
	}
	s := l.find(p.Namespace)
	if s != nil && p.Type != sio.Disconnect && !s.life.state().hears() {
		s = nil
	}
	if s == nil && !l.hasEnded(p.Namespace) {
		return errNotConnected
	}
	switch p.Type {
	case sio.Disconnect:
		if p.Data != nil {
			return errUnexpected
		}
		if s != nil {
			l.remove(s, ClientNamespaceDisconnect, ended)
		}
	case sio.Event:
		switch {
		case s == nil || s.life.state().byServer():
			l.srv.stats.ignored.Add(1)
		case cfg.Inline: // no mailbox runs: the verdict came when it was empty
			s.handleEvent(p, p.Data, nil) // where it lies
			if l.session.Full() {
				l.pace()
			}
		default:
			s.push(mail{kind: mailEvent, id: p.ID, hasID: p.HasID, payload: copyOf(p.Data)})
		}
	case sio.Ack:
		return l.handleAck(s, p, copyOf(p.Data), nil)
	case sio.BinaryEvent, sio.BinaryAck:
		if p.Attachments == 0 {
			return errUnexpected
		}
		if err := l.srv.checkBinary(p); err != nil { // before the attachments come, as the reference
			return err
		}
		b := &partial{link: l, packet: p, socket: s, payload: copyOf(p.Data), bytes: len(data)}
		l.partial = b
		b.payload.Charge(l.srv.group.Memory())
		b.await()
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
	switch s := b.socket; {
	case b.packet.Type == sio.BinaryAck:
		return l.handleAck(s, b.packet, b.payload, b.attachments)
	case s == nil || !s.life.state().hears():
		l.srv.stats.ignored.Add(1)
		b.payload.Release()
	default:
		s.push(mail{kind: mailEvent, id: b.packet.ID, hasID: b.packet.HasID, payload: b.payload, attachments: b.attachments})
	}
	return nil
}

// charge charges n more bytes of attachments to the group's memory.
func (p *partial) charge(n int) {
	p.charged += n
	p.link.srv.group.Memory().Add(n)
	p.link.weigh()
}

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
		l.session.CloseNow(engine.ForcedClose)
	} else {
		l.session.Loop().Rank(l, 0) // or it were the largest again, for ever
	}
}

func (l *link) dropPartial() {
	if l.partial != nil {
		l.session.Loop().Stop(&l.partial.timer)
		l.partial.charge(-l.partial.charged)
		l.partial.payload.Release()
		l.partial = nil
	}
}

// handleAck finds who waits for an answer; an unknown or repeated id is ignored.
//
// Socket.IO v5, "Acknowledgement": the payload is an array.
func (l *link) handleAck(s *Socket, p sio.Packet, payload *netpoll.Buffer, attachments [][]byte) error {
	var call *pendingAck
	if s != nil && p.HasID {
		call = s.takeAck(p.ID)
	}
	if call != nil {
		l.session.Loop().Stop(&call.timer)
		if !call.now {
			s.push(mail{kind: mailAck, payload: payload, attachments: attachments, call: call})
			return nil
		}
	}
	defer payload.Release()
	args, err := l.srv.split(payload.B, nil)
	if err == nil && len(attachments) > 0 {
		err = sio.CheckPlaceholders(payload.B, len(attachments))
	}
	switch {
	case call == nil:
		l.srv.stats.ignored.Add(1)
	case err != nil:
		call.finish(Args{}, ErrDisconnected)
	default: // Call waits for it: the handler's own mailbox may be blocked by it
		call.finish(newArgs(l.srv, args, attachments).clone(), nil)
	}
	return err
}

// pace reads on from the session, or not: while a mailbox is full it is not, so
// that the peer feels it. But where somebody waits in Call, the answer may be
// behind what would have to wait: then twice as much is taken.
func (l *link) pace() {
	// On a loop nothing waits for the peer to read: it is not read from meanwhile.
	pause, asking, over := false, false, l.srv.cfg.Inline && l.session.Full()
	pause = over
	for s := l.sockets; s != nil; s = s.next {
		s.mu.Lock()
		if s.box != nil && s.box.full {
			pause = true
			over = over || s.box.fills(2)
		}
		asking = asking || s.extras != nil && s.extras.calls > 0
		s.mu.Unlock()
	}
	if pause && (!asking || over) {
		l.session.Pause()
		return
	}
	if l.session.Paused() && l.partial != nil {
		l.partial.await()
	}
	l.session.Resume()
}

// pacePosted follows when a mailbox has room again, or somebody asks.
func pacePosted(a, _ any) { linkOf(a.(*Socket).session()).pace() }

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
	refusal := errAuthTooLarge
	var ns *Namespace
	if auths <= srv.cfg.MaxAuthBytes {
		refusal, auth = errInvalidNamespace, bytes.Clone(auth)
		ns = srv.enter(name, auth)
	}
	if ns == nil {
		srv.stats.refused.Add(1)
		srv.tell(l.session, refusal.Message, "sockeye: a connect is refused", slog.Any("why", refusal), slog.String("namespace", string(name)))
		l.sendConnectError(string(name), refusal)
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

// verdictPosted lets a socket in, or not.
func verdictPosted(a, b any) {
	s := a.(*Socket)
	if err := b.(*verdict).err; err != nil {
		linkOf(s.session()).refuse(s, err)
	} else if _, ok := s.life.change(accepted); ok {
		linkOf(s.session()).accept(s)
	}
}

// accept tells the peer that it is in, after what it has missed and before what has
// been sent to it since.
func (l *link) accept(s *Socket) {
	l.stopTimer()
	l.session.Establish()
	var answer any
	if l.session.Version() == 4 {
		answer = connectAnswer{s.member.ID, s.who().pid}
	}
	msg := l.srv.encodePacket(sio.Packet{Type: sio.Connect, Namespace: []byte(s.ns.name)}, answer)
	saved := s.who().saved
	if s.held == nil && (saved == nil || len(saved.missed) == 0) && !l.session.Full() {
		l.session.Send(msg)
		msg.Release()
		s.told()
		return
	}
	h := &held{answer: msg}
	if saved != nil {
		h.missed, saved.missed = saved.missed, nil
	}
	h.messages = append(h.messages, msg)
	if s.held != nil {
		h.messages = append(h.messages, s.held.messages...)
	}
	for _, m := range h.messages {
		h.bytes += m.Memory()
	}
	s.held = h
	s.pump(false)
}

// told follows when the peer has been told that it is in.
func (s *Socket) told() {
	if len(s.ns.onConnection.get()) > 0 {
		s.push(mail{kind: mailConnected})
	}
}

// refuse answers a CONNECT with an error.
func (l *link) refuse(s *Socket, err error) {
	refusal := &ConnectError{Message: internalMessage}
	if !errors.As(err, &refusal) && !errors.Is(err, ErrDisconnected) && !errors.Is(err, errEnded) {
		if p := (*PanicError)(nil); !errors.As(err, &p) {
			s.report("connect", err)
		}
	}
	if s.life.state().over() {
		return
	}
	l.end(s.ns.name) // first, as in disconnect
	if !l.remove(s, ServerNamespaceDisconnect, refused) {
		return
	}
	l.srv.stats.refused.Add(1)
	s.tell("refused", "sockeye: a connect is refused", slog.Any("why", err))
	l.sendConnectError(s.ns.name, refusal)
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
	l.remove(s, ServerNamespaceDisconnect, e)
}

// remove ends a socket; its handlers see that as their last mail. It tells whether
// e had an effect.
func (l *link) remove(s *Socket, reason Reason, e lifeEvent) bool {
	l.session.Loop().Check()
	from, ok := s.life.change(e)
	if !ok {
		return false
	}
	var rooms []string
	who := s.who()
	if from != asking && (len(s.ns.onDisconnecting.get()) > 0 || who.pid != "") {
		rooms = append([]string{s.member.ID}, s.ns.rooms.In(&s.member)...)
	}
	s.setLastRooms(rooms)
	s.ns.adapter.Remove(&s.member)
	if who.pid != "" && recoverable(reason) && (from == connected || who.saved != nil) {
		s.remember(rooms)
	}
	s.endContext()
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
