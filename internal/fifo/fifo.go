// Package fifo is first in, first out, in one slice that is compacted now and then, and
// given back when a burst is over.
package fifo

import "slices"

// Queue holds values in order. Its zero value is empty and holds no memory.
type Queue[T any] struct {
	items []T
	head  int // items[:head] have gone
}

// Make makes a queue with space for n values.
func Make[T any](n int) Queue[T] { return Queue[T]{items: make([]T, 0, n)} }

// Len is the number of values.
func (q *Queue[T]) Len() int { return len(q.items) - q.head }

// Push adds a value at the end.
func (q *Queue[T]) Push(v T) { q.items = append(q.items, v) }

// All are the values, until the queue changes.
func (q *Queue[T]) All() []T { return q.items[q.head:] }

// Front is the first value, until the queue changes. There must be one.
func (q *Queue[T]) Front() *T { return &q.items[q.head] }

// Drop forgets the first value. There must be one.
func (q *Queue[T]) Drop() {
	clear(q.items[q.head : q.head+1])
	q.head++
	if q.head <= minDropped || q.head <= len(q.items)/2 {
		return
	}
	if n := q.Len(); cap(q.items) > 8*max(n, minDropped) { // a burst is over
		q.items = append(make([]T, 0, 2*max(n, minDropped)), q.All()...)
	} else {
		copy(q.items, q.All())
		clear(q.items[n:])
		q.items = q.items[:n]
	}
	q.head = 0
}

// minDropped is from when on what has gone is worth a copy of the rest.
const minDropped = 64

// Pop takes the first value. There must be one.
func (q *Queue[T]) Pop() T {
	v := *q.Front()
	q.Drop()
	return v
}

// PushFront adds a value before the others.
func (q *Queue[T]) PushFront(v T) {
	if q.head > 0 {
		q.head--
		q.items[q.head] = v
		return
	}
	q.items = slices.Insert(q.items, 0, v)
}

// Clear forgets all values, and the memory too if it has space for more than keep.
func (q *Queue[T]) Clear(keep int) {
	if cap(q.items) > keep {
		*q = Queue[T]{}
		return
	}
	clear(q.items)
	q.items, q.head = q.items[:0], 0
}
