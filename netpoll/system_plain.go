package netpoll

import (
	"net"
	"runtime"
	"syscall"
	"time"
)

// turner is a System that turns a loop.
type turner interface {
	System

	// poll runs the loop until it is stopped.
	poll(l *Loop) error

	// close is after poll.
	close()
}

// plain is the System where the kernel has no queue that the loops know, as on Windows:
// it has no descriptors, so that every connection is bridged.
type plain struct {
	// Immutable after openPlain.
	woken chan struct{}
	start time.Time

	// Loop-owned.
	alarm *time.Timer
}

func openPlain(start time.Time) *plain {
	s := &plain{woken: make(chan struct{}, 1), start: start}
	s.alarm = time.AfterFunc(time.Hour, s.Wake)
	s.alarm.Stop()
	return s
}

func (s *plain) poll(l *Loop) error {
	for !l.stopping {
		<-s.woken
		l.turn()
		runtime.Gosched() // as poller does, for one processor
	}
	return nil
}

func (s *plain) close() { s.alarm.Stop() }

// Wake does nothing after the end but fill the channel.
func (s *plain) Wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *plain) WakeAfter(d time.Duration) { s.alarm.Reset(d) }
func (s *plain) Now() time.Duration        { return time.Since(s.start) }

func (*plain) Read(int, []byte) (int, error)       { return -1, syscall.EBADF }
func (*plain) Write(int, []byte) (int, error)      { return -1, syscall.EBADF }
func (*plain) Writev(int, [][]byte) (int, error)   { return -1, syscall.EBADF }
func (*plain) Watch(int, Interest, Interest) error { return syscall.EBADF }
func (*plain) Unsent(int) int                      { return 0 }
func (*plain) Unread(int) int                      { return 0 }
func (*plain) Shutdown(int) error                  { return syscall.EBADF }
func (*plain) Close(int) error                     { return syscall.EBADF }
func (*plain) Reset(int) error                     { return syscall.EBADF }
func (*plain) Lend(int) (net.Conn, error)          { return nil, syscall.EBADF }
func (*plain) TakeBack(net.Conn) (int, error)      { return -1, syscall.EBADF }

func (*plain) AppendRemoteAddr(dst []byte, _ int) ([]byte, bool) { return dst, false }
