package netpoll

import (
	"net"
	"time"
)

// System is the kernel as a loop sees it. It is the seam for tests: package
// netpolltest gives an in-memory one with a clock driven by hand, so that all
// code above it runs as it does in production. Its methods are called on the
// loop only, unless they say otherwise. Errors are the kernel's errno values.
type System interface {
	// Read and Write never block: they return syscall.EAGAIN instead. Read
	// returns 0 and no error at the end of the stream. Writev writes what lies
	// in several slices, at least some of it; bs is borrowed.
	Read(fd int, b []byte) (int, error)
	Write(fd int, b []byte) (int, error)
	Writev(fd int, bs [][]byte) (int, error)

	// Watch says which events of fd the loop wants; neither takes fd from the
	// poller. from is what was wanted before.
	Watch(fd int, from, to Interest) error

	// Unsent is how many bytes Write has taken and the peer has not
	// acknowledged, so progress can be told from a standstill. The end that
	// Shutdown sends counts as one byte. On a Unix socket it is an estimate; 0
	// where the kernel does not tell.
	Unsent(fd int) int

	// Unread is how many bytes wait to be read.
	Unread(fd int) int

	// Shutdown ends the sending side of fd, Close fd itself.
	Shutdown(fd int) error
	Close(fd int) error

	// Reset closes fd so that the peer sees an error and never a clean end, for
	// a stream that ends before it is complete. What is unsent is thrown away.
	Reset(fd int) error

	// Lend makes a net.Conn of fd, which must not be watched, and which the
	// loop then has no more: its number may be another's at once. TCP keep-alive
	// is on. On error fd is closed.
	Lend(fd int) (net.Conn, error)

	// TakeBack makes a descriptor, not yet watched, of conn, which it closes:
	// any net.Conn that is a stream socket of the kernel's, whether or not it
	// comes from Lend. Nobody else may use conn meanwhile; what has been read
	// into a buffer above it stays there. On error conn is as it was. Any
	// goroutine.
	TakeBack(conn net.Conn) (fd int, err error)

	// Wake makes the loop turn, once or more often. After the end of the loop
	// it does nothing. Any goroutine.
	Wake()
	// WakeAfter wakes the loop after d; a later call replaces an earlier one.
	WakeAfter(d time.Duration)

	// Now reads a monotonic clock that starts with the group. Any goroutine.
	Now() time.Duration

	// AppendRemoteAddr appends the peer's address as text, "@" for a nameless
	// one on a Unix socket. It is false, and dst as it was, when the kernel has
	// none any more: the peer has reset the connection.
	AppendRemoteAddr(dst []byte, fd int) (_ []byte, ok bool)
}

// Interest is what a loop wants to hear of a descriptor.
type Interest uint8

// The events of a descriptor.
const (
	WatchRead Interest = 1 << iota
	WatchWrite
)
