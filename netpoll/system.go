package netpoll

import (
	"net"
	"time"
)

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

	// Shutdown ends the sending side of fd, Close fd itself; Reset closes it so that
	// the peer sees a reset, and never a clean end.
	Shutdown(fd int) error
	Close(fd int) error
	Reset(fd int) error

	// Unsent is how many bytes that Write took the peer has not acknowledged, 0
	// where the kernel does not tell; Unread is how many wait to be read.
	Unsent(fd int) int
	Unread(fd int) int

	// Lend makes of fd, which is not in the poller, a connection for code that
	// blocks; on an error fd is closed. TakeBack is the reverse, for any connection
	// of the kernel's: conn is closed, and the descriptor the caller's. Any
	// goroutine.
	Lend(fd int) (net.Conn, error)
	TakeBack(conn net.Conn) (fd int, err error)

	// Wake makes the loop turn, once or more often. Any goroutine.
	Wake()
	// WakeAfter wakes the loop after d; a later call replaces an earlier one.
	WakeAfter(d time.Duration)

	// Now reads a monotonic clock that starts with the group.
	Now() time.Duration

	// AppendRemoteAddr appends the peer's address as text, "@" for a Unix socket. ok
	// is false when the kernel knows it no longer: the peer has reset.
	AppendRemoteAddr(dst []byte, fd int) (_ []byte, ok bool)
}

// Interest is what a loop wants to hear of a descriptor.
type Interest uint8

// The events of a descriptor.
const (
	WatchRead Interest = 1 << iota
	WatchWrite
)
