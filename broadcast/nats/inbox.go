package nats

import (
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/internal/fifo"
)

// received is a message from NATS. What lies before it in another epoch may be incomplete.
type received struct {
	*nats.Msg
	epoch uint64
}

func (r *received) size() int { return len(r.Data) + len(r.Subject) + 256 }

// inbox holds what waits for a goroutine, in bounded memory.
type inbox struct {
	// Immutable.
	max int

	// Guarded by mu.
	mu     sync.Mutex
	turn   sync.Cond
	queue  fifo.Queue[received]
	bytes  int
	epoch  uint64 // of what comes next
	closed bool
}

func newInbox(maxBytes int) *inbox {
	b := &inbox{max: maxBytes}
	b.turn.L = &b.mu
	return b
}

// push takes a message; false if there is no room for it. Then a new epoch begins.
func (b *inbox) push(m *nats.Msg) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := received{m, b.epoch}
	if b.bytes+r.size() > b.max {
		b.epoch++
		b.turn.Signal()
		return false
	}
	b.queue.Push(r)
	b.bytes += r.size()
	b.turn.Signal()
	return true
}

// gap begins a new epoch.
func (b *inbox) gap() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch++
	b.turn.Signal()
}

// pop waits for the next message, or, where nothing waits, for another epoch than the one
// that is known: then m.Msg is nil. ok is false at the end.
func (b *inbox) pop(known uint64) (m received, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.closed:
			return m, false
		case b.queue.Len() > 0:
			m = b.queue.Pop()
			b.bytes -= m.size()
			return m, true
		case b.epoch != known:
			return received{epoch: b.epoch}, true
		}
		b.turn.Wait()
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.queue.Clear(0)
	b.turn.Broadcast()
}
