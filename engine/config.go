package engine

import (
	"cmp"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// Config configures an Engine. The zero value is ready to use and has the
// reference server's defaults.
type Config struct {
	// Path is the prefix of the request paths that the engine serves. Default
	// "/engine.io/". A missing slash at either end is added.
	Path string

	// NoTrailingSlash serves Path as it is, without a slash at its end; paths that
	// begin with it still belong to the engine.
	NoTrailingSlash bool

	// Unclaimed are paths below Path that are not the engine's: requests for them
	// go to netpoll.Config.Fallback.
	Unclaimed []string

	// OnRefused, if not nil, is told of requests that are answered with an error
	// of the protocol. It is called on an event loop and must not block; r is a copy.
	OnRefused func(r *Request, refusal Refusal)

	// PingInterval is the time from a pong, or the handshake, to the server's
	// next ping; PingTimeout the time that the peer has to answer it. Defaults:
	// 25 s and 20 s.
	PingInterval time.Duration
	PingTimeout  time.Duration

	// UpgradeTimeout is the time that a probing WebSocket has to complete the
	// upgrade. The polling session goes on without it. Default 10 s.
	UpgradeTimeout time.Duration

	// CloseTimeout is how long a closed polling session waits for a request to
	// carry its close packet. Default 30 s.
	CloseTimeout time.Duration

	// MaxPayload bounds the bytes of a request body or of a WebSocket message,
	// as announced in the handshake. A larger body is answered 413, and the
	// session lives; a larger message closes the connection with 1009. Default
	// 1,000,000.
	MaxPayload int

	// SlowTimeout is the time in which a polling peer whose queue is full must ask for
	// what is there; the session of one that does not is closed. Default 10 s.
	// Negative: no limit. (For WebSocket see netpoll.Config.SlowTimeout.)
	SlowTimeout time.Duration

	// MaxQueuedBytes is how much memory may wait for a polling peer to ask for it,
	// buffers by their capacity and 64 bytes for each, before its queue is full: see
	// Session.Full. Default 1 MiB. (For WebSocket see netpoll.Config.MaxQueuedBytes.)
	MaxQueuedBytes int

	// Transports are those enabled, "polling" and "websocket". Default: both.
	Transports []string

	// NoUpgrades announces no upgrades in the handshake.
	NoUpgrades bool

	// AllowEIO3 also serves version 3 of the protocol, which clients of
	// Socket.IO 1 and 2 speak, and JSONP. A JSONP poll has no Origin: of a page of
	// another origin it is refused where the browser says so (Sec-Fetch-Site).
	AllowEIO3 bool

	// AllowRequest decides on a handshake, polling or WebSocket; an error
	// refuses it with the error's text; OnRefused and the log get the text of the error
	// that it wraps, if it wraps one. It is called on a goroutine of its own and may
	// block. Nil allows all.
	AllowRequest func(r *Request) error

	// Middleware wraps the handling of handshakes, polling or WebSocket, as it
	// would an http.Handler: it may refuse by answering instead of calling next,
	// add header fields to the answer, and pass values on in the request's
	// context (see Request.Context). The request's Pattern is Path. It is called before
	// AllowRequest, on a goroutine of its own, and may block. Later requests of a session
	// do not go through it.
	Middleware func(next http.Handler) http.Handler

	// Headers adds header fields, other than Date, to the answers to a session's
	// requests; initial tells the handshake's from later ones. It is called on an event loop and
	// must not block.
	Headers func(h http.Header, r *Request, initial bool)

	// MaxDeciding bounds the handshakes that are in Middleware or AllowRequest; a
	// further one is answered 503. Default 1,024.
	MaxDeciding int

	// MaxSessions bounds the sessions, those that are closing included; a further
	// handshake is answered 503. Default 1,000,000. Negative: no limit. It is answered
	// 503, too, when seven eighths of netpoll.Config.MaxMemory are used, and 429 when
	// its address has made too many (netpoll.Config.PerAddress).
	MaxSessions int

	// MaxPendingSessions bounds the polling sessions that one connection has opened
	// and that are not established (see Session.Establish); a further handshake on
	// it is answered 503. A connection of a proxy carries handshakes of many peers.
	// Default 100. Negative: no limit.
	MaxPendingSessions int

	// MaxKeptHeadBytes bounds what a session keeps of the head of the request that
	// opened it, in a compact form in which common lines take a byte or two. Fields
	// that do not fit are left out, see Request.Truncated: Cookie is served first,
	// then Authorization, Origin, User-Agent, X-Forwarded-For, -Proto and -Host,
	// X-Real-IP, Forwarded, Referer, Accept-Language, and the others as they came.
	// The request line and Host are always kept, and count. Default 4 KiB. Negative:
	// no limit.
	MaxKeptHeadBytes int

	// Origins are those whose pages may connect besides the pages of this server's own
	// host: an Origin like "https://example.org" or "http://localhost:5173", with "*."
	// in front of the host for all that is below it and ":*" for any port, or "*" for
	// any page there is. "null", which sandboxed pages and files send, counts for "*" or
	// when it is listed. Their pages may also read the answers (CORS). A request of
	// another origin is answered 403, on either transport; one without an Origin, which
	// is no browser's, is served. Host is compared as it comes: a proxy in front has to
	// pass it on, or the origin has to be listed; of TrustedProxies X-Forwarded-Host and
	// -Proto count.
	Origins []string

	// AllowOrigin, if not nil, is asked about origins that are neither this host's nor
	// in Origins. It is called for each request of such an origin, on an event loop, and
	// must not block; r is a copy.
	AllowOrigin func(origin string, r *Request) bool

	// TrustedProxies are the networks of the proxies in front that are believed: what they
	// say in X-Forwarded-For, -Proto and -Host, or in Forwarded, is where a request comes
	// from, for Request.Address and Secure, Origins and netpoll.Config.PerAddress.
	// netpoll.UnixPeers stands for all peers of Unix sockets. List none that passes on
	// what clients have put into these fields. Default: nobody is believed.
	TrustedProxies []netip.Prefix

	// Credentials lets pages of other origins send cookies and authorization with
	// polling requests. A WebSocket carries cookies whether it is set or not. It does not
	// go together with "*".
	Credentials bool

	// HTTPCompressionThreshold is the size, in bytes, from which on answers to
	// polls are compressed, by gzip or deflate, if the client accepts it and
	// a message in it allows it. Default 1,024. Negative: never.
	HTTPCompressionThreshold int

	// Cookie, if not nil, is set by the answer to a polling handshake, with the
	// sid for its value.
	Cookie *http.Cookie

	// GenerateID makes the sid; it must be unguessable, and may have any character.
	// An empty one, one of more than 1,024 bytes, or one in use, refuses the
	// handshake. Default: 120 random bits as 20 characters.
	GenerateID func(r *Request) string

	// IDPrefix is what the sids begin with that the engine makes: 20 characters with it, so
	// it should be short.
	IDPrefix string

	// Elsewhere, if not nil, is asked about the sid of a request that is not known here: the
	// request may be another server's. It is called on an event loop and must not block;
	// sid is borrowed until it returns.
	Elsewhere func(sid []byte) Elsewhere

	// Logger receives faults of this side. Default: slog.Default.
	Logger *slog.Logger
}

// Elsewhere is where the session of an sid is.
type Elsewhere struct {
	Peer *netpoll.Peer // its server, to which the request is passed on; nil: it is refused
	Hint string        // why it is refused; "": nothing is known of it
}

func (c Config) withDefaults() Config {
	c.Path = cmp.Or(c.Path, "/engine.io/")
	if c.Path[0] != '/' {
		c.Path = "/" + c.Path
	}
	c.Path = strings.TrimRight(c.Path, "/")
	if !c.NoTrailingSlash || c.Path == "" {
		c.Path += "/"
	}
	c.PingInterval = cmp.Or(c.PingInterval, 25*time.Second)
	c.PingTimeout = cmp.Or(c.PingTimeout, 20*time.Second)
	c.UpgradeTimeout = cmp.Or(c.UpgradeTimeout, 10*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 30*time.Second)
	c.SlowTimeout = cmp.Or(c.SlowTimeout, 10*time.Second)
	c.MaxPayload = cmp.Or(c.MaxPayload, 1_000_000)
	c.MaxQueuedBytes = cmp.Or(c.MaxQueuedBytes, 1<<20)
	c.HTTPCompressionThreshold = cmp.Or(c.HTTPCompressionThreshold, 1_024)
	c.MaxDeciding = cmp.Or(c.MaxDeciding, 1_024)
	c.MaxKeptHeadBytes = cmp.Or(c.MaxKeptHeadBytes, 4<<10)
	c.MaxSessions = cmp.Or(c.MaxSessions, 1_000_000)
	if c.MaxSessions < 0 {
		c.MaxSessions = math.MaxInt
	}
	c.MaxPendingSessions = cmp.Or(c.MaxPendingSessions, 100)
	if c.MaxPendingSessions < 0 {
		c.MaxPendingSessions = math.MaxInt32
	}
	if c.Transports == nil {
		c.Transports = []string{"polling", "websocket"}
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}
