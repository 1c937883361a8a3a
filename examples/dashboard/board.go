package main

import (
	"context"
	"fmt"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye"
)

const (
	interval = time.Second
	kept     = 120 // values of each figure
)

// figure is one that the board has.
type figure struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
}

// figures, in the order in which pages show them.
var figures = []figure{
	{"heap", "Heap", "MB"},
	{"goroutines", "Goroutines", ""},
	{"pages", "Pages that look", ""},
	{"in", "Received", "kB/s"},
	{"out", "Sent", "kB/s"},
	{"events", "Events sent", "1/s"},
}

// board keeps what the figures have been, and tells who looks.
type board struct {
	srv *sockeye.Server

	mu     sync.Mutex
	values map[string][]float64 // by figure, the newest last

	// Of tick's goroutine.
	last sample
}

// sample is what is measured at a moment.
type sample struct {
	at               time.Time
	heap, goroutines float64
	in, out, events  float64 // since the start
}

func newBoard(srv *sockeye.Server) *board {
	b := &board{srv: srv, values: map[string][]float64{}, last: take(srv)}
	srv.OnConnection(func(s *sockeye.Socket) { _ = s.Emit("figures", figures) })
	srv.On("look", b.look)
	srv.On("look away", func(s *sockeye.Socket, id string) { s.Leave(room(id)) })
	return b
}

// room has those who look at a figure.
func room(id string) string { return "figure " + id }

// look answers what a figure has been; its next values follow. It answers under the lock: a
// value that came before the answer would be lost to the page.
func (b *board) look(s *sockeye.Socket, e *sockeye.Event) error {
	var id string
	if err := e.Decode(&id); err != nil {
		return err
	}
	if !slices.ContainsFunc(figures, func(f figure) bool { return f.ID == id }) {
		return &sockeye.AckError{Message: fmt.Sprintf("there is no figure %q", id)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := s.Join(room(id)); err != nil {
		return err
	}
	return e.Ack(append([]float64{}, b.values[id]...))
}

// run measures until ctx is done.
func (b *board) run(ctx context.Context) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			b.tick(take(b.srv))
		}
	}
}

// tick tells who looks what is new.
func (b *board) tick(now sample) {
	was, seconds := b.last, now.at.Sub(b.last.at).Seconds()
	b.last = now
	for id, v := range map[string]float64{
		"heap":       now.heap / 1e6,
		"goroutines": now.goroutines,
		"pages":      float64(b.srv.Len()),
		"in":         (now.in - was.in) / 1e3 / seconds,
		"out":        (now.out - was.out) / 1e3 / seconds,
		"events":     (now.events - was.events) / seconds,
	} {
		b.add(id, v)
	}
}

// add keeps a value, and sends it: under the lock, so that each page gets it either by the
// answer to its look or by the event.
func (b *board) add(id string, v float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := append(b.values[id], v)
	b.values[id] = list[max(0, len(list)-kept):]
	_ = b.srv.To(room(id)).Emit("value", id, v)
}

// take measures.
func take(srv *sockeye.Server) sample {
	of := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(of)
	s := srv.Stats()
	return sample{
		at: time.Now(), heap: float64(of[0].Value.Uint64()), goroutines: float64(of[1].Value.Uint64()),
		in: float64(s.Net.BytesIn), out: float64(s.Net.BytesOut), events: float64(s.EventsOut + s.Deliveries),
	}
}
