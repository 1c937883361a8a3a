package sockeye

import (
	"sync"

	"github.com/sockeye-io/sockeye/netpoll"
)

// mailbox holds what a socket's handlers have still to see, in order. It is
// run by one lent goroutine at a time; an empty one holds neither memory nor
// goroutine.
type mailbox struct {
	socket *Socket

	// Guarded by mu.
	mu     sync.Mutex
	mails  []mail // mails[next:] are waiting
	next   int
	bytes  int
	active bool // a goroutine runs it, or is on its way
	full   bool // the session is not read until there is room

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

// mailsAtOnce is how many mails a goroutine takes from one mailbox before the
// other mailboxes' turn.
const mailsAtOnce = 16

// push adds a mail and tells whether the mailbox is full now: then no more
// events may be pushed until the session has been resumed.
func (b *mailbox) push(m mail) (full bool) {
	cfg := &b.socket.ns.srv.cfg
	b.mu.Lock()
	b.mails = append(b.mails, m)
	if m.payload != nil {
		b.bytes += m.size()
	}
	if m.kind == mailEvent && (len(b.mails)-b.next >= cfg.MailboxEvents || b.bytes >= cfg.MailboxBytes) && !b.full {
		b.full, full = true, true
	}
	start := !b.active
	b.active = true
	b.mu.Unlock()
	if start {
		b.socket.ns.srv.workers.active.Add(1)
		b.socket.ns.srv.workers.lend(b)
	}
	return full
}

func (m *mail) size() int {
	n := len(m.payload.B)
	for _, a := range m.attachments {
		n += len(a)
	}
	return n
}

// run handles some mails and tells whether there are more.
func (b *mailbox) run() (again bool) {
	for range mailsAtOnce {
		b.mu.Lock()
		if b.next == len(b.mails) {
			b.active = false
			if cap(b.mails) > 0 {
				b.mails, b.next = nil, 0
			}
			b.mu.Unlock()
			b.socket.ns.srv.workers.active.Add(-1)
			return false
		}
		m := b.mails[b.next]
		b.mails[b.next] = mail{}
		b.next++
		if m.payload != nil {
			b.bytes -= m.size()
		}
		if b.next > 64 && b.next > len(b.mails)/2 {
			k := copy(b.mails, b.mails[b.next:])
			clear(b.mails[k:])
			b.mails, b.next = b.mails[:k], 0
		}
		cfg := &b.socket.ns.srv.cfg
		resume := b.full && len(b.mails)-b.next <= cfg.MailboxEvents/2 && b.bytes <= cfg.MailboxBytes/2
		if resume {
			b.full = false
		}
		b.mu.Unlock()
		if resume {
			b.socket.session.Loop().Post(resumeReading, b.socket, nil, 0)
		}
		b.socket.handle(&m)
		if m.payload != nil {
			m.payload.Release()
		}
	}
	return true
}

// handle runs the handlers for one mail.
func (s *Socket) handle(m *mail) {
	switch m.kind {
	case mailEvent:
		s.handleEvent(m)
	case mailAck:
		args, err := s.ns.srv.split(m.payload.B, nil)
		if err != nil {
			s.session.Close(ForcedClose)
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
