package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

// report is the result, and its JSON. Times are in the unit of their name.
type report struct {
	Title       string    `json:"title,omitempty"`
	URL         string    `json:"url"`
	Server      string    `json:"server"` // the address
	Mode        string    `json:"mode"`
	Transport   string    `json:"transport"`
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"`          // of the whole run
	Measured    float64   `json:"measured_seconds"` // under load, after the first ramp and the warm-up
	Interrupted bool      `json:"interrupted"`
	Ended       string    `json:"ended,omitempty"` // why, before its time
	Options     []option  `json:"options"`
	Machine     machine   `json:"machine"`

	Wanted   int   `json:"connections_wanted"`
	Attempts int64 `json:"connects_tried"`
	Joined   int64 `json:"connects_made"`
	Most     int   `json:"connections_most"`
	AtEnd    int   `json:"connections_at_end"`

	Connect   quantiles   `json:"connect_ms"`
	Latency   quantiles   `json:"latency_ms"`
	What      string      `json:"latency_of"` // what the latency is of
	Corrected bool        `json:"corrected_for_coordinated_omission"`
	Histogram []bar       `json:"latency_histogram"`
	Sent      int64       `json:"sent"`
	Received  int64       `json:"received"`
	SentRate  float64     `json:"sent_per_second"`
	RecvRate  float64     `json:"received_per_second"`
	Broadcast *broadcasts `json:"broadcasts,omitempty"`
	BytesIn   int64       `json:"bytes_received"` // on the wire, without TCP
	BytesOut  int64       `json:"bytes_sent"`
	Client    client      `json:"client"`

	Errors     int64       `json:"errors"`
	Kinds      []kind      `json:"errors_by_kind"`
	Series     []point     `json:"series"`
	Thresholds []threshold `json:"thresholds"`
	Warnings   []string    `json:"warnings,omitempty"`

	measureFrom time.Time
	measured    time.Duration
}

// quantiles are of latencies, in milliseconds.
type quantiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

func quantilesOf(h *load.Histogram) quantiles {
	ms := func(q float64) float64 { return round(h.Quantile(q) / 1e6) }
	return quantiles{h.Len(), ms(.5), ms(.9), ms(.99), ms(.999), ms(1)}
}

// round keeps three digits after the point.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// bar is how many latencies were in a range.
type bar struct {
	From  float64 `json:"from_ms"`
	To    float64 `json:"to_ms"`
	Count int64   `json:"count"`
}

// broadcasts is what mode broadcast has besides.
type broadcasts struct {
	Sent       int64     `json:"sent"`
	Complete   int64     `json:"complete"`            // all had them in time
	Deliveries float64   `json:"deliveries_each"`     // the mean
	Last       quantiles `json:"until_last_ms"`       // until the last connection had one
	Foreign    int64     `json:"received_of_others"`  // events that this run has not caused
	ToSender   bool      `json:"sender_gets_its_own"` // seen
}

// client is how this program itself was.
type client struct {
	CPU  float64   `json:"cpu_cores"`    // under load
	Late quantiles `json:"sent_late_ms"` // with -rate: after the time that was due
}

// kind is errors of one kind.
type kind struct {
	Kind  string  `json:"kind"`
	Text  string  `json:"text"`
	Count int64   `json:"count"`
	First float64 `json:"first_seconds"` // after the beginning
}

// point is a sample.
type point struct {
	Seconds     float64 `json:"seconds"` // its end, after the beginning
	Length      float64 `json:"length_seconds"`
	Connections int     `json:"connections"`
	Connects    float64 `json:"connects_per_second"`
	Sent        float64 `json:"sent_per_second"`
	Received    float64 `json:"received_per_second"`
	Errors      int64   `json:"errors"`
	Latencies   int64   `json:"latencies"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Max         float64 `json:"max_ms"`
}

// threshold is one of the -fail flags.
type threshold struct {
	Name   string `json:"name"`
	Limit  string `json:"limit"`
	Value  string `json:"value"`
	Passed bool   `json:"passed"`
}

func newReport(o *options) *report {
	title := o.title
	if title == "" {
		title = "Load on " + o.url.Host
	}
	r := &report{
		Title: title, URL: o.shownURL(), Mode: o.mode, Transport: o.transport(), Started: time.Now().Truncate(time.Second),
		Options: o.flags, Machine: describe(), Wanted: o.most(), Corrected: o.rate > 0, Kinds: []kind{}, Series: []point{},
		Thresholds: []threshold{}, Histogram: []bar{},
	}
	switch o.mode {
	case "echo":
		r.What = "answers"
	case "broadcast":
		r.What = "deliveries"
	case "churn":
		r.What = "reconnects"
	default:
		r.What = "connects"
		r.Corrected = o.stages[0].ramp > 0
	}
	return r
}

// barsAPower is how many bars of the histogram there are from a power of two to the next.
const barsAPower = 4

// bars are wider the longer the latency, for a logarithmic axis.
func bars(h *load.Histogram) []bar {
	all := []bar{}
	edge := func(i int) float64 { return math.Exp2(float64(i)/barsAPower) / 1e6 }
	last := math.MinInt
	for at, n := range h.All() {
		i := int(math.Floor(math.Log2(max(float64(at), 1)) * barsAPower))
		if i != last {
			for j := last + 1; last != math.MinInt && j < i; j++ {
				all = append(all, bar{round(edge(j)), round(edge(j + 1)), 0})
			}
			all = append(all, bar{round(edge(i)), round(edge(i + 1)), 0})
			last = i
		}
		all[len(all)-1].Count += n
	}
	return all
}

func points(all []sample) []point {
	list := make([]point, 0, len(all))
	for _, s := range all {
		var h load.Histogram
		h.Join(s.latency)
		q := quantilesOf(&h)
		rate := func(n int64) float64 { return round(float64(n) / s.length.Seconds()) }
		list = append(list, point{
			Seconds: round(s.end.Seconds()), Length: round(s.length.Seconds()), Connections: s.connections, Connects: rate(s.connects),
			Sent: rate(s.sent), Received: rate(s.received), Errors: s.faults, Latencies: q.Count, P50: q.P50, P99: q.P99, Max: q.Max,
		})
	}
	return list
}

// judge holds the result to the thresholds.
func (r *report) judge(o *options) {
	quantile := func(name string, limit time.Duration, q quantiles) {
		if limit == 0 {
			return
		}
		t := threshold{name, limit.String(), "nothing was measured", false}
		if q.Count > 0 {
			t.Value, t.Passed = milliseconds(q.P99), q.P99 <= float64(limit)/1e6
		}
		r.Thresholds = append(r.Thresholds, t)
	}
	quantile("fail-p99", o.failP99, r.Latency)
	quantile("fail-connect-p99", o.failConnectP99, r.Connect)
	if missing := r.Attempts - r.Joined; o.failConnectP99 > 0 && !r.Interrupted && 100*missing > r.Attempts {
		t := &r.Thresholds[len(r.Thresholds)-1]
		t.Value, t.Passed = fmt.Sprintf("%s of %s have not joined", grouped(missing), grouped(r.Attempts)), false
	}
	if o.failErrors != "" {
		limit, share, _ := parseShare(o.failErrors)
		t := threshold{"fail-errors", o.failErrors, grouped(r.Errors), float64(r.Errors) <= limit}
		if share {
			v := 100 * float64(r.Errors) / float64(max(1, r.Attempts+r.Sent))
			t.Value, t.Passed = fmt.Sprintf("%.3g%%", v), v <= limit
		}
		r.Thresholds = append(r.Thresholds, t)
	}
	if o.failReceived > 0 {
		r.Thresholds = append(r.Thresholds, threshold{
			"fail-received", fmt.Sprintf("%g/s", o.failReceived), fmt.Sprintf("%g/s", r.RecvRate), r.RecvRate >= o.failReceived,
		})
	}
}

func (r *report) passed() bool {
	for _, t := range r.Thresholds {
		if !t.Passed {
			return false
		}
	}
	return true
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// print writes the result for people.
func (r *report) print(w io.Writer) {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s  %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%s: %s over %s, %s\n\n", r.URL, r.Mode, r.Transport, seconds(r.Seconds))
	line("connections", "at most %s of %s, %s at the end; %s tried, %s joined", grouped(r.Most), grouped(r.Wanted), grouped(r.AtEnd), grouped(r.Attempts), grouped(r.Joined))
	line("connect", "%s", r.Connect)
	if r.What != "connects" {
		line(r.What, "%s", r.Latency)
		line("", "%s", r.correction())
	}
	if r.Sent+r.Received > 0 && r.Measured > 0 {
		verb := "sent"
		if r.Mode == "churn" {
			verb = "reconnects"
		}
		line("messages", "%s %s (%s/s), received %s (%s/s), in %s", verb, grouped(r.Sent), figure(r.SentRate), grouped(r.Received), figure(r.RecvRate), seconds(r.Measured))
	}
	if c := r.Broadcast; c != nil {
		line("broadcasts", "%s, %s to all in time, %s deliveries each; until the last: %s", grouped(c.Sent), grouped(c.Complete), figure(c.Deliveries), c.Last)
		if c.Foreign > 0 {
			line("", "%s events more that this run has not caused", grouped(c.Foreign))
		}
	}
	line("bytes", "%s received, %s sent", bytesOf(r.BytesIn), bytesOf(r.BytesOut))
	line("errors", "%s", grouped(r.Errors))
	for _, k := range r.Kinds {
		fmt.Fprintf(&b, "%10s × %s: %s (first after %s)\n", grouped(k.Count), k.Kind, k.Text, seconds(k.First))
	}
	if r.Interrupted {
		line("interrupted", "what was under way is not counted")
	}
	if r.Ended != "" {
		line("ended early", "%s", r.Ended)
	}
	for _, text := range r.Warnings {
		line("warning", "%s", text)
	}
	for _, t := range r.Thresholds {
		word := "passed"
		if !t.Passed {
			word = "FAILED"
		}
		line(word, "-%s %s: %s", t.Name, t.Limit, t.Value)
	}
	_, _ = io.WriteString(w, b.String())
}

// correction tells how latencies are counted.
func (r *report) correction() string {
	if r.Corrected {
		return "from the time that was due: corrected for coordinated omission"
	}
	return "from the time of sending: a server that is held up is asked less (give a -rate to correct that)"
}

func (q quantiles) String() string {
	if q.Count == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s  (%s)", milliseconds(q.P50), milliseconds(q.P90), milliseconds(q.P99), milliseconds(q.P999), milliseconds(q.Max), grouped(q.Count))
}

// milliseconds is a latency for people.
func milliseconds(ms float64) string {
	switch {
	case ms >= 10000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 1000:
		return fmt.Sprintf("%.2f s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

func seconds(s float64) string {
	if s >= 120 {
		return (time.Duration(s) * time.Second).String()
	}
	return fmt.Sprintf("%.1f s", s)
}

// grouped is a number with commas.
func grouped[T int | int64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// figure is a rate for people.
func figure(v float64) string {
	if v >= 100 {
		return grouped(int64(math.Round(v)))
	}
	return fmt.Sprintf("%.3g", v)
}

func bytesOf(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, u
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}
