package netpoll

import (
	"errors"
	"sync/atomic"
)

// ErrMemory: the group's memory was spent, and the connection held most of it.
var ErrMemory = errors.New("netpoll: Config.MaxMemory is spent, and this peer held most of it")

// Memory is a group's budget of what waits for peers, or has come from them and is
// not finished: output queues, unread input, unfinished requests and messages, and
// what the layers above charge. Buffers in passing, and what an idle connection
// takes, are not in it. Any goroutine.
type Memory struct {
	// Immutable after New.
	g   *Group
	max int64

	// Any goroutine (atomic).
	used     atomic.Int64
	shedding atomic.Int32 // loops that are looking for their largest holders
}

// Add charges n bytes, or gives them back if n is negative. When the budget is
// spent the largest holders go; see Holder.
func (m *Memory) Add(n int) {
	if used := m.used.Add(int64(n)); n > 0 && used > m.max {
		m.shed()
	}
}

// Used is what is charged, in bytes.
func (m *Memory) Used() int64 { return m.used.Load() }

// Near tells whether seven eighths of the budget are charged: nobody new should be
// let in.
func (m *Memory) Near() bool { return m.used.Load() > m.max-m.max/8 }

// Holder holds memory that is charged to the budget, on one loop.
type Holder interface {
	// Shed ends the holder and gives back what it holds: the budget is spent, and
	// nobody holds much more. It is called on the holder's loop.
	Shed()
}

// heavyBytes is from when on a holder can be among the largest.
const heavyBytes = 4 << 10

// Rank notes how much a holder of the loop has at present, for when the largest
// are looked for; it charges nothing. Below 4 KiB the holder is forgotten, and
// must have been before it ends. Loop-owned.
func (l *Loop) Rank(h Holder, bytes int) {
	l.Check()
	if bytes >= heavyBytes {
		if l.holders == nil {
			l.holders = map[Holder]int{}
		}
		l.holders[h] = bytes
	} else if len(l.holders) > 0 {
		delete(l.holders, h)
	}
}

// shed has every loop end its largest holders until the budget suffices.
func (m *Memory) shed() {
	n := int32(len(m.g.loops))
	if !m.shedding.CompareAndSwap(0, n) {
		return // they are at it
	}
	for _, l := range m.g.loops {
		if !l.PostNow(shedLargestOnLoop, l, m, 0) {
			m.shedding.Add(-1)
		}
	}
}

func shedLargestOnLoop(a, b any) {
	l, m := a.(*Loop), b.(*Memory)
	defer m.shedding.Add(-1)
	for m.used.Load() > m.max {
		h, bytes := l.largest()
		l.heaviest.Store(int64(bytes))
		// Where others hold twice as much, it is their turn.
		for _, other := range m.g.loops {
			if other.heaviest.Load() > 2*int64(bytes) {
				return
			}
		}
		if h == nil {
			return
		}
		delete(l.holders, h)
		m.g.stats.shed.Add(1)
		h.Shed()
	}
	_, bytes := l.largest()
	l.heaviest.Store(int64(bytes))
}

func (l *Loop) largest() (h Holder, bytes int) {
	for candidate, n := range l.holders {
		if n > bytes {
			h, bytes = candidate, n
		}
	}
	return h, bytes
}
