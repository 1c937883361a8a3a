package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// progress tells how far the run is: in one line that is written over on a terminal, else
// in a line now and then. It is written by a goroutine of its own: whoever does not read
// must not hold up the load.
type progress struct {
	w        io.Writer
	terminal bool
	columns  int
	lines    chan string
	ended    chan struct{}
	name     string // of the phase
	done     float64
	changed  bool // there is a phase that no line has told
	rates    string
	told     time.Time
}

// How often it tells.
const (
	redrawEvery = 200 * time.Millisecond
	lineEvery   = 5 * time.Second
	flushTime   = time.Second
)

func newProgress(w io.Writer, o *options) *progress {
	p := &progress{w: w, lines: make(chan string, 1), ended: make(chan struct{})}
	if f, ok := w.(*os.File); ok {
		p.columns, p.terminal = isTerminal(f.Fd())
	}
	if o.quiet {
		close(p.ended)
		p.w = nil
		return p
	}
	go func() {
		defer close(p.ended)
		for line := range p.lines {
			_, _ = io.WriteString(p.w, line)
		}
	}()
	return p
}

// phase begins a part of the run.
func (p *progress) phase(name string) {
	if name != p.name {
		p.name, p.done, p.changed = name, 0, true
	}
}

// share tells how much of it is done.
func (p *progress) share(done float64) { p.done = min(max(done, 0), 1) }

// line is what is told.
func (p *progress) line(at time.Duration, connections, wanted int, faults int64) string {
	const width = 20
	bar := ""
	if p.terminal {
		full := int(p.done * width)
		bar = " [" + strings.Repeat("#", full) + strings.Repeat("-", width-full) + "]"
	}
	text := fmt.Sprintf("%6.1fs %s%s %3.0f%%  %s/%s connections  %s errors%s", at.Seconds(), p.name, bar, p.done*100, grouped(connections), grouped(wanted), grouped(faults), p.rates)
	if !p.terminal {
		return text + "\n"
	}
	if columns := p.columns; columns > 10 && utf8.RuneCountInString(text) >= columns {
		text = string([]rune(text)[:columns-1])
	}
	return "\r" + text + "\x1b[K"
}

// tell writes a line, unless the last one has not been read yet.
func (p *progress) tell(line string) {
	select {
	case p.lines <- line:
	default:
	}
}

// end ends the line.
func (p *progress) end() {
	if p.w == nil {
		return
	}
	if p.terminal {
		p.tell("\r\x1b[K")
	}
	close(p.lines)
	select {
	case <-p.ended:
	case <-time.After(flushTime):
	}
}
