package sockeye

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Server is a Socket.IO server. Its methods may be called from any goroutine.
type Server struct {
	// Namespace is the default namespace, "/": its methods are the server's, too.
	*Namespace

	// Immutable after New.
	cfg     Config
	engine  *engine.Engine
	group   *netpoll.Group
	workers *workers
	trimmer *trimmer // nil for none

	// Guarded by mu.
	mu         sync.RWMutex
	namespaces map[string]*Namespace
	parents    []*ParentNamespace // replaced as a whole
	dynamic    int                // namespaces that have a parent
	closed     chan struct{}      // closed by Close
	closing    bool

	// Any goroutine (atomic).
	onError     callback[func(s *Socket, event string, err error)]
	onNamespace callback[func(ns *Namespace)]
	stats       counters
}

// New makes a server. Register handlers, then let it listen. Its error has all
// faults of the configuration, or says why the system gives no event loops.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	srv := &Server{cfg: cfg, namespaces: map[string]*Namespace{}, closed: make(chan struct{})}
	if cfg.Client != nil {
		files := newBundle(cfg.Client, cfg.Engine.Path, cfg.Net.Fallback, cfg.Logger)
		cfg.Net.Fallback, cfg.Engine.Unclaimed = files, append(cfg.Engine.Unclaimed, files.paths()...)
	}
	srv.engine = engine.New(cfg.Engine, (*sessionHandler)(srv))
	var err error
	if srv.group, err = engine.Start(cfg.Net, append([]*engine.Engine{srv.engine}, cfg.Engines...)...); err != nil {
		return nil, fmt.Errorf("sockeye: %w", err)
	}
	srv.workers = newWorkers(cfg.MaxWorkers)
	srv.Namespace = srv.Of("/")
	if cfg.TrimAfter > 0 && cfg.Net.Systems == nil {
		srv.trimmer = startTrimmer(cfg.TrimAfter)
	}
	return srv, nil
}

// Of returns the namespace of that name and makes it if there is none: as a
// parent's child, if one admits the name. A missing slash in front is added.
func (srv *Server) Of(name string) *Namespace {
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
		ns = newNamespace(srv, name, nil)
		srv.namespaces[name] = ns
	}
	srv.mu.Unlock()
	if made {
		srv.announce(ns)
	}
	return ns
}

// OnNamespace registers what is called for each namespace that is made later. It
// must not block: a child is made on an event loop.
func (srv *Server) OnNamespace(f func(ns *Namespace)) { srv.onNamespace.set(f) }

func (srv *Server) announce(ns *Namespace) {
	if f := srv.onNamespace.get(); f != nil {
		defer srv.recoverCallback("OnNamespace", nil)
		f(ns)
	}
}

// Path is the path that the server serves, with a slash at either end.
func (srv *Server) Path() string { return srv.engine.Config().Path }

// Listen listens on a network ("tcp", "tcp4", "tcp6" or "unix") and serves it
// in the background. It returns the address, with the port that the kernel
// chose for port 0. It may be called several times.
func (srv *Server) Listen(network, address string) (net.Addr, error) {
	addr, err := srv.group.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("sockeye: %w", err)
	}
	return addr, nil
}

type counters struct {
	events, panics, decodeErrors, protocolErrors, unhandled, dropped, paused, refused atomic.Uint64
}

// ErrServerClosed is what ListenAndServe returns after Close.
var ErrServerClosed = errors.New("sockeye: server closed")

// ListenAndServe listens on a TCP address and serves it until Close. Its error is
// ErrServerClosed then, or why the server cannot go on.
func (srv *Server) ListenAndServe(address string) error {
	if _, err := srv.Listen("tcp", address); err != nil {
		return err
	}
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

// Close ends the server: it stops listening, disconnects every socket with
// ServerShuttingDown, sends what is queued, and waits for connections and
// handlers to end. When ctx is done first, what is left is cut and ctx's error
// returned.
func (srv *Server) Close(ctx context.Context) error {
	srv.mu.Lock()
	again := srv.closing
	srv.closing = true
	srv.mu.Unlock()
	if again {
		<-srv.closed
		return nil
	}
	defer close(srv.closed)
	srv.trimmer.stop()
	srv.group.StopListening()
	err := srv.engine.Close(ctx)
	for _, e := range srv.cfg.Engines {
		err = errors.Join(err, e.Close(ctx))
	}
	// The loops first: none of them has a last mail for a handler then.
	err = errors.Join(err, srv.group.Close(ctx), srv.workers.wait(ctx))
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	for _, ns := range srv.namespaces {
		ns.adapter.Close()
		if ns.history != nil {
			ns.history.close()
		}
	}
	return err
}

// Stats are counters of a server; see also the parts' own.
type Stats struct {
	Net    netpoll.Stats
	Engine engine.Stats

	EventsIn          uint64 // events given to handlers
	HandlerPanics     uint64
	DecodeErrors      uint64 // events whose arguments did not fit their handler
	ProtocolErrors    uint64 // sessions ended because the peer broke the protocol
	UnhandledEvents   uint64 // events without a handler
	VolatileDropped   uint64 // volatile messages that were dropped
	Workers           int    // goroutines that run handlers, now
	ActiveSockets     int    // sockets whose handlers have something to do, now
	PausedForMailbox  uint64 // times that a session was not read because a mailbox was full
	RefusedNamespaces uint64 // connects that were answered with an error
}

// Stats reads the counters.
func (srv *Server) Stats() Stats {
	c := &srv.stats
	s := Stats{
		Net: srv.group.Stats(), Engine: srv.engine.Stats(), EventsIn: c.events.Load(), HandlerPanics: c.panics.Load(),
		DecodeErrors: c.decodeErrors.Load(), ProtocolErrors: c.protocolErrors.Load(), UnhandledEvents: c.unhandled.Load(),
		VolatileDropped: c.dropped.Load(), Workers: srv.workers.running(), ActiveSockets: int(srv.workers.active.Load()), PausedForMailbox: c.paused.Load(),
		RefusedNamespaces: c.refused.Load(),
	}
	return s
}

// OnError registers what is told of events that did not reach their handler,
// handlers that panicked or returned an error, with the event's name. Default:
// panics are logged, the rest is counted.
func (srv *Server) OnError(f func(s *Socket, event string, err error)) { srv.onError.set(f) }
