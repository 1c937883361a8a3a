package netpoll

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/bytepool"
)

// Buffer is a pooled, reference-counted run of bytes. It is filled by its only
// owner and immutable from the moment it is shared; every queue that holds it
// holds one reference. Retain and Release are safe from any goroutine.
type Buffer struct {
	// B is the content. Only append to it, and only before it is shared.
	B []byte

	// Any goroutine (atomic).
	refs   atomic.Int32
	holder atomic.Pointer[Memory] // whose budget it is charged to; nil for none
}

// buffers are by size class: what is small does not lie in a large buffer.
var buffers [bytepool.Classes]sync.Pool

// NewBuffer returns an empty buffer with one reference and space for at least
// capacity bytes.
func NewBuffer(capacity int) *Buffer {
	var b *Buffer
	if capacity <= bytepool.MaxPooled {
		k := bytepool.Class(capacity)
		if b, _ = buffers[k].Get().(*Buffer); b == nil {
			b = &Buffer{B: make([]byte, 0, bytepool.Size(k))}
		}
	} else {
		b = &Buffer{B: make([]byte, 0, capacity)}
	}
	b.refs.Store(1)
	return b
}

// Retain adds a reference and returns b.
func (b *Buffer) Retain() *Buffer {
	b.refs.Add(1)
	return b
}

// Release drops a reference. With the last one the bytes go back to the pool
// and must no longer be read.
func (b *Buffer) Release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("netpoll: Buffer released more often than retained")
	default:
		if m := b.holder.Load(); m != nil {
			b.holder.Store(nil)
			m.Add(-cap(b.B))
		}
		bytepool.Poison(b.B)
		size := cap(b.B)
		if size > bytepool.MaxPooled || size < bytepool.Size(0) {
			return // one huge message does not pin its memory for ever
		}
		// What append has made of it may lie between two classes; whoever gets it sees
		// one of a class, so that what is charged for it is no matter of luck.
		k := bytepool.Class(1 << (bits.Len(uint(size)) - 1))
		b.B = b.B[:0:bytepool.Size(k)]
		buffers[k].Put(b)
	}
}

// Charge charges the buffer to a budget, once, until it is released: it waits for
// a peer. Any goroutine that holds a reference.
func (b *Buffer) Charge(m *Memory) {
	if b.holder.Load() == nil && b.holder.CompareAndSwap(nil, m) {
		m.Add(cap(b.B))
	}
}
