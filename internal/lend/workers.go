package lend

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/goroutine"
)

// Workers is the Pool of every day. There are a few goroutines at first; more are
// made only while Runners wait and none is being taken, that is, while others
// block.
type Workers struct {
	// Immutable after NewWorkers.
	max   int
	base  int // made at once
	spare int // kept when there is nothing to do

	// Guarded by mu.
	mu         sync.Mutex
	wake       sync.Cond // an idle worker waits here
	idle       int
	total      int
	coming     int                  // made or woken, and not here yet
	head, tail Runner               // those that wait for a worker
	waiting    int                  // how many they are
	taken      uint64               // Runners taken so far
	watching   bool                 // watch is running
	ids        map[uintptr]struct{} // the goroutines
	closed     bool                 // nobody waits for what may come
	close      sync.Once            // of ended
	ended      chan struct{}        // closed when closed and no worker is left
}

// stallTime is how long Runners may wait, none being taken, before another worker
// is made.
const stallTime = time.Millisecond

// NewWorkers makes a Pool of at most limit goroutines.
func NewWorkers(limit int) *Workers {
	procs := runtime.GOMAXPROCS(0)
	w := &Workers{
		max: limit, base: min(4*procs, limit), spare: min(procs, limit),
		ids: map[uintptr]struct{}{}, ended: make(chan struct{}),
	}
	w.wake.L = &w.mu
	return w
}

// Lend is Pool's.
func (w *Workers) Lend(r Runner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.push(r)
	switch {
	case w.idle > 0:
		w.idle--
		w.coming++
		w.wake.Signal()
	case w.total < w.base:
		w.start()
	case !w.watching && w.total < w.max:
		w.watching = true
		go w.watch()
	}
}

// push has r wait for a worker. mu is held.
func (w *Workers) push(r Runner) {
	r.Queued().Next = nil
	if w.tail == nil {
		w.head = r
	} else {
		w.tail.Queued().Next = r
	}
	w.tail = r
	w.waiting++
}

// start makes a worker. mu is held.
func (w *Workers) start() {
	w.total++
	w.coming++
	go w.work()
}

// work is a lent goroutine.
func (w *Workers) work() {
	id := goroutine.ID()
	w.mu.Lock()
	w.coming--
	w.ids[id] = struct{}{}
	// Also when a Runner has ended the goroutine: mu is not held then.
	running := false
	defer func() {
		if running {
			w.mu.Lock()
		}
		delete(w.ids, id)
		w.total--
		if running && w.head != nil && w.total < w.base {
			w.start()
		}
		w.end()
		w.mu.Unlock()
	}()
	for {
		r := w.head
		if r == nil {
			if w.total-w.busy() > w.spare || w.closed {
				return
			}
			w.idle++
			w.wake.Wait() // who signals takes one from idle, and adds it to coming
			w.coming--
			continue
		}
		if w.head = r.Queued().Next; w.head == nil {
			w.tail = nil
		}
		r.Queued().Next = nil
		w.waiting--
		w.taken++
		w.mu.Unlock()
		running = true
		again := r.Run()
		if again {
			w.Lend(r)
		}
		running = false
		w.mu.Lock()
	}
}

// busy is the number of workers that are not idle, the caller left out.
func (w *Workers) busy() int { return w.total - w.idle - 1 }

// watch makes workers while Runners wait and none is taken.
func (w *Workers) watch() {
	t := time.NewTicker(stallTime)
	defer t.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head != nil && w.total < w.max {
		before := w.taken
		w.mu.Unlock()
		<-t.C
		w.mu.Lock()
		if w.taken == before {
			w.grow()
		}
	}
	w.watching = false
}

// grow makes workers after a stall. Each doubles their number, so that many that block
// are passed soon; but there are no more than what waits can use, those that are on
// their way included: on a busy machine they come late. mu is held.
func (w *Workers) grow() {
	for range min(w.total, w.waiting-w.coming, w.max-w.total) {
		w.start()
	}
}

// Inside is Pool's.
func (w *Workers) Inside() bool {
	id := goroutine.ID()
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.ids[id]
	return ok
}

// Running is Pool's.
func (w *Workers) Running() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Wait is Pool's.
func (w *Workers) Wait(ctx context.Context) error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		w.coming += w.idle
		w.idle = 0
		w.wake.Broadcast()
		w.end()
	}
	w.mu.Unlock()
	select {
	case <-w.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end closes ended if nobody is left. mu is held.
func (w *Workers) end() {
	if w.closed && w.total == 0 {
		w.close.Do(func() { close(w.ended) })
	}
}
