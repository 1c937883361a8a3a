package sockeye

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// trimmer gives memory back to the system that is of no use now. Go would keep it: a
// heap doubles before it is collected, one that nothing is allocated from is not
// collected for two minutes, and even then it is not returned as a whole.
//
// A trim is a collection, so what trims may cost is bounded: see due.
type trimmer struct {
	// Immutable after startTrimmer.
	every time.Duration // between two looks
	heap  func() heapState
	free  func(rest bool)
	now   func() time.Time
	cpu   func() time.Duration // that the process has used, spread over its processors

	// The timer's goroutine.
	last    heapState
	still   int       // looks in a row that found little allocated
	trimmed uint64    // heapState.allocated after the last trim
	due     time.Time // no trim before: those that were are paid for by then

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
	percent   uint64 // GOGC
}

const (
	restLooks    = 8         // Config.TrimAfter is so many looks
	trimShare    = 100       // trims take one part of so many of the processors' time
	trimMinBytes = 512 << 10 // less is not worth a collection
	trimGainPart = 8         // nor is less than this part of what is live
	trimNewPart  = 16        // nor a heap from which less than this part has been allocated since
	usualPercent = 100       // GOGC's default
)

func startTrimmer(after time.Duration) *trimmer {
	t := &trimmer{every: after / restLooks, heap: readHeap, free: freeMemory, now: time.Now, cpu: processorTime}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(t.every, t.tick)
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

// look trims if there is something to gain, and earlier trims are paid for. Left alone
// is a process that is at work: it allocates as much as is live between two looks, and
// the collector comes by itself. So is one whose GOGC asks for fewer collections than
// usual, until it is at rest.
func (t *trimmer) look() (trims bool) {
	h, now := t.heap(), t.now()
	worked := h.allocated - t.last.allocated
	t.last = h
	t.still++
	if worked > (h.live/trimNewPart+trimMinBytes)/restLooks {
		t.still = 0
	}
	rest := t.still >= restLooks
	switch {
	case worked > h.live+trimMinBytes,
		h.percent > usualPercent && !rest,
		h.allocated-t.trimmed < h.live/trimNewPart+trimMinBytes,
		h.resident < h.live+h.live/trimGainPart+trimMinBytes,
		now.Before(t.due):
		return false
	}
	before := t.cpu()
	t.free(rest)
	if unused := now.Add(-t.every); t.due.Before(unused) {
		t.due = unused // no more than one look's is saved
	}
	t.due = t.due.Add(trimShare * (t.cpu() - before))
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
		{Name: "/gc/gogc:percent"},
	}
	metrics.Read(s[:])
	return heapState{
		allocated: s[0].Value.Uint64(), live: s[1].Value.Uint64(), resident: s[2].Value.Uint64() + s[3].Value.Uint64() + s[4].Value.Uint64(),
		percent: s[5].Value.Uint64(),
	}
}

func processorTime() time.Duration { return cpuTime() / time.Duration(runtime.GOMAXPROCS(0)) }

// freeMemory collects, twice at rest: pools are emptied by the second time.
func freeMemory(rest bool) {
	if rest {
		runtime.GC()
	}
	debug.FreeOSMemory()
}
