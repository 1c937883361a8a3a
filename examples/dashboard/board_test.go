package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// TestBoard: who looks at a figure gets what it was, each new value once, and nothing of
// the others.
func TestBoard(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	b := newBoard(srv.Server)
	c := srv.Connect(t, sockeyetest.Options{})
	told := c.Received()
	if text, _ := json.Marshal(told[0].Args); len(told) != 1 || told[0].Name != "figures" || len(told[0].Args[0].([]any)) != len(figures) {
		t.Errorf("at first there was %s", text)
	}
	start := time.Unix(1_000, 0)
	b.last = sample{at: start}
	tick := func(second int, in float64) {
		b.tick(sample{at: start.Add(time.Duration(second) * time.Second), in: 1e3 * in, heap: 3e6, out: 5e3 * float64(second)})
	}
	tick(1, 25)
	tick(2, 75)
	if got := fmt.Sprint(c.Received()); got != "[]" {
		t.Errorf("nobody looks, and %s comes", got)
	}
	if got := fmt.Sprint(c.Call("look", "in")); got != "[[25 50]]" {
		t.Errorf("it was %s", got)
	}
	tick(3, 75)
	if got := fmt.Sprint(c.Received()); got != "[{value / [in 0]}]" {
		t.Errorf("then there was %s", got)
	}
	c.Emit("look away", "in")
	tick(4, 80)
	if got := fmt.Sprint(c.Received()); got != "[]" {
		t.Errorf("who looks away gets %s", got)
	}
	if got := fmt.Sprint(c.Call("look", "out"), c.Call("look", "heap")); got != "[[5 5 5 5]] [[3 3 3 3]]" {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(c.Call("look", "x")); got != `[map[error:there is no figure "x"]]` {
		t.Errorf("%s", got)
	}
	for i := range 2 * kept {
		tick(5+i, 80)
	}
	if n := len(c.Call("look", "in")[0].([]any)); n != kept {
		t.Errorf("%d values are kept", n)
	}
}

// TestTake: what is measured is of this process.
func TestTake(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	if s := take(srv.Server); s.at.IsZero() || s.heap < 1e4 || s.goroutines < 1 {
		t.Errorf("%+v", s)
	}
}
