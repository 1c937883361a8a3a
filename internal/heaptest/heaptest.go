// Package heaptest measures the heap for tests of limits.
package heaptest

import "runtime"

// InUse is the heap behind a collection, in bytes. It takes two: what pools hold
// goes with the second.
func InUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
