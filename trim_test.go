package sockeye

import "testing"

// TestTrimmer: memory is given back once, when work has come to rest.
func TestTrimmer(t *testing.T) {
	const mb = 1 << 20
	frees := 0
	var h heapState
	tr := &trimmer{heap: func() heapState { return h }, free: func() { frees++; h.resident = h.live + h.live/10 }}
	for i, step := range []struct {
		allocated, live, resident uint64
		trims                     bool
	}{
		{20 * mb, 10 * mb, 20 * mb, false},         // at work
		{120 * mb, 10 * mb, 40 * mb, false},        // still
		{120*mb + 1000, 10 * mb, 40 * mb, true},    // at rest
		{120*mb + 2000, 10 * mb, 40 * mb, false},   // nothing new
		{121 * mb, 10 * mb, 40 * mb, false},        // hardly
		{150 * mb, 10 * mb, 12 * mb, false},        // work again
		{150*mb + 1000, 10 * mb, 12 * mb, false},   // that left little
		{250 * mb, 100 * mb, 150 * mb, false},      // connections
		{250*mb + 1000, 100 * mb, 150 * mb, true},  // that stay
		{251 * mb, 100 * mb, 150 * mb, false},      // heartbeats
		{260 * mb, 100 * mb, 150 * mb, false},      // and more of them: too early
		{261 * mb, 100 * mb, 150 * mb, true},       // now
		{261*mb + 1000, 100 * mb, 150 * mb, false}, // done
	} {
		h = heapState{step.allocated, step.live, step.resident}
		if got := tr.look(); got != step.trims {
			t.Errorf("step %d: trims is %v", i, got)
		}
	}
	if frees != 3 {
		t.Errorf("%d times", frees)
	}
}

var garbage [][]byte

// TestTrimmerFrees: what the runtime says of the heap, before and after.
func TestTrimmerFrees(t *testing.T) {
	const mb = 1 << 20
	for range 64 {
		b := make([]byte, mb)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		garbage = append(garbage, b)
	}
	before := readHeap()
	garbage = nil
	freeMemory()
	after := readHeap()
	if before.resident < 64*mb || after.live == 0 || after.resident > before.resident-48*mb {
		t.Errorf("%+v, then %+v", before, after)
	}
}
