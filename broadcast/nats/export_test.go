package nats

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// NewDeaf makes an adapter with recovery that can be deaf: what the stream hands on is lost
// on the way, without anybody's being told.
func NewDeaf(nc *nats.Conn, o Options) (a *cluster.Adapter, deaf func(on bool), err error) {
	a, b, err := open(nc, o)
	return a, func(on bool) {
		ts := &b.topics
		ts.tending.Lock()
		defer ts.tending.Unlock()
		ts.mu.Lock()
		defer ts.mu.Unlock()
		t := ts.all[b.kept.prefix+">"]
		if on {
			_ = t.sub.Unsubscribe()
			return
		}
		t.sub, _ = b.subscribe(t.subject)
	}, err
}

// NewCounting makes an adapter that tells how many answers of the stream it expects.
func NewCounting(nc *nats.Conn, o Options) (a *cluster.Adapter, unanswered func() int, err error) {
	a, b, err := open(nc, o)
	return a, func() int { return b.kept.js.PublishAsyncPending() }, err
}

// Insist asks as the leaders of streams are asked.
func Insist(ctx context.Context, nc *nats.Conn, subject string, patience time.Duration) (answer string, err error) {
	var x exchange
	x.init(nc)
	err = x.insist(ctx, patience, []*nats.Msg{nats.NewMsg(subject)}, mostAnswers, func(_ int, m *nats.Msg) (bool, error) {
		answer = string(m.Data)
		return true, nil
	})
	return answer, err
}
