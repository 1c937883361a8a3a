package adminui

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/ratelog"
)

// Mode is how much admins see.
type Mode string

const (
	// Development shows every socket, room and event. It costs an encoding of each event
	// while an admin looks.
	Development Mode = "development"

	// Production shows counters alone. It costs nothing for an event.
	Production Mode = "production"
)

// Options are how a server is shown. Auth has to be set.
type Options struct {
	// Auth is who may see it: Basic, or NoAuth.
	Auth Auth

	// Mode is how much is seen. Default Production, for which Node's default is
	// Development.
	Mode Mode

	// ReadOnly has no buttons: admins cannot emit, join, leave or disconnect.
	ReadOnly bool

	// Namespace is where admins connect. Default "/admin".
	Namespace string

	// ServerID names this server; it has to be another one for each of a cluster. Default:
	// the host's name and the process's number.
	ServerID string

	// Store keeps the sessions of admins that have logged in. Default: memory, 1,000 of
	// them, for a day each.
	Store Store

	// ShowSecrets shows cookies, authorization and what else handshakes have that lets
	// somebody in, as Node's server does. They are hidden otherwise.
	ShowSecrets bool

	// MaxAdmins bounds the admins that are connected to this server. Default 100.
	MaxAdmins int

	// MaxSockets bounds the sockets that are shown, in development mode. Default 1,000: the
	// page looks through all of them for each one that comes or goes.
	MaxSockets int

	// MaxEventBytes bounds what is shown of an argument of an event, and of a socket's
	// data. What is longer is cut. Default 4,096.
	MaxEventBytes int

	// Logger is told of logins at Info, of those that fail at Warn, and of buttons at Info.
	// Default: slog.Default.
	Logger *slog.Logger
}

// Admin is a server that is shown. Its methods may be called from any goroutine.
type Admin struct {
	// Immutable after Instrument.
	srv      *sockeye.Server
	ns       *sockeye.Namespace
	opts     Options
	log      *ratelog.Log // of what peers bring about
	attempts *attempts
	queue    chan message
	kick     chan struct{} // somebody has come
	done     chan struct{}
	begin    time.Time

	// Any goroutine (atomic).
	watched   atomic.Bool   // somebody looks, here or at another server
	elsewhere atomic.Bool   // there are other servers
	queued    atomic.Int64  // the memory of what is in queue
	lost      atomic.Uint64 // that did not fit into the queue, and have not been told
	dropped   atomic.Uint64 // of the queue, and for admins that were behind

	// Guarded by mu.
	mu      sync.Mutex
	admins  map[*sockeye.Socket]*viewer
	parents map[*sockeye.ParentNamespace]bool
	known   map[*sockeye.Namespace]bool // nil when Instrument has returned
	removes []func()
	closed  bool

	// The teller's.
	last  sockeye.Stats
	rooms map[string]map[string]bool // that admins know, of each socket of this server that is shown
}

// viewer is an admin that is connected to this server.
type viewer struct {
	// The teller's.
	behind  bool      // it is in the room behindRoom, which nothing is sent to
	welcome bool      // it has been sent all sockets once
	missed  uint64    // while it was behind
	since   time.Time // when it was sent all sockets
	allowed int       // the bytes that may wait for it
}

// behindRoom is the room of the admins that are not told anything: they have to catch up.
const behindRoom = "sockeye:behind"

// Instrument shows a server to those who connect to its namespace /admin with the page of
// @socket.io/admin-ui 0.5.1. It is for once a server. The error tells what the options lack.
func Instrument(srv *sockeye.Server, opts Options) (*Admin, error) {
	if err := opts.Auth.check(); err != nil {
		return nil, err
	}
	opts.Mode = cmp.Or(opts.Mode, Production)
	if opts.Mode != Production && opts.Mode != Development {
		return nil, fmt.Errorf("adminui: Mode is %q: it is Development or Production", opts.Mode)
	}
	if opts.MaxAdmins < 0 || opts.MaxSockets < 0 || opts.MaxEventBytes < 0 {
		return nil, errors.New("adminui: a limit is negative")
	}
	opts.Namespace = cmp.Or(opts.Namespace, "/admin")
	if opts.ServerID == "" {
		host, _ := os.Hostname()
		opts.ServerID = fmt.Sprintf("%s#%d", host, os.Getpid())
	}
	if opts.Store == nil {
		opts.Store = newMemory()
	}
	opts.MaxAdmins = cmp.Or(opts.MaxAdmins, 100)
	opts.MaxSockets = cmp.Or(opts.MaxSockets, 1000)
	opts.MaxEventBytes = cmp.Or(opts.MaxEventBytes, 4096)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	a := &Admin{
		srv: srv, ns: srv.OfWithoutRecovery(opts.Namespace), opts: opts, log: ratelog.New(opts.Logger), attempts: newAttempts(),
		queue: make(chan message, maxQueued), kick: make(chan struct{}, 1), done: make(chan struct{}), begin: time.Now(),
		admins: map[*sockeye.Socket]*viewer{}, parents: map[*sockeye.ParentNamespace]bool{}, known: map[*sockeye.Namespace]bool{},
		last: srv.Stats(), rooms: map[string]map[string]bool{},
	}
	if a.ns.Name() == "/" || a.ns.Dynamic() {
		return nil, fmt.Errorf("adminui: the namespace %s is the application's", a.ns.Name())
	}
	a.remember(
		a.ns.Use(a.admit),
		a.ns.OnConnect(func(s *sockeye.Socket) error { return s.Join(behindRoom) }),
		a.ns.OnConnection(a.enter),
		a.ns.OnDisconnect(a.leave),
	)
	if !opts.ReadOnly {
		a.registerButtons()
	}
	if opts.Mode == Development {
		a.remember(srv.OnNamespace(a.watch))
		for _, ns := range srv.Namespaces() {
			a.watch(ns)
		}
	}
	a.mu.Lock()
	a.known = nil
	a.mu.Unlock()
	go a.run()
	go a.lookAround()
	return a, nil
}

// remember keeps what Close takes away.
func (a *Admin) remember(removes ...func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removes = append(a.removes, removes...)
}

// Close takes all of it away again, and disconnects the admins of this server.
func (a *Admin) Close() {
	a.mu.Lock()
	removes := a.removes
	a.removes = nil
	a.stopLocked()
	a.mu.Unlock()
	for _, remove := range removes {
		remove()
	}
	_ = a.ns.Local().Disconnect() // it has no other servers to tell
}

// stopLocked ends the goroutines. Guarded by mu.
func (a *Admin) stopLocked() {
	if !a.closed {
		a.closed = true
		a.watched.Store(false)
		close(a.done)
	}
}

func (a *Admin) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopLocked()
}

// Dropped is how many messages admins have missed, because they did not read them in time or
// because more happened than could be told. Each admin counts.
func (a *Admin) Dropped() uint64 { return a.dropped.Load() }

// The page's features.
func (a *Admin) features() []string {
	var f []string
	if !a.opts.ReadOnly {
		f = append(f, "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
	}
	f = append(f, "AGGREGATED_EVENTS")
	if a.opts.Mode == Development {
		f = append(f, "ALL_EVENTS")
	}
	return f
}

// enter greets an admin that is in. It gets all sockets from the teller.
func (a *Admin) enter(s *sockeye.Socket) {
	repeatSession(s)
	_ = s.Emit("config", map[string]any{"supportedFeatures": a.features()})
	a.mu.Lock()
	full := len(a.admins) >= a.opts.MaxAdmins // several were admitted at once
	if !full && !a.closed && s.Connected() {
		a.admins[s] = &viewer{behind: true, allowed: maxUnread}
		a.watched.Store(true)
	}
	a.mu.Unlock()
	if full {
		s.Disconnect()
		return
	}
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

func (a *Admin) leave(s *sockeye.Socket, _ sockeye.Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.admins, s)
	a.watched.Store(!a.closed && (len(a.admins) > 0 || a.elsewhere.Load()))
}
