package netpoll

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// Loop is one goroutine over one poller. It owns its connections, its timers
// and everything that hangs on them; other goroutines own nothing here and may
// only Post.
type Loop struct {
	// Immutable after New.
	index int
	group *Group
	cfg   *Config
	sys   System
	h     Handler

	// Loop-owned.
	owner      owner
	now        int64 // nanoseconds on the group's monotonic clock
	wheel      wheel
	alarmAt    int64 // the tick at which System.WakeAfter will wake the loop; 0: none
	running    []job
	ran        int // of running
	flushers   []Flusher
	dirty      []*Conn    // have something to write
	ready      []*Conn    // have input that was left unread
	backlog    []*Conn    // have had their share, and more to do in the next turn
	spare      []*Conn    // backlog's memory, while it is worked through
	current    *Conn      // whose input is being processed
	moves      []move     // go to other loops
	gone       []goneConn // to be reported to the handler
	read       []byte     // what one read returns; borrowed by everything called from it
	write      []byte     // where small segments are joined for one write
	iovecs     [][]byte
	queues     []*outQueue           // empty ones
	listeners  map[int]*listener     // by descriptor; loop 0 only
	req        http1.Request         // the request being parsed
	holders    map[Holder]int        // hold much memory, and how much; see Memory
	addresses  map[*Conn]*address    // with Config.PerAddress only
	proxied    map[*Conn]proxied     // with Config.ProxyProtocol only
	inflated   map[*Conn]*inflateJob // messages that wait for Conn.Resume
	tls        tlsLoop               // handshakes and ciphers
	mounted    map[*Conn]*mounted    // connections that came by Place.Adopt and speak HTTP
	links      map[*Peer]*linkPool   // to other servers
	dialLine   []*Peer               // for whom a link is to be dialled
	dials      int                   // links that are being dialled
	bridged    readyList             // bridged connections that have something to tell
	date       []byte                // a Date field
	dateAt     int64                 // the second that it is for
	reading    bool                  // the loop was late: sockets are read before deadlines end
	thawed     int64                 // it was frozen: the tick until which deadlines wait; 0 if it was not
	fireTimer  func(*Timer)          // expireTimer, made once
	drainTimer Timer                 // when Group.Close has waited long enough
	draining   bool                  // Group.Close has closed the connections; new ones are not kept
	stopping   bool
	left       bool // runs no more, and its goroutine is free to wait

	// Guarded by mu.
	mu     sync.Mutex
	space  sync.Cond // signalled when posted jobs have been taken
	posted []job
	bytes  int
	closed bool

	// Any goroutine (atomic).
	meter    meter
	lookout  lookout
	armed    atomic.Bool  // a turn is certain to come: Post need not wake the loop
	waiting  atomic.Bool  // posted is not empty
	heaviest atomic.Int64 // the largest holder, when memory was last spent
}

type job struct {
	run   func(a, b any)
	a, b  any
	bytes int
}

// Flusher is told, once, that the present batch of work is over; see AtFlush.
type Flusher interface{ Flush() }

const (
	readBytes  = 64 << 10
	writeBytes = 64 << 10
)

func newLoop(g *Group, index int, sys System) *Loop {
	l := &Loop{
		index: index, group: g, cfg: &g.cfg, h: g.handler,
		read: make([]byte, readBytes), write: make([]byte, 0, writeBytes),
	}
	l.sys = &bridgeSystem{System: sys, l: l, b: &g.bridge}
	l.space.L = &l.mu
	l.fireTimer = l.expireTimer
	l.tickClock()
	l.wheel.tick = l.now / int64(tick)
	return l
}

// Index is the loop's number, from 0 to Group.Len()-1. Any goroutine.
func (l *Loop) Index() int { return l.index }

// Group is the group that the loop belongs to. Any goroutine.
func (l *Loop) Group() *Group { return l.group }

// Now is the time as of the present event, on a monotonic clock that starts
// with the group. Loop-owned.
func (l *Loop) Now() time.Duration { return time.Duration(l.now) }

func (l *Loop) tickClock() { l.now = int64(l.sys.Now()) }

// Post has the loop call run(a, b). Jobs of one loop run in the order in which
// they were posted. run should be a plain function and a and b pointers: then
// nothing is allocated. bytes is the memory that the job keeps alive.
//
// Post may be called from any goroutine. When the loop is more than
// Config.MaxPostedJobs or MaxPostedBytes behind, it waits, unless the caller is
// itself a loop. After the group has been closed jobs are dropped and Post
// returns false.
func (l *Loop) Post(run func(a, b any), a, b any, bytes int) bool {
	l.mu.Lock()
	if l.full() {
		l.waitForSpace()
	}
	return l.post(run, a, b, bytes)
}

// PostNow is Post that never waits: for those who hold a lock, and have called
// WaitForSpace before they took it.
func (l *Loop) PostNow(run func(a, b any), a, b any, bytes int) bool {
	l.mu.Lock()
	return l.post(run, a, b, bytes)
}

// WaitForSpace waits as Post does, until ctx is done at the latest: the error is
// ctx's then.
func (l *Loop) WaitForSpace(ctx context.Context) error {
	l.mu.Lock()
	full := l.full()
	l.mu.Unlock()
	if !full || OnLoop() {
		return nil
	}
	over := false // ctx is; it is asked without the lock, as it may be anybody's
	defer context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		over = true
		l.space.Broadcast()
	})()
	l.mu.Lock()
	for !l.closed && l.full() && !over {
		l.space.Wait()
	}
	late := over && l.full()
	l.mu.Unlock()
	if late {
		return ctx.Err()
	}
	return nil
}

// HasSpace tells whether Post would not wait now. Any goroutine.
func (l *Loop) HasSpace() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.full()
}

// full tells whether the loop is far behind. mu is held.
func (l *Loop) full() bool {
	return len(l.posted) >= l.cfg.MaxPostedJobs || l.bytes >= l.cfg.MaxPostedBytes
}

// post adds a job. mu is held, and given back.
func (l *Loop) post(run func(a, b any), a, b any, bytes int) bool {
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.posted = append(l.posted, job{run, a, b, bytes})
	l.bytes += bytes
	l.waiting.Store(true) // before Wake looks at armed
	l.mu.Unlock()
	l.Wake()
	return true
}

// waitForSpace blocks a caller outside the loops until the loop has caught up.
func (l *Loop) waitForSpace() {
	if !l.full() || OnLoop() {
		return // a loop that waited for another could wait for ever
	}
	for !l.closed && l.full() {
		l.space.Wait()
	}
}

// Wake makes sure that the loop turns once more. Any goroutine.
func (l *Loop) Wake() {
	if l.armed.CompareAndSwap(false, true) {
		l.meter.woken.Store(int64(l.sys.Now()))
		l.sys.Wake()
	}
}

// AtFlush makes the loop call f.Flush at the end of the present batch, before
// sockets are written: the place to turn what has gathered into one answer. The
// caller gives f once a batch. Loop-owned.
func (l *Loop) AtFlush(f Flusher) {
	l.Check()
	l.flushers = append(l.flushers, f)
}

// begin opens a batch: what is posted until end needs no wake-up.
func (l *Loop) begin() (own bool) {
	l.tickClock()
	l.meter.start(l.now)
	own = l.armed.CompareAndSwap(false, true)
	l.expire(false)
	return own
}

// end closes a batch: it runs what was posted meanwhile if no turn is certain
// to come for it, and writes to every socket that has something to write.
func (l *Loop) end(own bool) {
	if own {
		// Cleared before the queue is read: who posts after the reading finds
		// it clear and wakes the loop; who posted before is read.
		l.armed.Store(false)
		l.runPosted()
	}
	l.flush()
	l.meter.finish(l.now, int64(l.sys.Now()))
}

// turn answers a wake-up.
func (l *Loop) turn() {
	l.tickClock()
	l.meter.start(l.now)
	l.meter.answered(l.now) // before another may ask
	l.armed.Store(false)    // before the queue is read, as in end
	l.expire(true)
	l.runPosted()
	l.workBacklog()
	l.flush()
	l.meter.finish(l.now, int64(l.sys.Now()))
}

// putOff has c's unread input handled in the next turn, after what other sockets
// have.
func (l *Loop) putOff(c *Conn) {
	l.group.stats.yields.Add(1)
	c.flags |= connBacklog
	if l.backlog = append(l.backlog, c); len(l.backlog) == 1 {
		l.sys.Wake()
	}
}

// backlogShare is how many connections of the backlog have their share before
// sockets are looked at again.
const backlogShare = 16

func (l *Loop) workBacklog() {
	n := min(len(l.backlog), backlogShare)
	if n == 0 {
		return
	}
	work := append(l.spare[:0], l.backlog[:n]...)
	k := copy(l.backlog, l.backlog[n:])
	clear(l.backlog[k:])
	if l.backlog = l.backlog[:k]; k > 0 {
		l.sys.Wake()
	}
	l.spare = work // for resume
	for i, c := range work {
		work[i] = nil
		c.flags &^= connBacklog
		if c.loop == l && !c.is(connMoving) {
			c.process(nil)
		}
	}
	l.spare = work[:0]
}

func (l *Loop) runPosted() {
	if !l.waiting.Load() {
		return
	}
	l.mu.Lock()
	l.waiting.Store(false)
	l.running, l.posted = l.posted, l.running[:0]
	waiting := l.bytes >= l.cfg.MaxPostedBytes || len(l.running) >= l.cfg.MaxPostedJobs
	l.bytes = 0
	l.mu.Unlock()
	if waiting {
		l.space.Broadcast()
	}
	n := len(l.running)
	l.runRest()
	if n > 1024 && n < cap(l.running)/4 {
		l.running = nil // the memory of a burst is not kept
	}
}

// runRest runs what is left of the jobs that have been taken: all of them, unless
// one has ended the loop's goroutine before.
func (l *Loop) runRest() {
	for l.ran < len(l.running) {
		j := l.running[l.ran]
		l.running[l.ran] = job{}
		l.ran++
		l.run(&j)
	}
	l.ran = 0
	l.running = l.running[:0]
}

func (l *Loop) run(j *job) {
	defer l.recoverPanic(nil)
	j.run(j.a, j.b)
}

// flush ends a batch. What it calls may add to any of the lists, and may end the
// goroutine: then the next one finds empty places where this one has been.
func (l *Loop) flush() {
	for len(l.flushers)+len(l.ready)+len(l.dirty)+len(l.gone)+len(l.moves) > 0 {
		for i := 0; i < len(l.flushers); i++ {
			if f := l.flushers[i]; f != nil {
				l.flushers[i] = nil
				l.callFlusher(f)
			}
		}
		l.flushers = l.flushers[:0]
		for i := 0; i < len(l.ready); i++ {
			c := l.ready[i]
			if c == nil {
				continue
			}
			l.ready[i] = nil
			c.flags &^= connReady
			if c.loop == l && !c.is(connMoving|connBacklog) {
				c.process(nil)
			}
		}
		l.ready = l.ready[:0]
		for i := 0; i < len(l.dirty); i++ {
			c := l.dirty[i]
			if c == nil {
				continue
			}
			l.dirty[i] = nil
			c.flags &^= connDirty
			if c.loop == l {
				l.flushConn(c)
			}
		}
		l.dirty = l.dirty[:0]
		for i := 0; i < len(l.gone); i++ {
			if g := l.gone[i]; g.c != nil {
				l.gone[i] = goneConn{}
				g.report(l)
			}
		}
		l.gone = l.gone[:0]
		for i := 0; i < len(l.moves); i++ {
			l.moves[i].handOver(l)
			l.moves[i] = move{}
		}
		l.moves = l.moves[:0]
	}
}

// flushConn writes a connection; what goes wrong costs it alone.
func (l *Loop) flushConn(c *Conn) {
	defer l.recoverPanic(c)
	c.flush()
}

func (l *Loop) callFlusher(f Flusher) {
	defer l.recoverPanic(nil)
	f.Flush()
}

// recoverPanic keeps a fault in a callback from ending the loop: it costs the
// connection in whose name it happened, and nothing else.
func (l *Loop) recoverPanic(c *Conn) {
	v := recover()
	if v == nil {
		return
	}
	l.group.stats.panics.Add(1)
	l.cfg.Logger.Error("netpoll: panic in a callback", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	l.current = nil
	if c != nil {
		c.abort(fmt.Errorf("netpoll: panic in a callback: %v", v))
	}
}

// handle answers an event of descriptor fd. Any event is answered by trying:
// a stale event of a descriptor that has been reused costs one EAGAIN.
func (l *Loop) handle(fd int, writable, hangup bool) {
	c := l.group.table.get(fd)
	if c == nil {
		l.group.acceptReady(l, fd)
		return
	}
	if c.home.Load() != int32(l.index) {
		return // stale: the descriptor is another loop's by now
	}
	own := l.begin()
	if l.group.table.get(fd) == c { // a timer may just have closed it
		l.handleConn(c, writable, hangup)
	}
	l.end(own)
}

func (l *Loop) handleConn(c *Conn, writable, hangup bool) {
	defer l.recoverPanic(c)
	if writable {
		c.flush()
	}
	if c.phase == phaseClosed || c.is(connMoving) {
		return
	}
	if !c.is(connNoRead) {
		c.readable()
	} else if hangup {
		c.abort(errPeerGone)
	}
}
