package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/bits"
	"slices"
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

// subBuckets are the buckets of each power of two in a histogram: a quantile is
// wrong by at most half a bucket, 1/128.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// histogram counts durations in nanoseconds, in buckets that grow with the value.
type histogram struct {
	counts [(64 - subBits + 1) * subBuckets]int64
	n      int64
	max    int64
}

func (h *histogram) add(ns int64) {
	ns = max(ns, 0) // the clock may have been set back
	h.counts[bucket(ns)]++
	h.n++
	h.max = max(h.max, ns)
}

// bucket is the index of a value's bucket. Values under 2*subBuckets have a
// bucket each.
func bucket(v int64) int {
	shift := max(0, bits.Len64(uint64(v))-subBits-1)
	return shift*subBuckets + int(v>>shift)
}

// middle is the value in the middle of a bucket.
func middle(b int) float64 {
	shift := max(0, b/subBuckets-1)
	return (float64(b-shift*subBuckets) + 0.5) * float64(int64(1)<<shift)
}

// quantile is the value, in nanoseconds, that a share q of all are at most.
func (h *histogram) quantile(q float64) float64 {
	if h.n == 0 {
		return 0
	}
	rank := int64(q * float64(h.n-1))
	if rank == h.n-1 {
		return float64(h.max)
	}
	for b, c := range h.counts {
		if rank -= c; rank < 0 {
			return min(middle(b), float64(h.max))
		}
	}
	return float64(h.max)
}

// into adds the latencies to the figures.
func (h *histogram) into(r result) {
	if h.n == 0 {
		return
	}
	ms := func(q float64) float64 { return round(h.quantile(q)/1e6, 2) }
	r["p50_ms"], r["p99_ms"], r["max_ms"] = ms(.5), ms(.99), ms(1)
}
