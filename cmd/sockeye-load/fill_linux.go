package main

import (
	"fmt"
	"time"
)

// fill fills in what was measured.
func (r *report) fill(m *measurement) {
	r.Seconds, r.Measured = round(time.Since(m.begin).Seconds()), round(r.measured.Seconds())
	r.Ended = m.reason
	r.Attempts, r.Joined, r.Most = m.attempts, m.counts.connects, m.most
	r.Connect, r.Latency = quantilesOf(&m.connect), quantilesOf(&m.latency)
	r.Histogram = bars(&m.latency)
	r.Sent, r.Received = m.counts.sent, m.counts.received
	if s := r.measured.Seconds(); s > 0 {
		r.SentRate, r.RecvRate = round(float64(r.Sent)/s), round(float64(r.Received)/s)
	}
	r.BytesIn, r.BytesOut = m.crowd.BytesIn, m.crowd.BytesOut
	if b, ok := m.mode.(*broadcast); ok {
		c := &broadcasts{Sent: r.Sent, Complete: b.complete, Last: quantilesOf(&b.done), Foreign: b.foreign, ToSender: b.self}
		if r.Sent > 0 {
			c.Deliveries = round(float64(b.own) / float64(r.Sent))
		}
		r.Broadcast = c
	}
	if m.wall > 0 {
		r.Client.CPU = round(m.cpu.Seconds() / m.wall.Seconds())
	}
	if m.o.rate > 0 {
		r.Client.Late = quantilesOf(&m.late)
	}
	r.Errors = m.faults.Total()
	for _, c := range m.faults.All() {
		r.Kinds = append(r.Kinds, kind{c.Kind, c.Text, c.Count, round(c.First.Seconds())})
	}
	r.Series = points(m.series.all)
	r.warn(m)
	r.judge(m.o)
}

// Signs that this program was the limit, and not the server.
const (
	busyCores = 0.9
	lateMs    = 10
)

func (r *report) warn(m *measurement) {
	warn := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	if r.Client.CPU > busyCores {
		warn("this program took %.2f of the one core that it uses: the figures may be its own rather than the server's", r.Client.CPU)
	}
	if r.Client.Late.P99 > lateMs {
		warn("1 %% of the messages were sent %s or more after they were due: this machine is too busy for this -rate", milliseconds(r.Client.Late.P99))
	}
	switch {
	case m.most == 0 || r.Interrupted:
	case m.o.mode == "broadcast" && r.Received == 0:
		warn("no event %q came: does the server broadcast it, and in namespace %s?", m.o.on, m.o.namespace)
	case m.o.mode == "echo" && r.Received == 0:
		hint := "does it acknowledge " + fmt.Sprintf("%q", m.o.event) + "? -reply is for servers that answer by an event"
		if m.o.reply != "" {
			hint = fmt.Sprintf("does it send %q?", m.o.reply)
		}
		warn("the server answered nothing: %s", hint)
	}
}
