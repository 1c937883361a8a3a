package fifo_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/internal/fifo"
)

// TestQueue compares a queue with a plain slice, over random operations.
func TestQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q fifo.Queue[int]
	var want []int
	for i := range 200_000 {
		switch n := rng.IntN(1000); {
		case n < 2:
			q.Clear(rng.IntN(200))
			want = nil
		case n < 520:
			q.Push(i)
			want = append(want, i)
		case n < 560:
			q.PushFront(i)
			want = slices.Insert(want, 0, i)
		case len(want) > 0:
			if got := q.Pop(); got != want[0] {
				t.Fatalf("step %d: %d instead of %d", i, got, want[0])
			}
			want = want[1:]
		}
		if q.Len() != len(want) || !slices.Equal(q.All(), want) {
			t.Fatalf("step %d: %v instead of %v", i, q.All(), want)
		}
	}
}

// TestNothingIsHeld: what has been dropped is not kept, and a queue of a steady
// length stays in its memory.
func TestNothingIsHeld(t *testing.T) {
	q := fifo.Make[*int](8)
	for range 8 {
		q.Push(new(int))
	}
	all := q.All()
	for range 8 {
		q.Drop()
	}
	for i, p := range all {
		if p != nil {
			t.Errorf("value %d is held", i)
		}
	}
	if n := testing.AllocsPerRun(10_000, func() { q.Push(nil); q.Drop() }); n > 0 {
		t.Errorf("%v allocations for a value", n)
	}
}

// TestBurst: the memory of a burst is given back when most of it has gone.
func TestBurst(t *testing.T) {
	var q fifo.Queue[int]
	for i := range 100_000 {
		q.Push(i)
	}
	for i := range 99_990 {
		if got := q.Pop(); got != i {
			t.Fatalf("%d instead of %d", got, i)
		}
	}
	if n := cap(q.All()); n > 1000 {
		t.Errorf("%d values have space for %d", q.Len(), n)
	}
}
