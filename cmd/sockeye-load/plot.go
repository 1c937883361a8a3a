package main

import (
	"fmt"
	"math"
	"strings"
)

// Sizes of a plot's inside, in its own units. The page stretches it; the labels are outside.
const (
	plotWidth  = 400.0
	plotHeight = 200.0
)

// plot is what a page draws of it.
type plot struct {
	ID, Title, Unit string
	Text            string // what is seen in it
	X, Y            []tick
	Lines           []curve
	Bars            []rect
	Empty           bool
}

// tick is a label of an axis.
type tick struct {
	At    float64
	Share float64 // of the axis, in percent from its left or top
	Label string
}

func xTick(at float64, label string) tick { return tick{at, 100 * at / plotWidth, label} }
func yTick(at float64, label string) tick { return tick{at, 100 * at / plotHeight, label} }

type curve struct {
	Class string
	Name  string // in the legend
	Path  string
}

type rect struct {
	X, Y, W, H float64
	Label      string
}

// Geometry, for the page.
func (plot) Width() float64  { return plotWidth }
func (plot) Height() float64 { return plotHeight }

// line is values over time, to be drawn.
type line struct {
	class, name string
	at          []float64
	values      []float64 // NaN: none
}

// overTime plots values from the time 0 to the end.
func overTime(id, title, unit string, end float64, logarithmic bool, format func(float64) string, lines ...line) plot {
	p := plot{ID: id, Title: title, Unit: unit, Empty: true}
	least, most := math.Inf(1), 0.0
	for _, l := range lines {
		for _, v := range l.values {
			if !math.IsNaN(v) {
				p.Empty = false
				most = max(most, v)
				if v > 0 {
					least = min(least, v)
				}
			}
		}
	}
	if p.Empty {
		p.Text = "Nothing was measured."
		return p
	}
	end = max(end, 0.001)
	x := func(t float64) float64 { return plotWidth * min(t/end, 1) }
	y, ticks := linear(most, format)
	if logarithmic && most > 0 {
		y, ticks = logarithm(least, most, format)
	}
	p.Y = ticks
	for _, t := range steps(end, 5) {
		p.X = append(p.X, xTick(x(t), clock(t)))
	}
	var said []string
	for _, l := range lines {
		var b strings.Builder
		pen := false
		drawn, top := 0, math.Inf(-1)
		for i, v := range l.values {
			if math.IsNaN(v) {
				pen = false
				continue
			}
			top = max(top, v)
			command := "L"
			if !pen {
				command = "M"
			}
			pen = true
			drawn++
			fmt.Fprintf(&b, "%s%.1f,%.1f", command, x(l.at[i]), y(v))
			if command == "M" && (i+1 == len(l.values) || math.IsNaN(l.values[i+1])) {
				b.WriteString("h2") // alone, it would not be seen
			}
		}
		p.Lines = append(p.Lines, curve{l.class, l.name, b.String()})
		if drawn > 0 {
			said = append(said, fmt.Sprintf("%s: at most %s, at the end %s", l.name, format(top), format(last(l.values))))
		}
	}
	p.Text = fmt.Sprintf("Over %s. %s.", seconds(end), strings.Join(said, "; "))
	return p
}

func last(values []float64) float64 {
	for i := len(values) - 1; i >= 0; i-- {
		if !math.IsNaN(values[i]) {
			return values[i]
		}
	}
	return 0
}

// steps are round numbers from 0 to at most the end, about so many.
func steps(end float64, about int) (all []float64) {
	raw := end / float64(about)
	unit := math.Pow10(int(math.Floor(math.Log10(raw))))
	step := unit * 10
	for _, m := range []float64{1, 2, 5} {
		if unit*m >= raw {
			step = unit * m
			break
		}
	}
	for i := 0; float64(i)*step <= end*1.0001; i++ {
		all = append(all, float64(i)*step)
	}
	return all
}

// linear is an axis from 0.
func linear(most float64, format func(float64) string) (func(float64) float64, []tick) {
	if most == 0 {
		most = 1
	}
	top := most * 1.05
	y := func(v float64) float64 { return plotHeight * (1 - v/top) }
	var ticks []tick
	for _, v := range steps(top, 4) {
		ticks = append(ticks, yTick(y(v), format(v)))
	}
	return y, ticks
}

// logarithm is an axis of powers of ten around the values.
func logarithm(least, most float64, format func(float64) string) (func(float64) float64, []tick) {
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most*1.0001))
	if to-from < 1 {
		to = from + 1
	}
	y := func(v float64) float64 {
		share := (math.Log10(max(v, math.Pow(10, from))) - from) / (to - from)
		return plotHeight * (1 - share)
	}
	var ticks []tick
	for e := from; e <= to; e++ {
		ticks = append(ticks, yTick(y(math.Pow(10, e)), format(math.Pow(10, e))))
	}
	return y, ticks
}

// clock is a time on an axis.
func clock(s float64) string {
	switch {
	case s >= 3600:
		return fmt.Sprintf("%d:%02d h", int(s)/3600, int(s)/60%60)
	case s >= 120:
		return fmt.Sprintf("%d:%02d", int(s)/60, int(s)%60)
	}
	return fmt.Sprintf("%g s", s)
}

// short is a latency on an axis, in milliseconds.
func short(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%g s", ms/1000)
	case ms >= 1:
		return fmt.Sprintf("%.3g ms", ms)
	case ms > 0:
		return fmt.Sprintf("%.3g µs", ms*1000)
	}
	return "0"
}

// number is a count or a rate on an axis.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}

// histogramPlot plots how many latencies were how long, on a logarithmic axis.
func histogramPlot(title string, all []bar, q quantiles) plot {
	p := plot{ID: "histogram", Title: title, Unit: "how many took how long"}
	if len(all) == 0 {
		p.Empty, p.Text = true, "Nothing was measured."
		return p
	}
	from, to := math.Log10(max(all[0].From, 1e-4)), math.Log10(max(all[len(all)-1].To, 1e-3))
	if to-from < 0.3 {
		to = from + 0.3
	}
	x := func(ms float64) float64 {
		return plotWidth * (math.Log10(max(ms, math.Pow(10, from))) - from) / (to - from)
	}
	most := int64(0)
	for _, b := range all {
		most = max(most, b.Count)
	}
	y, ticks := linear(float64(most), number)
	p.Y = ticks
	for _, b := range all {
		if b.Count == 0 {
			continue
		}
		left, right := x(b.From), x(b.To)
		top := min(y(float64(b.Count)), plotHeight-1) // one is to be seen among millions
		p.Bars = append(p.Bars, rect{
			left + 0.5, top, max(right-left-1, 1), plotHeight - top,
			fmt.Sprintf("%s to %s: %s", short(b.From), short(b.To), grouped(b.Count)),
		})
	}
	factors := []float64{1}
	if to-from < 2 {
		factors = []float64{1, 2, 5}
	}
	for e := math.Floor(from); e <= to; e++ {
		for _, f := range factors {
			if v := f * math.Pow(10, e); math.Log10(v) >= from-1e-9 && math.Log10(v) <= to+1e-9 {
				p.X = append(p.X, xTick(x(v), short(v)))
			}
		}
	}
	p.Text = fmt.Sprintf("%s latencies from %s to %s: half of them at most %s, 99 %% at most %s.", grouped(q.Count), short(all[0].From), milliseconds(q.Max), milliseconds(q.P50), milliseconds(q.P99))
	return p
}
