package tally

import (
	"sync"
	"testing"
)

func TestTable(t *testing.T) {
	var table Table
	var done sync.WaitGroup
	for loop := range 200 {
		done.Go(func() {
			table.Add(loop, 1, 3)
			table.Add(loop, 1, -1)
			table.Add(loop, Columns-1, 1)
		})
	}
	done.Wait()
	if a, b, c := table.Sum(0), table.Sum(1), table.Sum(Columns-1); a != 0 || b != 400 || c != 200 {
		t.Error(a, b, c)
	}
}

func BenchmarkAdd(b *testing.B) {
	var table Table
	for b.Loop() {
		table.Add(1, 1, 1)
	}
}
