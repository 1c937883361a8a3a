package netpoll

import "time"

// System is the kernel as a loop sees it. It is the seam for tests: package
// netpolltest gives an in-memory one with a clock driven by hand, so that all
// code above it runs as it does in production. Except Wake, its methods are
// called on the loop only. Errors are the kernel's errno values.
type System interface {
	// Read and Write never block: they return syscall.EAGAIN instead. Read
	// returns 0 and no error at the end of the stream.
	Read(fd int, b []byte) (int, error)
	Write(fd int, b []byte) (int, error)
	Writev(fd int, bs [][]byte) (int, error)

	// Watch says which events of fd the loop wants; neither takes fd from the
	// poller. from is what was wanted before.
	Watch(fd int, from, to Interest) error

	// Shutdown ends the sending side of fd, Close fd itself.
	Shutdown(fd int) error
	Close(fd int) error

	// Wake makes the loop turn, once or more often. Any goroutine.
	Wake()
	// WakeAfter wakes the loop after d; a later call replaces an earlier one.
	WakeAfter(d time.Duration)

	// Now reads a monotonic clock that starts with the group.
	Now() time.Duration

	// AppendRemoteAddr appends the peer's address as text.
	AppendRemoteAddr(dst []byte, fd int) []byte
}

// Interest is what a loop wants to hear of a descriptor.
type Interest uint8

// The events of a descriptor.
const (
	WatchRead Interest = 1 << iota
	WatchWrite
)
