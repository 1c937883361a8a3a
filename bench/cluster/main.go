//go:build linux

// Command cluster measures several servers on one Redis, on one machine: what a crowd of
// idle connections and a broadcast to it cost, and how many broadcasts a second so many
// servers make of a core, Sockeye's and Node's. README.md tells more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	root string // of the checkout
	out  string // folder of the results
	load string // the load client's program

	n, processes int
	idle         time.Duration
	admin        string

	rounds               int
	dur, rest            time.Duration
	serverCore, loadCore int
}

var commands = map[string]func(ctx context.Context, c *config) error{
	"crowd":  crowd,
	"nodes":  nodes,
	"bus":    bus,
	"render": func(_ context.Context, c *config) error { return render(c.out) },
}

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		end(serve(os.Args[2:]))
		return
	case len(os.Args) > 1 && os.Args[1] == "nats":
		end(serveNATS())
		return
	}
	var c config
	f := flag.NewFlagSet("cluster", flag.ExitOnError)
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "cluster crowd|nodes|bus|render [flags]")
		f.PrintDefaults()
	}
	f.StringVar(&c.root, "root", "../..", "root of the checkout")
	f.StringVar(&c.out, "out", "../results/cluster", "`folder` of the results")
	f.IntVar(&c.n, "n", 90_000, "crowd: connections")
	f.IntVar(&c.processes, "processes", 5, "crowd: server processes")
	f.DurationVar(&c.idle, "idle", 30*time.Second, "crowd: time in which nothing is sent but heartbeats")
	f.StringVar(&c.admin, "admin", "", "crowd: what an admin costs that looks in this `mode`, production or development, is told, too")
	f.IntVar(&c.rounds, "rounds", 3, "nodes, bus: rounds")
	f.DurationVar(&c.dur, "dur", 3*time.Second, "nodes, bus: measured time of each")
	f.DurationVar(&c.rest, "rest", 0, "nodes: pause after each round, for others on the machine")
	f.IntVar(&c.serverCore, "server-core", 0, "nodes: core of the servers and of Redis")
	f.IntVar(&c.loadCore, "load-core", 1, "nodes: core of the load client")
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		f.Usage()
		os.Exit(2)
	}
	_ = f.Parse(os.Args[2:])
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	end(run(ctx, &c, os.Args[1]))
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c *config, command string) error {
	if c.n < 1 || c.processes < 1 || c.rounds < 1 {
		return errors.New("-n, -processes and -rounds must be positive")
	}
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c.load = filepath.Join(dir, "load")
	return commands[command](ctx, c)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
