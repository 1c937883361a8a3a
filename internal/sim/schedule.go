package sim

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/goroutine"
	"github.com/sockeye-io/sockeye/internal/lend"
	"github.com/sockeye-io/sockeye/internal/sim/yield"
)

// schedule has goroutines go on one at a time. It is the server's lend.Pool.
type schedule struct {
	// Immutable after newSchedule.
	seed    uint64
	workers int // that run at once

	// Guarded by mu.
	mu      sync.Mutex
	queue   []queued
	fibers  map[uintptr]*fiber // by goroutine
	parked  []*fiber
	made    int
	running int                    // of queue
	known   map[unsafe.Pointer]int // whose memory so is never another socket's
	closed  bool
	close   sync.Once // of ended
	ended   chan struct{}
	open    bool // gates are not waited at any more
}

// queued is a Runner that waits for a goroutine.
type queued struct {
	r   lend.Runner
	key int
}

// fiber is a goroutine that the schedule knows.
type fiber struct {
	id     int
	rng    *rand.Rand
	wake   chan struct{}
	gate   bool // it waits for something of the application's, which may take long
	parked bool
	locks  int // that it holds
	lent   bool
}

func newSchedule(seed uint64, workers int) *schedule {
	return &schedule{
		seed: seed, workers: workers, fibers: map[uintptr]*fiber{}, known: map[unsafe.Pointer]int{}, ended: make(chan struct{}),
	}
}

// Lend is Pool's.
func (s *schedule) Lend(r lend.Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, queued{r, s.key(r)})
}

// key names the socket whose mailbox r is: loops may close sessions in the order of
// a table with a random seed, which must not decide on what is run.
func (s *schedule) key(r lend.Runner) int {
	v := reflect.ValueOf(r).Elem().FieldByName("socket")
	if !v.IsValid() || v.Kind() != reflect.Pointer {
		panic("sim: the server's mailboxes have no field socket any more: find another name for them")
	}
	p := v.UnsafePointer()
	if s.known[p] == 0 {
		s.known[p] = len(s.known) + 1
	}
	return s.known[p]
}

// Inside is Pool's.
func (s *schedule) Inside() bool {
	f := s.current()
	return f != nil && f.lent
}

// Running is Pool's.
func (s *schedule) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// Wait is Pool's.
func (s *schedule) Wait(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.end()
	s.mu.Unlock()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end tells Wait; mu is held.
func (s *schedule) end() {
	if s.closed && s.running+len(s.queue) == 0 {
		s.close.Do(func() { close(s.ended) })
	}
}

// waiting is how many Runners wait, and could have a goroutine.
func (s *schedule) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running >= s.workers {
		return 0
	}
	return len(s.queue)
}

// start gives the i-th of them one.
func (s *schedule) start(i int) {
	s.mu.Lock()
	slices.SortStableFunc(s.queue, func(a, b queued) int { return a.key - b.key })
	q := s.queue[i]
	s.queue = slices.Delete(s.queue, i, i+1)
	s.running++
	s.mu.Unlock()
	s.spawn(true, func() {
		returned := false
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.running--
			if returned {
				s.queue = append(s.queue, q)
			}
			s.end()
		}()
		returned = q.r.Run()
	})
}

// spawn starts a goroutine that the schedule knows.
func (s *schedule) spawn(lent bool, f func()) {
	s.mu.Lock()
	s.made++
	fb := s.newFiber(s.made, lent)
	s.mu.Unlock()
	go func() {
		defer s.enter(fb)()
		f()
	}()
}

func (s *schedule) newFiber(id int, lent bool) *fiber {
	return &fiber{id: id, lent: lent, rng: rand.New(rand.NewPCG(s.seed, uint64(id))), wake: make(chan struct{}, 1)}
}

// enter has the calling goroutine known as fb until what it returns is called.
func (s *schedule) enter(fb *fiber) (leave func()) {
	id := goroutine.ID()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fibers[id] = fb
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.fibers, id)
	}
}

// adopt has a goroutine of the server's known, by a number of its own, while it is in
// the application.
func (s *schedule) adopt(number int) (leave func()) {
	if s.current() != nil {
		return func() {}
	}
	number += 1 << 20 // as many as there are never of others
	return s.enter(s.newFiber(number, false))
}

// current is the calling goroutine; nil for the world's, and the server's own.
func (s *schedule) current() *fiber {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fibers[goroutine.ID()]
}

// yield waits until the world lets the caller go on. The world itself, a loop, does
// not wait.
func (s *schedule) yield() { s.park(s.current(), false) }

// maybe is yield, sometimes.
func (s *schedule) maybe() {
	if f := s.current(); f != nil && f.rng.IntN(3) == 0 {
		s.park(f, false)
	}
}

// Deep has goroutines stop between statements of the server, if it has been built
// with stops; see TestDeep.
var Deep bool

// deepen has the stops of the server, if there are any, lead here.
func (s *schedule) deepen() {
	if !Deep {
		return
	}
	yield.Hook = func() {
		if f := s.current(); f != nil && f.locks == 0 && f.rng.IntN(24) == 0 {
			s.park(f, false)
		}
	}
	yield.Held = func(n int) {
		if f := s.current(); f != nil {
			f.locks += n
		}
	}
}

// gate waits for something outside.
func (s *schedule) gate() { s.park(s.current(), true) }

func (s *schedule) park(f *fiber, gate bool) {
	if f == nil {
		return
	}
	s.mu.Lock()
	f.gate, f.parked = gate && !s.open, true
	s.parked = append(s.parked, f)
	s.mu.Unlock()
	<-f.wake
}

// standing counts those that wait to go on, and those that wait at gates.
func (s *schedule) standing() (ready, gates int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.parked {
		if f.gate {
			gates++
		} else {
			ready++
		}
	}
	return ready, gates
}

// resume lets the i-th of them, by their age, go on.
func (s *schedule) resume(i int, gate bool) (id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.parked, func(a, b *fiber) int { return a.id - b.id })
	for at, f := range s.parked {
		if f.gate != gate {
			continue
		}
		if i == 0 {
			s.parked = slices.Delete(s.parked, at, at+1)
			f.gate, f.parked = false, false
			f.wake <- struct{}{}
			return f.id
		}
		i--
	}
	panic("sim: no such fiber")
}

// openGates has nobody wait at gates any more.
func (s *schedule) openGates() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = true
	for _, f := range s.parked {
		f.gate = false
	}
}
