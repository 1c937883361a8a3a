//go:build race

package heaptest

// Race: the race detector is there, which makes everything slow.
const Race = true
