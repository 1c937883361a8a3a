package lend

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// task runs f as often as it asks to be run again.
type task struct {
	Link
	f func() (again bool)
}

func (t *task) Run() bool { return t.f() }

func TestEveryRunnerRuns(t *testing.T) {
	w := NewWorkers(8)
	var n atomic.Int64
	const tasks, times = 1000, 5
	for range tasks {
		left := times
		w.Lend(&task{f: func() bool { n.Add(1); left--; return left > 0 }})
	}
	if err := w.Wait(t.Context()); err != nil || n.Load() != tasks*times {
		t.Errorf("run %d times, %v", n.Load(), err)
	}
	if w.Running() != 0 {
		t.Errorf("%d goroutines after the end", w.Running())
	}
}

// TestBlockedRunnersArePassed: there are more goroutines while those that are here
// block, no more than the limit, and no more than are of use.
func TestBlockedRunnersArePassed(t *testing.T) {
	const limit, blocked = 100, 60
	w := NewWorkers(limit)
	var in sync.WaitGroup
	in.Add(blocked)
	out := make(chan struct{})
	for range blocked {
		w.Lend(&task{f: func() bool { in.Done(); <-out; return false }})
	}
	in.Wait()
	done := make(chan struct{})
	w.Lend(&task{f: func() bool { close(done); return false }})
	<-done
	if n := w.Running(); n > blocked+w.base+1 {
		t.Errorf("%d goroutines for %d that block", n, blocked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := w.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait beside those that block: %v", err)
	}
	close(out)
	if err := w.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNoMoreThanWait: stalls make no more workers than Runners wait, though those that
// have been made do not come.
func TestNoMoreThanWait(t *testing.T) {
	w := NewWorkers(10_000)
	waiting := 10 * w.base
	w.mu.Lock() // nobody comes
	for range waiting {
		w.push(&task{f: func() bool { return false }})
	}
	for range w.base {
		w.start()
	}
	for range 20 {
		w.grow()
	}
	made := w.total
	w.mu.Unlock()
	if made != waiting {
		t.Errorf("%d goroutines for %d that wait", made, waiting)
	}
	if err := w.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if w.coming != 0 || w.idle != 0 {
		t.Errorf("%d are coming, %d idle after the end", w.coming, w.idle)
	}
}

// TestGoexit: a Runner that ends its goroutine costs the pool nothing.
func TestGoexit(t *testing.T) {
	w := NewWorkers(2)
	var n atomic.Int64
	for range 100 {
		r := &task{}
		left := 3
		r.f = func() bool {
			defer func() {
				if n.Add(1); left > 0 {
					left--
					w.Lend(r)
				}
			}()
			runtime.Goexit()
			return false
		}
		w.Lend(r)
	}
	if err := w.Wait(t.Context()); err != nil || n.Load() != 400 {
		t.Errorf("run %d times, %v", n.Load(), err)
	}
	if w.Running() != 0 || len(w.ids) != 0 {
		t.Errorf("%d goroutines, %d of them known, after the end", w.Running(), len(w.ids))
	}
}

func TestInside(t *testing.T) {
	w := NewWorkers(2)
	inside := make(chan bool)
	w.Lend(&task{f: func() bool { inside <- w.Inside(); return false }})
	if !<-inside || w.Inside() {
		t.Error("who is run by the pool is not known")
	}
	if err := w.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
