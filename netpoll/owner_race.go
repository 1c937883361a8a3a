//go:build race

package netpoll

import "fmt"

// owner remembers the goroutine that runs a loop.
type owner struct{ id uint64 }

func (o *owner) claim() { o.id = goroutineID() }

// Check panics when it is not called on the loop's own goroutine. Only race
// builds check; elsewhere it is empty and inlined.
func (l *Loop) Check() {
	if id := goroutineID(); l.owner.id != id {
		panic(fmt.Sprintf("netpoll: loop %d is owned by goroutine %d, called from %d", l.index, l.owner.id, id))
	}
}

// poison makes a read of released memory visible.
func poison(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = 0xdb
	}
}
