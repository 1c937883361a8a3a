//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sockeye-io/sockeye/internal/picture"
)

// render makes results.md and nodes.svg from the files of figures that are in a folder.
func render(dir string) error {
	var all [3]error
	var crowd crowdResults
	var nodes nodesResults
	var bus busResults
	all[0] = read(dir, "crowd.json", &crowd)
	all[1] = read(dir, "nodes.json", &nodes)
	all[2] = read(dir, "bus.json", &bus)
	var b strings.Builder
	b.WriteString("# Several servers on one Redis\n\nOne machine of two shared cores; only ratios within one table mean anything. `go run . crowd`, `nodes` and `bus` in bench/cluster.\n")
	for i, err := range all {
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		switch i {
		case 0:
			fmt.Fprintf(&b, "\n## A crowd\n\n%s. Redis %s.\n\n%s", crowd.Machine, crowd.Redis, crowd.table())
		case 1:
			fmt.Fprintf(&b, "\n## Broadcasts\n\n%s. Redis %s; %s.\n"+
				"One of %d clients sends, all receive: %d bytes, %d under way; all servers and Redis on one core, the client on the other; medians of %d rounds of %s.\n\n%s\n![Broadcasts a second of CPU time, and their bytes on the bus](nodes.svg)\n",
				nodes.Machine, nodes.Redis, nodes.Node, nodes.Clients, nodes.Payload, nodes.Window, len(nodes.Cells[0].Runs), nodes.Duration, nodes.table())
			if err := os.WriteFile(filepath.Join(dir, "nodes.svg"), nodes.picture().SVG(), 0o644); err != nil {
				return err
			}
		case 2:
			fmt.Fprintf(&b, "\n## The bus alone\n\n%s. Redis %s, NATS %s.\nOne publisher, %d messages of %d bytes at a time, the bus on one core; medians of %d rounds.\n\n%s",
				bus.Machine, bus.Redis, bus.NATS, busBatch, bus.Bytes, bus.Rounds, bus.table())
		}
	}
	return os.WriteFile(filepath.Join(dir, "results.md"), []byte(b.String()), 0o644)
}

// median is a cell's median of a figure.
func (x *cell) median(of func(r round) float64) float64 {
	var vs []float64
	for _, r := range x.Runs {
		vs = append(vs, of(r))
	}
	return median(vs)
}

// perCPU is how many broadcasts a second a core makes that has nothing else to do. Those of
// a second by the clock are fewer where others use the core, too.
func (x *cell) perCPU() float64 { return 1e6 / x.median(func(r round) float64 { return r.CPU }) }
func (x *cell) bytes() float64  { return x.median(func(r round) float64 { return r.In + r.Out }) }

func (x *cell) title() string {
	s := "servers"
	if x.Nodes == 1 {
		s = "server"
	}
	return fmt.Sprintf("%s, %s, %d %s", x.Server, x.Adapter, x.Nodes, s)
}

func (res *nodesResults) table() string {
	var b strings.Builder
	b.WriteString("| servers | a second | CPU of one, µs | … Redis's | bytes to Redis | from Redis | p50 ms | p99 ms | lost |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, x := range res.Cells {
		fmt.Fprintf(&b, "| %s |", x.title())
		for _, of := range []func(r round) float64{
			func(r round) float64 { return r.Rate }, func(r round) float64 { return r.CPU }, func(r round) float64 { return r.RedisCPU },
			func(r round) float64 { return r.In }, func(r round) float64 { return r.Out },
			func(r round) float64 { return r.P50 }, func(r round) float64 { return r.P99 },
		} {
			fmt.Fprintf(&b, " %s |", number(x.median(of)))
		}
		lost := 0.0
		for _, r := range x.Runs {
			lost += r.Undelivered
		}
		fmt.Fprintf(&b, " %.0f |\n", lost)
	}
	return b.String()
}

func (res *nodesResults) picture() *picture.Picture {
	p := picture.New("Broadcasts a second of CPU time, and their bytes on the bus")
	for _, c := range []struct {
		title, unit string
		of          func(x *cell) float64
	}{
		{"Broadcasts to 120 clients", "a second of CPU time; more is better", (*cell).perCPU},
		{"Bytes of a broadcast on the bus", "to Redis and from it; less is better", (*cell).bytes},
	} {
		var rows []picture.Row
		for _, x := range res.Cells {
			class := picture.Other
			if x.Server == "Sockeye" {
				class = picture.Sockeye
			}
			v := c.of(x)
			rows = append(rows, picture.Row{Name: x.title(), Class: class, Value: v, Text: number(v)})
		}
		p.Chart(c.title, c.unit, rows)
	}
	return p
}
