package main

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain is the program itself in the processes that it starts.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-serve") || slices.Contains(os.Args, "-measure") {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestWays: each way is measured, a little.
func TestWays(t *testing.T) {
	if _, err := exec.LookPath("taskset"); err != nil || runtime.GOOS != "linux" || runtime.NumCPU() < 2 {
		t.Skip("Linux, two cores and taskset are needed")
	}
	s := settings{idle: 20, crowd: 10, payload: 100, dur: 100 * time.Millisecond, settle: 10 * time.Millisecond, loadCore: 1}
	runs := map[string][]figures{}
	for _, w := range ways {
		r, err := s.inProcess(t.Context(), w)
		if err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		runs[w.name] = []figures{r}
	}
	got := table(ways, runs)
	if n := strings.Count(got, "\n"); n != len(ways)+2 || strings.Count(got, "|") != n*(len(columns)+2) {
		t.Error(got)
	}
}

func TestReadFrame(t *testing.T) {
	stream := "\x81\x012" + "\x81\x7e\x02\x58" + strings.Repeat("x", 600) + "\x81\x05hello" + "\x88\x00\x00\x00"
	br := bufio.NewReaderSize(strings.NewReader(stream), 512)
	for _, want := range []int{1, 600, 5} {
		if got, err := readFrame(br); err != nil || got != want {
			t.Errorf("%d, %v, want %d", got, err, want)
		}
	}
	if _, err := readFrame(br); err == nil {
		t.Error("a close frame is no error")
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0.5: "0.50", 12.34: "12.3", 957: "957", 28769: "28,769", 1234567: "1,234,567"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := median([]float64{3, 1, 2, 10}); got != 2.5 {
		t.Error(got)
	}
}
