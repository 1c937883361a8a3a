package main

import (
	_ "embed"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"ms": milliseconds, "seconds": seconds, "grouped": grouped[int64], "groupedInt": grouped[int], "figure": figure, "bytes": bytesOf,
	"capital": capital,
	"sub":     func(a, b float64) float64 { return a - b }, "add": func(a, b float64) float64 { return a + b },
}).Parse(pageText))

// view is what the page shows.
type view struct {
	*report
	Plots          []plot
	Quantiles      []column
	Given, Default []option
	Verdict        string
	Good           bool
	Correction     string
}

// column is quantiles under a name.
type column struct {
	Name string
	quantiles
}

func (r *report) writeHTML(w io.Writer) error {
	v := view{report: r, Plots: r.plots(), Correction: r.correction()}
	v.Quantiles = append(v.Quantiles, column{"Connecting", r.Connect})
	if r.What != "connects" {
		v.Quantiles = append(v.Quantiles, column{capital(r.What), r.Latency})
	}
	if r.Broadcast != nil {
		v.Quantiles = append(v.Quantiles, column{"Until the last has it", r.Broadcast.Last})
	}
	if r.Client.Late.Count > 0 {
		v.Quantiles = append(v.Quantiles, column{"Sent late", r.Client.Late})
	}
	for _, o := range r.Options {
		if o.Given {
			v.Given = append(v.Given, o)
		} else {
			v.Default = append(v.Default, o)
		}
	}
	v.Verdict, v.Good = r.verdict()
	return page.Execute(w, v)
}

// verdict is the result in a sentence.
func (r *report) verdict() (text string, good bool) {
	missed := 0
	for _, t := range r.Thresholds {
		if !t.Passed {
			missed++
		}
	}
	switch {
	case r.Most == 0:
		return "No connection has joined.", false
	case missed > 0:
		return "Missed: " + grouped(missed) + " of " + grouped(len(r.Thresholds)) + " thresholds.", false
	case len(r.Thresholds) > 0:
		return "All thresholds were kept.", r.Errors == 0 && r.Ended == ""
	case r.Errors > 0:
		return "There were errors. No threshold was given.", false
	}
	return "No error. No threshold was given.", r.Ended == ""
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (r *report) plots() []plot {
	n := len(r.Series)
	var ends, middles, connections, connects, sent, received, p50, p99, most []float64
	ends, connections = append(ends, 0), append(connections, 0)
	for _, s := range r.Series {
		ends = append(ends, s.Seconds)
		middles = append(middles, s.Seconds-s.Length/2)
		connections = append(connections, float64(s.Connections))
		connects, sent, received = append(connects, s.Connects), append(sent, s.Sent), append(received, s.Received)
		if s.Latencies == 0 {
			p50, p99, most = append(p50, math.NaN()), append(p99, math.NaN()), append(most, math.NaN())
		} else {
			p50, p99, most = append(p50, s.P50), append(p99, s.P99), append(most, s.Max)
		}
	}
	end := 0.0
	if n > 0 {
		end = r.Series[n-1].Seconds
	}
	out := line{"b", "sent", middles, sent}
	if r.Mode == "churn" {
		out.name = "asked to come again"
	}
	through := []line{{"a", "received", middles, received}, out}
	return []plot{
		overTime("connections", "Connections", "joined", end, false, number, line{"a", "connections", ends, connections}),
		overTime("connects", "Connects", "a second", end, false, number, line{"a", "connects", middles, connects}),
		overTime("throughput", "Messages", "a second", end, false, number, through...),
		overTime("latency", "Latency of "+r.What, "logarithmic", end, true, short,
			line{"a", "p50", middles, p50}, line{"b", "p99", middles, p99}, line{"c", "max", middles, most}),
		histogramPlot("Latencies of "+r.What, r.Histogram, r.Latency),
	}
}
