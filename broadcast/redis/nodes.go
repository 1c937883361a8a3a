package redis

import (
	"cmp"
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

// outcome is what has become of a command.
type outcome uint8

const (
	done    outcome = iota
	refused         // it has been answered with an error
	unknown         // it has been written, perhaps, and not answered
	notNow          // it has been answered with an error that says: not now, or not here
	unsent          // it has not been written
)

// run sends commands by one connection, in order. err is why some are not done.
func run(ctx context.Context, c *redis.Client, cmds []once) (all []outcome, err error) {
	pipe := c.Pipeline()
	for i := range cmds {
		_ = pipe.Process(ctx, cmds[i])
	}
	_, err = pipe.Exec(ctx)
	all = make([]outcome, len(cmds))
	if err == nil {
		return all, nil
	}
	for i := range cmds {
		e := cmds[i].Err()
		if e == nil && cmds[i].Val() != nil {
			continue
		}
		var answer redis.Error
		switch {
		case e != nil && errors.As(e, &answer) && isNotNow(e):
			all[i] = notNow
		case e != nil && errors.As(e, &answer):
			all[i] = refused
		case isUnsent(cmp.Or(e, err)):
			all[i] = unsent
		default:
			all[i] = unknown
		}
	}
	return all, err
}

// awayNodes remembers for a moment that a node cannot be reached, so that it does not hold up
// what is for others each time.
type awayNodes map[*redis.Client]time.Time

const awayFor = time.Second

// isUnsent tells whether an error means that nothing has been written.
func isUnsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}

// isNotNow tells whether a server's answer means that the same may work soon, or elsewhere.
func isNotNow(err error) bool {
	for _, prefix := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "MOVED", "ASK", "max number of clients", "ERR max number of clients"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
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
