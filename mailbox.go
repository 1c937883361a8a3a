package sockeye

import (
	"sync"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// mailbox holds what a socket's handlers have still to see, in order. It is
// run by one lent goroutine at a time; a socket that has nothing waiting has no
// mailbox.
type mailbox struct {
	socket *Socket

	// Guarded by socket.mu.
	mails []mail // mails[next:] are waiting
	next  int
	bytes int
	full  bool // the session is not read until there is room

	nextReady *mailbox // guarded by workers.mu
}

// mail is one thing for the handlers: an event, the answer to an
// acknowledgement, or a step of the socket's life.
type mail struct {
	kind        mailKind
	id          uint64
	hasID       bool
	payload     *netpoll.Buffer // the JSON of an event or answer
	attachments [][]byte
	reason      Reason
	call        *pendingAck

	bytes   int  // the memory that it takes
	charged bool // to the group's budget
}

type mailKind uint8

const (
	mailEvent mailKind = iota
	mailAck
	mailNoAck
	mailConnect
	mailUpgrade
	mailDisconnect
)

var mailboxes = sync.Pool{New: func() any { return new(mailbox) }}

// mailsAtOnce is how many mails a goroutine takes from one mailbox before the
// other mailboxes' turn.
const mailsAtOnce = 16

// A mail is charged to the group's memory if it has to wait behind others, or is
// large; most are handled at once.
const (
	mailsUncharged = 4
	mailUncharged  = 4 << 10 // bytes
	mailBytes      = 128     // of a mail itself
)

// push adds a mail and tells whether the mailbox is full now: then no more
// events may be pushed until the session has been resumed. Loop-owned.
func (s *Socket) push(m mail) (full bool) {
	cfg := &s.ns.srv.cfg
	m.bytes = m.memory()
	s.mu.Lock()
	b := s.box
	start := b == nil
	if start {
		b = mailboxes.Get().(*mailbox)
		b.socket, s.box = s, b
	}
	m.charged = len(b.mails)-b.next >= mailsUncharged || m.bytes >= mailUncharged
	b.mails = append(b.mails, m)
	b.bytes += m.bytes
	held := b.bytes
	if m.kind == mailEvent && (len(b.mails)-b.next >= cfg.MailboxEvents || b.bytes >= cfg.MailboxBytes) && !b.full {
		b.full, full = true, true
	}
	s.mu.Unlock()
	if m.charged {
		s.ns.srv.group.Memory().Add(m.bytes)
		if s.session().Open() {
			s.session().Loop().Rank(linkOf(s.session()), held)
		}
	}
	if start {
		s.ns.srv.workers.active.Add(1)
		s.ns.srv.workers.lend(b)
	}
	return full
}

// memory is what the mail takes.
func (m *mail) memory() int {
	n := mailBytes
	if m.payload != nil {
		n += cap(m.payload.B)
	}
	for _, a := range m.attachments {
		n += cap(a)
	}
	return n
}

// run handles some mails and tells whether there are more. If there are not, b
// is another socket's already.
func (b *mailbox) run() (again bool) {
	s := b.socket
	cfg := &s.ns.srv.cfg
	for range mailsAtOnce {
		s.mu.Lock()
		if b.next == len(b.mails) {
			s.box = nil
			s.mu.Unlock()
			b.free()
			s.ns.srv.workers.active.Add(-1)
			return false
		}
		m := b.mails[b.next]
		b.mails[b.next] = mail{}
		b.next++
		b.bytes -= m.bytes
		if b.next > 64 && b.next > len(b.mails)/2 {
			k := copy(b.mails, b.mails[b.next:])
			clear(b.mails[k:])
			b.mails, b.next = b.mails[:k], 0
		}
		resume := b.full && len(b.mails)-b.next <= cfg.MailboxEvents/2 && b.bytes <= cfg.MailboxBytes/2
		if resume {
			b.full = false
		}
		s.mu.Unlock()
		if resume {
			s.session().Loop().Post(resumeReading, s, nil, 0)
		}
		s.handle(&m)
		if m.payload != nil {
			m.payload.Release()
		}
		if m.charged {
			s.ns.srv.group.Memory().Add(-m.bytes)
		}
	}
	return true
}

// free gives an empty mailbox back.
func (b *mailbox) free() {
	b.socket, b.next = nil, 0
	if b.mails = b.mails[:0]; cap(b.mails) > 128 {
		b.mails = nil
	}
	mailboxes.Put(b)
}

// handle runs the handlers for one mail.
func (s *Socket) handle(m *mail) {
	switch m.kind {
	case mailEvent:
		s.handleEvent(sio.Packet{ID: m.id, HasID: m.hasID}, m.payload.B, m.attachments)
	case mailAck:
		args, err := s.ns.srv.split(m.payload.B, nil)
		if err != nil {
			s.session().Close(ForcedClose)
			return
		}
		m.call.finish(newArgs(s.ns.srv, args, m.attachments), nil)
	case mailNoAck:
		m.call.finish(Args{}, ErrAckTimeout)
	case mailConnect:
		s.handleConnect()
	case mailUpgrade:
		if f := s.ns.onUpgrade.get(); f != nil {
			_, _ = s.guard("upgrade", func() error { f(s); return nil })
		}
	case mailDisconnect:
		s.handleDisconnect(m.reason)
	}
}
