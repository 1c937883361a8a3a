// Command ways compares the ways that a WebSocket takes to a Go server: to Sockeye on its
// own listener, mounted in net/http, with TLS on the loops and by the bridge; and to a
// server with a goroutine for each connection, as net/http with gorilla/websocket or
// coder/websocket makes it. README.md tells more.
//
//	ways -rounds 3  ──starts──> ways -measure NAME  ──starts──> ways -serve NAME
//	                            (the load's core)               (the server's core)
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are the flags, but for those that say what a process is.
type settings struct {
	rounds, idle, crowd, payload int
	dur, settle                  time.Duration
	serverCore, loadCore         int
	only                         string
}

func (s *settings) register(f *flag.FlagSet) {
	f.IntVar(&s.rounds, "rounds", 3, "rounds; the table has their medians")
	f.IntVar(&s.idle, "idle", 5000, "connections for memory and connecting")
	f.IntVar(&s.crowd, "crowd", 1000, "connections that a broadcast goes to")
	f.IntVar(&s.payload, "payload", 100, "`bytes` of text in a broadcast")
	f.DurationVar(&s.dur, "dur", 3*time.Second, "measured time of each figure")
	f.DurationVar(&s.settle, "settle", 500*time.Millisecond, "wait before memory is given back, twice each time")
	f.IntVar(&s.serverCore, "server-core", 0, "core of the servers")
	f.IntVar(&s.loadCore, "load-core", 1, "core of the load")
	f.StringVar(&s.only, "only", "", "`names` of ways, comma separated (default all)")
}

// arguments are the flags again, for the process that measures.
func (s *settings) arguments() []string {
	return []string{
		"-idle", strconv.Itoa(s.idle), "-crowd", strconv.Itoa(s.crowd), "-payload", strconv.Itoa(s.payload), "-dur", s.dur.String(),
		"-settle", s.settle.String(), "-server-core", strconv.Itoa(s.serverCore),
	}
}

func main() {
	var s settings
	f := flag.CommandLine
	s.register(f)
	serveName := f.String("serve", "", "be the server of this `name`")
	measureName := f.String("measure", "", "measure the server of this `name`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *serveName != "":
		err = serve(*serveName)
	case *measureName != "":
		var r figures
		if r, err = measure(ctx, *measureName, s); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	default:
		err = compare(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ways:", err)
		os.Exit(1)
	}
}

// compare measures each way once a round, and prints the table.
func compare(ctx context.Context, s settings) error {
	chosen := ways
	if s.only != "" {
		chosen = slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return !slices.Contains(strings.Split(s.only, ","), w.name) })
	}
	if len(chosen) == 0 || s.rounds < 1 || s.crowd > s.idle {
		return fmt.Errorf("-only is one of %s, -rounds is positive, -crowd at most -idle", names())
	}
	runs := map[string][]figures{}
	for round := range s.rounds {
		for _, w := range chosen {
			r, err := s.inProcess(ctx, w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			runs[w.name] = append(runs[w.name], r)
			fmt.Fprintf(os.Stderr, "%s round %d, %s: %+v\n", time.Now().Format(time.TimeOnly), round+1, w.name, r)
		}
	}
	fmt.Print(table(chosen, runs))
	return nil
}

// inProcess measures a way from a process of its own.
func (s *settings) inProcess(ctx context.Context, w way) (r figures, err error) {
	out, err := pinned(ctx, s.loadCore, append(s.arguments(), "-measure", w.name)...).Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	return r, err
}

// pinned is this program on one core, which it becomes: its process id is that of taskset.
func pinned(ctx context.Context, core int, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(core), os.Args[0]}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func names() string {
	var list []string
	for _, w := range ways {
		list = append(list, w.name)
	}
	return strings.Join(list, ", ")
}
