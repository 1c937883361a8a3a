package main

import (
	"errors"
	"image/color"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plotAll draws CPU time in one file, memory and connecting in another.
func plotAll(res *results, dir string) error {
	return errors.Join(
		res.plot(filepath.Join(dir, "cpu.svg"), columns[:len(cells)]),
		res.plot(filepath.Join(dir, "connections.svg"), columns[len(cells):]),
	)
}

// Sizes of a plot.
const (
	plotWidth = 18 * vg.Centimeter
	rowHeight = 0.55 * vg.Centimeter
	plotExtra = 1.6 * vg.Centimeter // title and axis
	plotsGap  = 0.5 * vg.Centimeter
)

var (
	ours      = color.RGBA{R: 0x1b, G: 0x6c, B: 0xa8, A: 0xff}
	others    = color.RGBA{R: 0xb0, G: 0xb8, B: 0xbf, A: 0xff}
	floorGray = color.RGBA{R: 0x6b, G: 0x72, B: 0x78, A: 0xff}
)

// plot draws one chart for each column, under each other.
func (res *results) plot(file string, cs []column) error {
	cs = slices.DeleteFunc(slices.Clone(cs), func(c column) bool { return len(res.plotted(c)) == 0 })
	height := rowHeight*vg.Length(len(res.measured())) + plotExtra
	canvas := vgsvg.New(plotWidth, (height+plotsGap)*vg.Length(len(cs)))
	tiles := draw.Tiles{Rows: len(cs), Cols: 1, PadY: plotsGap, PadTop: plotsGap / 2, PadBottom: plotsGap / 2, PadLeft: plotsGap, PadRight: plotsGap}
	var charts [][]*plot.Plot
	for _, c := range cs {
		chart, err := res.chart(c)
		if err != nil {
			return err
		}
		charts = append(charts, []*plot.Plot{chart})
	}
	for i, row := range plot.Align(charts, tiles, draw.New(canvas)) {
		charts[i][0].Draw(row[0])
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(f)
	return errors.Join(err, f.Close())
}

// plotted are the rows that have something to show in a column.
func (res *results) plotted(c column) []*row {
	return slices.DeleteFunc(res.measured(), func(r *row) bool {
		_, ok := r.median(c)
		return !ok && r.Failures[c.cell] == ""
	})
}

// chart has a bar for each server that was measured, the first on top, and its
// value in words behind it, or that it failed.
func (res *results) chart(c column) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = c.title + ", " + c.unit
	p.Title.TextStyle.Font.Size = 11
	p.Title.Padding = 2 * vg.Millimeter
	p.X.Min = 0

	rows := res.plotted(c)
	slices.Reverse(rows)
	var names []string
	var labels plotter.XYLabels
	most := 0.0
	for i, r := range rows {
		v, ok := r.median(c)
		most = max(most, v)
		text := "failed"
		if ok {
			text = number(v)
			bar, err := plotter.NewBarChart(plotter.Values{v}, rowHeight*0.7)
			if err != nil {
				return nil, err
			}
			bar.Horizontal, bar.XMin, bar.LineStyle.Width = true, float64(i), 0
			bar.Color = barColor(r)
			p.Add(bar)
		}
		names = append(names, r.Title)
		labels.XYs = append(labels.XYs, plotter.XY{X: v, Y: float64(i)})
		labels.Labels = append(labels.Labels, text)
	}
	texts, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	for i := range texts.TextStyle {
		texts.TextStyle[i].Font.Size = 9
		texts.TextStyle[i].YAlign = draw.YCenter
	}
	texts.Offset = vg.Point{X: 1 * vg.Millimeter}
	p.Add(texts)
	p.NominalY(names...)
	p.X.Max = max(most*1.12, 1)
	p.Y.Min, p.Y.Max = -0.6, float64(len(rows))-0.4
	return p, nil
}

func barColor(r *row) color.Color {
	switch r.Name {
	case "sockeye":
		return ours
	case "floor":
		return floorGray
	}
	return others
}
