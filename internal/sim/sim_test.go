package sim

import (
	"flag"
	"runtime"
	"strings"
	"testing"
)

var (
	seeds   = flag.Int("sim.seeds", 2000, "how many seeds are run")
	from    = flag.Uint64("sim.from", 1, "the first of them")
	verbose = flag.Int("sim.trace", 60, "how many of the last lines are printed of a seed that fails")
	stop    = flag.Int("sim.stop", 5, "after how many seeds that fail it is stopped; 0: never")
)

func TestMain(m *testing.M) {
	flag.Parse()
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
	t.Errorf("seed %d fails; run it again by: go test ./internal/sim -run TestSeeds -sim.from %d -sim.seeds 1\n%s\n%s\ntrace:\n%s",
		r.Seed, r.Seed, strings.Join(r.Faults, "\n"), r.World, strings.Join(trace, "\n"))
}

func TestSeeds(t *testing.T) {
	failed, counts := 0, map[string]int{}
	for seed := *from; seed < *from+uint64(*seeds); seed++ {
		r := Run(t, seed)
		for what, n := range r.Counts {
			counts[what] += n
		}
		if len(r.Faults) > 0 {
			report(t, r)
			if failed++; failed == *stop {
				break
			}
		}
	}
	t.Logf("%v", counts)
}
