package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// nodes are the servers of a client: one, or those of a Redis Cluster.
type nodes struct {
	one     *redis.Client
	cluster *redis.ClusterClient
	key     string // whose slot's master is the home
}

func newNodes(client redis.UniversalClient, key string) (nodes, error) {
	switch c := client.(type) {
	case *redis.Client:
		return nodes{one: c, key: key}, nil
	case *redis.ClusterClient:
		return nodes{cluster: c, key: key}, nil
	}
	return nodes{}, fmt.Errorf("redis: a *redis.Client or a *redis.ClusterClient is wanted, not %T", client)
}

// home is the one by which everything goes that no slot's master has to have: in a Redis
// Cluster the same for all servers, so that what one sends stays in order.
func (n nodes) home(ctx context.Context) (*redis.Client, error) {
	if n.cluster == nil {
		return n.one, nil
	}
	return n.cluster.MasterForKey(ctx, n.key)
}

// owner is the master that has the slot of a sharded channel or of a key.
func (n nodes) owner(ctx context.Context, name string) (*redis.Client, error) {
	if n.cluster == nil {
		return n.one, nil
	}
	return n.cluster.MasterForKey(ctx, name)
}

// slot is 0 if there are none.
func (n nodes) slot(name string) int {
	if n.cluster == nil {
		return 0
	}
	return slotOf(name)
}

// changed has the nodes of a Redis Cluster looked up again.
func (n nodes) changed(ctx context.Context) {
	if n.cluster != nil {
		n.cluster.ReloadState(ctx)
	}
}

// count is how many are subscribed to a channel.
func (n nodes) count(ctx context.Context, channel string, sharded bool) (int, error) {
	ask := func(ctx context.Context, c *redis.Client) (int64, error) {
		var cmd *redis.MapStringIntCmd
		if sharded {
			cmd = c.PubSubShardNumSub(ctx, channel)
		} else {
			cmd = c.PubSubNumSub(ctx, channel)
		}
		counts, err := cmd.Result()
		return counts[channel], err
	}
	if n.cluster == nil {
		k, err := ask(ctx, n.one)
		return int(k), err
	}
	if sharded { // its subscribers are at the master of its slot alone
		c, err := n.owner(ctx, channel)
		if err != nil {
			return 0, err
		}
		k, err := ask(ctx, c)
		return int(k), err
	}
	var sum atomic.Int64
	err := n.cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		k, err := ask(ctx, c)
		sum.Add(k)
		return err
	})
	return int(sum.Load()), err
}

// once is a command that the client does not repeat when it may have been executed.
type once struct{ *redis.Cmd }

// NoRetry says so.
func (once) NoRetry() bool { return true }

// run sends commands by one connection, in order. The first ok have been executed, the
// next lost ones perhaps, the rest certainly not; refused of the first ok were answered
// with an error.
func run(ctx context.Context, c *redis.Client, cmds []once) (ok, refused, lost int, err error) {
	pipe := c.Pipeline()
	for i := range cmds {
		_ = pipe.Process(ctx, cmds[i])
	}
	_, err = pipe.Exec(ctx)
	if err == nil {
		return len(cmds), 0, 0, nil
	}
	var first, refusal error
	away := 0 // answered with an error that says: not now
	for i := range cmds {
		e := cmds[i].Err()
		if e == nil && cmds[i].Val() == nil {
			e = err // there was no connection
		}
		var answer redis.Error
		switch {
		case e == nil:
			ok++
			away = 0
		case errors.As(e, &answer) && cmds[i].Err() != nil:
			ok++
			refused++
			away++
			if !notNow(e) {
				away = 0
			}
			refusal = e
		default:
			if first == nil {
				first = e
			}
		}
	}
	switch {
	case first != nil && unsent(first):
		return ok, refused, 0, first
	case first != nil:
		return ok, refused, len(cmds) - ok, first
	case away > 0: // and nothing behind them has been executed
		return ok - away, refused - away, 0, refusal
	}
	return ok, refused, 0, refusal
}

// unsent tells whether an error means that nothing has been written.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}

// notNow tells whether a server's answer means that the same may work soon, or elsewhere.
func notNow(err error) bool {
	for _, prefix := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "MOVED", "ASK", "max number of clients", "ERR max number of clients"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

// moved tells whether another node has the slot.
func moved(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "MOVED ") || strings.HasPrefix(err.Error(), "ASK "))
}

// ping tells whether a server answers.
func ping(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() }

// pause waits; false if ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
