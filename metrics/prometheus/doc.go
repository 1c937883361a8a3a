// Package prometheus exports a Sockeye server's counters to Prometheus.
//
//	m := prometheus.NewCollector(srv, prometheus.Options{})
//	srv.UseEvents(m.Events)          // the time of handlers; for each namespace, before other middlewares
//	reg.MustRegister(m)              // reg is client_golang's
//	http.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
//
// Nouns: a row is a field of sockeye.Stats under a metric's name, and all of them are
// in rows.go; a Collector reads Stats once for each scrape.
//
//	Stats() ──> rows ────────────────┐
//	Health() ──> live, ready ────────┤
//	Namespaces() ──> sockets, rooms ─┼─> Collect ──> a scrape
//	UseEvents ──> histogram ─────────┘
//
// A scrape stops no loop, and visits no socket. The number of series is bounded by
// Options, whatever peers send: names of events that have no handler, and namespaces
// that peers have made, are counted together.
//
// It does not tell how the process does: client_golang's collectors of the Go runtime and
// of the process do.
package prometheus
