//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

// measurement is all connections, and what the modes count.
type measurement struct {
	options
	crowd     *load.Crowd
	servers   processes
	clients   []load.Conn
	lastError error
	fatal     error  // of epoll itself
	text      []byte // a packet that is being sent
	filler    string

	measuring bool
	delivered int64
	latency   load.Histogram
}

// stampSize is about what the numbers of a message take of its payload.
const stampSize = 20

// measure connects, runs the mode and returns the figures, also those there are
// at an error.
func measure(o options) (result, error) {
	r := result{"label": o.label, "mode": o.mode, "transport": o.transport(), "n": o.n, "payload": o.payload}
	crowd, err := load.NewCrowd(o.config())
	if err != nil {
		return r, err
	}
	l := &measurement{
		options: o, crowd: crowd, servers: o.pids, clients: make([]load.Conn, o.n),
		filler: strings.Repeat("x", max(0, o.payload-stampSize)),
	}
	crowd.OnGone = func(_ *load.Conn, f *load.Fault) { l.lastError = f }

	mem, cpu, kernel, begin := l.servers.memory(), l.servers.cpu(), slab(), time.Now()
	l.connectAll()
	r["connect_per_s"] = round(float64(l.crowd.Ready)/time.Since(begin).Seconds(), 0)
	r["ready"], r["failed"] = l.crowd.Ready, l.crowd.Failed
	if l.lastError != nil {
		r["error"] = l.lastError.Error()
	}
	if l.crowd.Ready == 0 {
		return r, errors.New("no connection")
	}
	r["connect_cpu_us"] = round((l.servers.cpu()-cpu)*1e6/float64(l.crowd.Ready), 0)

	perConn := func() float64 { return round((l.servers.memory()-mem)/float64(max(1, l.crowd.Ready)), 0) }
	l.run(o.settle, nil)
	r["rss_mib"] = round(l.servers.memory()/(1<<20), 0)
	r["bytes_per_conn"] = perConn()
	r["kernel_bytes_per_conn"] = round((slab()-kernel)/float64(l.crowd.Ready)/2, 0)

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
	r["alive"] = l.crowd.Ready
	switch {
	case l.fatal != nil:
		err = l.fatal
	case l.crowd.Failed > 0:
		r["failed"], r["error"] = l.crowd.Failed, l.lastError.Error()
		err = fmt.Errorf("%d connections failed: %w", l.crowd.Failed, l.lastError)
	}
	return r, err
}

// perSource is how many connections come from one address: an address has about
// 28,000 ports.
const perSource = 10000

// config is that of the connections.
func (o *options) config() load.Config {
	return load.Config{
		Servers: o.addrs, Path: o.path, Polling: o.polling, Timeout: connectTime,
		Source: func(id int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + id/perSource)}) },
	}
}

// Limits of connecting: in all, and without any progress.
const (
	connectTime  = 120 * time.Second
	connectStall = 15 * time.Second
)

// connectAll opens all connections, not too many at a time.
func (l *measurement) connectAll() {
	end, progress, next, seen := time.Now().Add(connectTime), time.Now(), 0, 0
	for l.crowd.Ready+l.crowd.Failed < l.n && l.fatal == nil {
		for ; l.crowd.UnderWay < l.dialing && next < l.n; next++ {
			l.crowd.Open(&l.clients[next], next)
		}
		l.wait(50 * time.Millisecond)
		if l.crowd.Ready != seen {
			seen, progress = l.crowd.Ready, time.Now()
		}
		if now := time.Now(); now.After(end) || now.Sub(progress) > connectStall {
			break
		}
	}
	if missing := l.n - l.crowd.Ready; missing > 0 {
		// Those that have not finished count as well.
		l.crowd.Failed = missing
		if l.lastError == nil {
			l.lastError = errors.New("handshakes did not finish")
		}
	}
}

// run handles events for this long, and calls tick, if any, every millisecond.
func (l *measurement) run(d time.Duration, tick func()) {
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

func (l *measurement) wait(d time.Duration) {
	if err := l.crowd.Run(d); err != nil {
		l.fatal = err
	}
}

// selfCPU is the CPU time of this process, in seconds.
func selfCPU() float64 { return processes{os.Getpid()}.cpu() }
