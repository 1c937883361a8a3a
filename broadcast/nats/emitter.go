package nats

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// NewEmitter makes an Emitter: it tells servers what to do, from a process that has none.
// subjects is Options.Prefix; "" is the default. It works with JetStream, too: what it sends
// is kept, although nobody waits until it is.
func NewEmitter(nc *nats.Conn, subjects string) (cluster.Emitter, error) {
	if nc == nil {
		return cluster.Emitter{}, errNoConn
	}
	p, err := prefix(subjects)
	if err != nil {
		return cluster.Emitter{}, err
	}
	return cluster.NewEmitter(nil, func(ctx context.Context, m *cluster.Message) error {
		f, err := encode(p, m)
		if err != nil {
			return err
		}
		if !nc.IsConnected() { // the library would keep it for later
			return errOffline
		}
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
		}
		if err := nc.Publish(f.Channel, f.Data); err != nil {
			return fmt.Errorf("nats: %w", err)
		}
		return nc.FlushWithContext(ctx)
	}), nil
}
