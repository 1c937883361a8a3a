package sockeye

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// workers lends goroutines to mailboxes that have something in them. There are
// a few at first; more are made only while mailboxes wait and none is being
// taken, that is, while handlers block.
type workers struct {
	// Immutable after newWorkers.
	max   int
	base  int // made at once
	spare int // kept when there is nothing to do

	// Guarded by mu.
	mu         sync.Mutex
	wake       sync.Cond // an idle worker waits here
	idle       int
	total      int
	head, tail *mailbox // those that wait for a worker
	taken      uint64   // mailboxes taken so far
	watching   bool     // watch is running
	drained    sync.Cond
	closed     bool

	// Any goroutine (atomic).
	active atomic.Int64 // mailboxes that have something in them, or are being run
}

// stallTime is how long mailboxes may wait, none being taken, before another
// worker is made.
const stallTime = time.Millisecond

func newWorkers(limit int) *workers {
	procs := runtime.GOMAXPROCS(0)
	w := &workers{max: limit, base: min(4*procs, limit), spare: min(procs, limit)}
	w.wake.L, w.drained.L = &w.mu, &w.mu
	return w
}

// lend sees to it that m is run by a goroutine.
func (w *workers) lend(m *mailbox) {
	w.mu.Lock()
	m.nextReady = nil
	if w.tail == nil {
		w.head = m
	} else {
		w.tail.nextReady = m
	}
	w.tail = m
	switch {
	case w.idle > 0:
		w.idle--
		w.wake.Signal()
	case w.total < w.base:
		w.total++
		go w.work()
	case !w.watching && w.total < w.max:
		w.watching = true
		go w.watch()
	}
	w.mu.Unlock()
}

// work is a lent goroutine.
func (w *workers) work() {
	w.mu.Lock()
	for {
		m := w.head
		if m == nil {
			if w.total-w.busy() > w.spare || w.closed {
				break
			}
			w.idle++
			w.wake.Wait() // whoever signals counts it off
			continue
		}
		if w.head = m.nextReady; w.head == nil {
			w.tail = nil
		}
		m.nextReady = nil
		w.taken++
		w.mu.Unlock()
		again := m.run()
		if again {
			w.lend(m)
		}
		w.mu.Lock()
	}
	w.total--
	if w.total == 0 {
		w.drained.Broadcast()
	}
	w.mu.Unlock()
}

// busy is the number of workers that are not idle, the caller left out.
func (w *workers) busy() int { return w.total - w.idle - 1 }

// watch makes workers while mailboxes wait and none is taken.
func (w *workers) watch() {
	t := time.NewTicker(stallTime)
	defer t.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head != nil && w.total < w.max && !w.closed {
		before := w.taken
		w.mu.Unlock()
		<-t.C
		w.mu.Lock()
		if w.taken == before && w.head != nil {
			// Each stall doubles the number, so that many blocked handlers
			// are passed soon, and a few do not cost many goroutines.
			for range min(w.total, w.max-w.total) {
				w.total++
				go w.work()
			}
		}
	}
	w.watching = false
}

func (w *workers) running() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// wait ends the workers when every mailbox is empty.
func (w *workers) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
		w.idle = 0
		w.wake.Broadcast()
		for w.total > 0 {
			w.drained.Wait()
		}
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
