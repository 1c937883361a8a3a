package engine

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/ratelog"
	"github.com/sockeye-io/sockeye/internal/tally"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Handler is the layer above. Its methods are called on the loop of the
// session and must not block.
type Handler interface {
	// OnOpen is called when a session has been opened, before its handshake is
	// answered. When the handler is satisfied with the peer, here or later, it calls
	// s.Establish.
	OnOpen(s *Session)

	// OnMessage is given each message in the order in which the peer sent
	// them. data is borrowed until return.
	OnMessage(s *Session, data []byte, binary bool)

	// OnClose is called once, when the session is over.
	OnClose(s *Session, reason CloseReason)
}

// UpgradeHandler may be implemented by a Handler.
type UpgradeHandler interface {
	// OnUpgrade is called when a session has gone over from polling to
	// WebSocket.
	OnUpgrade(s *Session)
}

// Engine serves Engine.IO on one path. Its methods may be called from any
// goroutine.
type Engine struct {
	// Immutable after New.
	cfg      Config
	handler  Handler
	log      *ratelog.Log // what peers bring about
	origins  originRules
	path     []byte
	gate     http.Handler // Config.Middleware around admit; nil if there is none
	polling  bool
	ws       bool
	sessions sessions
	deciding chan struct{} // one token for each AllowRequest under way

	compressing chan struct{} // one token for each goroutine that compresses

	// Any goroutine (atomic).
	closing atomic.Bool
	stats   counters
	tally   tally.Table               // columns of tally.go
	refused map[string]*atomic.Uint64 // by reason; immutable after New

	warned      warned
	misdirected atomic.Bool // the log has been told of it

	cutPolls, cutSockets cutAges
}

// Stats are counters of an engine since its start.
type Stats struct {
	Sessions      int    // open now
	Opened        uint64 // sessions
	Upgraded      uint64 // from polling to WebSocket
	Refused       uint64 // requests answered with an error of the protocol
	PingTimeouts  uint64
	ParseErrors   uint64
	SlowConsumers uint64 // polling sessions closed by SlowTimeout

	TransportErrors uint64 // sessions whose connection failed, or whose peer broke the rules of its transport
	TooLarge        uint64 // bodies and messages above MaxPayload
	FailedUpgrades  uint64 // WebSockets that were closed before their upgrade was complete
	ForeignOrigins  uint64 // requests refused for their origin; Refused has them, too
	Panics          uint64 // of the user's functions: Middleware, AllowRequest, AllowOrigin, GenerateID, Headers, OnRefused

	Deciding int // handshakes that are in Middleware or AllowRequest, now

	RefusedSessions uint64 // handshakes answered 503: MaxSessions, MaxPendingSessions, MaxDeciding, memory, closing; or 429: netpoll.Config.PerAddress

	// RefusedBy has Refused and RefusedSessions by their reasons: the names of
	// Refusal.Check, and of what there was no place for. All names are always there.
	RefusedBy map[string]uint64

	PollingSessions   int    // open now, by their transport
	WebSocketSessions int    //
	PacketsIn         uint64 // of Engine.IO, but for those of a probe
	PacketsOut        uint64
	QueuedBytes       int64 // memory that waits for peers: for a poll, or on a WebSocket that the kernel takes no more of
	FullSessions      int   // sessions of which more than MaxQueuedBytes wait, now
}

type counters struct {
	opened, upgraded, refused, pingTimeouts, parseErrors, slow, refusedSessions atomic.Uint64
	transportErrors, tooLarge, failedUpgrades, foreign, panics                  atomic.Uint64
}

// New makes an engine. Start serves it. Its error has all faults of the configuration.
func New(cfg Config, h Handler) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errors.New("engine: New needs a Handler")
	}
	cfg = cfg.withDefaults()
	e := &Engine{
		cfg: cfg, handler: h, path: []byte(cfg.Path),
		polling:  slices.Contains(cfg.Transports, "polling"),
		ws:       slices.Contains(cfg.Transports, "websocket"),
		deciding: make(chan struct{}, cfg.MaxDeciding), compressing: make(chan struct{}, maxCompressing),
	}
	e.log = ratelog.New(cfg.Logger)
	for _, entry := range cfg.Origins {
		_ = e.origins.parse(entry) // Validate has tried
	}
	e.sessions.init()
	e.refused = map[string]*atomic.Uint64{}
	for _, name := range refusals {
		e.refused[name] = new(atomic.Uint64)
	}
	if cfg.Middleware != nil {
		e.gate = cfg.Middleware(http.HandlerFunc(e.admit))
	}
	return e, nil
}

// Start starts loops that serve the engines, each on its own path. The caller
// lets the group listen, and closes it after the engines. Its error has all faults of
// the configuration, also where it contradicts an engine's, or says why the kernel
// refuses a loop; nothing is left open then.
func Start(cfg netpoll.Config, engines ...*Engine) (*netpoll.Group, error) {
	if err := contradictions(cfg, engines); err != nil {
		return nil, errors.Join(err, cfg.Validate())
	}
	return netpoll.New(limitsFor(cfg, engines), Mux(engines))
}

// limitsFor makes the group's limits wide enough for every engine; each engine
// holds its own.
func limitsFor(cfg netpoll.Config, engines []*Engine) netpoll.Config {
	if cfg.MaxBodyBytes == 0 {
		for _, e := range engines {
			cfg.MaxBodyBytes = max(cfg.MaxBodyBytes, e.cfg.MaxPayload)
		}
	}
	return cfg
}

// Config is the configuration with the defaults filled in.
func (e *Engine) Config() *Config { return &e.cfg }

// Len is the number of sessions at present.
func (e *Engine) Len() int { return e.sessions.len() }

// Stats reads the counters.
func (e *Engine) Stats() Stats {
	s := &e.stats
	stats := Stats{
		Sessions: e.sessions.len(), Opened: s.opened.Load(), Upgraded: s.upgraded.Load(), Refused: s.refused.Load(),
		PingTimeouts: s.pingTimeouts.Load(), ParseErrors: s.parseErrors.Load(), SlowConsumers: s.slow.Load(),
		RefusedSessions: s.refusedSessions.Load(), TransportErrors: s.transportErrors.Load(), TooLarge: s.tooLarge.Load(),
		FailedUpgrades: s.failedUpgrades.Load(), ForeignOrigins: s.foreign.Load(), Panics: s.panics.Load(),
		Deciding: len(e.deciding), RefusedBy: map[string]uint64{},
	}
	for name, n := range e.refused {
		stats.RefusedBy[name] = n.Load()
	}
	e.readTally(&stats)
	return stats
}

// Close refuses further handshakes and closes every session with
// ServerShuttingDown. It returns when each has been told, or ctx is done.
func (e *Engine) Close(ctx context.Context) error {
	e.closing.Store(true)
	e.sessions.each(func(s *Session) { s.Close(ServerShuttingDown) })
	// A job posted behind the closings is run after them.
	done := make(chan struct{})
	loops := map[*netpoll.Loop]struct{}{}
	e.sessions.each(func(s *Session) { loops[s.loop] = struct{}{} })
	left := atomic.Int32{}
	left.Store(int32(len(loops)) + 1)
	finish := func(any, any) {
		if left.Add(-1) == 0 {
			close(done)
		}
	}
	for l := range loops {
		if !l.PostNow(finish, nil, nil, 0) {
			finish(nil, nil)
		}
	}
	finish(nil, nil)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
