package sockeye

import (
	"testing"
	"time"
)

const (
	mb       = 1 << 20
	lookTime = 10 * time.Second / restLooks
)

// trimmedHeap is a trimmer's process: a heap that a test fills, and a clock.
type trimmedHeap struct {
	heapState
	kept  uint64 // is found live by the next collection
	stuck uint64 // no collection returns it: it lies between what lives
	clock time.Time
	cpu   time.Duration
	cost  time.Duration // of a collection
	frees []bool        // whether each was one at rest
	t     *trimmer
}

func newTrimmedHeap(live uint64) *trimmedHeap {
	x := &trimmedHeap{clock: time.Unix(1e9, 0), kept: live, cost: 10 * time.Millisecond}
	x.heapState = heapState{allocated: live, live: live, resident: live, percent: usualPercent}
	x.t = &trimmer{
		every: lookTime, last: x.heapState, trimmed: live,
		heap: func() heapState { return x.heapState },
		now:  func() time.Time { return x.clock },
		cpu:  func() time.Duration { return x.cpu },
		free: func(rest bool) {
			x.frees = append(x.frees, rest)
			x.live, x.resident = x.kept, x.kept+x.kept/20+x.stuck
			x.cpu += x.cost
			x.clock = x.clock.Add(x.cost)
		},
	}
	return x
}

// look allocates garbage, to the next look, which it has; the heap is Go's.
func (x *trimmedHeap) look(garbage uint64) (trims bool) {
	x.allocated += garbage
	x.resident += garbage
	if goal := max(4*mb, x.live*(100+x.percent)/100); x.resident > goal {
		x.live, x.resident = x.kept, goal // Go has collected, and keeps what is free
	}
	x.clock = x.clock.Add(lookTime)
	return x.t.look()
}

// looks has n looks with the same garbage between them, and counts the trims.
func (x *trimmedHeap) looks(n int, garbage uint64) int {
	before := len(x.frees)
	for range n {
		x.look(garbage)
	}
	return len(x.frees) - before
}

// TestTrimmerBurst: what a burst has left behind is given back once, beginning with the
// first look after it, and wholly at rest.
func TestTrimmerBurst(t *testing.T) {
	x := newTrimmedHeap(10 * mb)
	if n := x.looks(20, 50*mb); n > 0 {
		t.Errorf("%d trims of a process at work", n)
	}
	if x.resident < 19*mb {
		t.Fatalf("the burst has left %d bytes", x.resident)
	}
	if !x.look(1000) || x.resident > 11*mb {
		t.Errorf("not after it: %d bytes", x.resident)
	}
	if n := x.looks(100, 1000); n > 0 {
		t.Errorf("%d trims for nothing", n)
	}
	if n := x.looks(1, 9*mb); n != 1 {
		t.Errorf("a short burst, then %d trims", n)
	}
}

// TestTrimmerHeartbeats: garbage that comes all the time and slowly is kept from piling
// up, whatever the interval.
func TestTrimmerHeartbeats(t *testing.T) {
	for _, garbage := range []uint64{2 * mb, 5 * mb, 9 * mb} {
		x := newTrimmedHeap(11 * mb)
		var most uint64
		for range 400 {
			x.look(garbage)
			most = max(most, x.resident)
		}
		if most > 12*mb+2*garbage {
			t.Errorf("%d MB between two looks: %d MB", garbage/mb, most/mb)
		}
	}
	x := newTrimmedHeap(11 * mb) // without TLS
	if n := x.looks(400, 10_000); n > 4 {
		t.Errorf("%d trims for hardly any garbage", n)
	}
}

// TestTrimmerCost: trims take a hundredth of the time, whatever one costs; what was not
// used is not saved up.
func TestTrimmerCost(t *testing.T) {
	for _, cost := range []time.Duration{time.Millisecond, 11 * time.Millisecond, 200 * time.Millisecond, 10 * time.Second} {
		x := newTrimmedHeap(1000 * mb)
		x.cost = cost
		x.looks(1000, 200*mb)
		x.looks(10_000, 1000) // nothing to do
		begun, used := x.clock, x.cpu
		n := x.looks(10_000, 200*mb)
		took, part := x.cpu-used, x.clock.Sub(begun)/trimShare
		if took > part+cost || n == 0 {
			t.Errorf("trims of %v: %d, %v instead of %v", cost, n, took, part)
		}
		if want := min(10_000, int(part/cost)); n < want*9/10 {
			t.Errorf("trims of %v: %d instead of %d", cost, n, want)
		}
	}
}

// TestTrimmerHuge: a heap of ten gigabytes is not collected every few seconds.
func TestTrimmerHuge(t *testing.T) {
	x := newTrimmedHeap(10_000 * mb)
	x.cost = 2 * time.Second // on each processor
	var last time.Time
	for range 4000 {
		if x.look(1500 * mb) {
			if d := x.clock.Sub(last); d < 3*time.Minute {
				t.Fatalf("again after %v", d)
			}
			last = x.clock
		}
	}
	if len(x.frees) == 0 {
		t.Error("never")
	}
}

// TestTrimmerTuned: a process whose GOGC asks for fewer collections is trimmed at rest
// alone, and without GOGC, too.
func TestTrimmerTuned(t *testing.T) {
	for _, percent := range []uint64{200, 1 << 40} {
		x := newTrimmedHeap(100 * mb)
		x.percent = percent
		if n := x.looks(50, 5*mb); n > 0 {
			t.Errorf("GOGC %d: %d trims", percent, n)
		}
		if n := x.looks(restLooks-1, 1000); n > 0 {
			t.Errorf("GOGC %d: too early", percent)
		}
		if n := x.looks(10, 1000); n != 1 || !x.frees[0] {
			t.Errorf("GOGC %d: %d trims at rest", percent, n)
		}
	}
	x := newTrimmedHeap(100 * mb) // its collector leaves nothing to do
	x.percent = 5
	if n := x.looks(50, 3*mb); n > 0 {
		t.Errorf("GOGC 5: %d trims", n)
	}
}

// TestTrimmerLive: connections that come and stay are no reason.
func TestTrimmerLive(t *testing.T) {
	x := newTrimmedHeap(10 * mb)
	for range 50 {
		x.kept += mb
		x.live = x.kept // Go has collected
		x.look(mb)
	}
	if len(x.frees) > 0 {
		t.Errorf("%d trims", len(x.frees))
	}
}

// TestTrimmerStuck: nor is a heap that a trim has not made smaller.
func TestTrimmerStuck(t *testing.T) {
	x := newTrimmedHeap(10 * mb)
	x.stuck = 5 * mb
	if n := x.looks(1, 9*mb); n != 1 {
		t.Fatalf("%d trims", n)
	}
	if n := x.looks(100, 1000); n > 0 {
		t.Errorf("%d trims for nothing", n)
	}
}

var garbage [][]byte

// TestTrimmerFrees: what the runtime says of the heap, before and after.
func TestTrimmerFrees(t *testing.T) {
	for range 64 {
		b := make([]byte, mb)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		garbage = append(garbage, b)
	}
	before, cpu := readHeap(), processorTime()
	garbage = nil
	freeMemory(true)
	after := readHeap()
	if before.resident < 64*mb || after.live == 0 || after.resident > before.resident-48*mb || after.percent == 0 {
		t.Errorf("%+v, then %+v", before, after)
	}
	if d := processorTime() - cpu; d <= 0 {
		t.Errorf("it has cost %v", d)
	}
}
