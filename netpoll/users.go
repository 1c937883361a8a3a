package netpoll

import (
	"math"
	"runtime"
	"sync/atomic"
)

// users counts the goroutines that are at work with a descriptor, so that none
// uses its number after another file has got it. The zero value is open. Any
// goroutine.
type users struct {
	n atomic.Int32 // < 0: shut
}

// enter tells whether the descriptor may be used, until exit.
func (u *users) enter() bool {
	for {
		n := u.n.Load()
		if n < 0 {
			return false
		}
		if u.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (u *users) exit() { u.n.Add(-1) }

// shut lets no user in any more and waits for those that are: what they do
// must not block. It is called once.
func (u *users) shut() {
	for u.n.Add(math.MinInt32); u.n.Load() != math.MinInt32; {
		runtime.Gosched()
	}
}
