package sockeye

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/sockeye-io/sockeye/internal/seam"
)

// Config configures a Server. The zero value is ready to use: in each field 0, "" or nil
// is the default. A negative number is a fault unless the field says what it means, and
// so is a time of less than a millisecond. New tells all faults at once.
type Config struct {
	// Protocol.

	// Path is the prefix of the request paths that the server serves. Default
	// "/socket.io/". A missing slash at either end is added.
	Path string

	// NoTrailingSlash serves Path as it is, without a slash at its end; paths that
	// begin with it still belong to the server.
	NoTrailingSlash bool

	// Transports are those enabled, "polling" and "websocket". Default: both.
	Transports []string

	// NoUpgrades announces no upgrades from polling to WebSocket.
	NoUpgrades bool

	// AllowEIO3 also serves version 3 of Engine.IO, which clients of Socket.IO 1 and 2
	// speak, and JSONP. A JSONP poll has no Origin: of a page of another origin it is
	// refused where the browser says so (Sec-Fetch-Site).
	AllowEIO3 bool

	// PingInterval is the time from a pong, or the handshake, to the server's next
	// ping. Default 25 s.
	PingInterval time.Duration

	// PingTimeout is the time that the peer has to answer a ping. Default 20 s.
	PingTimeout time.Duration

	// UpgradeTimeout is the time that a probing WebSocket has to complete the upgrade.
	// The polling session goes on without it. Default 10 s.
	UpgradeTimeout time.Duration

	// ConnectTimeout is the time that a session has to join a first namespace.
	// Default 45 s.
	ConnectTimeout time.Duration

	// PollCloseTimeout is how long a closed polling session waits for a request to
	// carry its close packet. Default 30 s.
	PollCloseTimeout time.Duration

	// AckTimeout is how long EmitWithAck, and Call without a deadline, wait for the
	// peer's answer. Default 30 s.
	AckTimeout time.Duration

	// EmitTimeout is how long Emit to one socket waits while the socket's queue is
	// full. Default 30 s.
	EmitTimeout time.Duration

	// Recovery, if not nil, lets sockets whose connection broke come back. Default: off.
	Recovery *Recovery

	// Adapter, if not nil, joins the namespaces of several servers: rooms are shared, and
	// broadcasts reach the sockets of all. See docs/cluster.md. Shutdown closes it. Default:
	// this server alone.
	Adapter Adapter

	// Forward, if not nil, has requests that come to the wrong server of several passed on to
	// their session's: balancers need no sticky sessions. It needs the Adapter, and GenerateID
	// must be nil. Default: they are refused.
	Forward *Forward

	// PresenceLease is how long a server that is not heard of is taken for one that is
	// there, by Namespace.Presence; the same on all servers. Default 10 s.
	PresenceLease time.Duration

	// Parser is another wire form of packets than Socket.IO's own; the Codec is not
	// used then. Default: Socket.IO's own.
	Parser Parser

	// Codec encodes and decodes arguments. Default: encoding/json.
	Codec Codec

	// Deflate, if not nil, compresses WebSocket messages in both directions with peers
	// that offer permessage-deflate (RFC 7692). MaxPayload bounds what they become when
	// they are inflated. Default: off.
	Deflate *DeflateConfig

	// HTTPCompressionThreshold is the size, in bytes, from which on answers to polls
	// are compressed, by gzip or deflate, if the client accepts it and a message in it
	// allows it. Default 1,024. Negative: never.
	HTTPCompressionThreshold int

	// Who may connect.

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
	// say in X-Forwarded-For, -Proto and -Host, or in Forwarded if none of these is there,
	// is where a request comes from, for Request.Address and Secure, Origins and
	// PerAddress. UnixPeers stands for all peers of Unix sockets. List none that passes on
	// what clients have put into these fields. Default: nobody is believed.
	TrustedProxies []netip.Prefix

	// Credentials lets pages of other origins send cookies and authorization with
	// polling requests. A WebSocket carries cookies whether it is set or not. It does
	// not go together with "*".
	Credentials bool

	// AllowRequest decides on a handshake, polling or WebSocket; an error refuses it
	// with 403. The peer reads the text of a *ConnectError, of any other "Forbidden";
	// OnRefused and the log get it. It is called on a goroutine of its own and may block.
	// Nil allows all.
	AllowRequest func(r *Request) error

	// Middleware wraps the handling of handshakes, polling or WebSocket, as it would an
	// http.Handler: it may refuse by answering instead of calling next, add header
	// fields to the answer, and pass values on in the request's context (see
	// Request.Context). The request's Pattern is Path. It is called before AllowRequest, on
	// a goroutine of its own, and may block. Later requests of a session do not go through
	// it.
	Middleware func(next http.Handler) http.Handler

	// OnRefused, if not nil, is told of requests that are answered with an error of the
	// protocol. It is called on an event loop and must not block; r is a copy.
	OnRefused func(r *Request, refusal Refusal)

	// Headers adds header fields, other than Date, to the answers to a session's
	// requests; initial tells the handshake's from later ones. It is called on an event
	// loop and must not block.
	Headers func(h http.Header, r *Request, initial bool)

	// Cookie, if not nil, is set by the answer to a polling handshake, with the sid for
	// its value.
	Cookie *http.Cookie

	// GenerateID makes the sid; it must be unguessable, and may have any character. An
	// empty one, one of more than 1,024 bytes, or one in use, refuses the handshake.
	// Default: 120 random bits as 20 characters.
	GenerateID func(r *Request) string

	// Limits of one peer.

	// MaxPayload bounds the bytes of a request body or of a WebSocket message, as
	// announced in the handshake. A larger body is answered 413, and the session lives;
	// a larger message closes the connection with 1009. Default 1,000,000.
	MaxPayload int

	// MaxQueuedBytes is how much memory may wait for a peer to read, or to ask for it:
	// buffers by their capacity. Beyond, its queue is full: Emit to it waits, and
	// SlowTimeout begins. Default 1 MiB.
	MaxQueuedBytes int

	// SlowTimeout is the time in which a peer whose queue is full must ask for what is
	// there, or read what MinRate asks for; one that does not is cut. Default 10 s.
	// Negative: no limit.
	SlowTimeout time.Duration

	// MaxMessagesPerSecond bounds the WebSocket messages of one connection: one that
	// sends more in a second is closed with 1008. At most 65,535. Default: no limit;
	// each connection then has its share of each turn of its loop.
	MaxMessagesPerSecond int

	// MaxNamespaces bounds the namespaces of one session; one more ends it. Default 64.
	MaxNamespaces int

	// MaxAuthBytes bounds what the sockets of one session keep of the auth objects that
	// the peer has connected with; a namespace that would need more is refused.
	// Default 128 KiB.
	MaxAuthBytes int

	// MaxAttachments bounds the binary attachments of one packet; one more ends the
	// session. Default 10.
	MaxAttachments int

	// AttachmentTimeout is the time that a packet's attachments have to arrive.
	// Default 10 s.
	AttachmentTimeout time.Duration

	// MaxJSONDepth bounds the nesting of JSON from peers. Default, and most: 512.
	MaxJSONDepth int

	// MaxPendingAcks bounds the answers that a socket waits for; EmitWithAck and Call
	// return ErrTooManyAcks beyond. Default 10,000.
	MaxPendingAcks int

	// MailboxEvents and MailboxBytes bound the events of one socket that wait for its
	// handlers; the session is not read while either is exceeded, or, while somebody
	// waits in Call for the peer's answer, twice either. Defaults: 1,024 and 512 KiB.
	MailboxEvents int
	MailboxBytes  int

	// MaxPendingSessions bounds the polling sessions that one connection has opened and
	// that have joined no namespace; a further handshake on it is answered 503. A
	// connection of a proxy carries handshakes of many peers. Default 100. Negative: no
	// limit.
	MaxPendingSessions int

	// MaxKeptHeadBytes bounds what a session keeps of the head of the request that
	// opened it, in a compact form in which common lines take a byte or two. Fields that
	// do not fit are left out, see Request.Truncated: Cookie is served first, then
	// Authorization, Origin, User-Agent, X-Forwarded-For, -Proto and -Host, X-Real-IP,
	// Forwarded, Referer, Accept-Language, and the others as they came. The request
	// line and Host are always kept, and count. Default 4 KiB. Negative: no limit.
	MaxKeptHeadBytes int

	// PerAddress bounds what one address may do. Default: no limits.
	PerAddress AddressLimits

	// Limits of all peers together.

	// MaxMemory bounds, in bytes, what all peers together make the server hold: queued
	// output, unread and unfinished input, mailboxes, histories. When seven eighths are
	// used, handshakes are answered 503; when it is spent, the largest holders are
	// ended. Default: half of the least of GOMEMLIMIT, the control group's limit and
	// the machine's memory.
	MaxMemory int64

	// MaxConns bounds the open connections; further ones wait in the kernel's backlog.
	// Default: the process's descriptor limit less 64.
	MaxConns int

	// MaxSessions bounds the sessions, those that are closing included; a further
	// handshake is answered 503. Default 1,000,000. Negative: no limit.
	MaxSessions int

	// MaxDeciding bounds the handshakes that are in Middleware or AllowRequest; a
	// further one is answered 503. Default 1,024.
	MaxDeciding int

	// MaxDynamicNamespaces bounds the namespaces that peers may have made by parents;
	// further ones do not exist for them. Default 10,000. Negative: no limit.
	MaxDynamicNamespaces int

	// CleanupEmptyChildNamespaces forgets a parent's child when its last socket has
	// gone.
	CleanupEmptyChildNamespaces bool

	// Handlers.

	// MaxWorkers bounds the goroutines that run handlers; events of further sockets
	// wait for one. Default 10,000.
	MaxWorkers int

	// Inline runs the handlers of all events on the event loops. It saves the way to
	// another goroutine and back, but a handler that blocks, or computes for long, then
	// stops every connection of its loop. Middlewares, OnConnect, OnDisconnecting and
	// OnDisconnect may block all the same; for one socket nothing runs beside another.
	Inline bool

	// Network.

	// TLS, if not nil, has Listen, ListenAndServe and Serve speak TLS: https and wss. What
	// crypto/tls supports of it works, session tickets, client certificates, GetCertificate
	// and GetConfigForClient among it, but for HTTP/2, which is not offered. It may not
	// be changed afterwards, but by its own methods. See docs/security.md.
	TLS *tls.Config

	// PlainTLS leaves every record to crypto/tls, not only the handshake: some 11 kB a
	// connection instead of two. It is so in any case where GODEBUG has
	// fips140=only.
	PlainTLS bool

	// MaxTLSHandshakes bounds the TLS handshakes under way; further ones stand in line,
	// and a peer that has kept its place idle for a second makes room for them. Default
	// 1,024.
	MaxTLSHandshakes int

	// TLSHandshakeTimeout bounds the time from accept to the end of the TLS handshake.
	// Default 10 s. Negative: none.
	TLSHandshakeTimeout time.Duration

	// ProxyProtocol are the networks of the proxies whose connections begin with a header
	// of the PROXY protocol, version 1 or 2; UnixPeers stands for all peers of Unix
	// sockets. The address in it is then the peer's, for PerAddress, RemoteAddr and logs. A
	// connection of theirs without one is closed, one of another network with one is
	// answered 400. Default: none.
	ProxyProtocol []netip.Prefix

	// ReusePort lets several processes listen on one TCP port (SO_REUSEPORT), if all of
	// them set it: Linux deals the connections out, other systems may not. A session is
	// still one process's: see docs/operations.md.
	ReusePort bool

	// Fallback serves the requests for other paths, through net/http's own server, to
	// which the connection is lent for as long as such requests come. Nil: 404.
	Fallback http.Handler

	// MaxFallback bounds the connections lent to net/http at once; a request for which
	// there is none left is answered 503. Default 1,024.
	MaxFallback int

	// Client, if not nil, has the browser client's files at its root, as npm's
	// socket.io-client has them in dist: socket.io.js, socket.io.min.js,
	// socket.io.esm.min.js, socket.io.msgpack.min.js and their maps. Those that are
	// there are served under Path, as /socket.io/socket.io.js.
	Client fs.FS

	// ContextValues are the keys of those values of a mounted request's context (see
	// Server.Handler) that are still there when its handshake has been decided on: they
	// are copied. The context itself ends with the request, and routers use again what
	// they have put in. Default: none.
	ContextValues []any

	// Engines are further Engine.IO endpoints on the same listeners, each on its own
	// path.
	Engines []*Engine

	// Loops is the number of event loops. Default: GOMAXPROCS.
	Loops int

	// MaxRequestLineBytes (default 8 KiB), MaxHeadBytes (default 16 KiB) and
	// MaxHeaderFields (default 100) bound a request's head: 414 or 431.
	MaxRequestLineBytes int
	MaxHeadBytes        int
	MaxHeaderFields     int

	// HeadTimeout bounds the time from a connection's, or its next request's, first byte
	// to the end of the head. Default 10 s. Negative: none.
	HeadTimeout time.Duration

	// BodyTimeout bounds the time from the end of the head to the end of the body,
	// which has a second more for each MinRate bytes that have come. Default 30 s.
	// Negative: none.
	BodyTimeout time.Duration

	// MinRate is how fast, in bytes a second, a peer must at least send a body and read
	// an answer, as far as BodyTimeout, WriteTimeout and SlowTimeout say. Default 240.
	MinRate int

	// WriteTimeout is the time in which a peer that an answer waits for must read
	// MinRate bytes a second of it, on average, as its kernel acknowledges them: if it
	// does, it is waited for as long as it takes; if not, the connection is reset.
	// Default 60 s. Negative: none; a connection that is being closed is then reset if
	// its peer reads nothing for CloseTimeout.
	WriteTimeout time.Duration

	// IdleTimeout bounds how long a connection may wait for a next request once the
	// answer to the last one is out. Default 75 s: longer than the 60 s for which common
	// proxies keep a connection that they may use again. Negative: none.
	IdleTimeout time.Duration

	// CloseTimeout bounds how long a connection that is being closed waits for its peer
	// to close its side, once it has read all that was sent. Default 5 s.
	CloseTimeout time.Duration

	// MaxUnsentBytes bounds what the kernel takes for a peer before it has sent it
	// (TCP_NOTSENT_LOWAT): without it, a peer that reads fast and then stops holds up to
	// 4 MiB there. What is beyond waits in the connection's queue. Linux only. Default
	// 128 KiB. Negative: what the system is set to.
	MaxUnsentBytes int

	// MaxPostedJobs and MaxPostedBytes bound the jobs that wait for one loop; a
	// goroutine that is not a loop waits in Emit while either is exceeded. Defaults:
	// 8,192 and 64 MiB.
	MaxPostedJobs  int
	MaxPostedBytes int

	// TrimAfter is how long the process must have been at rest before all memory that
	// earlier work has left behind is given back to the system. Every eighth of it that is
	// looked after, unless the process is at work (it allocates as much as it holds) or
	// GOGC is above 100. It takes garbage collections, a hundredth of the processors' time
	// at most, and is done only if there is something to gain. Default 10 s. Negative:
	// never.
	TrimAfter time.Duration

	// Logging.

	// Logger receives faults of this side at Error, origins that were refused at Warn,
	// and at Debug what peers bring about: a few lines a second for each reason.
	// Default: slog.Default.
	Logger *slog.Logger

	// Contracts.

	// OnContractError is told of each emit that is not as Emits has declared it, and of
	// answers: an event of another type, one that is not declared where others are, a nil
	// slice, which peers get as null. What was emitted is sent in any case. It is for
	// tests, and takes time: package sockeyetest sets it to fail the test. It is called on
	// the goroutine that emits. Default: nothing is compared.
	OnContractError func(err *ContractError)

	// Seams is for package sockeyetest.
	Seams *seam.Seams
}

// Codec turns arguments into JSON and back. Its methods are called from any
// goroutine.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}
