// Package promqltest has tests alone: the expressions of ../grafana.json are parsed by
// Prometheus' own parser, which is too large for a module that others import.
package promqltest
