package netpoll

import (
	"sync"
	"sync/atomic"
)

// maxPooledBytes is the largest buffer a pool keeps: one huge message must not
// pin its memory for ever.
const maxPooledBytes = 64 << 10

// Buffer is a pooled, reference-counted run of bytes. It is filled by its only
// owner and immutable from the moment it is shared; every queue that holds it
// holds one reference. Retain and Release are safe from any goroutine.
type Buffer struct {
	// B is the content. Only append to it, and only before it is shared.
	B []byte

	refs atomic.Int32
}

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// NewBuffer returns an empty buffer with one reference and room for at least
// capacity bytes.
func NewBuffer(capacity int) *Buffer {
	b := buffers.Get().(*Buffer)
	if cap(b.B) < capacity {
		b.B = make([]byte, 0, capacity)
	}
	b.B = b.B[:0]
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
		poison(b.B)
		if cap(b.B) > maxPooledBytes {
			b.B = nil
		}
		buffers.Put(b)
	}
}
