// Package bytepool has byte buffers in classes of size, so that small things do
// not lie in large buffers.
//
// The pools are this module's own: that of package bytebufferpool which all of a
// process shares fits its sizes to what anybody puts into it, a stranger or a
// peer.
package bytepool

import (
	"math/bits"

	"github.com/valyala/bytebufferpool"
)

// Buffer is a buffer of the pools. Only its holder may use it.
type Buffer = bytebufferpool.ByteBuffer

const (
	minShift = 6  // the smallest class has 64 bytes, each twice those of the one before
	maxShift = 16 // the largest has 64 KiB
)

// MaxPooled is the capacity of the largest buffers that are kept, in bytes.
const MaxPooled = 1 << maxShift

// pools have buffers of just the capacity of their class, so that what
// bytebufferpool learns of their sizes never leaves the class.
var pools [Classes]bytebufferpool.Pool

// Get returns an empty buffer with room for n bytes: of the smallest class that
// has it, or, above MaxPooled, of just that capacity.
func Get(n int) *Buffer {
	if n > MaxPooled {
		return &Buffer{B: make([]byte, 0, n)}
	}
	k := Class(n)
	b := pools[k].Get()
	if size := Size(k); cap(b.B) != size {
		b.B = make([]byte, 0, size)
	}
	b.B = b.B[:0]
	return b
}

// Put gives a buffer back; it may be nil. What has grown out of the classes goes
// to the garbage collector.
func Put(b *Buffer) {
	if b == nil || cap(b.B) > MaxPooled || cap(b.B) < 1<<minShift {
		return
	}
	k := Class(cap(b.B))
	if Size(k) != cap(b.B) {
		return
	}
	Poison(b.B)
	pools[k].Put(b)
}

// Append appends p to b, which moves to a larger class if it has no room; the
// buffer that it lay in goes back. b may be nil.
func Append(b *Buffer, p []byte) *Buffer {
	if b == nil {
		b = Get(len(p))
	}
	if need := len(b.B) + len(p); need > cap(b.B) {
		grown := Get(max(need, 2*cap(b.B))) // so that copying stays linear in what arrives
		grown.B = append(grown.B, b.B...)
		Put(b)
		b = grown
	}
	b.B = append(b.B, p...)
	return b
}

// Class is the smallest class with room for n bytes, at most MaxPooled.
func Class(n int) int {
	if n <= 1<<minShift {
		return 0
	}
	return bits.Len(uint(n-1)) - minShift
}

// Size is the capacity of a class, in bytes.
func Size(class int) int { return 1 << (minShift + class) }

// Classes is how many there are.
const Classes = maxShift - minShift + 1
