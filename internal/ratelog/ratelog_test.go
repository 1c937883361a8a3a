package ratelog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	l := newLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), func() time.Time { return now })
	lines := func() int {
		defer out.Reset()
		return strings.Count(out.String(), "\n")
	}
	for range 100 {
		l.Debug("a", "line")
	}
	l.Debug("b", "line")
	if n := lines(); n != burst+1 {
		t.Errorf("%d lines at once, want %d of a and one of b", n, burst)
	}
	now = now.Add(3 * time.Second)
	for range 100 {
		l.Warn("a", "line")
	}
	if got := out.String(); !strings.Contains(got, fmt.Sprintf("suppressed=%d\n", 100-burst)) {
		t.Errorf("the first line tells nothing of those that were left out: %s", got)
	}
	if n := lines(); n != 3*perSecond {
		t.Errorf("%d lines after 3 s, want %d", n, 3*perSecond)
	}
	now = now.Add(-time.Hour) // a clock that goes back gives and takes nothing
	l.Debug("a", "line")
	if n := lines(); n != 0 {
		t.Errorf("%d lines after the clock has gone back", n)
	}
	now = now.Add(100 * time.Hour)
	for range 100 {
		l.Debug("a", "line")
	}
	if n := lines(); n != burst {
		t.Errorf("%d lines after a long rest, want %d", n, burst)
	}
}

// TestManyReasons: reasons made of what peers send take no memory without bound.
func TestManyReasons(t *testing.T) {
	l := newLog(slog.New(slog.DiscardHandler), time.Now)
	for i := range 10 * maxReasons {
		l.take(fmt.Sprint(i))
	}
	if n := len(l.reasons); n != maxReasons+1 {
		t.Errorf("%d reasons are kept, want %d and one for the others", n, maxReasons)
	}
}

// TestOffCostsNothing: a line that nobody reads is not counted either.
func TestOffCostsNothing(t *testing.T) {
	l := New(slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)))
	if l.Debugs() {
		t.Error("Debug is off, and Debugs says it is not")
	}
	if n := testing.AllocsPerRun(100, func() {
		if l.Debugs() {
			l.Debug("a", "line", "n", 1234567)
		}
		l.Debug("a", "line")
	}); n != 0 {
		t.Errorf("%v allocations for lines that nobody reads", n)
	}
	if len(l.reasons) != 0 {
		t.Error("they are counted")
	}
}
