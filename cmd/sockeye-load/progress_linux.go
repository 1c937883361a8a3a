package main

import "fmt"

// show tells how far the run is, if it is time.
func (p *progress) show(m *measurement) {
	now := m.crowd.Now()
	every := lineEvery
	if p.terminal {
		every = redrawEvery
	}
	if p.w == nil || now.Sub(p.told) < every && !(p.changed && now.Sub(p.told) >= redrawEvery) {
		return
	}
	p.told, p.changed = now, false
	p.tell(p.line(now.Sub(m.begin), m.crowd.Ready, m.target, m.faults.Total()))
}

// sampled keeps the rates of the last sample.
func (p *progress) sampled(m *measurement) {
	all := points(m.series.all[len(m.series.all)-1:])
	s := all[0]
	p.rates = ""
	if s.Connects > 0 {
		p.rates += fmt.Sprintf("  %s connects/s", figure(s.Connects))
	}
	if s.Received > 0 || s.Sent > 0 {
		p.rates += fmt.Sprintf("  %s sent/s  %s received/s", figure(s.Sent), figure(s.Received))
	}
	if s.Latencies > 0 {
		p.rates += fmt.Sprintf("  p50 %s  p99 %s", milliseconds(s.P50), milliseconds(s.P99))
	}
}
