package main

import (
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

// sample is what was in a part of the run.
type sample struct {
	end         time.Duration // since the beginning
	length      time.Duration
	connections int // at its end
	connects    int64
	sent        int64
	received    int64
	faults      int64
	latency     load.Sparse
}

// maxSamples is how many are kept: from then on each is of twice the time.
const maxSamples = 600

// series is samples in the order of time, of about one length.
type series struct {
	all   []sample
	every int // samples in one; 0: 1
	last  int // how many the last one has
}

// add adds one.
func (s *series) add(n sample) {
	s.every = max(s.every, 1)
	if s.last > 0 && s.last < s.every {
		s.all[len(s.all)-1] = join(s.all[len(s.all)-1], n)
		s.last++
		return
	}
	if len(s.all) == maxSamples {
		for i := range maxSamples / 2 {
			s.all[i] = join(s.all[2*i], s.all[2*i+1])
		}
		clear(s.all[maxSamples/2:])
		s.all = s.all[:maxSamples/2]
		s.every *= 2
	}
	s.all = append(s.all, n)
	s.last = 1
}

// join is two samples, one after the other, as one.
func join(a, b sample) sample {
	var h load.Histogram
	h.Join(a.latency)
	h.Join(b.latency)
	return sample{
		end: b.end, length: a.length + b.length, connections: b.connections, connects: a.connects + b.connects,
		sent: a.sent + b.sent, received: a.received + b.received, faults: a.faults + b.faults, latency: h.Take(),
	}
}
