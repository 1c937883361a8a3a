package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sample() *results {
	run := func(vs ...float64) (fs []figures) {
		for _, v := range vs {
			fs = append(fs, figures{CPU: v, Rate: 1e6 / v, P99: v, Bytes: 1000 * v, ConnectCPU: 10 * v})
		}
		return fs
	}
	return &results{Rounds: 3, Rows: []*row{
		{Name: "sockeye", Title: "Sockeye", Version: "1", Runs: map[string][]figures{"bcast-1k-w4": run(3, 1, 2), capacityCell: run(4, 2)}},
		{Name: "weak", Title: "Weak", Version: "2", Runs: map[string][]figures{"polling-500": run(5, 5)}, Failures: map[string]string{"echo-1k": "the server died: killed", "polling-500": "once"}},
		{Name: "absent", Title: "Absent", Missing: "no compiler"},
	}}
}

func TestMedians(t *testing.T) {
	res := sample()
	for _, c := range []struct {
		row, column int
		want        float64
	}{{0, 0, 2}, {0, 2, 3}, {0, len(cells), 3000}, {0, 1, 0}, {1, 3, 0}, {2, 0, 0}} {
		if got, ok := res.Rows[c.row].median(columns[c.column]); got != c.want || ok != (c.want > 0) {
			t.Errorf("row %d, column %q: %v, %v; want %v", c.row, columns[c.column].title, got, ok, c.want)
		}
	}
}

func TestTableTellsWhatFailed(t *testing.T) {
	text := sample().markdown()
	for _, want := range []string{
		"| Sockeye | 2.00 | – | 3.00 |", "| Weak | – | – | – | failed | 5.00 (!) |",
		"echo, 1,000 at once: failed in 3 of 3 rounds: the server died: killed", "failed in 1 of 3 rounds: once", "Absent: not installed: no compiler.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "| Absent |") {
		t.Error("a row of a server that was not there")
	}
}

func TestResultsRenderAgain(t *testing.T) {
	dir := t.TempDir()
	if err := sample().save(dir); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, "results.md"))
	if err := renderAgain(dir); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(filepath.Join(dir, "results.md"))
	if string(before) != string(after) {
		t.Errorf("from results.json:\n%s\nfrom the run:\n%s", after, before)
	}
	for _, name := range []string{"cpu.svg", "connections.svg"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(b), "</svg>") {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0.814: "0.81", 12.34: "12.3", 999.6: "1,000", 1724: "1,724", 1234567: "1,234,567"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestReasonsNameNoPlaces(t *testing.T) {
	in := &installer{config: config{cache: "/home/x/.cache/sockeye-peers", root: "/home/x/sockeye"}}
	got := in.tell([]byte("going\nError: /home/x/.cache/sockeye-peers/node: GET https://example.org/a refused\nafter\n"))
	if want := "Error: <cache>/node: GET <address> refused"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
