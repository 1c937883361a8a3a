// Package lend lends goroutines to those who have something to do now and then,
// so that nobody holds one while at rest.
//
//	Lend(r) -> queue -> a worker -> r.Run() -> again: back to the queue's end
//
// It knows nothing of what runs. Its Pool is a seam as netpoll.System is: a test
// decides with one of its own in which order things run.
package lend

import "context"

// Runner is something that has to do with a goroutine, sometimes.
type Runner interface {
	// Run does some of it, on a lent goroutine, and tells whether there is more. It
	// may block, panic not, and end its goroutine (runtime.Goexit): whether there is
	// more is not known then, so it must have called Lend itself.
	Run() (again bool)

	// Queued is the Runner's own Link.
	Queued() *Link
}

// Link is embedded by a Runner: its place in a Pool's queue. The Pool's.
type Link struct{ Next Runner }

// Queued is for Runner.
func (l *Link) Queued() *Link { return l }

// Pool lends goroutines. Its methods may be called from any goroutine.
type Pool interface {
	// Lend runs r soon, on a goroutine of the pool. It must not be called for an r
	// that waits or is being run, but by r.Run's own deferred functions.
	Lend(r Runner)

	// Inside tells whether the caller is run by the Pool.
	Inside() bool

	// Running is the number of goroutines.
	Running() int

	// Wait ends the Pool when nothing is left to be run, or ctx is done.
	Wait(ctx context.Context) error
}
