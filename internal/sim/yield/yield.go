// Package yield is put between the statements of the server by the deep simulation:
// places at which another goroutine may go on. The server itself does not import it.
package yield

import "sync"

// The schedule's, set before anything runs; nil for nothing.
var (
	// Hook is called between two statements.
	Hook func()
	// Held is told of locks that the caller has taken, 1, and given back, -1: who holds
	// one must not stop.
	Held func(locks int)
)

// Point is between two statements.
func Point() {
	if Hook != nil {
		Hook()
	}
}

func held(n int) {
	if Held != nil {
		Held(n)
	}
}

// Mutex is a sync.Mutex of which Held is told.
type Mutex struct{ mu sync.Mutex }

// Lock is sync.Mutex's.
func (m *Mutex) Lock() {
	Point()
	m.mu.Lock()
	held(1)
}

// Unlock is sync.Mutex's.
func (m *Mutex) Unlock() {
	m.mu.Unlock()
	held(-1)
	Point()
}

// RWMutex is a sync.RWMutex of which Held is told.
type RWMutex struct{ mu sync.RWMutex }

// Lock is sync.RWMutex's.
func (m *RWMutex) Lock() {
	Point()
	m.mu.Lock()
	held(1)
}

// Unlock is sync.RWMutex's.
func (m *RWMutex) Unlock() {
	m.mu.Unlock()
	held(-1)
	Point()
}

// RLock is sync.RWMutex's.
func (m *RWMutex) RLock() {
	Point()
	m.mu.RLock()
	held(1)
}

// RUnlock is sync.RWMutex's.
func (m *RWMutex) RUnlock() {
	m.mu.RUnlock()
	held(-1)
	Point()
}

// Pool is a sync.Pool that keeps nothing: what it has does not depend on when
// garbage was collected.
type Pool struct{ New func() any }

// Get is sync.Pool's.
func (p *Pool) Get() any {
	if p.New == nil {
		return nil
	}
	return p.New()
}

// Put is sync.Pool's.
func (*Pool) Put(any) {}
