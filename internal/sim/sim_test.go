package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	seeds   = flag.Int("sim.seeds", defaultSeeds, "how many seeds are run")
	from    = flag.Uint64("sim.from", 1, "the first of them")
	verbose = flag.Int("sim.trace", 60, "how many of the last lines are printed of a seed that fails")
	dump    = flag.String("sim.dump", "", "a file that gets the whole trace of the last seed")
	tell    = flag.Bool("sim.progress", false, "print how far it is")
	deep    = flag.Bool("sim.deep", false, "goroutines stop between statements of the server, too: TestDeep")
	secure  = flag.Bool("sim.tls", false, "every connection speaks TLS")
	until   = flag.String("sim.until", "", "the beginning of a fault after which it is stopped")
	stop    = flag.Int("sim.stop", 5, "after how many seeds that fail it is stopped; 0: never")
)

func TestMain(m *testing.M) {
	flag.Parse()
	Secure = *secure
	// One at a time: with more processors, whom a step has woken would run beside
	// each other until their next stop.
	runtime.GOMAXPROCS(1)
	m.Run()
}

// report prints a seed that has failed.
func report(t *testing.T, r Result) {
	t.Helper()
	trace := r.Trace
	if n := len(trace) - *verbose; n > 0 {
		trace = trace[n:]
	}
	t.Errorf("seed %d fails; run it again by: go test ./internal/sim -run TestSeeds -sim.from %d -sim.seeds 1%s\n%s\n%s\ntrace:\n%s",
		r.Seed, r.Seed, map[bool]string{true: " -sim.tls"}[Secure], strings.Join(r.Faults, "\n"), r.World, strings.Join(trace, "\n"))
}

// TestSeeds runs -sim.seeds seeds. Any that fails belongs into testdata/seeds.txt.
func TestSeeds(t *testing.T) {
	Deep = *deep
	failed, counts, sum := 0, map[string]int{}, uint64(0)
	for seed := *from; seed < *from+uint64(*seeds); seed++ {
		r := Run(t, seed)
		sum = sum*31 + r.Hash
		if n := seed - *from + 1; *tell && (n%1000 == 0 || n == uint64(*seeds)) {
			fmt.Fprintf(os.Stderr, "sim: seeds %d to %d: %d have failed\n", *from, seed, failed)
		}
		if *dump != "" {
			if err := os.WriteFile(*dump, []byte(strings.Join(r.Trace, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for what, n := range r.Counts {
			counts[what] += n
		}
		if len(r.Faults) > 0 {
			report(t, r)
			failed++
			wanted := func(fault string) bool { return *until != "" && strings.HasPrefix(fault, *until) }
			if failed == *stop || slices.ContainsFunc(r.Faults, wanted) {
				break
			}
		}
	}
	t.Logf("%v; what happened has the hash %x", counts, sum)
}

// TestSecureSeeds runs a few over TLS; TestSeeds with -sim.tls runs as many as wanted.
func TestSecureSeeds(t *testing.T) {
	Secure = true
	defer func() { Secure = *secure }()
	for seed := *from; seed < *from+20; seed++ {
		if r := Run(t, seed); len(r.Faults) > 0 {
			report(t, r)
		}
	}
}

// TestKeptSeeds runs those that have found something.
func TestKeptSeeds(t *testing.T) {
	text, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		seed, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if r := Run(t, seed); len(r.Faults) > 0 {
			report(t, r)
		}
	}
}

// TestReplay: a seed does the same each time.
func TestReplay(t *testing.T) {
	if raceBuild {
		t.Skip("the race detector has goroutines run in random order, and pools lose things")
	}
	for seed := *from; seed < *from+20; seed++ {
		first, second := Run(t, seed), Run(t, seed)
		if first.Hash == second.Hash {
			continue
		}
		for i := range first.Trace {
			if i >= len(second.Trace) || first.Trace[i] != second.Trace[i] {
				t.Errorf("seed %d (%s) goes another way at line %d:\n%s\nand\n%s", seed, first.World, i,
					strings.Join(first.Trace[max(0, i-3):min(len(first.Trace), i+5)], "\n"),
					strings.Join(second.Trace[min(len(second.Trace), max(0, i-3)):min(len(second.Trace), i+5)], "\n"))
				break
			}
		}
	}
}
