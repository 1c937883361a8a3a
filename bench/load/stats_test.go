package main

import (
	"bytes"
	"slices"
	"testing"
)

func TestResultPrints(t *testing.T) {
	r := result{"n": 3, "label": "x"}
	var b bytes.Buffer
	r.print(&b, true)
	if got, want := b.String(), `{"label":"x","n":3}`+"\n"; got != want {
		t.Errorf("JSON: %q, want %q", got, want)
	}
	b.Reset()
	r.print(&b, false)
	if got, want := b.String(), "label                        x\nn                            3\n"; got != want {
		t.Errorf("text: %q, want %q", got, want)
	}
}

func TestProcFiles(t *testing.T) {
	stat := []byte("42 (a) b (c)) S 1 1 1 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 4 0 100 1 1\n")
	if got := statCPU(stat); got != 4 {
		t.Errorf("CPU time %v s, want 4", got)
	}
	if got := statCPU(nil); got != 0 {
		t.Errorf("CPU time of no process: %v", got)
	}
	smaps := []byte("5500-7ffe ---p 0 00:00 0 [rollup]\nRss:  40 kB\nPss:                  12 kB\nPss_Dirty: 7 kB\n")
	if got := kilobytes(smaps, "Pss:"); got != 12*1024 {
		t.Errorf("Pss %v", got)
	}
	if got := kilobytes(smaps, "Slab:"); got != 0 {
		t.Errorf("missing line: %v", got)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-pid", "1,23", "-mode", "storm", "-transport", "polling", "-n", "5"})
	if err != nil || !slices.Equal(o.pids, []int{1, 23}) || !o.polling || o.n != 5 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{
		{"-addr", "192.0.2.1:80"},
		{"-addr", "localhost:80"},
		{"-addr", "[::1]:80"},
		{"-mode", "x"},
		{"-transport", "x"},
		{"-n", "0"},
		{"-window", "0"},
		{"-payload", "70000"},
		{"-pid", "x"},
		{"stray"},
	} {
		if _, err := parseOptions(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
