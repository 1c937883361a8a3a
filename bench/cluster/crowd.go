//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/client"
)

// crowdResults are what crowd has measured.
type crowdResults struct {
	Machine     machine `json:"machine"`
	Redis       string  `json:"redis"`
	Connections int     `json:"connections"`
	Processes   int     `json:"processes"`
	Payload     int     `json:"payload_bytes"`

	ConnectSeconds  float64   `json:"connect_seconds"`
	ConnectCPU      float64   `json:"connect_cpu_us"`              // the servers', of a connection
	Memory          float64   `json:"bytes_per_connection"`        // the servers' Pss
	Kernel          float64   `json:"kernel_bytes_per_connection"` // slab, of the server's end: half of both ends'
	RedisMemory     float64   `json:"redis_bytes_per_connection"`
	ConnectBus      float64   `json:"connect_bus_bytes"`       // in and out, of a connection
	HeartbeatCPU    float64   `json:"heartbeat_cpu_us"`        // the servers', of a ping and its pong
	IdleIn          float64   `json:"idle_bus_in_bytes_per_s"` // of all servers
	IdleOut         float64   `json:"idle_bus_out_bytes_per_s"`
	LastMs          []float64 `json:"broadcast_last_ms"`      // from Emit to the last delivery
	BroadcastCPU    float64   `json:"broadcast_cpu_us"`       // the servers', of a delivery
	BroadcastIn     float64   `json:"broadcast_bus_in_bytes"` // of a broadcast
	BroadcastOut    float64   `json:"broadcast_bus_out_bytes"`
	PresenceIn      float64   `json:"presence_bus_in_bytes"` // of a socket that joins a room that one other server follows
	PresenceOut     float64   `json:"presence_bus_out_bytes"`
	PresenceJoined  int       `json:"presence_joined"`
	PresenceSeconds float64   `json:"presence_seconds"` // until the other server knew all of them
}

const (
	crowdPayload    = 100
	crowdBroadcasts = 7
	busBroadcasts   = 500
	crowdWaits      = 60 * time.Second
	pingInterval    = 25 * time.Second // Config's default
	settle          = 15 * time.Second
)

// crowd holds very many connections in several servers on one Redis.
func crowd(ctx context.Context, c *config) (err error) {
	if err := c.buildLoad(ctx); err != nil {
		return err
	}
	bus, err := c.startRedis(ctx, -1)
	if err != nil {
		return err
	}
	defer bus.stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var servers []*process
	var ps pids
	var addrs []string
	for range c.processes {
		p, err := start(ctx, -1, self, "serve", "-redis", bus.url)
		if err != nil {
			return err
		}
		defer p.end()
		addr, err := p.line()
		if err != nil {
			return err
		}
		servers, ps, addrs = append(servers, p), append(ps, p.pid()), append(addrs, addr)
	}
	if err := together(ctx, servers); err != nil {
		return err
	}
	each := c.n / c.processes
	res := &crowdResults{Machine: describe(), Connections: each * c.processes, Processes: c.processes, Payload: crowdPayload}
	n := float64(res.Connections)

	memory, before := ps.memory(), bus.usage(ctx) // of servers that have done nothing yet
	res.Redis = before.version
	for seq := range busBroadcasts { // what each takes on the bus: to all servers, which have nobody yet
		if _, err := servers[0].do("emit %d %d", seq, crowdPayload); err != nil {
			return err
		}
	}
	if err := pause(ctx, time.Second); err != nil { // they are there
		return err
	}
	now := bus.usage(ctx)
	res.BroadcastIn, res.BroadcastOut = (now.in-before.in)/busBroadcasts, (now.out-before.out)/busBroadcasts

	begin, cpu, kernel := time.Now(), ps.cpu(), slab()
	before = bus.usage(ctx)
	var loads []*process
	for _, addr := range addrs {
		p, err := start(ctx, -1, c.load, "-mode", "listen", "-json", "-addr", addr, "-n", strconv.Itoa(each), "-settle", "0s")
		if err != nil {
			return err
		}
		defer p.end()
		loads = append(loads, p)
	}
	for _, p := range loads {
		var said struct{ Ready int }
		line, err := p.line()
		if err == nil {
			err = json.Unmarshal([]byte(line), &said)
		}
		if err == nil && said.Ready != each {
			err = fmt.Errorf("%d of %d connections", said.Ready, each)
		}
		if err != nil {
			return err
		}
	}
	res.ConnectSeconds = time.Since(begin).Seconds()
	progress("%d connections after %.1f s", res.Connections, res.ConnectSeconds)
	res.ConnectCPU = (ps.cpu() - cpu) / n * 1e6
	if err := pause(ctx, min(settle, c.idle)); err != nil {
		return err
	}
	now = bus.usage(ctx)
	res.Memory, res.Kernel = (ps.memory()-memory)/n, (slab()-kernel)/n/2
	res.RedisMemory, res.ConnectBus = (now.memory-before.memory)/n, (now.in+now.out-before.in-before.out)/n

	cpu, before = ps.cpu(), bus.usage(ctx)
	if err := pause(ctx, c.idle); err != nil {
		return err
	}
	now = bus.usage(ctx)
	if s := c.idle.Seconds(); s > 0 {
		res.HeartbeatCPU = (ps.cpu() - cpu) * 1e6 / (n * s / pingInterval.Seconds())
		res.IdleIn, res.IdleOut = (now.in-before.in)/s, (now.out-before.out)/s
	}
	if c.admin != "" {
		progress("nobody looks: %.2f s of CPU in %v, %.1f MB", ps.cpu()-cpu, c.idle, ps.memory()/1e6)
		if err := c.watched(ctx, servers, ps, addrs[0]); err != nil {
			return err
		}
	}

	cpu = ps.cpu()
	for seq := range crowdBroadcasts {
		if _, err := servers[0].do("emit %d %d", seq, crowdPayload); err != nil {
			return err
		}
		last := 0.0
		for _, p := range loads {
			var said struct {
				Seq  int
				Last float64 `json:"last_ms"`
			}
			line, err := p.within(crowdWaits)
			if err == nil {
				err = json.Unmarshal([]byte(line), &said)
			}
			if err == nil && said.Seq != seq {
				err = fmt.Errorf("broadcast %d instead of %d", said.Seq, seq)
			}
			if err != nil {
				return fmt.Errorf("a broadcast has not reached all: %w", err)
			}
			last = max(last, said.Last)
		}
		res.LastMs = append(res.LastMs, last)
		progress("broadcast %d: the last of %d has it after %.0f ms", seq, res.Connections, last)
	}
	res.BroadcastCPU = (ps.cpu() - cpu) * 1e6 / n / crowdBroadcasts

	if len(servers) > 1 {
		if err := res.presence(ctx, bus, servers, min(1000, each)); err != nil {
			return err
		}
	}
	fmt.Print(res.table())
	return save(c.out, "crowd.json", res)
}

// watched tells what the same time costs while an admin looks at all servers.
func (c *config) watched(ctx context.Context, servers []*process, ps pids, addr string) error {
	for i, p := range servers {
		if _, err := p.do("admin %s %d", c.admin, i); err != nil {
			return err
		}
	}
	admin, err := client.New("http://"+addr+"/admin", client.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	var messages, bytes atomic.Int64
	admin.OnAny(func(e *client.Event) {
		messages.Add(1)
		if values, err := e.Values(); err == nil {
			b, _ := json.Marshal(values)
			bytes.Add(int64(len(b)))
		}
	})
	cpu := ps.cpu()
	if err := admin.Connect(ctx); err != nil {
		return err
	}
	if err := pause(ctx, min(settle, c.idle)); err != nil {
		return err
	}
	progress("an admin has come, in %s mode: %.2f s of CPU in %v; it was told %d messages of %d bytes", c.admin, ps.cpu()-cpu, min(settle, c.idle), messages.Swap(0), bytes.Swap(0))
	cpu = ps.cpu()
	if err := pause(ctx, c.idle); err != nil {
		return err
	}
	progress("it looks: %.2f s of CPU in %v, %.1f MB; it was told %d messages of %d bytes", ps.cpu()-cpu, c.idle, ps.memory()/1e6, messages.Load(), bytes.Load())
	return nil
}

// presence has sockets of one server join a room that another one follows.
func (res *crowdResults) presence(ctx context.Context, bus *redisServer, servers []*process, n int) error {
	if _, err := servers[1].do("watch room"); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil { // the others know
		return err
	}
	before, begin := bus.usage(ctx), time.Now()
	if _, err := servers[0].do("join %d room", n); err != nil {
		return err
	}
	for {
		answer, err := servers[1].do("present room")
		if err != nil {
			return err
		}
		if answer == strconv.Itoa(n) {
			break
		}
		if time.Since(begin) > crowdWaits || ctx.Err() != nil {
			return fmt.Errorf("%s of %d are seen", answer, n)
		}
	}
	res.PresenceSeconds, res.PresenceJoined = time.Since(begin).Seconds(), n
	now := bus.usage(ctx)
	res.PresenceIn, res.PresenceOut = (now.in-before.in)/float64(n), (now.out-before.out)/float64(n)
	return nil
}

// within is the next line, if it comes in time.
func (p *process) within(d time.Duration) (string, error) {
	t := time.AfterFunc(d, func() { _ = p.cmd.Process.Kill() })
	defer t.Stop()
	return p.line()
}

// together waits until all servers know each other.
func together(ctx context.Context, servers []*process) error {
	for end := time.Now().Add(crowdWaits); ; {
		all := true
		for _, p := range servers {
			n, err := p.do("servers")
			if err != nil {
				return err
			}
			all = all && n == strconv.Itoa(len(servers))
		}
		if all {
			return nil
		}
		if time.Now().After(end) {
			return errors.New("the servers do not find each other")
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
