//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cell is one measurement: so many servers of a kind, on one Redis.
type cell struct {
	Server  string  `json:"server"` // Sockeye or Node
	Adapter string  `json:"adapter"`
	Nodes   int     `json:"nodes"`
	Runs    []round `json:"runs"`
}

// round is what one round has found.
type round struct {
	Rate        float64 `json:"broadcasts_per_s"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	CPU         float64 `json:"cpu_us_per_broadcast"` // servers and Redis
	RedisCPU    float64 `json:"redis_cpu_us_per_broadcast"`
	In          float64 `json:"bus_in_bytes"` // of a broadcast
	Out         float64 `json:"bus_out_bytes"`
	Undelivered float64 `json:"undelivered"`
}

// nodesResults are what nodes has measured.
type nodesResults struct {
	Machine  machine `json:"machine"`
	Redis    string  `json:"redis"`
	Node     string  `json:"node"`
	Clients  int     `json:"clients"`
	Window   int     `json:"window"`
	Payload  int     `json:"payload_bytes"`
	Duration string  `json:"duration"`
	Cells    []*cell `json:"cells"`
}

const (
	nodesClients = 120
	nodesWindow  = 16
	nodesPayload = 100
	nodesWarm    = 4 * time.Second // Node.js compiles meanwhile
)

// nodes has 1, 2 and 4 servers of each kind send broadcasts of one client to all clients.
func nodes(ctx context.Context, c *config) error {
	if err := c.buildLoad(ctx); err != nil {
		return err
	}
	folder := filepath.Join(c.root, "interop/cluster")
	if _, err := os.Stat(filepath.Join(folder, "node_modules/socket.io")); err != nil {
		return errors.New("run ci/cluster.sh install first, for Node's servers")
	}
	res := &nodesResults{
		Machine: describe(), Node: "socket.io " + version(folder, "socket.io") + ", @socket.io/redis-adapter " + version(folder, "@socket.io/redis-adapter") +
			", @socket.io/redis-streams-adapter " + version(folder, "@socket.io/redis-streams-adapter"),
		Clients: nodesClients, Window: nodesWindow, Payload: nodesPayload, Duration: c.dur.String(),
	}
	for _, adapter := range []string{"classic", "sharded", "streams"} {
		for _, server := range []string{"Sockeye", "Node"} {
			for _, n := range []int{1, 2, 4} {
				res.Cells = append(res.Cells, &cell{Server: server, Adapter: adapter, Nodes: n})
			}
		}
	}
	for i := range c.rounds {
		if i > 0 {
			if err := pause(ctx, c.rest); err != nil {
				return err
			}
		}
		for _, x := range res.Cells {
			r, err := c.measure(ctx, x, res)
			if err != nil {
				return fmt.Errorf("%s, %s, %d: %w", x.Server, x.Adapter, x.Nodes, err)
			}
			x.Runs = append(x.Runs, r)
			progress("round %d, %s, %s, %d: %.0f broadcasts a second", i+1, x.Server, x.Adapter, x.Nodes, r.Rate)
		}
		if err := save(c.out, "nodes.json", res); err != nil { // now already, so that an early end loses little
			return err
		}
	}
	return render(c.out)
}

// measure runs one cell, all of it started anew: servers and Redis on one core, the clients
// on another.
func (c *config) measure(ctx context.Context, x *cell, res *nodesResults) (r round, err error) {
	bus, err := c.startRedis(ctx, c.serverCore)
	if err != nil {
		return r, err
	}
	defer bus.stop()
	command, err := c.command(x, bus.url)
	if err != nil {
		return r, err
	}
	var servers []*process
	var addrs []string
	ps := pids{bus.pid()}
	for range x.Nodes {
		p, err := start(ctx, c.serverCore, command[0], command[1:]...)
		if err != nil {
			return r, err
		}
		defer p.end()
		addr, err := p.line()
		if err != nil {
			return r, err
		}
		servers, addrs, ps = append(servers, p), append(addrs, addr), append(ps, p.pid())
	}
	if err := together(ctx, servers); err != nil {
		return r, err
	}
	load, err := start(ctx, c.loadCore, c.load, "-json", "-mode", "bcast", "-addr", strings.Join(addrs, ","), "-n", strconv.Itoa(nodesClients),
		"-window", strconv.Itoa(nodesWindow), "-payload", strconv.Itoa(nodesPayload), "-settle", "0s", "-warm", nodesWarm.String(), "-dur", c.dur.String())
	if err != nil {
		return r, err
	}
	defer load.end()
	if err := pause(ctx, nodesWarm+200*time.Millisecond); err != nil {
		return r, err
	}
	first, cpu, redisCPU := bus.usage(ctx), ps.cpu(), ps[:1].cpu()
	if err := pause(ctx, c.dur-400*time.Millisecond); err != nil {
		return r, err
	}
	last := bus.usage(ctx)
	cpu, redisCPU = ps.cpu()-cpu, ps[:1].cpu()-redisCPU
	n := last.published - first.published
	if n == 0 {
		return r, errors.New("nothing was published")
	}
	line, err := load.line()
	if err != nil {
		return r, err
	}
	var said struct {
		Rate        float64 `json:"broadcasts_per_s"`
		P50         float64 `json:"p50_ms"`
		P99         float64 `json:"p99_ms"`
		Undelivered float64 `json:"undelivered_after_drain"`
		Error       string
	}
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		return r, err
	}
	if said.Error != "" || said.Rate == 0 || said.P50 == 0 {
		return r, fmt.Errorf("nothing arrived: %s", line)
	}
	res.Redis = first.version
	r = round{Rate: said.Rate, P50: said.P50, P99: said.P99, Undelivered: said.Undelivered, In: (last.in - first.in) / n, Out: (last.out - first.out) / n, CPU: cpu / n * 1e6, RedisCPU: redisCPU / n * 1e6}
	return r, nil
}

// command starts one of a cell's servers.
func (c *config) command(x *cell, url string) ([]string, error) {
	if x.Server == "Node" {
		return []string{"node", "node.mjs", filepath.Join(c.root, "interop/cluster"), x.Adapter, url}, nil
	}
	self, err := os.Executable()
	return []string{self, "serve", "-adapter", x.Adapter, "-redis", url}, err
}

// version is that of an npm package which is installed.
func version(folder, name string) string {
	var p struct{ Version string }
	if err := read(filepath.Join(folder, "node_modules", name), "package.json", &p); err != nil {
		return "?"
	}
	return p.Version
}
