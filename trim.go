package sockeye

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// trimmer gives memory back to the system that a burst of work has left behind.
// Go would keep it: a heap that nothing is allocated from is not collected for
// two minutes, and not returned as a whole even then.
type trimmer struct {
	// Immutable after startTrimmer.
	every time.Duration
	heap  func() heapState
	free  func()

	// The timer's goroutine.
	last    heapState
	trimmed uint64 // heapState.allocated after the last trim

	// Guarded by mu.
	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// heapState is the process's heap, in bytes.
type heapState struct {
	allocated uint64 // since the process began
	live      uint64 // found by the last collection
	resident  uint64 // in the system's view
}

const (
	trimMinBytes = 1 << 20 // less is not worth a collection
	trimBusyPart = 16      // a server that allocates more than this part of what is live is at work
)

func startTrimmer(every time.Duration) *trimmer {
	t := &trimmer{every: every, heap: readHeap, free: freeMemory}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(every, t.tick)
	return t
}

func (t *trimmer) tick() {
	t.look()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.timer.Reset(t.every)
	}
}

func (t *trimmer) stop() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
}

// look trims if little has been allocated since it looked last, but more before
// that, and a quarter or more of the heap is of no use now.
func (t *trimmer) look() (trims bool) {
	h := t.heap()
	worked := h.allocated - t.last.allocated
	t.last = h
	switch {
	case worked > h.live/trimBusyPart+trimMinBytes,
		h.allocated-t.trimmed < h.live/trimBusyPart+trimMinBytes,
		h.resident < h.live+h.live/4+trimMinBytes:
		return false
	}
	t.free()
	t.last = t.heap()
	t.trimmed = t.last.allocated
	return true
}

func readHeap() heapState {
	s := [...]metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s[:])
	return heapState{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64() + s[3].Value.Uint64() + s[4].Value.Uint64()}
}

// freeMemory collects twice: pools are emptied by the second time.
func freeMemory() {
	runtime.GC()
	debug.FreeOSMemory()
}
