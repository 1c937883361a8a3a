//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

// One in so many deliveries has its latency taken: a look at the clock is not
// free.
const (
	bcastSample = 16
	echoSample  = 8
)

// idle holds the connections.
func (l *measurement) idle(r result) {
	cpu := l.servers.cpu()
	l.run(l.measured, nil)
	r["idle_cpu_pct"] = round((l.servers.cpu()-cpu)/l.measured.Seconds()*100, 2)
}

// bcast has one connection send; all count.
func (l *measurement) bcast(r result) {
	var (
		sent, done int64
		got        = map[int64]*int{} // deliveries of broadcasts that have not reached all
		last       int64              // the broadcast that was counted last
		lastGot    *int               // its entry in got
		draining   bool
		begin      = time.Now()
	)
	send := func() {
		sent++
		got[sent] = new(int)
		l.text = append(l.text[:0], bcastStart...)
		l.text = append(strconv.AppendInt(l.text, sent, 10), '-')
		l.finish(l.sender())
	}
	l.crowd.OnMessage = func(_ *load.Conn, p []byte) {
		text, ok := argument(p, bcastStart)
		if !ok {
			return
		}
		seq, text, ok := load.LeadingNumber(text)
		if !ok {
			return
		}
		l.deliver(text, bcastSample)
		if seq != last {
			last, lastGot = seq, got[seq]
		}
		if lastGot == nil {
			return // not ours, or one too many
		}
		if *lastGot++; *lastGot == l.crowd.Ready {
			delete(got, seq)
			lastGot = nil
			done++
			if l.perSecond == 0 && !draining {
				send()
			}
		}
	}
	var tick func()
	if l.perSecond > 0 {
		tick = func() {
			for due := int64(time.Since(begin).Seconds() * l.perSecond); sent < due; {
				send()
			}
		}
	} else {
		for range l.window {
			send()
		}
	}
	l.run(l.warm, tick)
	before := done
	elapsed := l.figures(r, tick)
	r["broadcasts_per_s"] = round(float64(done-before)/elapsed, 2)
	draining = true
	l.run(2*time.Second, nil)
	lost := 0
	for _, n := range got {
		lost += l.crowd.Ready - *n
	}
	r["undelivered_after_drain"] = lost
}

// listen holds the connections until standard input ends. Each broadcast of the servers'
// is told in a line of JSON when it has reached all: seq, and how long the last one took.
func (l *measurement) listen() {
	got := map[int64]int{}
	l.crowd.OnMessage = func(_ *load.Conn, p []byte) {
		text, ok := argument(p, bcastStart)
		if !ok {
			return
		}
		seq, text, ok := load.LeadingNumber(text)
		if !ok {
			return
		}
		if got[seq]++; got[seq] < l.crowd.Ready {
			return
		}
		delete(got, seq)
		if at, _, ok := load.LeadingNumber(text); ok {
			fmt.Printf("{\"seq\":%d,\"last_ms\":%.2f}\n", seq, float64(time.Now().UnixNano()-at)/1e6)
		}
	}
	fmt.Printf("{\"ready\":%d}\n", l.crowd.Ready)
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for l.fatal == nil {
		select {
		case <-ended:
			return
		default:
			l.wait(20 * time.Millisecond)
		}
	}
}

// echo has every connection, or some, keep messages in flight.
func (l *measurement) echo(r result) {
	stop := false
	send := func(c *load.Conn) {
		l.text = append(l.text[:0], echoStart...)
		l.finish(c)
	}
	l.crowd.OnMessage = func(c *load.Conn, p []byte) {
		text, ok := argument(p, echoStart)
		if !ok {
			return
		}
		l.deliver(text, echoSample)
		if !stop {
			send(c)
		}
	}
	active := l.active
	if active <= 0 || active > l.n {
		active = l.n
	}
	for i := range active {
		for range l.window {
			if c := &l.clients[i]; c.Stage() == load.Ready {
				send(c)
			}
		}
	}
	l.run(l.warm, nil)
	l.figures(r, nil)
	stop = true
	l.run(time.Second, nil)
}

// churn closes connections and opens them again, one after another.
func (l *measurement) churn(r result) {
	cpu, begin := l.servers.cpu(), time.Now()
	next, churned := 0, 0
	l.run(l.measured, func() {
		for k := 0; k < 64 && l.crowd.UnderWay < l.dialing; k++ {
			c := &l.clients[next]
			next = (next + 1) % l.n
			if c.Stage() != load.Ready {
				continue
			}
			l.crowd.Cut(c)
			l.crowd.Open(c, c.ID)
			churned++
		}
	})
	r["churn_per_s"] = round(float64(churned)/time.Since(begin).Seconds(), 0)
	if churned > 0 {
		r["churn_cpu_us"] = round((l.servers.cpu()-cpu)*1e6/float64(churned), 0)
	}
	l.run(2*time.Second, nil)
}

// figures measures while the load runs, and returns how many seconds that took.
func (l *measurement) figures(r result, tick func()) float64 {
	l.measuring = true
	cpu, own, begin := l.servers.cpu(), selfCPU(), time.Now()
	l.run(l.measured, tick)
	l.measuring = false
	elapsed := time.Since(begin).Seconds()
	cpu, own = l.servers.cpu()-cpu, selfCPU()-own
	r["deliveries_per_s"] = round(float64(l.delivered)/elapsed, 0)
	if l.delivered > 0 {
		r["server_cpu_us_per_delivery"] = round(cpu*1e6/float64(l.delivered), 3)
		r["client_cpu_us_per_delivery"] = round(own*1e6/float64(l.delivered), 3)
	}
	r["server_cpu_pct"] = round(cpu/elapsed*100, 0)
	r.latencies(&l.latency)
	return elapsed
}

// deliver counts a message that has come; text begins with the time it was sent.
func (l *measurement) deliver(text []byte, sample int64) {
	if !l.measuring {
		return
	}
	if l.delivered++; l.delivered%sample == 0 {
		if at, _, ok := load.LeadingNumber(text); ok {
			l.latency.Add(time.Now().UnixNano() - at)
		}
	}
}

// finish adds the time and the filler to the packet begun in text, and sends it.
func (l *measurement) finish(c *load.Conn) {
	l.text = append(strconv.AppendInt(l.text, time.Now().UnixNano(), 10), '-')
	l.text = append(append(l.text, l.filler...), `"]`...)
	c.Send(l.text)
}

// sender is the connection that sends the broadcasts: the first that lives.
func (l *measurement) sender() *load.Conn {
	for i := range l.clients {
		if l.clients[i].Stage() == load.Ready {
			return &l.clients[i]
		}
	}
	return &l.clients[0]
}
