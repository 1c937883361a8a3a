package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Handler is what the layer above does with connections. Its methods are
// called on the loop of the connection and must not block; each []byte is
// borrowed until the method returns.
type Handler interface {
	// Claims tells whether requests for path come to HandleRequest; others go
	// to Config.Fallback.
	Claims(path []byte) bool

	// HandleRequest is given a whole request. Exactly one of c.Respond,
	// c.Upgrade, c.MoveTo and c.Close must follow, now or later. r is borrowed
	// until return.
	HandleRequest(c *Conn, r *Request)

	// HandleMessage is given a whole WebSocket message, unmasked and, if it is
	// text, valid UTF-8. data is borrowed until return and may be changed.
	HandleMessage(c *Conn, data []byte, binary bool)

	// HandleClose is called once for each connection when it is over: nothing
	// more will come, and nothing sent arrives.
	HandleClose(c *Conn, err error)
}

// Group is a number of loops that serve the same listeners under the same
// handler. Its methods may be called from any goroutine.
type Group struct {
	// Immutable after New.
	cfg     Config
	handler Handler
	loops   []*Loop
	done    sync.WaitGroup
	fallers chan struct{} // one token for each fallback request under way

	// Guarded by mu.
	mu        sync.Mutex
	listeners map[*listener]struct{}
	closed    bool

	// Any goroutine (atomic).
	stats counters
	next  atomic.Uint32 // the loop for the next connection
}

// Stats are counters of a group since its start; Open is the present number.
type Stats struct {
	Accepted       uint64 // connections
	Open           int    // connections
	AcceptErrors   uint64 // refusals of the kernel: out of descriptors, mostly
	Timeouts       uint64 // requests that did not arrive in time
	BadRequests    uint64 // requests that were not HTTP, or over a limit
	BadFrames      uint64 // WebSocket connections ended with 1002, 1007, 1008 or 1009
	SlowConsumers  uint64 // connections ended with ErrSlowConsumer
	CallbackPanics uint64
}

type counters struct {
	accepted, acceptErrors, timeouts, badRequests, badFrames, slow, panics atomic.Uint64
	open                                                                   atomic.Int64
}

// New starts a group of loops. It serves nothing until Listen.
func New(cfg Config, h Handler) (*Group, error) {
	if cfg.Systems != nil {
		g := NewManual(cfg, h, cfg.Systems...)
		for _, s := range cfg.Systems {
			if a, ok := s.(interface{ Attach(g *Group) }); ok {
				a.Attach(g)
			}
		}
		return g, nil
	}
	g := newGroup(cfg, h)
	start := time.Now()
	pollers := make([]*poller, g.cfg.Loops)
	for i := range pollers {
		p, err := openPoller(start)
		if err != nil {
			for _, p := range pollers[:i] {
				p.close()
			}
			return nil, fmt.Errorf("netpoll: %w", err)
		}
		pollers[i] = p
		g.loops = append(g.loops, newLoop(g, i, p))
	}
	for i, l := range g.loops {
		g.done.Add(1)
		go func() {
			defer g.done.Done()
			l.start()
			defer l.leave()
			if err := pollers[i].poll(l); err != nil {
				g.cfg.Logger.Error("netpoll: loop ended", "loop", i, "err", err)
			}
		}()
	}
	return g, nil
}

// NewManual makes a group whose loops turn only when Loop.Turn and
// Loop.Deliver are called, each over the System given for it, by the calling
// goroutine or one that has called Loop.Claim. It is for package netpolltest.
func NewManual(cfg Config, h Handler, systems ...System) *Group {
	cfg.Loops = len(systems)
	g := newGroup(cfg, h)
	for i, s := range systems {
		l := newLoop(g, i, s)
		l.Claim()
		g.loops = append(g.loops, l)
	}
	return g
}

func newGroup(cfg Config, h Handler) *Group {
	g := &Group{cfg: cfg.withDefaults(), handler: h, listeners: map[*listener]struct{}{}}
	g.fallers = make(chan struct{}, g.cfg.MaxFallback)
	return g
}

// Turn runs what is due: timers and posted jobs. Only for loops of NewManual.
func (l *Loop) Turn() { l.turn() }

// Deliver handles an event of each of fds. Only for loops of NewManual.
func (l *Loop) Deliver(writable bool, fds ...int) {
	for _, fd := range fds {
		l.handle(fd, writable, false)
	}
}

// Adopt enters a connection with descriptor fd. Only for loops of NewManual.
func (l *Loop) Adopt(fd int) *Conn {
	l.group.stats.accepted.Add(1)
	l.group.stats.open.Add(1)
	c := l.newConn(fd, false)
	own := l.begin()
	l.adoptNew(c)
	l.end(own)
	return c
}

// Len is the number of loops.
func (g *Group) Len() int { return len(g.loops) }

// Loop is loop i.
func (g *Group) Loop(i int) *Loop { return g.loops[i] }

// Config is the group's configuration with the defaults filled in.
func (g *Group) Config() *Config { return &g.cfg }

// Stats reads the counters.
func (g *Group) Stats() Stats {
	s := &g.stats
	return Stats{
		Accepted: s.accepted.Load(), Open: int(s.open.Load()), AcceptErrors: s.acceptErrors.Load(),
		Timeouts: s.timeouts.Load(), BadRequests: s.badRequests.Load(), BadFrames: s.badFrames.Load(),
		SlowConsumers: s.slow.Load(), CallbackPanics: s.panics.Load(),
	}
}

// OnLoop is the function OnLoop.
func (g *Group) OnLoop() bool { return OnLoop() }

// Listen opens a listener ("tcp", "tcp4", "tcp6" or "unix") and serves it. It
// returns the listener's address, with the port that the kernel chose for port 0.
func (g *Group) Listen(network, address string) (net.Addr, error) {
	ln, err := listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("netpoll: %w", err)
	}
	lis, err := newListener(g, ln)
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("netpoll: listen %s %s: %w", network, address, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		lis.close()
		return nil, errors.New("netpoll: the group is closed")
	}
	g.listeners[lis] = struct{}{}
	g.loops[0].Post(startListener, lis, nil, 0)
	return ln.Addr(), nil
}

// StopListening closes the listeners; connections live on.
func (g *Group) StopListening() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for lis := range g.listeners {
		g.loops[0].Post(stopListener, lis, nil, 0)
	}
	clear(g.listeners)
}

// Close stops listening, has every connection send what is queued for it,
// and ends the loops when all connections have closed, or ctx is done. It
// returns ctx's error if connections had to be cut.
func (g *Group) Close(ctx context.Context) error {
	g.StopListening()
	g.mu.Lock()
	already := g.closed
	g.closed = true
	g.mu.Unlock()
	if already {
		return nil
	}
	for _, l := range g.loops {
		l.Post(closeConns, l, nil, 0)
	}
	err := g.waitForConns(ctx)
	for _, l := range g.loops {
		l.Post(stopLoop, l, nil, 0)
	}
	g.done.Wait()
	return err
}

func (g *Group) waitForConns(ctx context.Context) error {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for g.stats.open.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

func closeConns(a, _ any) {
	l := a.(*Loop)
	l.draining = true
	for _, c := range l.conns {
		if c != nil {
			c.Close(ErrClosed)
		}
	}
}

func stopLoop(a, _ any) {
	l := a.(*Loop)
	l.stopping = true
	for _, c := range l.conns {
		if c != nil {
			c.abort(ErrClosed)
		}
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.room.Broadcast()
	l.leave()
}

func (g *Group) connClosed() { g.stats.open.Add(-1) }
