package netpoll

import (
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// waker wakes a loop by an eventfd that is never read: it is watched
// edge-triggered, and each write is an edge.
type waker struct{ fd int }

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func (w *waker) open(p *netpoll.Poller) (err error) {
	if w.fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return err
	}
	return p.AddRead(&netpoll.PollAttachment{FD: w.fd}, true)
}

func (w *waker) wake() { _, _ = unix.Write(w.fd, one) }

func (w *waker) is(fd int) bool { return fd == w.fd }
func (w *waker) drain()         {}
func (w *waker) close()         { _ = unix.Close(w.fd) }

func accept(fd int) (int, error) {
	nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return nfd, err
}

func (s *poller) Writev(fd int, bs [][]byte) (int, error) { return unix.Writev(fd, bs) }
