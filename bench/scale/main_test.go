package main

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// TestText: docs/scale.md has the tables as they are computed from the figures of
// bench/results/cluster now.
func TestText(t *testing.T) {
	c, err := readCosts("../results/cluster")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := fill(string(b), c.tables(connections))
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != want {
		t.Error("docs/scale.md has other tables: go run ./bench/scale -write")
	}
}

// TestServersWith: what is computed is what a simulation finds.
func TestServersWith(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range [][2]int{{1, 40}, {2, 10}, {10, 20}, {100, 40}, {1000, 100}} {
		want := serversWith(float64(c[0]), float64(c[1]))
		got, most := simulate(r, 20_000, c[0], c[1])
		if math.Abs(got-want) > want/100 || most > c[1] || most > c[0] {
			t.Errorf("rooms of %d on %d servers: %.2f, at most %d; computed are %.2f", c[0], c[1], got, most, want)
		}
	}
}

// TestMessage: a cost between measured ones is between them, and one beyond them goes on.
func TestMessage(t *testing.T) {
	c := &costs{bus: map[string][]point{"x": {{1, 2}, {5, 10}, {10, 30}}}}
	for servers, want := range map[float64]float64{1: 2, 3: 6, 5: 10, 7.5: 20, 10: 30, 20: 70, 0.5: 1} {
		if got := c.message("x", servers); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v servers: %v, want %v", servers, got, want)
		}
	}
}

func TestFill(t *testing.T) {
	text := "a\n\n<!-- scale: x -->\nold\nold\n\nb\n"
	if got, err := fill(text, []table{{"x", "new\n"}}); err != nil || got != "a\n\n<!-- scale: x -->\nnew\n\nb\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := fill(text, []table{{"y", ""}}); err == nil {
		t.Error("there is no place for y")
	}
}
