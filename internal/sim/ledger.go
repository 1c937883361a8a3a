package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/sim/yield"
)

// ledger has what was emitted, for whom, and by whom in which order. It learns of
// rooms from what the application does, not from the server.
type ledger struct {
	w *world

	// Guarded by mu.
	mu      yield.Mutex
	entries []*entry // by id
	open    []*entry // whose call has not returned
	peers   map[string]*peer
	lives   map[*sockeye.Socket]*life
	pending map[*entry]*asking
}

// peer is who receives: a socket ID in a namespace. With recovery several Sockets,
// one after the other, are the same peer.
type peer struct {
	name  int
	id    string
	ns    string
	rooms map[string]membership
	lives int
	last  *life
	got   map[*stream]int // the index of the last entry that came, from 1
	out   bool            // it was refused, or disconnected on purpose
}

// membership in a room: whether the peer is in it for certain, and whether it may be.
type membership struct {
	sure, maybe bool
	calls       int  // of Join and Leave that are under way
	tangled     bool // there were several at once
}

// stream is one that emits: a goroutine, or the handlers of a socket.
type stream struct {
	name    int
	entries []*entry
}

// entry is one emit.
type entry struct {
	id, index int // index in the stream, from 1
	by        *stream
	what      string
	to        address
	volatile  bool
	asks      bool
	overdue   bool // as a question
	failed    bool // the call has returned an error: it has not been sent
	must, may map[*peer]bool
}

// address is what an entry was addressed to: a socket, or rooms of a namespace.
type address struct {
	ns      string
	only    *peer    // that one alone
	rooms   []string // none: all
	except  []string
	without *peer
}

func (a address) String() string {
	if a.only != nil {
		return fmt.Sprintf("p%d", a.only.name)
	}
	s := fmt.Sprintf("%s %q", a.ns, a.rooms)
	if len(a.except) > 0 {
		s += fmt.Sprintf(" but %q", a.except)
	}
	if a.without != nil {
		s += fmt.Sprintf(" but p%d", a.without.name)
	}
	return s
}

// asking is a question that waits for its answer, or answers.
type asking struct {
	e     *entry
	l     *life // who is asked; nil for several
	fiber *fiber
	waits bool // the fiber waits for the answer
}

func newLedger(w *world) *ledger {
	return &ledger{w: w, peers: map[string]*peer{}, lives: map[*sockeye.Socket]*life{}, pending: map[*entry]*asking{}}
}

// selects tells whether p is addressed.
func (a *address) selects(p *peer) (sure, maybe bool) {
	if a.only != nil {
		return a.only == p, a.only == p
	}
	if p.ns != a.ns && !(a.ns == children && strings.HasPrefix(p.ns, "/d")) || p == a.without {
		return false, false
	}
	in := func(rooms []string) (m membership) {
		for _, r := range rooms {
			own := p.rooms[r]
			switch {
			case r == p.id:
				own = p.rooms[all]
			case slices.Contains(looseRooms, r):
				own = membership{maybe: p.rooms[all].maybe}
			}
			m.sure, m.maybe = m.sure || own.sure, m.maybe || own.maybe
		}
		return m
	}
	m := p.rooms[all]
	if len(a.rooms) > 0 {
		m = in(a.rooms)
	}
	ex := in(a.except)
	return m.sure && !ex.maybe, m.maybe && !ex.sure
}

const (
	all      = "\x00all" // the room that everybody is in
	children = "/d*"     // the namespaces of the parent
)

// begin enters an emit that is about to be called.
func (l *ledger) begin(by *stream, what string, to address) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &entry{id: len(l.entries), by: by, what: what, to: to, must: map[*peer]bool{}, may: map[*peer]bool{}}
	by.entries = append(by.entries, e)
	e.index = len(by.entries)
	// A child namespace may be forgotten while somebody emits in it.
	e.volatile = l.w.cleanup && strings.HasPrefix(to.ns, "/d") || to.ns == children
	l.entries = append(l.entries, e)
	for _, p := range l.peers {
		sure, maybe := to.selects(p)
		if sure {
			e.must[p] = true
		}
		if maybe {
			e.may[p] = true
		}
	}
	l.open = append(l.open, e)
	return e
}

// end notes how the call has ended.
func (l *ledger) end(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.failed = err != nil
	l.open = slices.DeleteFunc(l.open, func(x *entry) bool { return x == e })
}

// unsure notes that it is not known whether an entry has been sent.
func (l *ledger) unsure(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.volatile = true
}

// set changes what is known of a peer's place in a room.
func (l *ledger) set(p *peer, room string, f func(m *membership)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := p.rooms[room]
	f(&m)
	p.rooms[room] = m
	for _, e := range l.open {
		sure, maybe := e.to.selects(p)
		if !sure {
			delete(e.must, p)
		}
		if maybe {
			e.may[p] = true
		}
	}
}

// joining is a call of Join that begins, joined its end, if it had an effect for
// certain.
func (l *ledger) joining(p *peer, room string) {
	l.set(p, room, func(m *membership) { m.maybe = true })
}

func (l *ledger) joined(p *peer, room string) {
	l.set(p, room, func(m *membership) { m.sure = !p.out })
}

func (l *ledger) leaving(p *peer, room string) {
	l.set(p, room, func(m *membership) { m.sure = false })
}

// call is a call of Join or Leave, from before it begins. What it returns is to be
// called after it, with what it has done for certain.
func (l *ledger) call(p *peer, room string) (end func(joined, left bool)) {
	l.set(p, room, func(m *membership) {
		m.tangled = m.calls > 0
		m.calls++
	})
	return func(joined, left bool) {
		l.set(p, room, func(m *membership) {
			m.calls--
			switch {
			case m.tangled: // who was last is not known
				m.sure, m.maybe = false, true
				m.tangled = m.calls > 0
			case joined:
				m.sure = true
			case left:
				m.maybe = false
			}
		})
	}
}

// isFor tells whether an entry may be for a peer.
func (l *ledger) isFor(p *peer, id int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[id].may[p]
}

// received is told of each entry that comes to a peer. exact: the client has done
// nothing because of which it might be doubled or missing.
func (l *ledger) received(p *peer, id int, exact bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id < 0 || id >= len(l.entries) {
		l.w.fault("content", "p%d got entry %d, which does not exist", p.name, id)
		return
	}
	e := l.entries[id]
	switch {
	case !e.may[p]:
		l.w.fault("addressee", "p%d (%s) got e%d (%s), which was not addressed to it", p.name, p.ns, id, e.what)
	case e.failed:
		l.w.fault("error", "p%d got e%d (%s), whose call has returned an error", p.name, id, e.what)
	}
	last := p.got[e.by]
	p.got[e.by] = max(last, e.index)
	if !exact {
		return
	}
	if e.index <= last {
		l.w.fault("order", "p%d got e%d (%s, %d of stream %d) after %d of it", p.name, id, e.what, e.index, e.by.name, last)
		return
	}
	l.complete(p, e.by, last, e.index-1)
}

// complete checks that nothing of a stream, between two indices, has been left out.
// mu is held.
func (l *ledger) complete(p *peer, by *stream, from, to int) {
	for _, e := range by.entries[from:to] {
		if e.must[p] && !e.failed && !e.volatile && !slices.Contains(l.open, e) {
			l.w.fault("lost", "p%d (%s) has not got e%d (%s, %d of stream %d)", p.name, p.ns, e.id, e.what, e.index, by.name)
			return
		}
	}
}

// checkComplete checks that a peer that is still there has got all that it had to.
func (l *ledger) checkComplete(p *peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, by := range l.w.streams {
		l.complete(p, by, p.got[by], len(by.entries))
	}
}

// ask enters a question.
func (l *ledger) ask(e *entry, who *life, waits bool) {
	f := l.w.schedule.current()
	l.mu.Lock()
	defer l.mu.Unlock()
	e.asks = true
	l.pending[e] = &asking{e, who, f, waits}
}

// answered ends it; a second time is a fault.
func (l *ledger) answered(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[e] == nil && !e.overdue {
		l.w.fault("answer", "the question e%d (%s) has ended twice", e.id, e.what)
	}
	delete(l.pending, e)
}

// checkCalls finds questions that should have ended. If not everything has had its
// time those alone whose peer has gone, and which wait in the server.
func (l *ledger) checkCalls(everything bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		a := l.pending[e]
		if a == nil || !everything && (a.l == nil || !a.waits || !a.l.accepted || a.l.s.Connected() || a.fiber == nil || a.fiber.parked) {
			continue
		}
		l.w.fault("call", "the question e%d (%s) has not ended", e.id, e.what)
		delete(l.pending, e)
		e.overdue = true
	}
}

// secret marks what no peer may see.
const secret = "SECRET"

func holdsSecret(b []byte) bool { return strings.Contains(string(b), secret) }
