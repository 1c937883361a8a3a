package goroutine

import (
	"runtime"
	"sync"
	"testing"
)

// TestIDDistinct has many goroutines live at the same time.
func TestIDDistinct(t *testing.T) {
	const n = 1000
	ids, numbers := [n + 1]uintptr{n: ID()}, [n + 1]uint64{n: Number()}
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ids[i], numbers[i] = ID(), Number()
			ready.Done()
			ready.Wait() // all live until all have been asked
			if ID() != ids[i] || Number() != numbers[i] {
				t.Error("an ID has changed")
			}
		})
	}
	done.Wait()
	byID, byNumber := map[uintptr]bool{0: true}, map[uint64]bool{0: true}
	for i := range ids {
		byID[ids[i]], byNumber[numbers[i]] = true, true
	}
	if len(byID) != n+2 || len(byNumber) != n+2 {
		t.Errorf("%d IDs and %d numbers of %d goroutines, or one of them is 0", len(byID)-1, len(byNumber)-1, n+1)
	}
}

// TestIDStable: the ID is the same on a stack that has moved, on another thread,
// and after a collection.
func TestIDStable(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		id := ID()
		grow(t, id, 1000)
		for range 100 {
			runtime.Gosched()
			if ID() != id {
				t.Error("another ID after a yield")
			}
		}
		runtime.GC()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if ID() != id {
			t.Error("another ID on a thread of its own")
		}
	}()
	<-done
}

// grow takes a kilobyte of stack for each level.
func grow(t *testing.T, id uintptr, levels int) (sum byte) {
	var b [1024]byte
	b[levels%len(b)] = 1
	if ID() != id {
		t.Errorf("another ID %d levels before the end", levels)
	}
	if levels > 0 {
		sum = grow(t, id, levels-1)
	}
	return sum + b[(levels+1)%len(b)]
}

func TestIDAllocs(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { sink = ID() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var sink uintptr

func BenchmarkID(b *testing.B) {
	for b.Loop() {
		sink = ID()
	}
}

func BenchmarkNumber(b *testing.B) {
	for b.Loop() {
		sink = uintptr(Number())
	}
}
