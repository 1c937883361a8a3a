//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"errors"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// waker wakes a loop through a pipe. (Linux is what Sockeye is measured and
// tested on; this keeps it buildable for development elsewhere.)
type waker struct {
	r, w int // Immutable after open.
	users
}

func (w *waker) open(q *queue) error {
	var fds [2]int
	syscall.ForkLock.RLock()
	err := unix.Pipe(fds[:])
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	w.r, w.w = fds[0], fds[1]
	if err = errors.Join(unix.SetNonblock(w.r, true), unix.SetNonblock(w.w, true)); err == nil {
		err = q.add(w.r, false)
	}
	if err != nil {
		w.close()
	}
	return err
}

// wake does nothing after close. Any goroutine.
func (w *waker) wake() {
	if w.enter() {
		_, _ = unix.Write(w.w, []byte{1})
		w.exit()
	}
}

func (w *waker) is(fd int) bool { return fd == w.r }

func (w *waker) drain() {
	var b [64]byte
	for {
		if n, err := unix.Read(w.r, b[:]); n <= 0 || err != nil {
			return
		}
	}
}

func (w *waker) close() {
	w.shut()
	_ = unix.Close(w.r)
	_ = unix.Close(w.w)
}

func setMaxUnsent(int, int) {}

// setKeepAlive leaves the times to the system.
func setKeepAlive(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1) }

func isMultipath(int) bool { return false }

func accept(fd int) (int, error) {
	nfd, _, err := unix.Accept(fd)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(nfd)
	if err := unix.SetNonblock(nfd, true); err != nil {
		_ = unix.Close(nfd)
		return -1, err
	}
	return nfd, nil
}

func (s *poller) Writev(fd int, bs [][]byte) (n int, err error) {
	for _, b := range bs {
		k, err := unix.Write(fd, b)
		if n += max(k, 0); err != nil || k < len(b) {
			if n > 0 {
				err = nil
			}
			return n, err
		}
	}
	return n, nil
}

func (s *poller) AppendRemoteAddr(dst []byte, fd int) ([]byte, bool) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return dst, false
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).AppendTo(dst), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).AppendTo(dst), true
	case *unix.SockaddrUnix:
		if a.Name == "" {
			return append(dst, '@'), true
		}
		return append(dst, a.Name...), true
	}
	return dst, false
}

type scratch struct{}

// fionread is FIONREAD of all these systems: _IOR('f', 127, int).
const fionread = 0x4004667f

func (s *poller) Unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, fionread)
	if err != nil {
		return 0
	}
	return n
}

func (s *poller) Read(fd int, b []byte) (int, error)  { return unix.Read(fd, b) }
func (s *poller) Write(fd int, b []byte) (int, error) { return unix.Write(fd, b) }
