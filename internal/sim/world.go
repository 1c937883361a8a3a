package sim

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/sim/yield"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
)

// Result is what a seed has led to.
type Result struct {
	Seed   uint64
	Hash   uint64         // of all that happened, in its order
	Faults []string       // "kind: what"
	Counts map[string]int // how much of what there was
	Trace  []string       // the last of what happened
	World  string         // what the seed has made
}

// world is one run.
type world struct {
	seed      uint64
	rng       *rand.Rand
	cfg       plan
	kernel    *kernel
	schedule  *schedule
	ledger    *ledger
	srv       *sockeye.Server
	parent    *sockeye.ParentNamespace
	clients   []*client
	strangers []*conn
	nonces    map[string]place
	closing   bool // the server is being closed
	cleanup   bool // of child namespaces
	sids      int
	steps     int

	calm atomic.Bool // the application does nothing more by itself

	lives   []*life // guarded by ledger.mu
	streams []*stream

	// Guarded by mu.
	mu     yield.Mutex
	hash   hash.Hash64
	trace  []string
	faults []string
	counts map[string]int
	rooms  []map[string]int // members by room, as OnRoom tells; for each namespace
}

func (w *world) newStream() *stream {
	s := &stream{name: len(w.streams)}
	w.streams = append(w.streams, s)
	return s
}

// note writes down something that has happened.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := fmt.Sprintf("%d %v ", w.steps, w.kernel.Now()) + fmt.Sprintf(format, args...)
	_, _ = io.WriteString(w.hash, line)
	w.trace = append(w.trace, line)
}

// fault writes down that something is wrong.
func (w *world) fault(kind, format string, args ...any) {
	w.note("FAULT "+kind+": "+format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, kind+": "+fmt.Sprintf(format, args...))
}

func (w *world) count(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what] += n
}

// excuse notes that the application disconnects a socket that is there.
func (w *world) excuse(l *life, session bool) {
	at, ok := w.nonces[l.nonce]
	if !ok || at.c.sessions != at.session {
		return
	}
	if at.s.nonce == l.nonce {
		at.s.dropped = true
	}
	if session {
		at.c.excused = true
		for _, s := range at.c.seats {
			s.dropped = true
			if s.peer != nil {
				s.peer.out = true
			}
		}
	}
}

// place is who has connected by a nonce.
type place struct {
	c       *client
	session int
	s       *seat
}

// watchdog is how long, in real time, a seed may take: one that hangs is told.
const watchdog = 20 * time.Second

// Run runs a seed.
func Run(t *testing.T, seed uint64) (r Result) {
	dog := time.AfterFunc(watchdog, func() {
		stacks := make([]byte, 1<<20)
		panic(fmt.Sprintf("sim: seed %d hangs: somebody waits for a lock that is never given back, or computes without end\n%s", seed, stacks[:runtime.Stack(stacks, true)]))
	})
	defer dog.Stop()
	if Secure {
		tlspeer.Certificate() // once a process, by no seed
	}
	cryptotest.SetGlobalRandom(t, seed)
	var w *world
	defer func() {
		if v := recover(); v != nil {
			if w == nil || !strings.Contains(fmt.Sprint(v), "deadlock") {
				panic(v)
			}
			w.faults = append(w.faults, fmt.Sprint("goroutines: ", v))
		}
		r = w.result()
	}()
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed)
		w.run()
	})
	return r
}

func (w *world) result() Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Result{Seed: w.seed, Hash: w.hash.Sum64(), Faults: w.faults, Counts: w.counts, Trace: w.trace, World: w.describe()}
}

func (w *world) describe() string {
	var b strings.Builder
	p := w.cfg
	fmt.Fprintf(&b, "loops %d, workers %d, descriptors %d, crowd %d, inline %v, recovery %v, memory %d, actors %d, steps %d, closed early %v;", p.loops, p.workers, p.descriptors, p.crowd,
		p.inline, p.recovery != nil, p.maxMemory, p.actors, p.steps, p.early)
	for _, c := range w.clients[:min(p.clients, len(w.clients))] {
		fmt.Fprintf(&b, " c%d %s", c.name, c.manner)
	}
	return b.String()
}

func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), nonces: map[string]place{}, hash: fnv.New64a(), counts: map[string]int{},
	}
	w.cfg = newPlan(w.rng)
	w.kernel = newKernel(w.rng, w.cfg.loops, w.cfg.descriptors)
	w.schedule = newSchedule(seed, w.cfg.workers)
	w.schedule.deepen()
	w.ledger = newLedger(w)
	var err error
	if w.srv, err = sockeye.New(w.cfg.config(w)); err != nil {
		panic(err)
	}
	w.register()
	for i := range w.cfg.clients {
		w.clients = append(w.clients, w.newClient(i))
	}
	for i := range w.cfg.crowd {
		c := w.newClient(w.cfg.clients + i)
		c.manner, c.crowd, c.first, c.retryAt = proper, true, true, 0
		c.seats = []*seat{{ns: "/", wish: "crowd"}}
		w.clients = append(w.clients, c)
		c.connect()
	}
	for range w.cfg.actors {
		w.spawn(w.rng.Uint64(), (*actor).background)
	}
	return w
}

// run lets the world go on, calms it down, takes it apart, and looks at what is
// left.
func (w *world) run() {
	if w.cfg.crowd > 0 {
		w.settle(time.Second, nil)
	}
	for range w.cfg.steps {
		w.step(true)
	}
	closed := make(chan error, 1)
	if w.cfg.early {
		w.close(closed)
		w.awaitClose(closed)
	}
	w.calmDown()
	w.depart()
	if !w.cfg.early {
		w.checkEmpty()
		w.close(closed)
		w.awaitClose(closed)
	}
	w.settle(30*time.Second, nil)
	for _, c := range w.kernel.conns {
		c.leave(false)
	}
	w.checkEnd()
}

// class is a kind of step, of which there may be several.
type class struct {
	weight, n int
	do        func(i int)
}

// step does one thing that may happen now; false: nothing may. Without wild nothing
// new is begun.
func (w *world) step(wild bool) bool {
	w.steps++
	time.Sleep(time.Microsecond + time.Duration(w.rng.IntN(40_000)))
	due := those(w.kernel.loops, (*poller).due)
	ready := those(w.kernel.conns, func(c *conn) bool { _, ok := c.ready(); return ok })
	up, down := those(w.kernel.conns, (*conn).sends), those(w.kernel.conns, (*conn).receives)
	readers := those(w.clients, (*client).readable)
	accepts := 0
	if len(w.kernel.backlog) > 0 && w.kernel.held() < w.kernel.limit {
		accepts = 1
	}
	parked, gates := w.schedule.standing()
	runners := w.schedule.waiting()
	classes := []class{
		{8, len(due), func(i int) { due[i].turn() }},
		{8, len(ready), func(i int) {
			c := ready[i]
			writable, _ := c.ready()
			w.kernel.group.Loop(c.loop).Deliver(writable, c.fd)
		}},
		{8, len(up), func(i int) { up[i].carryUp() }},
		{8, len(down), func(i int) { down[i].carryDown() }},
		{10, len(readers), func(i int) { readers[i].read() }},
		{4, accepts, func(int) { w.kernel.accept() }},
		{8, runners, func(i int) { w.note("a mailbox is run"); w.schedule.start(i) }},
		{10, parked, func(i int) { id := w.schedule.resume(i, false); w.note("f%d goes on", id) }},
	}
	sum := 0
	for _, c := range classes {
		sum += c.weight * min(c.n, 1)
	}
	idle := sum == 0
	strangers := 0
	if Secure {
		strangers = 1
	}
	if wild {
		classes = append(classes,
			class{1, gates, func(i int) { id := w.schedule.resume(i, true); w.note("f%d passes its gate", id) }},
			class{6, w.cfg.clients, func(i int) { w.clients[i].step() }},
			class{1, 1, func(int) { w.pass() }},
			class{1, strangers, func(int) { w.strange() }},
			class{1, 1, func(int) { // an event that has come too late
				fd := 3 + w.rng.IntN(len(w.kernel.fds))
				w.kernel.group.Loop(w.rng.IntN(w.cfg.loops)).Deliver(w.rng.IntN(2) == 0, fd)
			}},
		)
		sum += 6 + 1 + 1 + min(gates, 1) + strangers
	} else if idle {
		return false
	}
	pick := w.rng.IntN(sum)
	for _, c := range classes {
		if c.n == 0 {
			continue
		}
		if pick < c.weight {
			c.do(w.rng.IntN(c.n))
			synctest.Wait()
			break
		}
		pick -= c.weight
	}
	if w.steps%16 == 0 {
		w.checkMemory()
		w.kernel.forget()
	}
	return true
}

// those are the members of a list that are so.
func those[T any](list []T, so func(T) bool) (some []T) {
	for _, x := range list {
		if so(x) {
			some = append(some, x)
		}
	}
	return some
}

// pass lets time pass. What is under way goes on meanwhile, as it would: honest
// clients answer pings in time.
func (w *world) pass() {
	d := time.Duration(w.rng.Int64N(int64(30 * time.Millisecond)))
	if w.rng.IntN(6) == 0 {
		d = time.Duration(w.rng.Int64N(int64(3 * time.Second)))
	}
	w.note("%v pass", d)
	w.settle(d, nil)
}

// maxSteps is more than any seed needs.
const maxSteps = 100_000

// settle does what there is to do, for so long or until cond is true.
func (w *world) settle(limit time.Duration, cond func() bool) bool {
	end := w.kernel.Now() + limit
	for {
		for w.step(false) {
			if w.steps > maxSteps {
				w.fault("end", "it does not come to an end")
				return false
			}
		}
		if w.calm.Load() {
			w.goOn()
		}
		now := w.kernel.Now()
		w.ledger.checkCalls(false)
		switch {
		case cond != nil && cond():
			return true
		case now >= end || w.steps > maxSteps:
			return false
		}
		d := min(500*time.Millisecond, end-now)
		if alarm, ok := w.kernel.nextAlarm(); ok {
			d = min(d, max(alarm, time.Microsecond))
		}
		time.Sleep(d)
	}
}

// goOn has clients do what they do in any case: come back, and answer.
func (w *world) goOn() {
	for _, c := range w.clients {
		if c.gone {
			continue
		}
		if !c.open {
			if w.kernel.Now() >= c.retryAt && !w.closing {
				c.connect()
			}
			continue
		}
		for _, s := range c.seats {
			if s.state == seatIn {
				s.answerLate()
			}
		}
	}
}

// calmDown opens the gates, has nothing new begin, and everything that is under way
// end. Who is there then has got what was sent to it, and the answers.
func (w *world) calmDown() {
	w.note("calm")
	w.calm.Store(true)
	w.schedule.openGates()
	w.dismiss()
	for _, c := range w.clients {
		if c.stalled {
			c.stalled = false
			c.poll()
		}
		for _, l := range c.lines() {
			l.window, l.buffer = 1<<20, 1<<20
		}
	}
	w.settle(w.cfg.ackTimeout+w.cfg.emitTimeout+5*time.Second, nil)
	w.ledger.checkCalls(true)
	if ready, gates := w.schedule.standing(); ready+gates > 0 {
		w.fault("goroutines", "%d goroutines of the application still wait to go on", ready+gates)
	}
	if w.closing {
		return
	}
	for _, c := range w.clients {
		w.checkClient(c)
	}
}

// depart has all clients go, in different ways.
func (w *world) depart() {
	w.note("departure")
	for _, c := range w.clients {
		c.gone = true
		if !c.open {
			continue
		}
		c.strange = true
		switch c.rng.IntN(4) {
		case 0:
			c.drop(true)
		case 1:
			c.drop(false)
		case 2:
			for _, l := range c.lines() {
				l.cut(true)
			}
			c.drop(true)
		default:
			if c.sid != "" {
				c.send("1")
			}
			w.settle(time.Second, nil)
			c.drop(false)
		}
	}
	// Longer than heartbeats, timeouts and recovery.
	w.settle(3*time.Minute, func() bool {
		_, alarm := w.kernel.nextAlarm()
		return !alarm && w.srv.Stats().Net.MemoryBytes == 0
	})
}

// close begins to close the server.
func (w *world) close(done chan error) {
	w.note("close")
	w.closing = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		done <- w.srv.Shutdown(ctx)
	}()
}

const closeTime = 4 * time.Second

func (w *world) awaitClose(done chan error) {
	began := w.kernel.Now()
	over := func() bool { return len(done) > 0 }
	// Loops that are turned by hand stop in their next turn.
	if !w.settle(closeTime+time.Second, over) {
		w.fault("close", "Close has not returned after %v", closeTime+time.Second)
		return
	}
	err := <-done
	w.note("closed: %v, after %v", err == nil, w.kernel.Now()-began)
	if err != nil && !(w.cfg.early && errors.Is(err, context.DeadlineExceeded)) {
		w.fault("close", "Close: %v", err)
	}
}
