// Package tally counts what loops do, each in a cache line of its own: they do not wait
// for each other, and who reads adds up.
package tally

import "sync/atomic"

const (
	rows = 64 // loops beyond share

	// Columns is how many counters a Table has.
	Columns = 8
)

// Table is a number of counters. Its zero value is ready to use; it must not be copied.
// Any goroutine.
type Table struct {
	rows [rows][Columns]atomic.Uint64
}

// Add adds n, which may be negative, to a counter on behalf of a loop.
func (t *Table) Add(loop, column, n int) { t.rows[uint(loop)%rows][column].Add(uint64(n)) }

// Sum is what a counter has come to.
func (t *Table) Sum(column int) (n uint64) {
	for i := range t.rows {
		n += t.rows[i][column].Load()
	}
	return n
}
