package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// acks are what is awaited of the stream for a batch; nil without one.
type acks struct {
	k       *kept
	frames  []cluster.Frame          // that are to be kept
	at      []int                    // where they are in the batch
	futures []jetstream.PubAckFuture // what becomes of them
}

func (k *kept) begin(n int) *acks {
	if k == nil {
		return nil
	}
	return &acks{k: k, frames: make([]cluster.Frame, 0, n), at: make([]int, 0, n), futures: make([]jetstream.PubAckFuture, 0, n)}
}

// publish publishes a frame that is to be kept, and is somewhere in the batch: once.
func (a *acks) publish(f cluster.Frame, at int) error {
	future, err := a.k.js.PublishMsgAsync(&nats.Msg{Subject: f.Channel, Data: f.Data}, jetstream.WithRetryAttempts(0))
	if err == nil {
		a.frames, a.at, a.futures = append(a.frames, f), append(a.at, at), append(a.futures, future)
	}
	return err
}

// wait waits until all n frames of the batch are kept. It returns how many of the first ones
// certainly are, and whether certainly none of the others has been sent.
func (a *acks) wait(ctx context.Context, n int) (done int, none bool, err error) {
	if a == nil {
		return n, false, nil
	}
	for i := 0; i < len(a.futures); i++ {
		err := a.answer(ctx, i)
		for nobody(err) {
			if none = a.none(ctx, i); !none || !a.again(ctx, i) {
				break
			}
			none, err = false, a.answer(ctx, i)
		}
		if err != nil {
			return a.at[i], none && n-a.at[i] == len(a.futures)-i, err
		}
	}
	return n, false, nil
}

// answer waits for what has become of a frame.
func (a *acks) answer(ctx context.Context, i int) error {
	select {
	case <-a.futures[i].Ok():
		return nil
	case err := <-a.futures[i].Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-a.k.ctx.Done():
		return a.k.ctx.Err()
	}
}

// nobody tells whether an error says that there was nobody to keep it.
func nobody(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// none tells whether nobody has kept any of those behind a frame either.
func (a *acks) none(ctx context.Context, first int) bool {
	for i := first + 1; i < len(a.futures); i++ {
		if !nobody(a.answer(ctx, i)) {
			return false
		}
	}
	return true
}

// again publishes frames again from one on, of which nobody has kept any, when the stream has a
// leader again; false if it has none, and they have not been published.
func (a *acks) again(ctx context.Context, first int) bool {
	for {
		some, cancel := context.WithTimeout(ctx, time.Second)
		_, err := a.k.ensure(some)
		cancel()
		if err == nil {
			break
		}
		if api := (*jetstream.APIError)(nil); !errors.Is(err, errNoLeader) && !errors.Is(err, context.DeadlineExceeded) && !(errors.As(err, &api) && api.Code == 503) {
			return false
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return false
		case <-a.k.ctx.Done():
			return false
		}
		if !a.k.b.nc.IsConnected() {
			return false
		}
	}
	frames, at := a.frames[first:], a.at[first:]
	a.frames, a.at, a.futures = a.frames[:first:first], a.at[:first:first], a.futures[:first:first]
	for i, f := range frames {
		if err := a.publish(f, at[i]); err != nil {
			a.frames, a.at, a.futures = append(a.frames, f), append(a.at, at[i]), append(a.futures, failed{err: err})
		}
	}
	return true
}

// failed is what becomes of a frame that could not be published.
type failed struct {
	jetstream.PubAckFuture // of nothing else

	err error
}

func (r failed) Ok() <-chan *jetstream.PubAck { return nil }

func (r failed) Err() <-chan error {
	c := make(chan error, 1)
	c <- r.err
	return c
}

// end forgets what was not answered, and, when the adapter is closed, what the library has on
// the connection for answers.
func (a *acks) end(err error) {
	if a != nil && (err != nil || a.k.ctx.Err() != nil) {
		a.k.js.CleanupPublisher()
	}
}
