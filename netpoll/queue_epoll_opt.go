//go:build linux && poll_opt

package netpoll

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

// attachments are what gnet gives the kernel, as pointers that the garbage
// collector does not see, instead of descriptors. One is kept for each
// descriptor that the loop has ever watched, and used again with it: an event
// that has been fetched may name one that has been deleted since.
type attachments struct {
	byFD     map[int]*netpoll.PollAttachment
	callback netpoll.PollEventHandler
}

func (a *attachments) of(fd int) *netpoll.PollAttachment {
	pa := a.byFD[fd]
	if pa == nil {
		if a.byFD == nil {
			a.byFD = map[int]*netpoll.PollAttachment{}
		}
		pa = &netpoll.PollAttachment{FD: fd, Callback: a.call}
		a.byFD[fd] = pa
	}
	return pa
}

// call is each attachment's callback. The waker's is made before there is one
// to be told.
func (a *attachments) call(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
	return a.callback(fd, ev, flags)
}

func (q *queue) poll(callback netpoll.PollEventHandler) error {
	q.callback = callback
	return q.p.Polling()
}
