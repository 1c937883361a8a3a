package nats

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// exchange asks NATS, and waits for answers, until a context ends or the connection does,
// also where the connection is stuck in a write.
type exchange struct {
	// Immutable.
	nc   *nats.Conn
	gate chan struct{} // has an element while somebody uses the connection

	// Any goroutine (atomic).
	gone atomic.Pointer[chan struct{}] // closed when the connection goes
}

func (x *exchange) init(nc *nats.Conn) {
	x.nc, x.gate = nc, make(chan struct{}, 1)
	gone := make(chan struct{})
	x.gone.Store(&gone)
}

// lost has those who wait for answers give up. One goroutine calls it.
func (x *exchange) lost() {
	gone := make(chan struct{})
	close(*x.gone.Swap(&gone))
}

// touch calls f, which uses the connection, in a goroutine: it may block, and ctx may end.
func (x *exchange) touch(ctx context.Context, f func() error) error {
	select {
	case x.gate <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-x.gate }()
		if ctx.Err() != nil {
			done <- ctx.Err()
			return
		}
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNobody = errors.New("nats: JetStream does not answer")

// ask publishes requests, and hands each answer to take, with the index of its request,
// until that has returned last for each. There are at most most answers.
func (x *exchange) ask(ctx context.Context, requests []*nats.Msg, most int, take func(i int, m *nats.Msg) (last bool, err error)) error {
	return x.insist(ctx, 0, requests, most, take)
}

// insist is ask that publishes what has not been answered again, after some time, and then
// after twice as long, and so on; 0: it does not.
func (x *exchange) insist(ctx context.Context, patience time.Duration, requests []*nats.Msg, most int, take func(i int, m *nats.Msg) (last bool, err error)) error {
	if len(requests) == 0 {
		return nil
	}
	var again *time.Timer
	var due <-chan time.Time
	if patience > 0 {
		again = time.NewTimer(patience)
		defer again.Stop()
		due = again.C
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := *x.gone.Load()
	inbox := x.nc.NewInbox() + "."
	in := make(chan *nats.Msg, most+1)
	publish := func() error {
		for _, m := range requests {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := x.nc.PublishMsg(m); err != nil {
				return err
			}
		}
		return nil
	}
	err := x.touch(ctx, func() error {
		if !x.nc.IsConnected() { // the library would keep it for later
			return errOffline
		}
		sub, err := x.nc.ChanSubscribe(inbox+"*", in)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
		for i, m := range requests {
			m.Reply = inbox + strconv.Itoa(i)
		}
		return publish()
	})
	if err != nil {
		return err
	}
	for open := len(requests); open > 0; {
		select {
		case m := <-in:
			i, err := strconv.Atoi(strings.TrimPrefix(m.Subject, inbox))
			if err != nil || i < 0 || i >= len(requests) {
				continue
			}
			if len(m.Data) == 0 && m.Header.Get("Status") == "503" && m.Header.Get(headerStream) == "" {
				return errNobody
			}
			last, err := take(i, m)
			if err != nil {
				return err
			}
			if last {
				open--
			}
		case <-due:
			if err := x.touch(ctx, publish); err != nil {
				return err
			}
			patience *= 2
			again.Reset(patience)
		case <-gone:
			return errReset
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
