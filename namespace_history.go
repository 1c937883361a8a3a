package sockeye

import (
	"math/bits"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/fifo"
)

// What a history is made of: events in blocks, the log of each name, and what sockets
// that are back have still to get. What is done with it is in namespace_recovery.go.

// log are the offsets of the events that were sent to one name.
type log struct {
	in      map[string]*log // where it is, by name
	name    string
	offsets fifo.Queue[uint64]
}

// pastEvent is an event as it was sent: an exact copy, which nobody changes.
type pastEvent struct {
	offset uint64
	at     time.Duration // since the process began
	data   []byte        // of the message
	log    *log          // of the name that was addressed
	more   *pastMore     // nil for most
	chunk  *chunk        // data is in it; nil if it has memory of its own
	takes  int           // bytes of memory
	binary bool          // data is: a Parser's
	plain  bool          // not to be compressed
}

// chunk has small events' bytes.
type chunk struct {
	b      []byte
	events int // that are kept, pinned ones included
}

// pastMore is what few events have.
type pastMore struct {
	parts    [][]byte // attachments
	logs     []*log   // of further names that were addressed
	except   []string
	exceptID string
}

const (
	chunkBytes = 64 << 10
	ownBytes   = 4 << 10 // an event as large as this has memory of its own
	eventBytes = 128     // a pastEvent, its place in events and in a log
	moreBytes  = 112     // a pastMore
	savedBytes = 512     // of a savedSocket
)

// pastEvents is a queue of events, in blocks: one costs no memory of its own, and
// none is moved when there are more.
type pastEvents struct {
	blocks fifo.Queue[*eventBlock]
	from   int // the first, in the first block
	n      int
	spare  *eventBlock // nil for none
}

// eventBlock is some events in a row. Sockets that are getting what they have missed
// pin it: its events stay there, also when the history has dropped them.
type eventBlock struct {
	events  [blockEvents]pastEvent
	dropped int // events[:dropped] are the history's no more
	pins    int
	pinned  int // bytes of memory, of dropped events
}

const blockEvents = 64

func (q *pastEvents) len() int { return q.n }

// place tells where an event is.
func (q *pastEvents) place(i int) (b *eventBlock, at int) {
	i += q.from
	return q.blocks.All()[i/blockEvents], i % blockEvents
}

// at is valid until the event is dropped.
func (q *pastEvents) at(i int) *pastEvent {
	b, at := q.place(i)
	return &b.events[at]
}

// push adds one that is to be filled in.
func (q *pastEvents) push() *pastEvent {
	if q.from+q.n == q.blocks.Len()*blockEvents {
		if q.spare == nil {
			q.spare = new(eventBlock)
		}
		q.blocks.Push(q.spare)
		q.spare = nil
	}
	q.n++
	return q.at(q.n - 1)
}

// pop moves on from the first event.
func (q *pastEvents) pop() {
	b, _ := q.place(0)
	q.n--
	if q.from++; q.from == blockEvents {
		if b.pins == 0 {
			b.dropped = 0
			q.spare = b
		}
		q.blocks.Drop()
		q.from = 0
	}
}

// missedEvents are what a socket that is back has not got yet, in order. Guarded by
// the history's mu.
type missedEvents struct {
	h    *history
	runs []missedRun
}

// missedRun are events of one block, which it pins: a bit for each.
type missedRun struct {
	block *eventBlock
	set   uint64
}

func (m *missedEvents) empty() bool {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	return len(m.runs) == 0
}

// add adds an event that is later than the others. mu is held.
func (m *missedEvents) add(b *eventBlock, at int) {
	if n := len(m.runs); n == 0 || m.runs[n-1].block != b {
		b.pins++
		m.runs = append(m.runs, missedRun{block: b})
	}
	m.runs[len(m.runs)-1].set |= 1 << at
}

// next takes the next event; nil if there is none.
func (m *missedEvents) next() *engine.Message {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	if len(m.runs) == 0 {
		return nil
	}
	run := &m.runs[0]
	at := bits.TrailingZeros64(run.set)
	msg := run.block.events[at].message()
	if run.set &^= 1 << at; run.set == 0 {
		m.unpin()
		m.h.charge()
	}
	return msg
}

// unpin is done with the first run. mu is held.
func (m *missedEvents) unpin() {
	b := m.runs[0].block
	m.runs[0] = missedRun{}
	m.runs = m.runs[1:]
	if b.pins--; b.pins == 0 {
		m.h.pinned -= b.pinned
		b.pinned = 0
		for i := range b.events[:b.dropped] {
			m.h.clear(&b.events[i])
		}
	}
}

// drop forgets them: nobody will get them.
func (m *missedEvents) drop() {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	for len(m.runs) > 0 {
		m.unpin()
	}
	m.h.charge()
}
