package sockeye

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/lend"
	"github.com/sockeye-io/sockeye/internal/ratelog"
	"github.com/sockeye-io/sockeye/internal/tally"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Server is a Socket.IO server. Its methods may be called from any goroutine. Those of
// its default namespace, "/", are its own, too. The calls of every day:
//
//	srv, err := sockeye.New(cfg)             // see Config
//	srv.Use(func(s *Socket) error)           // who may connect; see Namespace.Use
//	srv.OnConnection(func(s *Socket))        // a peer is in
//	srv.On("event", handler)                 // what peers send; see Namespace.On
//	srv.OnDisconnect(func(s *Socket, reason Reason))
//	srv.Emit("event", args...)               // to all
//	srv.To("room").Emit("event", args...)    // to a room; see Operator
//	srv.Of("/chat")                          // another namespace
//	srv.ListenAndServe("127.0.0.1:3000")
//	srv.Shutdown(ctx)
//
// With a socket: [Socket.Emit], [Socket.Join], [Socket.To], [Socket.Call],
// [Socket.Disconnect].
type Server struct {
	// Namespace is the default namespace, "/".
	*Namespace

	// Immutable after New.
	cfg     Config
	engine  *engine.Engine
	claims  engine.Mux // the engine and Config.Engines
	files   *bundle    // nil without Config.Client
	id      string     // begins the IDs of its sockets, and its sids; "" without Config.Adapter
	group   *netpoll.Group
	pool    lend.Pool
	trimmer *trimmer // nil for none
	log     *ratelog.Log

	// Guarded by mu.
	mu         sync.RWMutex
	namespaces map[string]*Namespace
	parents    []*ParentNamespace // replaced as a whole
	dynamic    int                // namespaces that have a parent
	closed     chan struct{}      // closed when Shutdown has ended
	closeErr   error              // what Shutdown has returned, once closed is closed

	// Guarded by hooksMu: who registers.
	hooksMu sync.Mutex

	// Any goroutine (atomic).
	closing     atomic.Bool // asked also with a namespace's locks held, which are taken inside mu
	onError     hooks[func(s *Socket, event string, err error)]
	onNamespace hooks[func(ns *Namespace)]
	active      atomic.Int64 // sockets whose handlers have something to do
	stats       counters
	tally       tally.Table // columns of stats.go
	retired     atomic.Bool // Retire has been called
	mounted     atomic.Bool // Handler has been called
	certificate atomic.Pointer[certificateFiles]
	peers       atomic.Pointer[peers] // other servers; nil without Config.Adapter
}

// New makes a server. Register handlers, then let it listen. Its error has all
// faults of the configuration, or says why the system gives no event loops.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("sockeye: the configuration has faults:\n%w", err)
	}
	cfg = cfg.withDefaults()
	srv := &Server{cfg: cfg, log: ratelog.New(cfg.Logger), namespaces: map[string]*Namespace{}, closed: make(chan struct{})}
	eng, net := cfg.engine(), cfg.net()
	if cfg.Adapter != nil {
		srv.id = engine.NewID()[:serverIDBytes]
		eng.IDPrefix, eng.Elsewhere = srv.id, srv.elsewhere
	}
	if net.TLS == nil {
		net.TLS = srv.tlsOfFiles()
	}
	var files *bundle
	if cfg.Client != nil {
		files = newBundle(cfg.Client, cfg.Path, cfg.Fallback, cfg.Logger)
		net.Fallback, eng.Unclaimed = files, files.paths()
	}
	var err error
	if srv.engine, err = engine.New(eng, (*sessionHandler)(srv)); err != nil {
		return nil, fmt.Errorf("sockeye: %w", err)
	}
	if files != nil {
		files.cors = srv.engine.AddCORS
	}
	srv.files, srv.claims = files, append(engine.Mux{srv.engine}, cfg.Engines...)
	if srv.group, err = engine.Start(net, srv.claims...); err != nil {
		return nil, fmt.Errorf("sockeye: %w", err)
	}
	if cfg.Seams != nil && cfg.Seams.Pool != nil {
		srv.pool = cfg.Seams.Pool
	} else {
		srv.pool = lend.NewWorkers(cfg.MaxWorkers)
	}
	srv.Namespace = srv.Of("/")
	if cfg.Adapter != nil && !cfg.driven() {
		if err := srv.startPeers(); err != nil {
			_ = srv.Close()
			return nil, err
		}
	}
	if cfg.TrimAfter > 0 && !cfg.driven() {
		srv.trimmer = startTrimmer(cfg.TrimAfter)
	}
	return srv, nil
}

// Of returns the namespace of that name and makes it if there is none: as a
// parent's child, if one admits the name. A missing slash in front is added.
func (srv *Server) Of(name string) *Namespace { return srv.of(name, srv.cfg.Recovery) }

// OfWithoutRecovery is Of for a namespace that Config.Recovery is not for: its events are
// not kept, and who comes back to it is a new socket. One that exists, and a parent's
// child, stays what it is.
func (srv *Server) OfWithoutRecovery(name string) *Namespace { return srv.of(name, nil) }

func (srv *Server) of(name string, past *Recovery) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	srv.mu.RLock()
	ns := srv.namespaces[name]
	srv.mu.RUnlock()
	if ns != nil {
		return ns
	}
	if ns := srv.makeChild(name, nil, false); ns != nil {
		return ns
	}
	srv.mu.Lock()
	ns = srv.namespaces[name]
	made := ns == nil
	if made {
		ns = newNamespace(srv, name, nil, past)
		srv.namespaces[name] = ns
	}
	srv.mu.Unlock()
	if made {
		srv.announce(ns)
	}
	return ns
}

// Namespaces are those that exist at present, in no order.
func (srv *Server) Namespaces() []*Namespace { return srv.all() }

// OnNamespace adds what is called for each namespace that is made later. It
// must not block: a child is made on an event loop. What it returns takes it away.
func (srv *Server) OnNamespace(f func(ns *Namespace)) (remove func()) {
	return srv.onNamespace.add(&srv.hooksMu, "OnNamespace", f)
}

func (srv *Server) announce(ns *Namespace) {
	for _, f := range srv.onNamespace.get() {
		srv.protect("OnNamespace", func() { (*f)(ns) })
	}
}

// Path is the path that the server serves, with a slash at either end.
func (srv *Server) Path() string { return srv.engine.Config().Path }

// Listen listens on a network ("tcp", "tcp4", "tcp6" or "unix") and serves it
// in the background. It returns the address, with the port that the kernel
// chose for port 0. It may be called several times. After Shutdown or Close its error
// is ErrServerClosed.
func (srv *Server) Listen(network, address string) (net.Addr, error) {
	listen := srv.group.Listen
	if srv.cfg.TLS != nil {
		listen = srv.group.ListenTLS
	}
	addr, err := listen(network, address)
	if err != nil {
		return nil, srv.listenError(err)
	}
	return addr, nil
}

func (srv *Server) listenError(err error) error {
	if srv.closing.Load() {
		return ErrServerClosed
	}
	return fmt.Errorf("sockeye: %w", err)
}

// ErrServerClosed is what Listen, ListenAndServe, Serve and broadcasts return after Shutdown or
// Close.
var ErrServerClosed = errors.New("sockeye: server closed")

// ListenAndServe listens on a TCP address and serves it until Shutdown or Close. Its
// error is ErrServerClosed then, or why the server cannot go on.
func (srv *Server) ListenAndServe(address string) error {
	if _, err := srv.Listen("tcp", address); err != nil {
		return err
	}
	return srv.wait()
}

// Serve serves a listener until Shutdown or Close, which close it. Its error is
// ErrServerClosed then, or the listener's, or why the server cannot go on. It may be
// called several times, and beside Listen. A *net.TCPListener or *net.UnixListener is
// served by the event loops, as Listen's is; connections of any other (a multiplexer,
// memory, TLS of another kind) are bridged, each with a goroutine. With Config.TLS the
// peers of each speak TLS: those of one whose connections are *tls.Conn do already, and it
// is refused. See SystemdListeners.
func (srv *Server) Serve(ln net.Listener) error {
	ended, err := srv.group.Serve(ln, srv.cfg.TLS != nil)
	if err != nil {
		if err = srv.listenError(fmt.Errorf("serve %T: %w", ln, err)); errors.Is(err, ErrServerClosed) {
			_ = ln.Close() // as net/http does: nobody would answer
		}
		return err
	}
	select {
	case err := <-ended:
		if !errors.Is(err, netpoll.ErrClosed) {
			return fmt.Errorf("sockeye: %w", err)
		}
	case <-srv.closed:
	case <-srv.group.Done():
	}
	return srv.wait()
}

// wait returns when the server has ended.
func (srv *Server) wait() error {
	select {
	case <-srv.closed:
	case <-srv.group.Done():
		if err := srv.group.Err(); err != nil {
			return fmt.Errorf("sockeye: %w", err)
		}
		<-srv.closed
	}
	return ErrServerClosed
}

// Shutdown ends the server: it stops listening, disconnects every socket with
// ServerShuttingDown, sends what is queued, and waits for connections and
// handlers to end. When ctx is done first, what is left is cut and ctx's error
// returned; handlers that still run are left alone. A second call waits with the
// first, until its own ctx is done, and returns the same.
//
// A handler, or an event loop, cannot wait for itself: there Shutdown begins, returns
// nil, and goes on without the caller.
func (srv *Server) Shutdown(ctx context.Context) error {
	again := srv.closing.Swap(true)
	if !again {
		go srv.close(ctx)
	}
	if srv.pool.Inside() || netpoll.OnLoop() && !srv.cfg.driven() {
		return nil
	}
	select {
	case <-srv.closed:
		return srv.closeErr
	case <-ctx.Done():
	}
	if again {
		return ctx.Err()
	}
	<-srv.closed // the parts end with ctx
	return srv.closeErr
}

// Close ends the server at once: as Shutdown whose time is over.
func (srv *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (srv *Server) close(ctx context.Context) {
	defer close(srv.closed)
	srv.trimmer.stop()
	srv.group.StopListening()
	var faults []error // each once: the parts end with ctx, all of them
	ends := func(err error) {
		if err != nil && !slices.ContainsFunc(faults, func(e error) bool { return errors.Is(e, err) }) {
			faults = append(faults, err)
		}
	}
	ends(srv.engine.Close(ctx))
	for _, e := range srv.cfg.Engines {
		ends(e.Close(ctx))
	}
	// The loops first: none of them has a last mail for a handler then. Who waits in
	// a broadcast is let go before the handlers are waited for.
	ends(srv.group.Close(ctx))
	for _, ns := range srv.all() {
		ns.rooms.Close()
	}
	ends(srv.pool.Wait(ctx))
	srv.peers.Load().end()
	for _, ns := range srv.all() {
		if h := ns.shared.Load(); h != nil {
			h.close(ctx)
		}
	}
	if srv.cfg.Adapter != nil { // the last handlers have told the others
		ends(srv.cfg.Adapter.Close(ctx))
	}
	for _, ns := range srv.all() {
		if ns.history != nil {
			ns.history.close()
		}
	}
	srv.closeErr = errors.Join(faults...)
}

// all are the namespaces.
func (srv *Server) all() []*Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return slices.Collect(maps.Values(srv.namespaces))
}

// OnError adds what is told of events that did not reach their handler, and of
// handlers that panicked (*PanicError) or returned an error, with the event's name.
// Without one, they are logged, a few a second for each event: at Debug what a peer has
// brought about (ErrDisconnected, ErrQueueFull, ErrAckTimeout), else at Error. Panics
// are logged in any case. What it returns takes it away.
func (srv *Server) OnError(f func(s *Socket, event string, err error)) (remove func()) {
	return srv.onError.add(&srv.hooksMu, "OnError", f)
}
