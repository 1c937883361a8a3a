//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a redis-server on a Unix socket, which keeps nothing.
type redisServer struct {
	*process
	url    string
	client *redis.Client

	askedIn, askedOut float64 // bytes that usage itself has taken
}

func (c *config) startRedis(ctx context.Context, core int) (*redisServer, error) {
	dir := filepath.Dir(c.load)
	socket := filepath.Join(dir, "redis.sock")
	p, err := start(ctx, core, "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir,
		"--logfile", "redis.log", "--client-output-buffer-limit", "pubsub 0 0 0")
	if err != nil {
		return nil, err
	}
	r := &redisServer{process: p, url: "unix://" + socket, client: redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2})}
	for end := time.Now().Add(endTime); ; time.Sleep(10 * time.Millisecond) {
		u := r.usage(ctx)
		if u.pid == r.pid() {
			return r, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			r.stop()
			return nil, fmt.Errorf("redis-server does not start")
		}
	}
}

func (r *redisServer) stop() {
	_ = r.client.Close()
	_ = r.cmd.Process.Kill()
	r.end()
}

// usage is what INFO tells.
type usage struct {
	pid       int
	in, out   float64 // bytes, without usage's own
	published float64 // PUBLISH, SPUBLISH and XADD
	memory    float64
	version   string
}

func (r *redisServer) usage(ctx context.Context) usage {
	sections := []string{"server", "stats", "memory", "commandstats"}
	r.askedIn += float64(len("*5\r\n$4\r\ninfo\r\n"))
	for _, s := range sections {
		r.askedIn += float64(len(fmt.Sprintf("$%d\r\n%s\r\n", len(s), s)))
	}
	text, err := r.client.Info(ctx, sections...).Result()
	if err != nil {
		return usage{}
	}
	// This answer is not counted in itself.
	defer func() { r.askedOut += float64(len(fmt.Sprintf("$%d\r\n", len(text))) + len(text) + 2) }()
	var u usage
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		v, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "process_id":
			u.pid = int(v)
		case "redis_version":
			u.version = value
		case "total_net_input_bytes":
			u.in = v - r.askedIn
		case "total_net_output_bytes":
			u.out = v - r.askedOut
		case "used_memory":
			u.memory = v
		case "cmdstat_publish", "cmdstat_spublish", "cmdstat_xadd":
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			v, _ := strconv.ParseFloat(calls, 64)
			u.published += v
		}
	}

	return u
}
