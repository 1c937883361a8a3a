package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

// Bounds of what waits.
const (
	maxPending    = 1000    // messages of a connection without an answer
	maxUnread     = 1 << 20 // bytes of a connection that the server has not read
	maxBroadcasts = 10000   // that have not come to all
	retryAfter    = time.Second
	leaveTime     = 2 * time.Second // long-polling: for saying goodbye
	checkEvery    = 100 * time.Millisecond
)

// measurement is one run. Everything is on one goroutine.
type measurement struct {
	o        *options
	crowd    *load.Crowd
	conns    []load.Conn
	users    []user
	open     int // conns[:open] are those that should be there
	target   int // how many there are to be
	most     int // that were ready at a time
	attempts int64
	begin    time.Time
	r        *report
	progress *progress
	stop     <-chan struct{}
	reason   string // why the run has ended before its time

	traffic   bool      // messages are sent
	measuring bool      // and counted
	trafficAt time.Time // since when
	sent      int64     // messages that were due, since then
	next      int       // the connection whose turn it is
	closing   bool      // nothing that ends now is an error

	mode   mode
	start  []byte // of an event, up to its number: 42 and the namespace
	tail   []byte // of an event: its name and what follows
	filler string
	text   []byte

	faults     load.Faults
	latency    load.Histogram // all of it
	connect    load.Histogram
	late       load.Histogram // how late messages were sent
	recent     load.Histogram // since the last sample
	counts     counts
	lastCounts counts // at the last sample
	series     series
	sampled    time.Time
	checked    time.Time
	succeeded  time.Time // when a connect did last
	cpu        time.Duration
	wall       time.Duration
}

// counts are numbers that only grow.
type counts struct {
	connects, sent, received, faults int64
}

// user is what a connection is to the mode.
type user struct {
	due     int64 // of its connect, in nanoseconds since the beginning
	nextID  int
	pending []pending
}

// pending is a message that has no answer.
type pending struct {
	id int
	at int64 // when it was due
}

// mode is what connections do.
type mode interface {
	ready(c *load.Conn)                   // c has joined
	message(c *load.Conn, p *load.Packet) // an event or an acknowledgement
	gone(c *load.Conn)                    // c has ended by itself
	left(c *load.Conn)                    // c is about to leave, as it should
	due(now int64) (next int64)           // do what is due; when is the next
	check(now int64)                      // what is late
	waiting() bool                        // something is under way
}

// measure does the run that the options ask for.
func measure(o *options, p *progress, stop <-chan struct{}) (*report, error) {
	m, err := newMeasurement(o, p, stop)
	if err != nil {
		return nil, err
	}
	defer m.crowd.Close()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-stop:
			m.crowd.Wake()
		case <-done:
		}
	}()
	err = m.run()
	m.finish()
	if err == nil && m.most == 0 && !m.r.Interrupted {
		err = errors.New("no connection has joined: the errors above tell why")
	}
	return m.r, err
}

// newMeasurement is one that has not begun.
func newMeasurement(o *options, p *progress, stop <-chan struct{}) (*measurement, error) {
	server, err := reach(o)
	if err != nil {
		return nil, err
	}
	source, err := fit(o, server)
	if err != nil {
		return nil, err
	}
	cfg := load.Config{
		Servers: []netip.AddrPort{server}, Host: o.url.Host, Path: o.url.EscapedPath(), Query: o.url.RawQuery,
		TLS: o.tls, Polling: o.polling, Namespace: o.namespace, Source: source, Timeout: o.timeout, MaxMessage: o.maxMessage,
	}
	for _, h := range o.headers {
		cfg.Header += h + "\r\n"
	}
	if o.auth != "" {
		cfg.Auth = func(id int) []byte { return []byte(o.authOf(id)) }
	}
	crowd, err := load.NewCrowd(cfg)
	if err != nil {
		return nil, err
	}
	m := &measurement{
		o: o, crowd: crowd, conns: make([]load.Conn, o.most()), users: make([]user, o.most()), progress: p, stop: stop,
		begin: time.Now(), r: newReport(o), filler: strings.Repeat("x", o.size),
		start: []byte("42" + crowd.Prefix()),
	}
	m.r.Server = server.String()
	m.sampled, m.checked, m.succeeded = m.begin, m.begin, m.begin
	m.tail = append(m.tail, load.NewEventName(o.event).Start()...)
	m.tail = append(m.tail, `,"`...)
	m.mode = m.newMode()
	crowd.OnReady, crowd.OnMessage, crowd.OnGone = m.onReady, m.onMessage, m.onGone
	return m, nil
}

// reach is the server's address, of several the first that takes a connection.
func reach(o *options) (netip.AddrPort, error) {
	port := o.url.Port()
	if port == "" {
		port = "80"
		if o.tls != nil {
			port = "443"
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", o.url.Hostname())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the server's name: %w", err)
	}
	var errs []error
	for _, a := range addrs {
		if a = a.Unmap(); a.Zone() != "" || len(o.sources) > 0 && a.Is4() != o.sources[0].Is4() {
			continue
		}
		var d net.Dialer
		var nc net.Conn
		if nc, err = d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port)); err != nil {
			errs = append(errs, err)
			continue
		}
		_ = nc.Close()
		return nc.RemoteAddr().(*net.TCPAddr).AddrPort(), nil
	}
	if len(errs) == 0 {
		return netip.AddrPort{}, unfit("the server has no address of the same kind (IPv4, IPv6) as -source")
	}
	return netip.AddrPort{}, fmt.Errorf("the server takes no connection: %w", errors.Join(errs...))
}

// since is a time as nanoseconds since the beginning.
func (m *measurement) since(t time.Time) int64 { return t.Sub(m.begin).Nanoseconds() }

// now is the present one. It is not that of the loop's turn: many messages come in one.
func (m *measurement) now() int64 { return time.Since(m.begin).Nanoseconds() }

func (m *measurement) fault(kind, text string, n int64) {
	if m.closing || n == 0 {
		return
	}
	m.faults.Add(load.Fault{Kind: kind, Text: text}, n, time.Since(m.begin))
	m.counts.faults += n
}

func (m *measurement) onReady(c *load.Conn) {
	m.counts.connects++
	m.most = max(m.most, m.crowd.Ready)
	m.succeeded = m.crowd.Now()
	took := m.now() - m.users[c.ID].due
	m.connect.Add(took)
	if m.o.mode == "idle" || m.o.mode == "churn" {
		m.record(took)
	}
	m.mode.ready(c)
}

// record counts a latency.
func (m *measurement) record(ns int64) {
	m.recordN(ns, 1)
}

// recordLost counts messages that have not come: they took -timeout at least.
func (m *measurement) recordLost(waited, n int64) {
	if m.most > 0 { // or there is no server to judge
		m.recordN(max(waited, int64(m.o.timeout)), n)
	}
}

func (m *measurement) recordN(ns, n int64) {
	m.recent.AddN(ns, n)
	if m.measuring || m.o.mode == "idle" {
		m.latency.AddN(ns, n)
	}
}

func (m *measurement) onMessage(c *load.Conn, b []byte) {
	p, ok := load.Parse(b[1:])
	if !ok {
		m.fault(load.KindProtocol, "an event that is not Socket.IO's", 1)
		return
	}
	m.mode.message(c, &p)
}

func (m *measurement) onGone(c *load.Conn, f *load.Fault) {
	m.fault(f.Kind, f.Text, 1)
	m.mode.gone(c)
	m.users[c.ID].pending = nil
}

// connectOne opens a connection that was due at a time.
func (m *measurement) connectOne(id int, due int64) {
	m.attempts++
	c := &m.conns[id]
	if c.Stage() != load.Closed {
		m.crowd.Cut(c)
	}
	m.users[id] = user{due: due, pending: m.users[id].pending[:0]}
	m.crowd.Open(c, id)
}

// errStopped ends a run whose time has not come.
var errStopped = errors.New("stopped")

// run does the stages, and then waits for what is under way.
func (m *measurement) run() error {
	var cpu time.Duration
	err := func() error {
		for i, s := range m.o.stages {
			if err := m.ramp(i, s); err != nil {
				return err
			}
			hold := s.hold
			if i == 0 {
				cpu = ownCPU()
				m.traffic, m.trafficAt = true, time.Now()
				if m.o.warmup == 0 {
					m.measureFromNow()
				}
				for id := range m.conns {
					if c := &m.conns[id]; c.Stage() == load.Ready {
						m.mode.ready(c)
					}
				}
				if err := m.turns(m.o.warmup, "warming up"); err != nil {
					return err
				}
				if !m.measuring {
					m.measureFromNow()
				}
			}
			if err := m.turns(hold, "stage "+strconv.Itoa(i+1)+"/"+strconv.Itoa(len(m.o.stages))); err != nil {
				return err
			}
		}
		return nil
	}()
	if m.traffic {
		m.cpu, m.wall = ownCPU()-cpu, time.Since(m.trafficAt)
		if m.measuring {
			m.r.measured = time.Since(m.r.measureFrom)
		}
	}
	m.traffic = false
	if errors.Is(err, errStopped) {
		err = nil
	}
	if err == nil {
		err = m.drain()
	}
	return err
}

// measureFromNow forgets the messages that were before.
func (m *measurement) measureFromNow() {
	m.sample(time.Now())
	m.measuring = true
	m.counts.sent, m.counts.received = 0, 0
	m.lastCounts.sent, m.lastCounts.received = 0, 0
	m.r.measureFrom = time.Now()
}

// ramp opens or closes connections until there are those of the stage.
func (m *measurement) ramp(number int, s stage) error {
	begin := m.now()
	from := m.open
	m.target = s.connections
	m.progress.phase(fmt.Sprintf("ramp %d/%d", number+1, len(m.o.stages)))
	total := abs(s.connections - from)
	m.succeeded = time.Now()
	for i := 0; m.open != s.connections; {
		due := begin
		if s.ramp > 0 {
			due += int64(float64(i) / s.ramp * 1e9)
		}
		now := m.now()
		wait := due - now
		switch {
		case wait > 0:
		case m.open > s.connections:
			m.open--
			m.mode.left(&m.conns[m.open])
			m.crowd.Leave(&m.conns[m.open])
			i++
			continue
		case m.crowd.UnderWay < m.o.connecting:
			m.connectOne(m.open, max(due, begin))
			if s.ramp == 0 { // it was due when there was room for it
				m.users[m.open].due = now
			}
			m.open++
			i++
			if i%16 != 0 {
				continue
			}
			wait = 0
		default: // until a handshake ends
			wait = int64(checkEvery)
			if m.crowd.Now().Sub(m.succeeded) > m.o.timeout+time.Second {
				m.fault("not tried", fmt.Sprintf("no connection was made in %v: the rest of the ramp", m.o.timeout), int64(s.connections-m.open))
				return nil
			}
		}
		m.progress.share(float64(i) / float64(total))
		if err := m.turn(wait); err != nil {
			return err
		}
	}
	for m.crowd.UnderWay > 0 {
		if err := m.turn(int64(checkEvery)); err != nil {
			return err
		}
		if m.o.mode == "churn" && m.traffic {
			break // there always are some
		}
	}
	return nil
}

// turns goes on for a time.
func (m *measurement) turns(d time.Duration, phase string) error {
	if d == 0 {
		return nil
	}
	m.progress.phase(phase)
	begin := time.Now()
	for {
		passed := time.Since(begin)
		if passed >= d {
			return nil
		}
		m.progress.share(float64(passed) / float64(d))
		if err := m.turn(int64(d - passed)); err != nil {
			return err
		}
		if m.crowd.Ready == 0 && m.crowd.UnderWay == 0 && m.open > 0 && m.o.mode != "churn" {
			if m.most > 0 {
				m.reason = "all connections are gone"
			}
			return errStopped
		}
		if m.o.mode == "churn" && m.open > 0 && m.crowd.Ready == 0 && m.crowd.Now().Sub(m.succeeded) > m.o.timeout+time.Second {
			m.reason = fmt.Sprintf("no connection was made in %v", m.o.timeout)
			return errStopped
		}
	}
}

// How long a sample is, until there are too many.
const (
	sampleEvery = time.Second
	minSample   = 100 * time.Millisecond // a shorter one tells little
)

// turn waits for events, no longer than this, and does what is due.
func (m *measurement) turn(wait int64) error {
	now := m.now()
	if m.traffic {
		if next := m.mode.due(now); next > 0 {
			wait = min(wait, next-now)
		}
	}
	wait = min(wait, int64(checkEvery))
	if err := m.crowd.Run(time.Duration(max(wait, 0))); err != nil {
		return err
	}
	at := m.crowd.Now()
	if at.Sub(m.checked) >= checkEvery {
		m.checked = at
		m.mode.check(m.since(at))
		m.progress.show(m)
	}
	if at.Sub(m.sampled) >= sampleEvery {
		m.sample(at)
	}
	select {
	case <-m.stop:
		m.r.Interrupted = true
		return errStopped
	default:
		return nil
	}
}

// sample ends one.
func (m *measurement) sample(at time.Time) {
	d := at.Sub(m.sampled)
	if d < minSample {
		return
	}
	c, last := m.counts, m.lastCounts
	m.series.add(sample{
		end: at.Sub(m.begin), length: d, connections: m.crowd.Ready, connects: c.connects - last.connects,
		sent: c.sent - last.sent, received: c.received - last.received, faults: c.faults - last.faults, latency: m.recent.Take(),
	})
	m.progress.sampled(m)
	m.sampled, m.lastCounts = at, c
}

// drain waits for answers that are still to come.
func (m *measurement) drain() error {
	most := m.o.timeout + checkEvery
	if m.r.Interrupted {
		most = min(most, time.Second)
	}
	m.progress.phase("waiting for the last answers")
	for begin := time.Now(); m.mode.waiting() && time.Since(begin) < most && m.crowd.Ready > 0; {
		if err := m.turn(int64(checkEvery)); err != nil && !errors.Is(err, errStopped) {
			return err
		}
		if m.r.Interrupted {
			most = min(most, time.Second)
		}
	}
	if m.r.Interrupted { // what was under way had no time
		for i := range m.users {
			m.users[i].pending = nil
		}
	} else {
		m.mode.check(1 << 62)
	}
	return nil
}

// finish says goodbye, and fills in the report.
func (m *measurement) finish() {
	m.sample(time.Now())
	r := m.r
	r.AtEnd = m.crowd.Ready
	m.closing = true
	m.crowd.OnMessage, m.crowd.OnGone = nil, nil
	for i := range m.conns {
		m.crowd.Leave(&m.conns[i])
		if m.o.polling && i%100 == 99 {
			_ = m.crowd.Run(0)
		}
	}
	for begin := time.Now(); m.crowd.Leaving > 0 && time.Since(begin) < leaveTime; {
		if m.crowd.Run(checkEvery) != nil {
			break
		}
	}
	r.fill(m)
}

// nextReady is the connection whose turn it is to send, among the first n.
func (m *measurement) nextReady(n int) *load.Conn {
	for range n {
		c := &m.conns[m.next%n]
		m.next = (m.next + 1) % n
		if c.Stage() == load.Ready {
			return c
		}
	}
	return nil
}

// send sends an event. Its number is of an acknowledgement, or -1; lead begins its text. It
// is false if the server has not read what was sent before.
func (m *measurement) send(c *load.Conn, id int, lead []byte) bool {
	if c.Waiting() > maxUnread {
		m.fault("not sent", "the server does not read: 1 MiB waits for a connection", 1)
		return false
	}
	m.text = append(m.text[:0], m.start...)
	if id >= 0 {
		m.text = strconv.AppendInt(m.text, int64(id), 10)
	}
	m.text = append(append(m.text, m.tail...), lead...)
	m.text = append(append(m.text, m.filler[:max(0, len(m.filler)-len(lead))]...), `"]`...)
	c.Send(m.text)
	m.counts.sent++
	return true
}

// dueMessages is how many of a rate are due, and when the next one is.
func (m *measurement) dueMessages(now int64, each func(at int64)) (next int64) {
	zero := m.since(m.trafficAt)
	for n := 0; ; n++ {
		at := zero + int64(float64(m.sent)/m.o.rate*1e9)
		if at > now {
			return at
		}
		if n == maxBurst { // answers are to be read in between
			return now
		}
		m.sent++
		m.late.Add(m.now() - at)
		each(at)
	}
}

// maxBurst is how many messages are sent without looking for answers.
const maxBurst = 64

// ownCPU is this process's CPU time.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func abs(n int) int { return max(n, -n) }
