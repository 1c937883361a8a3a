package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// plotAll draws CPU time in one file, memory and connecting in another.
func plotAll(res *results, dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cpu.svg"), res.picture("CPU time of a delivered message", columns[:len(cells)]).svg(), 0o644),
		os.WriteFile(filepath.Join(dir, "connections.svg"), res.picture("Memory of a connection, and CPU time of connecting", columns[len(cells):]).svg(), 0o644),
	)
}

// Sizes of a picture, in its own units. It is no wider than what leaves its
// letters readable on a phone of 390 px. A server's name and value are above its
// bar, with nothing beside them, since the reader's fonts are not known here.
const (
	pictureWidth = 480.0
	margin       = 16.0
	headSize     = 15.0 // letters of a chart's title
	textSize     = 14.0 // letters of all else
	headHeight   = 42.0 // title and unit
	rowHeight    = 31.0 // name and value, bar, space
	barHeight    = 7.0
	chartGap     = 22.0
)

// picture is what is drawn: bars first, then labels.
type picture struct {
	title  string
	height float64
	bars   []bar
	labels []label
}

type bar struct {
	class         string
	x, y, w, h, r float64
}

// label is a text on the line y; it begins at x or, with the class "value", ends
// there.
type label struct {
	class string
	x, y  float64
	text  string
}

// picture has one chart for each column, under each other.
func (res *results) picture(title string, cs []column) *picture {
	p := &picture{title: title, height: margin}
	for _, c := range cs {
		rows := res.plotted(c)
		if len(rows) == 0 {
			continue
		}
		if len(p.bars) > 0 {
			p.height += chartGap
		}
		p.chart(c, rows)
	}
	p.height += margin - (rowHeight - barHeight - textSize - 4)
	return p
}

// plotted are the rows that have something to show in a column.
func (res *results) plotted(c column) []*row {
	return slices.DeleteFunc(res.measured(), func(r *row) bool {
		_, ok := r.median(c)
		return !ok && r.Failures[c.cell] == ""
	})
}

// chart has a line for each server that was measured: its name, its value or
// that it failed, and a bar of the value's length.
func (p *picture) chart(c column, rows []*row) {
	p.labels = append(p.labels,
		label{"head", margin, p.height + headSize*0.8, c.title},
		label{"unit", margin, p.height + headSize*0.8 + textSize + 4, strings.Replace(c.unit, "µs a", "µs of CPU a", 1) + "; less is better"})
	p.height += headHeight
	most := 0.0
	for _, r := range rows {
		v, _ := r.median(c)
		most = max(most, v)
	}
	for _, r := range rows {
		v, ok := r.median(c)
		text := "failed"
		if ok {
			text = number(v)
		}
		p.labels = append(p.labels,
			label{"name", margin, p.height + textSize*0.8, r.Title},
			label{"value", pictureWidth - margin, p.height + textSize*0.8, text})
		full := pictureWidth - 2*margin
		y := p.height + textSize + 4
		p.bars = append(p.bars, bar{"track", margin, y, full, barHeight, barHeight / 2})
		if ok {
			w := full * v / most
			p.bars = append(p.bars, bar{barClass(r), margin, y, w, barHeight, min(w, barHeight) / 2})
		}
		p.height += rowHeight
	}
}

func barClass(r *row) string {
	switch r.Name {
	case "sockeye", "floor":
		return r.Name
	}
	return "other"
}

// pictureStyle has the colours of light and dark pages. The picture brings its
// own ground: a page's theme may be another than the browser's.
const pictureStyle = `
text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #22211f }
.head { font-size: 15px; font-weight: 600 }
.unit { fill: #66625c }
.value { text-anchor: end }
.ground { fill: #ffffff; stroke: #e5e2dd }
.track { fill: #f1efec }
.sockeye { fill: #c8323a }
.other { fill: #858d95 }
.floor { fill: #4b5258 }
@media (prefers-color-scheme: dark) {
text { fill: #eceae6 }
.unit { fill: #a9a69e }
.ground { fill: #1c1e22; stroke: #2c2f35 }
.track { fill: #26292e }
.sockeye { fill: #f0686d }
.other { fill: #7d868f }
.floor { fill: #b9c0c6 }
}
`

func (p *picture) svg() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %[1]g %[2]g" role="img">`+"\n", pictureWidth, p.height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escape(p.title), pictureStyle)
	fmt.Fprintf(&b, `<rect class="ground" x="0.5" y="0.5" width="%g" height="%g" rx="10"/>`+"\n", pictureWidth-1, p.height-1)
	for _, r := range p.bars {
		fmt.Fprintf(&b, `<rect class="%s" x="%.5g" y="%.5g" width="%.5g" height="%.5g" rx="%.3g"/>`+"\n", r.class, r.x, r.y, r.w, r.h, r.r)
	}
	for _, l := range p.labels {
		fmt.Fprintf(&b, `<text class="%s" x="%.5g" y="%.5g">%s</text>`+"\n", l.class, l.x, l.y, escape(l.text))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
