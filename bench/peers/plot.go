package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/internal/picture"
)

// plotAll draws CPU time in one file, memory and connecting in another.
func plotAll(res *results, dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cpu.svg"), res.picture("CPU time of a delivered message", columns[:len(cells)]).SVG(), 0o644),
		os.WriteFile(filepath.Join(dir, "connections.svg"), res.picture("Memory of a connection, and CPU time of connecting", columns[len(cells):]).SVG(), 0o644),
	)
}

// picture has one chart for each column, under each other.
func (res *results) picture(title string, cs []column) *picture.Picture {
	p := picture.New(title)
	for _, c := range cs {
		var rows []picture.Row
		for _, r := range res.plotted(c) {
			v, ok := r.median(c)
			text := "failed"
			if ok {
				text = number(v)
			}
			rows = append(rows, picture.Row{Name: r.Title, Class: barClass(r), Value: v, Text: text, None: !ok})
		}
		if len(rows) > 0 {
			p.Chart(c.title, strings.Replace(c.unit, "µs a", "µs of CPU a", 1)+"; less is better", rows)
		}
	}
	return p
}

// plotted are the rows that have something to show in a column.
func (res *results) plotted(c column) []*row {
	return slices.DeleteFunc(res.measured(), func(r *row) bool {
		_, ok := r.median(c)
		return !ok && r.Failures[c.cell] == ""
	})
}

func barClass(r *row) picture.Class {
	switch r.Name {
	case "sockeye":
		return picture.Sockeye
	case "floor":
		return picture.Floor
	}
	return picture.Other
}
