//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockeye-io/sockeye/internal/bridging"
)

// poller is the real System: a queue of the kernel's events under descriptors of
// our own, of which the waker is one, and takes its turn among the sockets.
//
// queue is another type for each kind of system, with
//
//	open() error
//	watch(fd int, from, to Interest) error
//	add(fd int, edge bool) error // to be read, for the waker
//	run(handle func(fd int, writable, hangup bool) (stop bool)) error
//	close()
type poller struct {
	// Immutable after openQueue.
	events queue
	wake   waker
	start  time.Time

	// Loop-owned.
	alarm   *time.Timer
	scratch scratch
}

func openPoller(start time.Time) (turner, error) {
	if bridging.All.Load() {
		return openPlain(start), nil
	}
	return openQueue(start)
}

func openQueue(start time.Time) (*poller, error) {
	s := &poller{start: start}
	if err := s.events.open(); err != nil {
		return nil, err
	}
	if err := s.wake.open(&s.events); err != nil {
		s.events.close()
		return nil, err
	}
	s.alarm = time.AfterFunc(time.Hour, s.Wake)
	s.alarm.Stop()
	return s, nil
}

// close ends what openQueue has begun. Nobody may use the poller any more.
func (s *poller) close() {
	s.alarm.Stop()
	s.wake.close()
	s.events.close()
}

// yieldAfter is how long, in nanoseconds, a busy loop goes on before it lets
// other goroutines of its processor run.
const yieldAfter = 300_000

// poll runs the loop until it is stopped.
func (s *poller) poll(l *Loop) error {
	var yielded int64
	return s.events.run(func(fd int, writable, hangup bool) (stop bool) {
		if s.wake.is(fd) {
			s.wake.drain()
			l.turn()
		} else {
			l.handle(fd, writable, hangup)
		}
		// A queue yields only when it finds nothing to do. A loop that is
		// always busy must let borrowed goroutines run, too, on one processor.
		if l.now-yielded > yieldAfter {
			runtime.Gosched()
			yielded = l.now
		}
		return l.stopping
	})
}

func (s *poller) Close(fd int) error        { return unix.Close(fd) }
func (s *poller) Shutdown(fd int) error     { return unix.Shutdown(fd, unix.SHUT_WR) }
func (s *poller) Wake()                     { s.wake.wake() }
func (s *poller) WakeAfter(d time.Duration) { s.alarm.Reset(d) }
func (s *poller) Now() time.Duration        { return time.Since(s.start) }

// Reset lets close send a reset, by a linger time of 0.
func (s *poller) Reset(fd int) error {
	return errors.Join(unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), unix.Close(fd))
}

// Lend leaves the rest to the runtime's own poller.
func (s *poller) Lend(fd int) (net.Conn, error) {
	// A descriptor that may block is not entered into the runtime's poller by
	// os.NewFile: FileConn's copy is.
	_ = unix.SetNonblock(fd, false)
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	conn, err := net.FileConn(f) // turns keep-alive on
	if err != nil {
		return nil, err
	}
	if conn.RemoteAddr() == nil {
		_ = conn.Close()
		return nil, syscall.ENOTCONN
	}
	return conn, nil
}

func (s *poller) TakeBack(conn net.Conn) (int, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("netpoll: %T is not a socket of the kernel's: take what it is made of", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var err2 error
	err = raw.Control(func(old uintptr) {
		if kind, err := unix.GetsockoptInt(int(old), unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
			err2 = fmt.Errorf("netpoll: %T is not a stream socket", conn)
			return
		}
		fd, err2 = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, err2); err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	_ = conn.Close() // does not end the connection, which fd holds
	return fd, nil
}

func (s *poller) Watch(fd int, from, to Interest) error {
	if to == from {
		return nil
	}
	return s.events.watch(fd, from, to)
}

func defaultLoops() int { return runtime.GOMAXPROCS(0) }

// reservedFDs stay free for everything else that the process does.
const reservedFDs = 64

func defaultMaxConns() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		return 1 << 30
	}
	return max(int(r.Cur)-reservedFDs, 1)
}
