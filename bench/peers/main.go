// Command peers compares Sockeye with other Socket.IO servers under the load
// client of bench/load: one server at a time on one core, the client on another,
// in rounds, of which it takes medians. README.md tells more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	root       string // of the checkout
	cache      string
	out        string
	lock       string
	only       []string
	rounds     int
	dur        time.Duration
	settle     time.Duration
	serverCore int
	clientCore int
}

func main() {
	var c config
	only := flag.String("only", "", "`names` of servers to run, comma separated (default all)")
	render := flag.String("render", "", "measure nothing, make tables and plots of the results in this `folder` again")
	flag.StringVar(&c.root, "root", "../..", "root of the checkout")
	flag.StringVar(&c.cache, "cache", "", "`folder` that peers are installed in (default sockeye-peers in the user's cache)")
	flag.StringVar(&c.out, "out", "", "`folder` of the results (default bench/results/<date>)")
	flag.StringVar(&c.lock, "lock", "", "`file` to hold a lock on (flock) during each build and measurement, on a shared machine")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds")
	flag.DurationVar(&c.dur, "dur", 5*time.Second, "measured time")
	flag.DurationVar(&c.settle, "settle", 2*time.Second, "wait before memory is read")
	flag.IntVar(&c.serverCore, "server-core", 0, "core of the servers")
	flag.IntVar(&c.clientCore, "client-core", 1, "core of the load client")
	flag.Parse()
	c.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if *render != "" {
		err = renderAgain(*render)
	} else {
		err = run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) error {
	if err := c.complete(); err != nil {
		return err
	}
	chosen, err := choose(c.only)
	if err != nil {
		return err
	}
	in, err := newInstaller(ctx, c)
	if err != nil {
		return err
	}
	res := &results{Date: time.Now().UTC().Truncate(time.Second), Machine: describeMachine(), Sockeye: in.revision(), Rounds: c.rounds, Duration: c.dur.String()}
	for _, p := range chosen {
		progress("installing %s", p.name)
		version, err := in.install(p)
		row := &row{Name: p.name, Title: p.title, Version: version, Runs: map[string][]figures{}, Failures: map[string]string{}}
		if err != nil {
			row.Missing = err.Error()
			progress("  not to be had: %v", err)
		}
		res.Rows = append(res.Rows, row)
	}
	for round := range c.rounds {
		for _, cell := range cells {
			for i, p := range chosen {
				r := res.Rows[i]
				if r.Missing != "" || cell.skips(p) {
					continue
				}
				f, err := in.measure(p, cell)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					r.Failures[cell.id] = err.Error()
					progress("round %d, %s, %s: failed: %v", round+1, cell.id, p.name, err)
					continue
				}
				r.Runs[cell.id] = append(r.Runs[cell.id], f)
				progress("round %d, %s, %s: %s us a message", round+1, cell.id, p.name, number(f.CPU))
			}
			// Now already, so that an early end loses little.
			if err := res.save(c.out); err != nil {
				return err
			}
		}
	}
	if err := plotAll(res, c.out); err != nil {
		return err
	}
	progress("results are in %s", c.out)
	return nil
}

// complete fills in what has no constant default, and makes paths absolute.
func (c *config) complete() error {
	if _, err := exec.LookPath("taskset"); err != nil {
		return errors.New("taskset (of util-linux) is needed, to keep server and client on cores of their own")
	}
	if c.rounds < 1 {
		return errors.New("-rounds must be positive")
	}
	if c.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		c.cache = filepath.Join(dir, "sockeye-peers")
	}
	if c.out == "" {
		c.out = filepath.Join(c.root, "bench", "results", time.Now().Format(time.DateOnly))
	}
	for _, p := range []*string{&c.root, &c.cache, &c.out} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return errors.Join(os.MkdirAll(c.cache, 0o755), os.MkdirAll(c.out, 0o755))
}

// choose returns the peers of these names, or all.
func choose(names []string) ([]peer, error) {
	if len(names) == 0 {
		return peers, nil
	}
	var chosen []peer
	for _, p := range peers {
		if slices.Contains(names, p.name) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) != len(names) {
		return nil, fmt.Errorf("-only %s: the servers are %s", strings.Join(names, ","), strings.Join(peerNames(), ", "))
	}
	return chosen, nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
