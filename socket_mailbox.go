package sockeye

import (
	"sync"

	"github.com/sockeye-io/sockeye/internal/fifo"
	"github.com/sockeye-io/sockeye/internal/goroutine"
	"github.com/sockeye-io/sockeye/internal/lend"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// mailbox holds what a socket's handlers have still to see, in order. It is
// run by one lent goroutine at a time: what that one alone touches, here and in
// its Socket, is "Mailbox-owned". A socket that has nothing waiting has no mailbox.
type mailbox struct {
	lend.Link

	socket *Socket

	// Mailbox-owned.
	at      mail // that is being handled
	busy    bool // there is one
	verdict *verdict

	// Guarded by socket.mu.
	mails  fifo.Queue[mail] // that are waiting
	bytes  int
	full   bool    // the session is not read until there is space
	runner uintptr // the goroutine that runs it; 0 for none
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

	step    int  // hooks that have been called for it
	bytes   int  // the memory that it takes
	charged bool // to the group's budget
}

type mailKind uint8

const (
	mailEvent mailKind = iota
	mailAck
	mailNoAck
	mailConnect
	mailConnected
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

// push adds a mail. Loop-owned.
func (s *Socket) push(m mail) {
	s.engineSession().Loop().Check()
	cfg := &s.ns.srv.cfg
	m.bytes = m.memory()
	s.mu.Lock()
	b := s.box
	start := b == nil
	if start {
		if cfg.Inline && m.kind != mailConnect && m.kind != mailDisconnect {
			s.mu.Unlock()
			now := m // m itself stays on the stack
			s.handle(&now)
			now.release()
			return
		}
		b = mailboxes.Get().(*mailbox)
		b.socket, s.box = s, b
	}
	m.charged = b.mails.Len() >= mailsUncharged || m.bytes >= mailUncharged
	b.mails.Push(m)
	b.bytes += m.bytes
	filled := m.kind == mailEvent && b.fills(1)
	pauses := filled && !b.full
	if pauses {
		b.full = true
	}
	s.mu.Unlock()
	if pauses {
		s.ns.srv.stats.paused.Add(1)
		s.tell("mailbox", "sockeye: a session is not read until its handlers have caught up")
	}
	if m.charged {
		s.ns.srv.group.Memory().Add(m.bytes)
		linkOf(s.engineSession()).weigh()
	}
	if start {
		s.ns.srv.active.Add(1)
		s.ns.srv.pool.Lend(b)
	}
	if filled {
		linkOf(s.engineSession()).pace()
	}
}

// fills tells whether so many times the limits are reached; mu is held.
func (b *mailbox) fills(times int) bool {
	cfg := &b.socket.ns.srv.cfg
	return b.mails.Len() >= times*cfg.MailboxEvents || b.bytes >= times*cfg.MailboxBytes
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

func (m *mail) release() {
	if m.payload != nil {
		m.payload.Release()
		m.payload = nil
	}
}

// Run is for lend.Pool only: it handles some mails and tells whether there are
// more. When there are none b has been given back, and may be another socket's.
func (b *mailbox) Run() (again bool) {
	s := b.socket
	s.mu.Lock()
	b.runner = goroutine.ID()
	s.mu.Unlock()
	returned := false
	defer func() {
		if !returned {
			b.goOn()
		}
	}()
	for range mailsAtOnce {
		if !b.take() {
			returned = true
			return false
		}
		s.handle(&b.at)
		b.finish()
	}
	returned = true
	s.mu.Lock()
	b.runner = 0
	s.mu.Unlock()
	return true
}

// take takes the next mail. If there is none the mailbox is given back.
func (b *mailbox) take() bool {
	b.check()
	s := b.socket
	cfg := &s.ns.srv.cfg
	s.mu.Lock()
	if b.mails.Len() == 0 {
		s.box = nil
		s.mu.Unlock()
		v := b.verdict
		b.free()
		s.ns.srv.active.Add(-1)
		if v != nil { // now: with Config.Inline no handler may run beside those of the loop
			s.engineSession().Loop().Post(verdictOnLoop, s, v, 0)
		}
		return false
	}
	b.at, b.busy = b.mails.Pop(), true
	b.bytes -= b.at.bytes
	resume := b.full && b.mails.Len() <= cfg.MailboxEvents/2 && b.bytes <= cfg.MailboxBytes/2
	if resume {
		b.full = false
	}
	s.mu.Unlock()
	if resume {
		s.engineSession().Loop().Post(paceOnLoop, s, nil, 0)
	}
	return true
}

// finish gives back what the mail at hand has taken.
func (b *mailbox) finish() {
	if b.busy {
		b.at.release()
		if b.at.charged {
			b.socket.ns.srv.group.Memory().Add(-b.at.bytes)
		}
		b.at, b.busy = mail{}, false
	}
}

// goOn lends the mailbox another goroutine when a handler has ended its goroutine
// (runtime.Goexit), as a failed test's does: what was handled is closed as after a
// panic, and the hooks that have not been called for it are called.
func (b *mailbox) goOn() {
	s := b.socket
	// Hooks that have not been called yet are; an event has been answered already,
	// and a connection is refused.
	again := b.busy && (b.at.kind == mailConnected || b.at.kind == mailUpgrade || b.at.kind == mailDisconnect)
	s.mu.Lock()
	b.runner = 0
	if again {
		b.mails.PushFront(b.at)
		b.bytes += b.at.bytes
		b.at, b.busy = mail{}, false
	}
	s.mu.Unlock()
	b.finish()
	s.ns.srv.pool.Lend(b)
}

// free gives an empty mailbox back.
func (b *mailbox) free() {
	b.socket, b.runner, b.verdict = nil, 0, nil
	b.mails.Clear(128)
	mailboxes.Put(b)
}

// mailboxFull tells whether the session may not be read on for this socket.
func (s *Socket) mailboxFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.box != nil && s.box.full
}

// inHandler tells whether the caller is a handler of this socket. Any goroutine.
func (s *Socket) inHandler() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.box != nil && s.box.runner == goroutine.ID()
}

// handle runs the handlers for one mail. Mailbox-owned.
func (s *Socket) handle(m *mail) {
	byServer := s.life.state().byServer()
	switch m.kind {
	case mailEvent:
		if !byServer {
			s.handleEvent(sio.Packet{ID: m.id, HasID: m.hasID}, m.payload.B, m.attachments)
		}
	case mailAck:
		args, err := s.ns.srv.split(m.payload.B, nil)
		switch {
		case byServer:
			m.call.finish(Args{}, ErrDisconnected)
		case err != nil:
			s.ns.srv.tellViolation(s.engineSession(), err)
			s.engineSession().CloseFor(ForcedClose, CauseViolation, err.Error())
			m.call.finish(Args{}, ErrDisconnected)
		default:
			m.call.finish(newArgs(s.ns.srv, args, m.attachments), nil)
		}
	case mailNoAck:
		m.call.finish(Args{}, ErrAckTimeout)
	case mailConnect:
		s.handleConnect()
	case mailConnected:
		if !byServer {
			runHooks(s, m, "connection", s.ns.onConnection.get(), func(f func(*Socket)) { f(s) })
		}
	case mailUpgrade:
		if !byServer {
			runHooks(s, m, "upgrade", s.ns.onUpgrade.get(), func(f func(*Socket)) { f(s) })
		}
	case mailDisconnect:
		s.handleDisconnect(m)
	}
}

// runHooks calls what is registered for a step of a socket's life, each once,
// whatever the others do.
func runHooks[T any](s *Socket, m *mail, event string, hooks []*T, call func(f T)) {
	for m.step < len(hooks) {
		f := *hooks[m.step]
		m.step++
		_ = s.guard(event, func() error { call(f); return nil })
	}
}
