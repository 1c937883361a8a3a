package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/ratelog"
	"github.com/sockeye-io/sockeye/proto/http1"
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
	HandleRequest(c *Conn, r *http1.Request)

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
	cfg       Config
	log       *ratelog.Log // what peers bring about
	handler   Handler
	loops     []*Loop
	secure    *tlsServer // nil without Config.TLS
	lender    *lender    // lends connections to net/http; nil without Config.Fallback
	bridge    bridge
	addresses *addresses // nil without Config.PerAddress
	// Immutable after ListenLink.
	linkSecret []byte
	memory     Memory
	running    sync.WaitGroup
	ended      chan struct{} // closed when every loop has ended

	// Guarded by mu.
	mu        sync.Mutex
	listeners map[*listener]struct{}
	foreign   map[net.Listener]listens // those that Serve accepts from itself
	lenders   map[*http.Server]*lender // of the http.Servers in which the group is mounted
	cut       bool                     // the lenders have ended
	err       error                    // why the group has ended by itself

	// Any goroutine (atomic).
	table table
	inflating
	stats  counters
	closed atomic.Bool
	full   atomic.Bool   // a listener waits for a connection to end
	next   atomic.Uint32 // the loop for the next connection
	lent   atomic.Int32  // connections at net/http

	undrained atomic.Int32 // loops that have still to hear of Close
}

// Stats are counters of a group since its start; Open, Lent, Bridged and MemoryBytes
// are present values.
type Stats struct {
	Accepted         uint64 // connections
	Open             int    // connections
	AcceptErrors     uint64 // refusals of the kernel: out of descriptors, mostly
	Timeouts         uint64 // requests that did not arrive in time, answers that were not read in time
	BadRequests      uint64 // requests that were not HTTP, or over a limit
	BadFrames        uint64 // WebSocket connections ended with 1002, 1007, 1008 or 1009
	SlowConsumers    uint64 // connections ended with ErrSlowConsumer
	CallbackPanics   uint64
	Lent             int         // connections at net/http
	RefusedFallback  uint64      // requests answered 503 because Config.MaxFallback were there
	Yields           uint64      // times that a connection had more to do than its share of a turn
	Floods           uint64      // connections ended by a limit of messages in a second
	RefusedByAddress uint64      // connections and handshakes refused by Config.PerAddress
	MemoryBytes      int64       // charged to Config.MaxMemory
	Shed             uint64      // holders ended because Config.MaxMemory was spent
	BadProxyHeaders  uint64      // connections of Config.ProxyProtocol ended without a header that is one
	BytesIn          uint64      // that sockets have given, but those of connections at net/http
	BytesOut         uint64      // that sockets have taken
	ConnLimit        int         // Config.MaxConns
	MemoryLimit      int64       // Config.MaxMemory
	Loops            []LoopStats // of each loop, by its Index
	TLSHandshakes    uint64      // made
	TLSKept          uint64      // of these, those that keep a tls.Conn: TLS 1.2, Config.PlainTLS
	TLSFaults        uint64      // connections ended because their peer broke TLS, or no handshake could be agreed on
	TLSWaits         uint64      // handshakes for which no place was free when they came
	Mounted          uint64      // connections that have come by Place.Adopt, of net/http; Accepted has them, too
	Bridged          int         // connections that are no descriptors of the kernel's on a loop, but net.Conns with goroutines

	Forwarded        uint64 // requests passed on to other servers, those that opened a WebSocket included
	ForwardFailures  uint64 // requests that could not be passed on, or whose answer did not come whole
	ForwardedSockets int    // WebSockets that other servers speak on, by this one, now
	Links            int    // connections to other servers, now
	BadLinks         uint64 // connections of ListenLink that were none of a server's
}

type counters struct {
	accepted, acceptErrors, timeouts, badRequests, badFrames, slow, panics atomic.Uint64
	refusedFallback, yields, floods, refusedByAddress, shed                atomic.Uint64
	badProxyHeaders                                                        atomic.Uint64
	tls, keptTLS, badTLS, waitingTLS                                       atomic.Uint64
	mounted                                                                atomic.Uint64
	forwarded, unforwarded, badLinks                                       atomic.Uint64
	links, spliced                                                         atomic.Int64
	open                                                                   atomic.Int64
}

// New starts a group of loops. It serves nothing until Listen. Its error tells every
// fault of the configuration, or that the kernel refuses a poller.
func New(cfg Config, h Handler) (*Group, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
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
	pollers := make([]turner, g.cfg.Loops)
	for i := range pollers {
		p, err := openPoller(start)
		if err != nil {
			for _, open := range pollers[:i] {
				open.close()
			}
			return nil, fmt.Errorf("netpoll: %w", err)
		}
		pollers[i] = p
		g.loops = append(g.loops, newLoop(g, i, p))
	}
	g.begin()
	for i, l := range g.loops {
		g.running.Add(1)
		go g.run(l, pollers[i])
	}
	go func() {
		g.running.Wait()
		close(g.ended)
	}()
	return g, nil
}

func newGroup(cfg Config, h Handler) *Group {
	g := &Group{
		cfg: cfg.withDefaults(), handler: h, listeners: map[*listener]struct{}{}, ended: make(chan struct{}),
	}
	g.log = ratelog.New(g.cfg.Logger)
	g.memory.g, g.memory.max = g, g.cfg.MaxMemory
	g.bridge.g, g.table.far = g, &g.bridge
	return g
}

// begin starts what needs the loops.
func (g *Group) begin() {
	if g.cfg.PerAddress.enabled() {
		g.addresses = &addresses{limits: g.cfg.PerAddress}
	}
	if g.cfg.TLS != nil {
		g.secure = newTLSServer(&g.cfg)
	}
	if g.cfg.Fallback != nil {
		g.lender = newLender(g).start()
	}
}

// run is a loop's goroutine. A callback that ends it by runtime.Goexit, as t.Fatal
// does, costs its connection; the loop goes on with another goroutine.
func (g *Group) run(l *Loop, p turner) {
	returned := false
	defer func() {
		if !returned {
			g.stats.panics.Add(1)
			g.cfg.Logger.Error("netpoll: a callback has ended its goroutine, which was the loop's (runtime.Goexit)", "loop", l.index)
			go g.run(l, p)
			return
		}
		g.running.Done()
	}()
	l.start()
	l.resume()
	err := p.poll(l)
	returned = true
	if err != nil {
		g.fail(fmt.Errorf("netpoll: loop %d: %w", l.index, err))
	}
	l.stop()
	p.close()
}

// resume goes on where a callback has ended the goroutine before this one.
func (l *Loop) resume() {
	if c := l.current; c != nil {
		l.current = nil
		c.abort(ErrClosed)
	}
	for _, c := range l.spare {
		if c != nil { // workBacklog has not come to it
			l.backlog = append(l.backlog, c)
		}
	}
	clear(l.spare)
	l.spare = l.spare[:0]
	l.wheel.tick-- // others may be due at the time of the timer that has fired
	l.alarmAt = 0
	l.armed.Store(false)
	l.sys.Wake()
	if l.ran > 0 {
		l.runRest()
	}
}

// fail ends a group that cannot go on: a poller has failed.
func (g *Group) fail(err error) {
	g.mu.Lock()
	first := g.err == nil
	if first {
		g.err = err
	}
	g.mu.Unlock()
	if !first {
		return
	}
	g.cfg.Logger.Error("netpoll: the group ends: its connections are cut", "err", err)
	go func() {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		_ = g.Close(done)
	}()
}

// Done is closed when the group has ended: by Close, or because a poller has
// failed, which Err tells.
func (g *Group) Done() <-chan struct{} { return g.ended }

// Err is why the group has ended by itself; nil if it has not.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Memory is the group's budget of what waits for peers. Layers above charge what
// they hold.
func (g *Group) Memory() *Memory { return &g.memory }

// Len is the number of loops.
func (g *Group) Len() int { return len(g.loops) }

// Loop is loop i.
func (g *Group) Loop(i int) *Loop { return g.loops[i] }

// Config is the group's configuration with the defaults filled in.
func (g *Group) Config() *Config { return &g.cfg }

// Stats reads the counters.
func (g *Group) Stats() Stats {
	s := &g.stats
	stats := Stats{
		Accepted: s.accepted.Load(), Open: int(s.open.Load()), AcceptErrors: s.acceptErrors.Load(),
		Timeouts: s.timeouts.Load(), BadRequests: s.badRequests.Load(), BadFrames: s.badFrames.Load(),
		SlowConsumers: s.slow.Load(), CallbackPanics: s.panics.Load(),
		RefusedFallback: s.refusedFallback.Load(), Yields: s.yields.Load(), Floods: s.floods.Load(),
		RefusedByAddress: s.refusedByAddress.Load(), MemoryBytes: g.memory.Used(), Shed: s.shed.Load(),
		BadProxyHeaders: s.badProxyHeaders.Load(),
		Lent:            int(g.lent.Load()), Mounted: s.mounted.Load(), Bridged: int(g.bridge.n.Load()),
		Forwarded: s.forwarded.Load(), ForwardFailures: s.unforwarded.Load(), ForwardedSockets: int(s.spliced.Load()),
		Links: int(s.links.Load()), BadLinks: s.badLinks.Load(),
		TLSHandshakes: s.tls.Load(), TLSKept: s.keptTLS.Load(), TLSFaults: s.badTLS.Load(), TLSWaits: s.waitingTLS.Load(),
	}
	stats.ConnLimit, stats.MemoryLimit = g.cfg.MaxConns, g.memory.max
	for _, l := range g.loops {
		s := l.Stats()
		stats.Loops = append(stats.Loops, s)
		stats.BytesIn += s.BytesIn
		stats.BytesOut += s.BytesOut
	}
	return stats
}

// Listen opens a listener ("tcp", "tcp4", "tcp6" or "unix") and serves it. It
// returns the listener's address, with the port that the kernel chose for port 0.
func (g *Group) Listen(network, address string) (net.Addr, error) {
	return g.listen(network, address, false)
}

// ListenTLS is Listen for peers that speak TLS, by Config.TLS.
func (g *Group) ListenTLS(network, address string) (net.Addr, error) {
	return g.listen(network, address, true)
}

func (g *Group) listen(network, address string, secure bool) (net.Addr, error) {
	ln, err := listen(network, address, g.cfg.ReusePort)
	if err != nil {
		return nil, fmt.Errorf("netpoll: %w", err)
	}
	if _, err := g.Serve(ln, secure); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("netpoll: listen %s %s: %w", network, address, err)
	}
	return ln.Addr(), nil
}

// StopListening closes the listeners; connections live on, and so do those that
// the kernel has accepted already.
func (g *Group) StopListening() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for lis := range g.listeners {
		if !g.loops[0].PostNow(stopListenerOnLoop, lis, nil, 0) {
			lis.close()
		}
	}
	clear(g.listeners)
	for ln := range g.foreign {
		_ = ln.Close()
	}
	clear(g.foreign)
}

// Close stops listening, has every connection send what is queued for it and
// answers the requests that are here, and ends the loops when all connections have
// closed, or ctx is done: what is left is cut, and the error is ctx's. A second
// call waits with the first.
//
// Connections without anything under way are closed at once. A WebSocket has
// Config.CloseTimeout to close its side, and so has a request to be answered.
func (g *Group) Close(ctx context.Context) error {
	again := g.closed.Swap(true) // before: nobody listens any more
	g.StopListening()
	if again {
		if g.manual() {
			return nil
		}
		select {
		case <-g.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, ln := range g.allLenders(false) {
		ln.server.SetKeepAlivesEnabled(false)
	}
	g.undrained.Store(int32(len(g.loops)))
	for _, l := range g.loops {
		if !l.PostNow(drainOnLoop, l, nil, 0) {
			g.undrained.Add(-1)
		}
	}
	err := g.waitForConns(ctx)
	for _, ln := range g.allLenders(true) {
		ln.end()
	}
	defer g.bridge.cut()
	for _, l := range g.loops {
		l.PostNow(stopOnLoop, l, nil, 0)
	}
	if g.manual() {
		return err
	}
	select {
	case <-g.ended:
		return err
	case <-ctx.Done():
	}
	select {
	case <-g.ended: // the loops have cut what was left
		return err
	case <-time.After(cutTime): // a callback does not come back
		return errors.Join(err, ctx.Err())
	}
}

// cutTime is how long Close waits for loops that cut what is left, its context being
// done.
const cutTime = 500 * time.Millisecond

func (g *Group) manual() bool { return g.cfg.Systems != nil }

func (g *Group) waitForConns(ctx context.Context) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for g.stats.open.Load() > 0 || g.bridge.ending.Load() > 0 || g.undrained.Load() > 0 && !g.manual() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.ended:
			return nil
		case <-t.C:
		}
	}
	return nil
}

// drainOnLoop ends what is idle, and later what has not ended.
func drainOnLoop(a, _ any) {
	l := a.(*Loop)
	l.draining = true
	l.group.table.each(l, (*Conn).drain)
	l.Arm(&l.drainTimer, l, l.cfg.CloseTimeout)
	l.group.undrained.Add(-1)
}

// Expire is for the loop's timers only: the group's connections have had their time.
func (l *Loop) Expire(*Timer) {
	l.group.table.each(l, func(c *Conn) { c.close(ErrClosed) })
}

func stopOnLoop(a, _ any) { a.(*Loop).stopping = true }

// stop ends a loop: connections are cut, and what has been posted still runs.
func (l *Loop) stop() {
	l.stopping = true
	for _, lis := range l.listeners {
		stopListenerOnLoop(lis, nil)
	}
	l.group.table.each(l, func(c *Conn) { c.abort(ErrClosed) })
	l.flush()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.space.Broadcast()
	l.armed.Store(true) // nobody wakes it any more
	// A connection may be on its way to this loop, and is this loop's to close.
	l.runPosted()
	l.flush()
	l.leave()
}

// ended counts a connection of the loop out.
func (l *Loop) ended(c *Conn) {
	if len(l.addresses) > 0 {
		l.leaveAddress(c)
	}
	l.takeProxied(c)
	c.setMounted(nil)
	if c.layers&layerDialled != 0 {
		l.group.stats.links.Add(-1)
	}
	l.group.connEnded()
}

// connEnded counts a connection out. Any goroutine.
func (g *Group) connEnded() {
	g.stats.open.Add(-1)
	if g.full.Load() && g.full.CompareAndSwap(true, false) {
		g.loops[0].PostNow(acceptOnLoop, g, nil, 0)
	}
}
