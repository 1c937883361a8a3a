package main

import (
	"fmt"
	"slices"
	"strings"
)

// columns of the table. Those of time are also told as how many a second of CPU time.
var columns = []struct {
	title     string
	value     func(f figures) float64
	perSecond bool
}{
	{"an idle connection, bytes", func(f figures) float64 { return f.Bytes }, false},
	{"a delivery, one broadcast under way, µs", func(f figures) float64 { return f.One }, false},
	{"four under way, µs", func(f figures) float64 { return f.Four }, false},
	{"connects a CPU second", func(f figures) float64 { return f.Connect }, true},
	{"accept and one 404, a CPU second", func(f figures) float64 { return f.Accept }, true},
}

// table is one of Markdown, with the medians of the rounds.
func table(chosen []way, runs map[string][]figures) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	for _, w := range chosen {
		fmt.Fprintf(&b, "| %s |", w.title)
		for _, c := range columns {
			var vs []float64
			for _, f := range runs[w.name] {
				vs = append(vs, c.value(f))
			}
			v := median(vs)
			if c.perSecond && v > 0 {
				v = 1e6 / v
			}
			fmt.Fprintf(&b, " %s |", number(v))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	vs = slices.Sorted(slices.Values(vs))
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
}

// number has three digits or so, and thousands with commas.
func number(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
