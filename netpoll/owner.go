package netpoll

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/goroutine"
)

// owner is a goroutine that runs loops. The zero value is nobody.
type owner struct {
	id uintptr

	// number is set for a loop that is turned by hand: its goroutine may end
	// without a word, and another get its id. 0: the loop's own goroutine.
	number uint64
}

// runners are the goroutines that run loops, of all groups in the process: none
// of them may wait for a loop, be it another group's, which could wait for it.
var runners ownerSet

type ownerSet struct {
	list atomic.Pointer[[]ownerLoops] // copied by each change

	mu sync.Mutex // held by who changes list
}

type ownerLoops struct {
	owner
	loops int // how many it runs
}

// OnLoop tells whether the caller is a loop, of any group: it must not wait. It
// takes some nanoseconds. Any goroutine.
func OnLoop() bool {
	list := runners.list.Load()
	if list == nil {
		return false
	}
	id := goroutine.ID()
	for i := range *list {
		if o := &(*list)[i]; o.id == id && (o.number == 0 || o.number == goroutine.Number()) {
			return true
		}
	}
	return false
}

// change adds so many loops to those that o runs.
func (s *ownerSet) change(o owner, loops int) {
	if o == (owner{}) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []ownerLoops
	if p := s.list.Load(); p != nil {
		list = slices.Clone(*p)
	}
	i := slices.IndexFunc(list, func(l ownerLoops) bool { return l.owner == o })
	switch {
	case i >= 0:
		list[i].loops += loops
	case loops > 0:
		// Who had this id before has ended, and turns no loop any more.
		list = slices.DeleteFunc(list, func(l ownerLoops) bool { return l.id == o.id && l.number != 0 && o.number != 0 })
		list = append(list, ownerLoops{o, loops})
	}
	list = slices.DeleteFunc(list, func(l ownerLoops) bool { return l.loops <= 0 })
	s.list.Store(&list)
}

// Claim makes the calling goroutine the owner of a loop that is turned by hand.
// NewManual does so for its caller; another goroutine that is to turn the loop
// claims it first.
func (l *Loop) Claim() { l.ownedBy(owner{goroutine.ID(), goroutine.Number()}) }

// start makes the calling goroutine, which does nothing else, the loop's own.
func (l *Loop) start() {
	l.ownedBy(owner{id: goroutine.ID()})
	l.lookout.number.Store(goroutine.Number())
}

// leave ends the loop's claim: its goroutine may wait again. Loop-owned.
func (l *Loop) leave() {
	if !l.left {
		l.left = true
		runners.change(l.owner, -1)
	}
}

func (l *Loop) ownedBy(o owner) {
	if o == l.owner {
		return
	}
	if !l.left {
		runners.change(l.owner, -1)
		runners.change(o, 1)
	}
	l.owner = o
	l.lookout.number.Store(o.number)
}
