package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/sockeye-io/sockeye/internal/load"
)

// result holds the figures by name.
type result map[string]any

// print writes the figures as one line of JSON, or one a line in order.
func (r result) print(w io.Writer, asJSON bool) {
	if asJSON {
		b, _ := json.Marshal(r) // numbers and strings: cannot fail
		fmt.Fprintf(w, "%s\n", b)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(w, "%-28s %v\n", name, r[name])
	}
}

// round keeps some digits after the point.
func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// latencies adds the latencies to the figures.
func (r result) latencies(h *load.Histogram) {
	if h.Len() == 0 {
		return
	}
	ms := func(q float64) float64 { return round(h.Quantile(q)/1e6, 2) }
	r["p50_ms"], r["p99_ms"], r["max_ms"] = ms(.5), ms(.99), ms(1)
}
