//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// queue is a kqueue, with one filter for reading and one for writing, each there
// exactly while it is wanted; gnet's is not exact (docs/decisions/0005).
// Loop-owned.
type queue struct{ fd int }

func (q *queue) open() (err error) {
	if q.fd, err = unix.Kqueue(); err != nil {
		return os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(q.fd)
	return nil
}

func (q *queue) close() { _ = unix.Close(q.fd) }

func (q *queue) add(fd int, edge bool) error {
	flags := unix.EV_ADD
	if edge {
		flags |= unix.EV_CLEAR
	}
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], fd, unix.EVFILT_READ, flags)
	return q.change(change[:])
}

// filters are the filters of a descriptor, and when they are wanted.
var filters = [...]struct {
	interest Interest
	filter   int
}{{WatchRead, unix.EVFILT_READ}, {WatchWrite, unix.EVFILT_WRITE}}

func (q *queue) watch(fd int, from, to Interest) error {
	var buf [len(filters)]unix.Kevent_t
	changes := buf[:0]
	for _, f := range filters {
		if (from^to)&f.interest == 0 {
			continue
		}
		flags := unix.EV_ADD
		if to&f.interest == 0 {
			flags = unix.EV_DELETE
		}
		changes = changes[:len(changes)+1]
		unix.SetKevent(&changes[len(changes)-1], fd, f.filter, flags)
	}
	return q.change(changes)
}

func (q *queue) change(changes []unix.Kevent_t) error {
	_, err := unix.Kevent(q.fd, changes, nil, nil)
	return os.NewSyscallError("kevent", err)
}

// run is level-triggered, like its counterpart for epoll: what is not read or
// written is told again. One descriptor may have two events in a batch, one for
// each filter; the second may be stale, which handle must expect.
func (q *queue) run(handle func(fd int, writable, hangup bool) (stop bool)) error {
	events := make([]unix.Kevent_t, 256)
	var none unix.Timespec
	wait := &none // at first, and after a batch, only what is there
	for {
		n, err := unix.Kevent(q.fd, nil, events, wait)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("kevent", err)
		}
		if n <= 0 {
			runtime.Gosched()
			wait = nil // for as long as it takes
			continue
		}
		wait = &none
		for i := range events[:n] {
			ev := &events[i]
			writable := int(ev.Filter) == unix.EVFILT_WRITE
			// At the read filter EV_EOF is the end of the peer's stream, which
			// a read tells; at the write filter nobody will read any more.
			hangup := writable && ev.Flags&unix.EV_EOF != 0
			if handle(int(ev.Ident), writable, hangup) {
				return nil
			}
		}
	}
}
