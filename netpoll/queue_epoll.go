//go:build linux

package netpoll

import (
	"errors"

	gerrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
)

// queue is gnet's poller. Its task queue is not used: it is drained until empty
// before sockets are polled again, so work that goes on could starve them.
// Loop-owned.
type queue struct {
	p *netpoll.Poller
	attachments
}

func (q *queue) open() (err error) {
	q.p, err = netpoll.OpenPoller()
	return err
}

func (q *queue) close() { _ = q.p.Close() }

func (q *queue) add(fd int, edge bool) error { return q.p.AddRead(q.of(fd), edge) }

func (q *queue) watch(fd int, from, to Interest) error {
	switch {
	case to == 0:
		return q.p.Delete(fd)
	case from == 0 && to == WatchRead:
		return q.p.AddRead(q.of(fd), false)
	case from == 0 && to == WatchWrite:
		return q.p.AddWrite(q.of(fd), false)
	case from == 0:
		return q.p.AddReadWrite(q.of(fd), false)
	case to == WatchRead:
		return q.p.ModRead(q.of(fd), false)
	case to == WatchRead|WatchWrite:
		return q.p.ModReadWrite(q.of(fd), false)
	default: // gnet cannot modify to write alone
		if err := q.p.Delete(fd); err != nil {
			return err
		}
		return q.p.AddWrite(q.of(fd), false)
	}
}

func (q *queue) run(handle func(fd int, writable, hangup bool) (stop bool)) error {
	err := q.poll(func(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
		if handle(fd, netpoll.IsWriteEvent(ev), netpoll.IsErrorEvent(ev, flags)) {
			return gerrors.ErrEngineShutdown
		}
		return nil
	})
	if errors.Is(err, gerrors.ErrEngineShutdown) {
		return nil
	}
	return err
}
