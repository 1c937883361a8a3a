package netpoll

import (
	"sync/atomic"
	"time"
)

// meter is what a loop tells of itself. The loop writes it, each number in a line of the
// cache that no other loop writes; any goroutine reads it.
type meter struct {
	_ [64]byte

	bytesIn, bytesOut atomic.Uint64
	turns             atomic.Uint64 // batches
	conns             atomic.Int64

	began atomic.Int64 // when the batch under way began, on the group's clock; 0: none
	ended atomic.Int64 // when the last one ended
	woken atomic.Int64 // when somebody has asked for a turn that has not come; 0: nobody has

	// How long loops keep others waiting.
	lagMost  atomic.Int64
	lagNow   atomic.Int64 // the longest in window
	lagPrior atomic.Int64 // the longest in the window before
	window   atomic.Int64

	_ [64]byte
}

// lagWindow is the unit in which the recent lag is kept: the longest of the present
// window and of the one before counts, so of the last 30 to 60 s.
const lagWindow = int64(30 * time.Second)

// start notes that a batch begins.
func (m *meter) start(now int64) { m.began.Store(max(now, 1)) }

// finish notes that it has ended: what became ready in its beginning has waited for that
// long.
func (m *meter) finish(began, now int64) {
	m.turns.Add(1)
	m.late(now, now-began)
	m.ended.Store(now)
	m.began.Store(0)
}

// late notes that something has waited for d, in nanoseconds. Loop-owned.
func (m *meter) late(now, d int64) {
	if w := now / lagWindow; w != m.window.Load() {
		prior := int64(0)
		if w == m.window.Load()+1 {
			prior = m.lagNow.Load()
		}
		m.lagPrior.Store(prior)
		m.lagNow.Store(0)
		m.window.Store(w)
	}
	if d > m.lagNow.Load() {
		m.lagNow.Store(d)
		if d > m.lagMost.Load() {
			m.lagMost.Store(d)
		}
	}
}

// answered notes that a turn has come, for whoever asked for it.
func (m *meter) answered(now int64) {
	if w := m.woken.Load(); w != 0 {
		m.woken.Store(0)
		m.late(now, now-w)
	}
}

// lag is the longest that anything has waited in the last 30 to 60 s, with the batch
// under way.
func (m *meter) lag(now int64) time.Duration {
	d := int64(0)
	switch now/lagWindow - m.window.Load() {
	case 0:
		d = max(m.lagNow.Load(), m.lagPrior.Load())
	case 1:
		d = m.lagNow.Load()
	}
	return max(time.Duration(d), m.busy(now))
}

func (m *meter) wrote(n int) {
	if n > 0 {
		m.bytesOut.Add(uint64(n))
	}
}

// writeTo is System.Write, counted.
func (l *Loop) writeTo(fd int, b []byte) (int, error) {
	n, err := l.sys.Write(fd, b)
	l.meter.wrote(n)
	return n, err
}

// busy is how long the batch under way has taken so far.
func (m *meter) busy(now int64) time.Duration {
	if began := m.began.Load(); began != 0 && now > began {
		return time.Duration(now - began)
	}
	return 0
}

// LoopStats are what a loop tells of itself.
type LoopStats struct {
	Conns    int    // connections at present
	BytesIn  uint64 // that sockets have given, but those of connections at net/http
	BytesOut uint64 // that sockets have taken
	Batches  uint64 // wake-ups, and events of sockets
	Posted   int    // jobs of other goroutines that wait for the loop

	// Lag is the longest, in the last 30 to 60 s, that something has waited for the
	// loop: a batch of its work, or who has woken it. MaxLag is the longest since the start.
	Lag, MaxLag time.Duration

	// Busy is how long the batch under way has taken so far; 0 if the loop waits.
	Busy time.Duration
}

// Stats reads the loop's counters. Any goroutine.
func (l *Loop) Stats() LoopStats {
	m := &l.meter
	now := int64(l.sys.Now())
	l.mu.Lock()
	posted := len(l.posted)
	l.mu.Unlock()
	s := LoopStats{
		Conns: int(m.conns.Load()), BytesIn: m.bytesIn.Load(), BytesOut: m.bytesOut.Load(), Batches: m.turns.Load(),
		Posted: posted, Lag: m.lag(now), MaxLag: time.Duration(m.lagMost.Load()), Busy: m.busy(now),
	}
	s.MaxLag = max(s.MaxLag, s.Busy)
	return s
}

// Lag is LoopStats.Lag. Any goroutine.
func (l *Loop) Lag() time.Duration { return l.meter.lag(int64(l.sys.Now())) }
