package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

// TestSeriesIsBounded: a long run has fewer, longer samples, and nothing is lost.
func TestSeriesIsBounded(t *testing.T) {
	t.Parallel()
	var s series
	const n = 10 * maxSamples
	for i := range n {
		var h load.Histogram
		h.Add(int64(i) * 1000)
		s.add(sample{end: time.Duration(i+1) * time.Second, length: time.Second, connections: i, sent: 1, received: 2, connects: 3, faults: 4, latency: h.Take()})
	}
	if len(s.all) > maxSamples || len(s.all) < maxSamples/2 {
		t.Fatalf("%d samples", len(s.all))
	}
	var sum sample
	var all load.Histogram
	for i, p := range s.all {
		if i > 0 && p.end-p.length != s.all[i-1].end {
			t.Fatalf("a gap before sample %d", i)
		}
		if i < len(s.all)-1 && p.length != s.all[0].length {
			t.Fatalf("sample %d lasts %v, the first %v", i, p.length, s.all[0].length)
		}
		sum.sent, sum.received, sum.connects, sum.faults = sum.sent+p.sent, sum.received+p.received, sum.connects+p.connects, sum.faults+p.faults
		all.Join(p.latency)
	}
	if sum.sent != n || sum.received != 2*n || sum.connects != 3*n || sum.faults != 4*n || all.Len() != n {
		t.Errorf("%+v, %d latencies", sum, all.Len())
	}
	if last := s.all[len(s.all)-1]; last.end != n*time.Second || last.connections != n-1 {
		t.Errorf("the last is %+v", last)
	}
}

func TestBars(t *testing.T) {
	var h load.Histogram
	for _, ns := range []int64{0, 5, 1e3, 1e6, 1e6, 3e9} {
		h.Add(ns)
	}
	sum := int64(0)
	all := bars(&h)
	for i, b := range all {
		sum += b.Count
		if b.To < b.From || i > 0 && math.Abs(b.From-all[i-1].To) > 1e-9 {
			t.Errorf("bar %d from %v to %v, after %v", i, b.From, b.To, all[max(i-1, 0)].To)
		}
	}
	if sum != h.Len() {
		t.Errorf("%d of %d are counted", sum, h.Len())
	}
}

func TestThresholds(t *testing.T) {
	for _, c := range []struct {
		args   string
		passed bool
	}{
		{"", true},
		{"-fail-p99 100ms", true},
		{"-fail-p99 99ms", false},
		{"-fail-connect-p99 1s", false}, // nothing was measured
		{"-fail-errors 5", true},
		{"-fail-errors 4", false},
		{"-fail-errors 0.5%", true},
		{"-fail-errors 0.4%", false},
		{"-fail-received 50", true},
		{"-fail-received 51", false},
		{"-fail-received 50 -fail-errors 0", false},
	} {
		o, err := parse(append(strings.Fields(c.args), "-mode", "echo", "http://a"), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		r := newReport(o)
		r.Latency, r.Errors, r.Attempts, r.Sent, r.RecvRate = quantiles{Count: 9, P99: 100}, 5, 10, 990, 50
		if r.judge(o); r.passed() != c.passed {
			t.Errorf("%s: %+v", c.args, r.Thresholds)
		}
	}
}

// TestReportOfNothing, and of strange values: the page is whole, and has no value that no
// browser draws.
func TestReportOfNothing(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-mode", "broadcast", "-title", "<script>alert(1)</script>", "http://a"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for name, fill := range map[string]func(r *report){
		"nothing":    func(*report) {},
		"one sample": func(r *report) { r.Series = []point{{Seconds: 0.1, Length: 0.1}} },
		"huge": func(r *report) {
			r.Most = 1
			r.Latency = quantiles{Count: 1, P50: 1e12, P99: 1e12, Max: 1e12}
			r.Histogram = []bar{{0, 0, 1}, {1e12, 1e12, math.MaxInt64}}
			for i := range maxSamples {
				r.Series = append(r.Series, point{Seconds: float64(i) * 1e6, Length: 1e6, Received: 1e12, Latencies: int64(i % 2), P50: 1e9, P99: 1e9, Max: 1e9})
			}
			r.Kinds = []kind{{"refused", "</td><img src=x onerror=alert(1)>", 7, 1}}
		},
		"tiny": func(r *report) {
			r.Latency = quantiles{Count: 1}
			r.Histogram = []bar{{0, 0, 1}}
			r.Series = []point{{Seconds: 1, Length: 1, Latencies: 1, P50: 0, P99: 0, Max: 0}, {Seconds: 2, Length: 1, Latencies: 1, P50: 1e-3, P99: 1e-3, Max: 1e-3}}
		},
	} {
		r := newReport(o)
		fill(r)
		var b strings.Builder
		if err := r.writeHTML(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		page := b.String()
		if bad := regexp.MustCompile(`NaN|Inf|<script|<img|="[^"]*e\+\d`).FindString(page); bad != "" {
			t.Errorf("%s: the page has %s", name, bad)
		}
		if !strings.HasSuffix(page, "</html>\n") {
			t.Errorf("%s: the page is not whole", name)
		}
		b.Reset()
		if err := r.writeJSON(&b); err != nil || !json.Valid([]byte(b.String())) {
			t.Errorf("%s: %v", name, err)
		}
		r.print(io.Discard)
	}
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		end  float64
		want string
	}{{10, "[0 2 4 6 8 10]"}, {1.05, "[0 0.5 1]"}, {7, "[0 2 4 6]"}, {3600, "[0 1000 2000 3000]"}, {0.05, "[0 0.01 0.02 0.03 0.04 0.05]"}} {
		if got := fmt.Sprint(steps(c.end, 5)); got != c.want {
			t.Errorf("to %v: %s, want %s", c.end, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		grouped(0): "0", grouped(999): "999", grouped(1000): "1,000", grouped(-1234567): "-1,234,567",
		milliseconds(0.123): "0.12 ms", milliseconds(12.34): "12.3 ms", milliseconds(123.4): "123 ms", milliseconds(12345): "12.3 s",
		seconds(9.96): "10.0 s", seconds(3725): "1h2m5s", bytesOf(999): "999 B", bytesOf(1234567): "1.23 MB", figure(12345.6): "12,346", figure(1.234): "1.23",
		short(0.05): "50 µs", short(20): "20 ms", short(2000): "2 s", clock(90): "90 s", clock(150): "2:30", clock(5400): "1:30 h", number(25000): "25k",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// stuck is a terminal that nobody reads.
type stuck struct{ block chan struct{} }

func (s stuck) Write(b []byte) (int, error) { <-s.block; return len(b), nil }

// TestProgressDoesNotHoldUp: who does not read it is not waited for.
func TestProgressDoesNotHoldUp(t *testing.T) {
	t.Parallel()
	w := stuck{make(chan struct{})}
	defer close(w.block)
	p := newProgress(w, &options{})
	begin := time.Now()
	for range 1000 {
		p.tell(p.line(time.Second, 1, 2, 3))
	}
	p.end()
	if d := time.Since(begin); d > flushTime+5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestProgressOnTerminal(t *testing.T) {
	p := &progress{terminal: true, columns: 60}
	p.phase("ramp 1/1")
	p.share(0.5)
	line := p.line(1500*time.Millisecond, 500, 1000, 7)
	if !strings.HasPrefix(line, "\r   1.5s ramp 1/1 [##########----------]  50%  500/1,000") || !strings.HasSuffix(line, "\x1b[K") || len(line) > 59+4 {
		t.Errorf("%q", line)
	}
}
