// Command cluster is one chat of several processes on one machine: they share a port,
// and Redis, and pass on to each other what the kernel has given to the wrong one.
//
//	go run . [-n 4] [-addr 127.0.0.1:3000] [-redis redis://127.0.0.1:6379]
//
// README.md tells more.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// options are the flags, the parent's and those that it gives its children.
type options struct {
	n     int
	addr  string
	redis string
	link  string
	child int
	dir   string
}

func main() {
	log.SetFlags(log.Ltime)
	var o options
	flag.IntVar(&o.n, "n", 4, "`number` of processes")
	flag.StringVar(&o.addr, "addr", "127.0.0.1:3000", "`address` to listen on; port 0 lets the kernel choose")
	flag.StringVar(&o.redis, "redis", "", "`URL` of Redis (default: a redis-server of its own)")
	flag.StringVar(&o.link, "link", "", "`address` at which processes of other machines reach these, port 0; the host 0.0.0.0 is told to them as this machine's name (default: Unix sockets)")
	flag.IntVar(&o.child, "child", 0, "for the parent alone: the `number` of this process")
	flag.StringVar(&o.dir, "dir", "", "for the parent alone: the `folder` of Unix sockets")
	flag.Parse()
	var err error
	switch {
	case o.child > 0:
		err = serve(o)
	case o.dir != "":
		err = serveRedis(o.dir)
	case o.n < 1:
		err = errors.New("-n must be at least 1")
	default:
		err = parent(o)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// parent starts the processes, and others for those that die, until it is told to end.
func parent(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if o.dir, err = os.MkdirTemp("", "cluster"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(o.dir) }()

	redisCtx, stopRedis := context.WithCancel(context.Background())
	var servers, bus sync.WaitGroup
	defer bus.Wait()
	defer stopRedis() // when no server is left
	if o.redis == "" {
		if err := haveRedis(); err != nil {
			return err
		}
		c, _, err := startChild("-dir", o.dir)
		if err != nil {
			return fmt.Errorf("redis-server does not start: %w", err)
		}
		bus.Go(func() { keep(redisCtx, "Redis", c, "-dir", o.dir) })
		o.redis = "unix://" + filepath.Join(o.dir, redisSocket)
	} else if err := reach(ctx, o.redis); err != nil {
		return err
	}

	// The first finds out the port.
	serversCtx, stopServers := context.WithCancel(ctx)
	defer servers.Wait()
	defer stopServers()
	for i := range o.n {
		args := []string{"-child", strconv.Itoa(i + 1), "-addr", o.addr, "-redis", o.redis, "-link", o.link, "-dir", o.dir}
		c, bound, err := startChild(args...)
		if err != nil {
			return fmt.Errorf("process %d does not start: %w", i+1, err)
		}
		o.addr, args[3] = bound, bound
		servers.Go(func() { keep(serversCtx, fmt.Sprint("process ", i+1), c, args...) })
	}
	fmt.Printf("%d processes at http://%s/ (end with Ctrl-C)\n", o.n, o.addr)
	<-ctx.Done()
	return nil
}

// reach asks Redis whether it is there.
func reach(ctx context.Context, url string) error {
	c, err := redisClient(url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := c.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("no Redis at %s: %w", url, err)
	}
	return nil
}

func redisClient(url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("-redis %s: %w", cmp.Or(url, `""`), err)
	}
	return redis.NewClient(o), nil
}
