package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// results are all figures of a run, as results.json has them.
type results struct {
	Date     time.Time `json:"date"`
	Machine  machine   `json:"machine"`
	Sockeye  string    `json:"sockeye"`
	Rounds   int       `json:"rounds"`
	Duration string    `json:"duration"`
	Rows     []*row    `json:"rows"`
}

// row is a server's.
type row struct {
	Name     string               `json:"name"`
	Title    string               `json:"title"`
	Version  string               `json:"version,omitempty"`
	Missing  string               `json:"missing,omitempty"` // why it was not installed
	Runs     map[string][]figures `json:"runs,omitempty"`    // by cell, one a round
	Failures map[string]string    `json:"failures,omitempty"`
}

// column is one of the table and of the plots.
type column struct {
	title string
	unit  string
	cell  string
	value func(figures) float64
	quiet bool // taken before any message was sent
}

var columns = func() []column {
	var cs []column
	for _, c := range cells {
		cs = append(cs, column{title: c.title, unit: "µs a delivery", cell: c.id, value: func(f figures) float64 { return f.CPU }})
	}
	return append(cs,
		column{"memory of a connection, of 10,000", "bytes", capacityCell, func(f figures) float64 { return f.Bytes }, true},
		column{"connecting", "µs a connection", capacityCell, func(f figures) float64 { return f.ConnectCPU }, true},
	)
}()

// median is a row's median in a column, of the rounds that did not fail; it is
// not ok if there is none.
func (r *row) median(c column) (float64, bool) {
	if len(r.Runs[c.cell]) == 0 {
		return 0, false
	}
	var vs []float64
	for _, f := range r.Runs[c.cell] {
		vs = append(vs, c.value(f))
	}
	slices.Sort(vs)
	m := (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
	return m, m > 0
}

// undelivered is how many messages a server lost in a cell.
func (r *row) undelivered(cell string) float64 {
	lost := 0.0
	for _, f := range r.Runs[cell] {
		lost += f.Undelivered
	}
	return lost
}

// save writes results.json and results.md.
func (res *results) save(dir string) error {
	b, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "results.json"), append(b, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "results.md"), []byte(res.markdown()), 0o644),
	)
}

// renderAgain makes results.md and the plots from results.json.
func renderAgain(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		return err
	}
	res := &results{}
	if err := json.Unmarshal(b, res); err != nil {
		return err
	}
	return errors.Join(res.save(dir), plotAll(res, dir))
}

func (res *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Socket.IO servers, %s\n\n", res.Date.Format(time.DateOnly))
	fmt.Fprintf(&b, "CPU time of the server, user and system: microseconds of each message that a client received (broadcasts, echo) or of\n"+
		"each connection (connecting). Memory: growth of the server's proportional set size a connection, idle, 10,000 connected.\n"+
		"Messages of 100 bytes; a server on one core, the load client on another, one after another; medians of %d rounds of %s.\n\n", res.Rounds, res.Duration)
	fmt.Fprintf(&b, "%s. Sockeye at %s.\n\n", res.Machine, res.Sockeye)
	res.table(&b, columns)
	b.WriteString("\n![CPU time of a delivered message](cpu.svg)\n\n![Memory of a connection, and CPU time of connecting](connections.svg)\n")
	b.WriteString("\n## Latency and throughput\n\nThese are of a closed loop: a server that delivers more also queues more. p99 in ms, deliveries a second.\n\n")
	var more []column
	for _, c := range cells {
		more = append(more,
			column{title: c.title, unit: "p99 ms", cell: c.id, value: func(f figures) float64 { return f.P99 }},
			column{title: c.title, unit: "a second", cell: c.id, value: func(f figures) float64 { return f.Rate }})
	}
	res.table(&b, more)
	res.notes(&b)
	return b.String()
}

// measured are the rows of the servers that were to be had; of the others the
// notes tell.
func (res *results) measured() []*row {
	return slices.DeleteFunc(slices.Clone(res.Rows), func(r *row) bool { return r.Missing != "" })
}

// table writes a row for each server that was measured. A cell says "failed" if
// no round succeeded; a figure with a note has a mark.
func (res *results) table(b *strings.Builder, cs []column) {
	b.WriteString("| server |")
	for _, c := range cs {
		fmt.Fprintf(b, " %s, %s |", c.title, c.unit)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(cs)) + "\n")
	for _, r := range res.measured() {
		fmt.Fprintf(b, "| %s |", r.Title)
		for _, c := range cs {
			switch v, ok := r.median(c); {
			case ok && (r.Failures[c.cell] != "" || !c.quiet && r.undelivered(c.cell) > 0):
				fmt.Fprintf(b, " %s (!) |", number(v))
			case ok:
				fmt.Fprintf(b, " %s |", number(v))
			case r.Failures[c.cell] != "":
				b.WriteString(" failed |")
			default:
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
}

// notes writes versions, and everything that did not go well.
func (res *results) notes(b *strings.Builder) {
	b.WriteString("\n## Servers\n\n")
	for _, r := range res.Rows {
		if r.Missing != "" {
			fmt.Fprintf(b, "- %s: not installed: %s.\n", r.Title, strings.TrimRight(r.Missing, "."))
			continue
		}
		fmt.Fprintf(b, "- %s: %s.\n", r.Title, r.Version)
		for _, c := range cells {
			if why := r.Failures[c.id]; why != "" {
				fmt.Fprintf(b, "  - %s: failed in %d of %d rounds: %s\n", c.title, res.Rounds-len(r.Runs[c.id]), res.Rounds, why)
			}
			if lost := r.undelivered(c.id); lost > 0 {
				fmt.Fprintf(b, "  - %s: %.0f messages were not delivered two seconds after the last was sent.\n", c.title, lost)
			}
		}
	}
	b.WriteString("\nThe kernel's row is what `write` costs that puts the same bytes into the same number of sockets, as many messages in each\n" +
		"as the window. Figures of different runs or machines do not compare.\n")
}

// number prints three digits or so, and thousands with commas.
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
