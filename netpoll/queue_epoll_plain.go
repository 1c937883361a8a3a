//go:build linux && !poll_opt

package netpoll

import "github.com/panjf2000/gnet/v2/pkg/netpoll"

// attachments: gnet reads no more of one than its FD, at once.
type attachments struct{}

func (attachments) of(fd int) *netpoll.PollAttachment { return &netpoll.PollAttachment{FD: fd} }

func (q *queue) poll(callback netpoll.PollEventHandler) error { return q.p.Polling(callback) }
