//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// load is all connections, and what the modes count.
type load struct {
	options
	*loop
	servers   processes
	clients   []conn
	ready     int
	underWay  int // handshakes
	failed    int
	lastError error
	fatal     error                        // of epoll itself
	onMessage func(c *conn, packet []byte) // set by the mode
	scratch   []byte                       // a frame that is being written
	text      []byte                       // a packet that is being sent
	filler    string

	measuring bool
	delivered int64
	latency   histogram
}

// stampSize is about what the numbers of a message take of its payload.
const stampSize = 20

// measure connects, runs the mode and returns the figures, also those there are
// at an error.
func measure(o options) (result, error) {
	r := result{"label": o.label, "mode": o.mode, "transport": o.transport(), "n": o.n, "payload": o.payload}
	lp, err := newLoop(&o)
	if err != nil {
		return r, err
	}
	l := &load{
		options: o, loop: lp, servers: o.pids, clients: make([]conn, o.n),
		filler: strings.Repeat("x", max(0, o.payload-stampSize)),
	}

	mem, cpu, kernel, begin := l.servers.memory(), l.servers.cpu(), slab(), time.Now()
	l.connectAll()
	r["connect_per_s"] = round(float64(l.ready)/time.Since(begin).Seconds(), 0)
	r["ready"], r["failed"] = l.ready, l.failed
	if l.lastError != nil {
		r["error"] = l.lastError.Error()
	}
	if l.ready == 0 {
		return r, errors.New("no connection")
	}
	r["connect_cpu_us"] = round((l.servers.cpu()-cpu)*1e6/float64(l.ready), 0)

	perConn := func() float64 { return round((l.servers.memory()-mem)/float64(max(1, l.ready)), 0) }
	l.run(o.settle, nil)
	r["rss_mib"] = round(l.servers.memory()/(1<<20), 0)
	r["bytes_per_conn"] = perConn()
	r["kernel_bytes_per_conn"] = round((slab()-kernel)/float64(l.ready)/2, 0)

	switch o.mode {
	case "idle":
		l.idle(r)
	case "listen":
		l.listen()
	case "bcast":
		l.bcast(r)
	case "echo":
		l.echo(r)
	case "churn":
		l.churn(r)
	case "storm":
		l.echo(r)
		r["bytes_per_conn_stormed"] = perConn()
		l.run(o.quiet, nil)
	}
	if o.mode != "idle" && o.mode != "listen" {
		r["bytes_per_conn_after"] = perConn()
	}
	r["alive"] = l.ready
	switch {
	case l.fatal != nil:
		err = l.fatal
	case l.failed > 0:
		r["failed"], r["error"] = l.failed, l.lastError.Error()
		err = fmt.Errorf("%d connections failed: %w", l.failed, l.lastError)
	}
	return r, err
}

// Limits of connecting: in all, and without any progress.
const (
	connectTime  = 120 * time.Second
	connectStall = 15 * time.Second
)

// connectAll opens all connections, not too many at a time.
func (l *load) connectAll() {
	end, progress, next, seen := time.Now().Add(connectTime), time.Now(), 0, 0
	for l.ready+l.failed < l.n && l.fatal == nil {
		for ; l.underWay < l.dialing && next < l.n; next++ {
			l.open(&l.clients[next], next)
		}
		l.wait(50 * time.Millisecond)
		if l.ready != seen {
			seen, progress = l.ready, time.Now()
		}
		if now := time.Now(); now.After(end) || now.Sub(progress) > connectStall {
			break
		}
	}
	if missing := l.n - l.ready; missing > 0 {
		l.failed = missing
		if l.lastError == nil {
			l.lastError = errors.New("handshakes did not finish")
		}
	}
}

func (l *load) open(c *conn, id int) {
	*c = conn{l: l, id: id}
	if err := l.connect(c, id); err != nil {
		c.stage = closed
		l.fail(err)
		return
	}
	l.underWay++
}

// joined counts a connection that has become ready.
func (l *load) joined() {
	l.underWay--
	l.ready++
}

// leave closes a connection that is no longer wanted.
func (l *load) leave(c *conn) {
	if c.stage == ready {
		l.ready--
	} else {
		l.underWay--
	}
	l.shut(c)
	if c.poster != nil {
		l.shut(c.poster)
		c.poster = nil
	}
}

// drop closes a connection that has ended by itself, which is a failure, unless
// it is a poster's that had nothing to do: it is opened again when needed.
func (l *load) drop(c *conn, why error) {
	if c.stage == closed {
		return
	}
	if o := c.owner; o != nil {
		dialed := c.stage == ready
		l.shut(c)
		o.poster = nil
		if c.posting || !dialed {
			l.drop(o, fmt.Errorf("POST: %w", why))
		}
		return
	}
	l.leave(c)
	l.fail(why)
}

func (l *load) shut(c *conn) {
	c.stage = closed
	c.in, c.out = nil, nil
	l.close(c)
}

func (l *load) fail(why error) {
	l.failed++
	l.lastError = why
}

// run handles events for this long, and calls tick, if any, every millisecond.
func (l *load) run(d time.Duration, tick func()) {
	end := time.Now().Add(d)
	for l.fatal == nil {
		if tick != nil {
			tick()
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		most := 100 * time.Millisecond
		if tick != nil {
			most = time.Millisecond
		}
		l.wait(min(left, most))
	}
}

func (l *load) wait(d time.Duration) {
	if err := l.poll(d); err != nil {
		l.fatal = err
	}
}

// selfCPU is the CPU time of this process, in seconds.
func selfCPU() float64 { return processes{os.Getpid()}.cpu() }
