package netpoll

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waker wakes a loop by an eventfd that is never read: it is watched
// edge-triggered, and each write is an edge.
type waker struct {
	fd int // Immutable after open.
	users
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func (w *waker) open(q *queue) (err error) {
	if w.fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return err
	}
	if err = q.add(w.fd, true); err != nil {
		_ = unix.Close(w.fd)
	}
	return err
}

// wake does nothing after close. Any goroutine.
func (w *waker) wake() {
	if w.enter() {
		_, _ = unix.Write(w.fd, one)
		w.exit()
	}
}

func (w *waker) is(fd int) bool { return fd == w.fd }
func (w *waker) drain()         {}

func (w *waker) close() {
	w.shut()
	_ = unix.Close(w.fd)
}

// accept is unix.Accept4 without the peer's address, for which that allocates.
func accept(fd int) (int, error) {
	nfd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(nfd), nil
}

func setMaxUnsent(fd, n int) {
	if n > 0 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
	}
}

// setKeepAlive has connections end whose other side has gone without a word, after half a
// minute: see linkAlive.
func setKeepAlive(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3)
}

// isMultipath tells whether a socket is one of MPTCP, as Go's own listeners are.
func isMultipath(fd int) bool {
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && proto == unix.IPPROTO_MPTCP
}

// Read and Write are recvfrom and sendto, which spare what the kernel does for
// files. They do not tell the scheduler: the descriptors never block.

func (s *poller) Read(fd int, b []byte) (int, error) {
	return result(unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0))
}

func (s *poller) Write(fd int, b []byte) (int, error) {
	return result(unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0))
}

func result(n, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// AppendRemoteAddr does not allocate, as unix.Getpeername would.
func (s *poller) AppendRemoteAddr(dst []byte, fd int) ([]byte, bool) {
	size := uint32(unsafe.Sizeof(s.scratch.peer))
	s.scratch.peer = unix.RawSockaddrAny{}
	_, _, errno := unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&s.scratch.peer)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return dst, false
	}
	switch s.scratch.peer.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.scratch.peer))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), hostOrder(a.Port)).AppendTo(dst), true
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.scratch.peer))
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), hostOrder(a.Port)).AppendTo(dst), true
	case unix.AF_UNIX:
		a := (*unix.RawSockaddrUnix)(unsafe.Pointer(&s.scratch.peer))
		if a.Path[0] == 0 { // nameless, or an abstract name
			dst = append(dst, '@')
			return appendCString(dst, a.Path[1:]), true
		}
		return appendCString(dst, a.Path[:]), true
	}
	return dst, false
}

func appendCString(dst []byte, b []int8) []byte {
	for _, c := range b {
		if c == 0 {
			break
		}
		dst = append(dst, byte(c))
	}
	return dst
}

// hostOrder reads a port, which is in network order.
func hostOrder(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// maxIovecs is what the kernel takes at once (UIO_MAXIOV).
const maxIovecs = 1024

// scratch is what a system call reads or fills, so that it is not allocated for
// each.
type scratch struct {
	peer unix.RawSockaddrAny
	msg  unix.Msghdr
	iov  []unix.Iovec
}

// Writev is sendmsg: writev has no flag against SIGPIPE, which matters where Go
// is a library in a program with other ideas of signals.
func (s *poller) Writev(fd int, bs [][]byte) (int, error) {
	iov := s.scratch.iov[:0]
	for _, b := range bs {
		if len(b) == 0 {
			continue
		}
		if len(iov) == maxIovecs {
			break
		}
		iov = append(iov, unix.Iovec{Base: unsafe.SliceData(b)})
		iov[len(iov)-1].SetLen(len(b))
	}
	if len(iov) == 0 {
		return 0, nil
	}
	s.scratch.iov = iov
	s.scratch.msg.Iov = &iov[0]
	s.scratch.msg.SetIovlen(len(iov))
	n, err := result(unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.scratch.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL))
	clear(iov) // holds nobody's memory
	s.scratch.msg.Iov = nil
	return n, err
}

func (s *poller) Unsent(fd int) int { return s.ask(fd, unix.TIOCOUTQ) } // SIOCOUTQ
func (s *poller) Unread(fd int) int { return s.ask(fd, unix.TIOCINQ) }  // FIONREAD

// ask is for any goroutine: what lends a connection asks, too.
func (s *poller) ask(fd int, request uintptr) int {
	var n int32
	if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0
	}
	return int(n)
}
