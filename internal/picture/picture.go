// Package picture draws charts of bars as SVG, for pages light and dark.
package picture

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Sizes of a picture, in its own units. It is no wider than what leaves its
// letters readable on a phone of 390 px. A server's name and value are above its
// bar, with nothing beside them, since the reader's fonts are not known here.
const (
	Width      = 480.0
	margin     = 16.0
	headSize   = 15.0 // letters of a chart's title
	textSize   = 14.0 // letters of all else
	headHeight = 42.0 // title and unit
	rowHeight  = 31.0 // name and value, bar, space
	barHeight  = 7.0
	chartGap   = 22.0
)

// Picture is what is drawn: bars first, then labels.
type Picture struct {
	title  string
	height float64
	bars   []bar
	labels []label
}

// New is a picture without charts.
func New(title string) *Picture { return &Picture{title: title, height: margin} }

// Row is a line of a chart: a name, a value, and a bar of the value's length.
type Row struct {
	Name  string
	Class Class
	Value float64
	Text  string // the value's
	None  bool   // there is no bar
}

// Class is a bar's colour.
type Class string

// The colours.
const (
	Sockeye Class = "sockeye"
	Other   Class = "other"
	Floor   Class = "floor"
)

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

// Chart adds a chart below those that are there.
func (p *Picture) Chart(title, unit string, rows []Row) {
	if len(p.bars) > 0 {
		p.height += chartGap
	}
	p.labels = append(p.labels,
		label{"head", margin, p.height + headSize*0.8, title},
		label{"unit", margin, p.height + headSize*0.8 + textSize + 4, unit})
	p.height += headHeight
	most := 0.0
	for _, r := range rows {
		most = max(most, r.Value)
	}
	for _, r := range rows {
		p.labels = append(p.labels,
			label{"name", margin, p.height + textSize*0.8, r.Name},
			label{"value", Width - margin, p.height + textSize*0.8, r.Text})
		full := Width - 2*margin
		y := p.height + textSize + 4
		p.bars = append(p.bars, bar{"track", margin, y, full, barHeight, barHeight / 2})
		if !r.None && most > 0 {
			w := full * r.Value / most
			p.bars = append(p.bars, bar{string(r.Class), margin, y, w, barHeight, min(w, barHeight) / 2})
		}
		p.height += rowHeight
	}
}

// total is the height with the margin below.
func (p *Picture) total() float64 { return p.height + margin - (rowHeight - barHeight - textSize - 4) }

// style has the colours of light and dark pages. The picture brings its
// own ground: a page's theme may be another than the browser's.
const style = `
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

// SVG is the picture's file.
func (p *Picture) SVG() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %[1]g %[2]g" role="img">`+"\n", Width, p.total())
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escape(p.title), style)
	fmt.Fprintf(&b, `<rect class="ground" x="0.5" y="0.5" width="%g" height="%g" rx="10"/>`+"\n", Width-1, p.total()-1)
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

// generousWidth is a letter's, in sizes: no common font's average is as wide, bold or not.
const generousWidth = 0.8

func (l label) size() float64 {
	if l.class == "head" {
		return headSize
	}
	return textSize
}

// box is what a label takes.
func (l label) box() bar {
	w := generousWidth * l.size() * float64(utf8.RuneCountInString(l.text))
	b := bar{x: l.x, y: l.y - 0.8*l.size(), w: w, h: l.size()}
	if l.class == "value" {
		b.x -= w
	}
	return b
}

func (b bar) overlaps(o bar) bool {
	return b.x < o.x+o.w && o.x < b.x+b.w && b.y < o.y+o.h && o.y < b.y+b.h
}

// Faults are the labels that, in some reader's font, may be over another or over a bar, or
// leave the picture.
func (p *Picture) Faults() (faults []string) {
	if len(p.labels) == 0 {
		return []string{"there are no labels"}
	}
	for i, l := range p.labels {
		box := l.box()
		if box.x < 0 || box.x+box.w > Width || box.y < 0 || box.y+box.h > p.total() {
			faults = append(faults, fmt.Sprintf("%q leaves the picture: %+v", l.text, box))
		}
		for _, o := range p.labels[:i] {
			if box.overlaps(o.box()) {
				faults = append(faults, fmt.Sprintf("%q is over %q", l.text, o.text))
			}
		}
		if i := slices.IndexFunc(p.bars, box.overlaps); i >= 0 {
			faults = append(faults, fmt.Sprintf("%q is over a bar at %+v", l.text, p.bars[i]))
		}
	}
	return faults
}
