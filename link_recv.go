package sockeye

import (
	"bytes"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
)

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
			l.remove(s, l.session.Describe(ClientNamespaceDisconnect, CausePeerLeft, "the peer has left the namespace"), ended)
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

// Expire is for the loop's timers only: attachments did not arrive, or have not been
// read.
func (p *partial) Expire(*netpoll.Timer) {
	if p.link.session.Paused() {
		p.await()
		return
	}
	p.link.violated(errAttachmentsMissing)
}

// charge charges n more bytes of attachments to the group's memory.
func (p *partial) charge(n int) {
	p.charged += n
	p.link.srv.group.Memory().Add(n)
	p.link.weigh()
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
		s.count(tallyAcksIn)
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

// paceOnLoop follows when a mailbox has space again, or somebody asks.
func paceOnLoop(a, _ any) { linkOf(a.(*Socket).engineSession()).pace() }
