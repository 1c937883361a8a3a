package sockeye

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Server is a Socket.IO server. Its methods may be called from any goroutine;
// those that a Namespace also has are for the default namespace, "/".
type Server struct {
	// Immutable after New.
	cfg     Config
	engine  *engine.Engine
	group   *netpoll.Group
	err     error // why group is nil
	workers *workers
	root    *Namespace

	// Guarded by mu.
	mu         sync.RWMutex
	namespaces map[string]*Namespace
	closed     chan struct{} // closed by Close
	closing    bool

	// Any goroutine (atomic).
	onError callback[func(s *Socket, event string, err error)]
	stats   counters
}

// New makes a server. Register handlers, then let it listen.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	srv := &Server{cfg: cfg, namespaces: map[string]*Namespace{}, closed: make(chan struct{})}
	srv.engine = engine.New(cfg.Engine, (*sessionHandler)(srv))
	srv.group, srv.err = engine.Start(cfg.Net, append([]*engine.Engine{srv.engine}, cfg.Engines...)...)
	srv.workers = newWorkers(cfg.MaxWorkers)
	srv.root = srv.Of("/")
	return srv
}

// Of returns the namespace of that name and makes it if there is none. A
// missing slash in front is added.
func (srv *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	ns := srv.namespaces[name]
	if ns == nil {
		ns = newNamespace(srv, name)
		srv.namespaces[name] = ns
	}
	return ns
}

// find returns the namespace of that name, or nil.
func (srv *Server) find(name []byte) *Namespace {
	if len(name) == 1 {
		return srv.root
	}
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return srv.namespaces[string(name)]
}

// Listen listens on a network ("tcp", "tcp4", "tcp6" or "unix") and serves it
// in the background. It returns the address, with the port that the kernel
// chose for port 0. It may be called several times.
func (srv *Server) Listen(network, address string) (net.Addr, error) {
	if srv.err != nil {
		return nil, fmt.Errorf("sockeye: %w", srv.err)
	}
	addr, err := srv.group.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("sockeye: %w", err)
	}
	return addr, nil
}

// ErrServerClosed is what ListenAndServe returns after Close.
var ErrServerClosed = errors.New("sockeye: server closed")

// ListenAndServe listens on a TCP address and serves it until Close.
func (srv *Server) ListenAndServe(address string) error {
	if _, err := srv.Listen("tcp", address); err != nil {
		return err
	}
	<-srv.closed
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
	if srv.group == nil {
		return nil
	}
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
	PausedForMailbox  uint64 // times that a session was not read because a mailbox was full
	RefusedNamespaces uint64 // connects that were answered with an error
}

// Stats reads the counters.
func (srv *Server) Stats() Stats {
	c := &srv.stats
	s := Stats{
		Engine: srv.engine.Stats(), EventsIn: c.events.Load(), HandlerPanics: c.panics.Load(),
		DecodeErrors: c.decodeErrors.Load(), ProtocolErrors: c.protocolErrors.Load(), UnhandledEvents: c.unhandled.Load(),
		VolatileDropped: c.dropped.Load(), Workers: srv.workers.running(), PausedForMailbox: c.paused.Load(),
		RefusedNamespaces: c.refused.Load(),
	}
	if srv.group != nil {
		s.Net = srv.group.Stats()
	}
	return s
}

// OnError registers what is told of events that did not reach their handler,
// handlers that panicked or returned an error, with the event's name. Default:
// panics are logged, the rest is counted.
func (srv *Server) OnError(f func(s *Socket, event string, err error)) { srv.onError.set(f) }

// OnConnect is Namespace.OnConnect for "/".
func (srv *Server) OnConnect(f func(s *Socket) error) { srv.root.OnConnect(f) }

// OnDisconnect is Namespace.OnDisconnect for "/".
func (srv *Server) OnDisconnect(f func(s *Socket, reason Reason)) { srv.root.OnDisconnect(f) }

// On is Namespace.On for "/".
func (srv *Server) On(event string, handler any) { srv.root.On(event, handler) }

// Use is Namespace.Use for "/".
func (srv *Server) Use(middleware func(s *Socket) error) { srv.root.Use(middleware) }

// Emit is Namespace.Emit for "/".
func (srv *Server) Emit(event string, args ...any) error { return srv.root.Emit(event, args...) }

// Send is Namespace.Send for "/".
func (srv *Server) Send(args ...any) error { return srv.root.Emit("message", args...) }

// To is Namespace.To for "/".
func (srv *Server) To(rooms ...string) Operator { return srv.root.To(rooms...) }

// In is Namespace.In for "/".
func (srv *Server) In(rooms ...string) Operator { return srv.root.To(rooms...) }

// Except is Namespace.Except for "/".
func (srv *Server) Except(rooms ...string) Operator { return srv.root.Except(rooms...) }

// Volatile is Namespace.Volatile for "/".
func (srv *Server) Volatile() Operator { return srv.root.Volatile() }

// Sockets are the connected sockets of "/".
func (srv *Server) Sockets() []*Socket { return srv.root.Sockets() }
