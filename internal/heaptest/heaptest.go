// Package heaptest measures the heap for tests of limits.
package heaptest

import (
	"runtime"
	"runtime/metrics"
)

// InUse is the heap that a collection has found in use, in bytes. It takes two: what pools
// hold goes with the second. What others have allocated since is not in it.
func InUse() int {
	runtime.GC()
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return int(live[0].Value.Uint64())
}
