package prometheus

import (
	"cmp"
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye"
)

var defaultBuckets = []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10}

// handlers measure the time of handlers, by event.
type handlers struct {
	// Immutable after newHandlers.
	time      *prom.HistogramVec
	others    prom.Observer
	maxEvents int

	// Any goroutine (atomic): replaced as a whole.
	known atomic.Pointer[map[string]prom.Observer]

	// Guarded by mu: who replaces known.
	mu sync.Mutex
}

func newHandlers(opts Options, constant prom.Labels) *handlers {
	buckets := opts.Buckets
	if buckets == nil {
		buckets = defaultBuckets
	}
	h := &handlers{
		time: prom.NewHistogramVec(prom.HistogramOpts{
			Name: "sockeye_handler_duration_seconds", Buckets: buckets, ConstLabels: constant,
			Help: "Time of handlers and of the middlewares behind this one, by event; other has events without a handler.",
		}, []string{"event"}),
		maxEvents: cmp.Or(opts.MaxEvents, 100),
	}
	h.others = h.time.WithLabelValues(other)
	h.known.Store(&map[string]prom.Observer{})
	return h
}

// of is the observer of an event's time. An event without a handler may have any name:
// a peer has chosen it.
func (h *handlers) of(e *sockeye.Event) prom.Observer {
	name := e.Name()
	if o := (*h.known.Load())[name]; o != nil {
		return o
	}
	if !e.HasHandler() {
		return h.others
	}
	return h.add(name)
}

// add gives an event series of its own, if there may be another one.
func (h *handlers) add(name string) prom.Observer {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := *h.known.Load()
	switch o := known[name]; {
	case o != nil:
		return o
	case len(known) >= h.maxEvents:
		return h.others
	}
	o := h.time.WithLabelValues(name)
	known = maps.Clone(known)
	known[name] = o
	h.known.Store(&known)
	return o
}

// Events measures the time of an event's handler, and of the middlewares that are
// registered after it. It is for UseEvents of a server, a namespace or a parent:
//
//	srv.UseEvents(m.Events)
func (c *Collector) Events(ctx context.Context, e *sockeye.Event, next func(ctx context.Context) error) error {
	o := c.handlers.of(e) // before: a handler that is for once is gone after
	start := time.Now()
	defer func() { o.Observe(time.Since(start).Seconds()) }() // whatever the handler does
	return next(ctx)
}
