package prometheus

import (
	"cmp"
	"reflect"
	"slices"
	"sync"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye"
)

// Options are how a server is exported. The zero value works.
type Options struct {
	// Labels are added to every metric, as to tell servers of one process apart.
	Labels map[string]string

	// Buckets are the upper bounds, in seconds, of the histogram of handlers' time.
	// Default: from 50 microseconds to 10 seconds, three for each factor of ten.
	Buckets []float64

	// MaxEvents bounds how many events have series of their own; further ones are
	// counted as "other", as those are that have no handler. Default 100. Negative: none.
	MaxEvents int

	// MaxNamespaces bounds how many namespaces have series of their own; further ones
	// are summed as "other". Those that peers make are summed as "dynamic" in any
	// case. Default 20. Negative: none.
	MaxNamespaces int
}

// What is summed. No namespace is called that: their names begin with a slash.
const (
	other   = "other"
	dynamic = "dynamic"
)

// Collector exports a server: a prometheus.Collector of client_golang. Its methods may
// be called from any goroutine.
type Collector struct {
	// Immutable after NewCollector.
	srv                         *sockeye.Server
	readers                     []reader
	descs                       []*prom.Desc // each once
	namespaces, sockets, rooms  *prom.Desc
	recovered, missed, awaiting *prom.Desc
	live, ready                 *prom.Desc
	handlers                    *handlers
	maxNamespaces               int

	// Guarded by mu.
	mu    sync.Mutex
	named []string // the namespaces that have series of their own
}

var _ prom.Collector = (*Collector)(nil)

// NewCollector makes a collector of a server. It is to be registered; and Events is to be
// given to UseEvents of each namespace whose handlers are to be measured.
func NewCollector(srv *sockeye.Server, opts Options) *Collector {
	constant := prom.Labels(opts.Labels)
	desc := func(name, help string, labels ...string) *prom.Desc {
		return prom.NewDesc("sockeye_"+name, help, labels, constant)
	}
	c := &Collector{
		srv:        srv,
		readers:    readers(rows, constant),
		namespaces: desc("namespaces", "Namespaces, by who has made them: the application, or peers (dynamic).", "kind"),
		sockets:    desc("sockets", "Connected sockets, by namespace.", "namespace"),
		rooms:      desc("rooms", "Rooms that somebody is in, by namespace; sockets' own are left out.", "namespace"),
		recovered:  desc("recovered_total", "Sockets that came back as themselves (Config.Recovery).", "namespace"),
		missed:     desc("recovery_missed_total", "Sockets that asked to come back, and were not known any more.", "namespace"),
		awaiting:   desc("recovery_sockets", "Sockets that have gone and may come back.", "namespace"),
		live:       desc("live", "Whether all event loops turn: Server.Health, as Healthz answers."),
		ready:      desc("ready", "Whether new peers may come: Server.Health, as Readyz answers."),
		handlers:   newHandlers(opts, constant),

		maxNamespaces: cmp.Or(opts.MaxNamespaces, 20),
	}
	for _, r := range c.readers {
		if !slices.Contains(c.descs, r.desc) {
			c.descs = append(c.descs, r.desc)
		}
	}
	c.descs = append(c.descs, c.namespaces, c.sockets, c.rooms, c.recovered, c.missed, c.awaiting, c.live, c.ready)
	return c
}

// Describe is for the registry.
func (c *Collector) Describe(ch chan<- *prom.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
	c.handlers.time.Describe(ch)
}

// Collect is for the registry, at each scrape. It may be called while the server shuts
// down, and after.
func (c *Collector) Collect(ch chan<- prom.Metric) {
	stats := c.srv.Stats()
	v := reflect.ValueOf(&stats).Elem()
	for i := range c.readers {
		c.readers[i].read(v, ch)
	}
	h := c.srv.Health()
	ch <- prom.MustNewConstMetric(c.live, gauge, zeroOrOne(h.Live))
	ch <- prom.MustNewConstMetric(c.ready, gauge, zeroOrOne(h.Ready))
	c.collectNamespaces(ch)
	c.handlers.time.Collect(ch)
}

func zeroOrOne(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// crowd is what namespaces of one label have.
type crowd struct {
	sockets, rooms int
	recovery       sockeye.RecoveryStats
}

func (c *crowd) add(ns *sockeye.Namespace) {
	c.sockets += ns.Len()
	c.rooms += ns.RoomCount()
	r := ns.RecoveryStats()
	c.recovery.Recovered += r.Recovered
	c.recovery.Missed += r.Missed
	c.recovery.Sockets += r.Sockets
}

func (c *Collector) collectNamespaces(ch chan<- prom.Metric) {
	crowds := map[string]*crowd{}
	add := func(label string, ns *sockeye.Namespace) {
		sum := crowds[label]
		if sum == nil {
			sum = new(crowd)
			crowds[label] = sum
		}
		sum.add(ns)
	}
	counts := map[string]int{"fixed": 0, dynamic: 0}
	var fixed []*sockeye.Namespace
	for _, ns := range c.srv.Namespaces() {
		if ns.Dynamic() {
			counts[dynamic]++
			add(dynamic, ns)
		} else {
			fixed = append(fixed, ns)
		}
	}
	counts["fixed"] = len(fixed)
	// In an order: which of them have series of their own is the same in every process.
	slices.SortFunc(fixed, func(a, b *sockeye.Namespace) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, ns := range fixed {
		add(c.label(ns.Name()), ns)
	}
	for kind, n := range counts {
		ch <- prom.MustNewConstMetric(c.namespaces, gauge, float64(n), kind)
	}
	for label, sum := range crowds {
		ch <- prom.MustNewConstMetric(c.sockets, gauge, float64(sum.sockets), label)
		ch <- prom.MustNewConstMetric(c.rooms, gauge, float64(sum.rooms), label)
		ch <- prom.MustNewConstMetric(c.awaiting, gauge, float64(sum.recovery.Sockets), label)
		if label == dynamic {
			continue // its namespaces come and go, and a counter must not fall
		}
		ch <- prom.MustNewConstMetric(c.recovered, counter, float64(sum.recovery.Recovered), label)
		ch <- prom.MustNewConstMetric(c.missed, counter, float64(sum.recovery.Missed), label)
	}
}

// label is a namespace's own, for the first of them.
func (c *Collector) label(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case slices.Contains(c.named, name):
	case len(c.named) >= c.maxNamespaces:
		return other
	default:
		c.named = append(c.named, name)
	}
	return name
}
