package netpoll

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"time"

	"github.com/sockeye-io/sockeye/proto/ws"
)

// Config configures loops and connections. The zero value is ready to use. In
// each field 0 means the default; a negative limit or time means "none" where
// the field says so.
type Config struct {
	// Loops is the number of event loops. Default: GOMAXPROCS.
	Loops int

	// MaxConns bounds the open connections of all loops together; further ones
	// wait in the kernel's backlog. Default: the process's descriptor limit
	// less 64.
	MaxConns int

	// MaxBodyBytes bounds the body of a request that Handler.Claims; a larger
	// one reaches the handler with Request.Oversize and no body. Default:
	// 1,000,000.
	MaxBodyBytes int

	// MaxMessageBytes bounds a WebSocket message, all its fragments together;
	// a larger one closes the connection with 1009. Default: MaxBodyBytes.
	MaxMessageBytes int

	// MaxQueuedBytes is how much may wait for the peer of a WebSocket, buffers by
	// their capacity, before the layer above is told that its queue is full. What is
	// sent all the same is queued, by the budget of MaxMemory; a peer that does not
	// read on then is slow, see SlowTimeout. Default 1 MiB.
	MaxQueuedBytes int

	// SlowTimeout is the time in which the peer of a WebSocket whose queue is full
	// must read what MinRate asks for; one that does not is reset. Default 10 s.
	// Negative: no limit.
	SlowTimeout time.Duration

	// MaxMemory bounds, in bytes, what all of the group's peers together make it
	// hold: queued output, unread and unfinished input, and what the layers above
	// charge to Group.Memory. When seven eighths are used, nobody new should be let
	// in; when it is spent, the largest holders are ended with ErrMemory. Default:
	// half of the least of GOMEMLIMIT, the control group's limit and the machine's
	// memory.
	MaxMemory int64

	// MaxMessagesPerSecond bounds the WebSocket messages of one connection: one that
	// sends more in a second is closed with 1008. At most 65,535. Default 0: no
	// limit; each connection then has its share of each turn of its loop.
	MaxMessagesPerSecond int

	// PerAddress bounds what one address may do. Default: no limits.
	PerAddress AddressLimits

	// ProxyProtocol are the networks of the proxies whose connections begin with a
	// header of the PROXY protocol, version 1 or 2; UnixPeers stands for all peers of
	// Unix sockets. The address in it is then the peer's. A connection of theirs without
	// one is closed, one of another network with one is answered 400. Default: none.
	ProxyProtocol []netip.Prefix

	// TrustedProxies are the networks of the proxies that speak for many peers, by
	// header fields, as the layer above reads them: PerAddress counts no connection of
	// theirs but by Conn.CountFor. UnixPeers stands for all peers of Unix sockets. Default: none.
	TrustedProxies []netip.Prefix

	// ReusePort lets several processes listen on one TCP port (SO_REUSEPORT), if all of
	// them set it.
	ReusePort bool

	// MaxUnsentBytes bounds what the kernel takes for a peer before it has sent
	// it (TCP_NOTSENT_LOWAT): without it, a peer that reads fast and then stops
	// holds up to 4 MiB there. What is beyond waits in the connection's queue.
	// Linux only. Default: 128 KiB. Negative: what the system is set to.
	MaxUnsentBytes int

	// MaxPostedJobs and MaxPostedBytes bound the jobs that wait for one loop; a
	// goroutine that is not a loop waits in Post while either is exceeded.
	// Defaults: 8,192 and 64 MiB.
	MaxPostedJobs  int
	MaxPostedBytes int

	// MaxRequestLineBytes (default 8 KiB), MaxHeadBytes (default 16 KiB) and
	// MaxHeaderFields (default 100) bound a request's head: 414 or 431.
	MaxRequestLineBytes int
	MaxHeadBytes        int
	MaxHeaderFields     int

	// HeadTimeout bounds the time from a connection's, or its next request's,
	// first byte to the end of the head. Default 10 s. Negative: none.
	HeadTimeout time.Duration

	// BodyTimeout bounds the time from the end of the head to the end of the body,
	// which has a second more for each MinRate bytes that have come. Default 30 s.
	// Negative: none.
	BodyTimeout time.Duration

	// MinRate is how fast, in bytes a second, a peer must at least send a body and
	// read an answer, as far as BodyTimeout and WriteTimeout say. Default 240.
	MinRate int

	// WriteTimeout is the time in which a peer that an answer waits for must read
	// MinRate bytes a second of it, on average, as its kernel acknowledges them:
	// if it does, it is waited for as long as it takes; if not, the connection is
	// reset. Default 60 s. Negative: none; a connection that is being closed is then
	// reset if its peer reads nothing for CloseTimeout.
	WriteTimeout time.Duration

	// IdleTimeout bounds how long a connection may wait for a next request once the
	// answer to the last one is out. Default 75 s: longer than the 60 s for which
	// common proxies keep a connection that they may use again. Negative: none.
	IdleTimeout time.Duration

	// CloseTimeout bounds how long a connection that is being closed waits for its
	// peer to close its side, once it has read all that was sent. Default 5 s.
	CloseTimeout time.Duration

	// TLS, if not nil, is what Group.ListenTLS makes handshakes by. What crypto/tls
	// supports of it works, but for HTTP/2: "h2" is not offered.
	TLS *tls.Config

	// PlainTLS leaves every record to crypto/tls, not only the handshake: some 11 kB
	// a connection instead of two. It is so in any case where GODEBUG has
	// fips140=only.
	PlainTLS bool

	// MaxTLSHandshakes bounds the handshakes under way; further ones stand in line, and
	// a peer that has kept its place idle for a second makes room for them. Default
	// 1,024.
	MaxTLSHandshakes int

	// TLSHandshakeTimeout bounds the time from accept to the end of the handshake.
	// Default 10 s. Negative: none.
	TLSHandshakeTimeout time.Duration

	// Fallback serves the requests that Handler.Claims does not claim: through
	// net/http's own server, to which the connection is lent for as long as such
	// requests come. Nil: 404.
	Fallback http.Handler

	// MaxFallback bounds the connections lent at once; a request for which there is
	// none left is answered 503. Default: 1,024.
	MaxFallback int

	// MaxLinks bounds the connections to other servers, by Conn.Forward: a request for which
	// there is none left is not passed on. They are of MaxConns. Default: half of those.
	MaxLinks int

	// LinkTimeout is the time in which such a connection must be there. Default 3 s.
	LinkTimeout time.Duration

	// Deflate, if not nil, compresses WebSocket messages in both directions, with peers
	// that offer permessage-deflate (RFC 7692). MaxMessageBytes bounds what
	// they become when they are inflated. A request whose Sec-WebSocket-Extensions
	// is malformed is then refused with 400. Nil, the default: off, extensions are
	// not looked at.
	Deflate *ws.DeflateConfig

	// Systems, if not nil, are the kernels of the loops, one for each, which then
	// turn only by Loop.Turn and Loop.Deliver. It is for package netpolltest.
	Systems []System

	// Logger receives what went wrong on this side: panics, accept errors.
	// Peers' faults are counted (see Stats), not logged. Default:
	// slog.Default.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Loops = cmp.Or(c.Loops, defaultLoops())
	c.MaxConns = cmp.Or(c.MaxConns, defaultMaxConns())
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, 1_000_000)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, c.MaxBodyBytes)
	c.MaxQueuedBytes = cmp.Or(c.MaxQueuedBytes, 1<<20)
	c.MaxUnsentBytes = cmp.Or(c.MaxUnsentBytes, 128<<10)
	c.MaxPostedJobs = cmp.Or(c.MaxPostedJobs, 8_192)
	c.MaxPostedBytes = cmp.Or(c.MaxPostedBytes, 64<<20)
	c.MaxRequestLineBytes = cmp.Or(c.MaxRequestLineBytes, 8<<10)
	c.MaxHeadBytes = cmp.Or(c.MaxHeadBytes, 16<<10)
	c.MaxHeaderFields = cmp.Or(c.MaxHeaderFields, 100)
	c.MaxFallback = cmp.Or(c.MaxFallback, 1_024)
	c.MaxLinks = cmp.Or(c.MaxLinks, max(c.MaxConns/2, 1))
	c.LinkTimeout = cmp.Or(c.LinkTimeout, 3*time.Second)
	c.MaxTLSHandshakes = cmp.Or(c.MaxTLSHandshakes, 1_024)
	c.TLSHandshakeTimeout = cmp.Or(c.TLSHandshakeTimeout, 10*time.Second)
	c.HeadTimeout = cmp.Or(c.HeadTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.MinRate = cmp.Or(c.MinRate, 240)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.SlowTimeout = cmp.Or(c.SlowTimeout, 10*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 75*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 5*time.Second)
	c.MaxMemory = cmp.Or(c.MaxMemory, defaultMaxMemory())
	if c.Deflate != nil {
		c.Deflate = c.Deflate.WithDefaults()
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// maxMessageLimit keeps sums of lengths from overflowing.
const maxMessageLimit = math.MaxInt32 / 2

// Fault is what is wrong with a field of a Config, this package's or one's above.
type Fault struct {
	Package, Field string
	Err            error // "is 5: it must be ..."
}

func (f *Fault) Error() string { return f.Package + ": Config." + f.Field + " " + f.Err.Error() }

func (f *Fault) Unwrap() error { return f.Err }

// Faults are the faults that a Validate has joined.
func Faults(err error) (all []*Fault) {
	switch err := err.(type) { //nolint:errorlint // they are joined, not wrapped
	case *Fault:
		return []*Fault{err}
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			all = append(all, Faults(e)...)
		}
	}
	return all
}

// Validate tells every fault of the configuration: numbers that mean nothing, times
// without a unit, limits of which one makes another useless. New does, too.
func (c Config) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &Fault{"netpoll", field, fmt.Errorf(format, args...)})
	}
	for _, f := range []struct {
		name     string
		n        int64
		min, max int64 // 0 is the default, and always right
	}{
		{"Loops", int64(c.Loops), 1, 1 << 16},
		{"MaxConns", int64(c.MaxConns), 1, math.MaxInt64},
		{"MaxBodyBytes", int64(c.MaxBodyBytes), 1, maxMessageLimit},
		{"MaxMessageBytes", int64(c.MaxMessageBytes), 1, maxMessageLimit},
		{"MaxQueuedBytes", int64(c.MaxQueuedBytes), 1, math.MaxInt64},
		{"MaxMemory", c.MaxMemory, 1, math.MaxInt64},
		{"MaxMessagesPerSecond", int64(c.MaxMessagesPerSecond), 1, math.MaxUint16},
		{"MaxPostedJobs", int64(c.MaxPostedJobs), 1, math.MaxInt64},
		{"MaxPostedBytes", int64(c.MaxPostedBytes), 1, math.MaxInt64},
		{"MaxRequestLineBytes", int64(c.MaxRequestLineBytes), 16, 1 << 20},
		{"MaxHeadBytes", int64(c.MaxHeadBytes), 32, 1 << 20},
		{"MaxHeaderFields", int64(c.MaxHeaderFields), 1, 1 << 20},
		{"MinRate", int64(c.MinRate), 1, math.MaxInt64},
		{"MaxTLSHandshakes", int64(c.MaxTLSHandshakes), 1, 1 << 20},
		{"MaxFallback", int64(c.MaxFallback), 1, 1 << 20},
		{"MaxLinks", int64(c.MaxLinks), 1, math.MaxInt64},
		{"LinkTimeout", int64(c.LinkTimeout), 1, math.MaxInt64},
		{"CloseTimeout", int64(c.CloseTimeout), 1, math.MaxInt64},
		{"PerAddress.Conns", int64(c.PerAddress.Conns), 1, math.MaxInt64},
		{"PerAddress.HandshakesPerSecond", int64(c.PerAddress.HandshakesPerSecond), 1, math.MaxInt32},
		{"PerAddress.MessagesPerSecond", int64(c.PerAddress.MessagesPerSecond), 1, math.MaxInt32},
	} {
		if f.n != 0 && (f.n < f.min || f.n > f.max) {
			fault(f.name, "is %d; it must be 0, the default, or from %d to %d", f.n, f.min, f.max)
		}
	}
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"HeadTimeout", c.HeadTimeout},
		{"TLSHandshakeTimeout", c.TLSHandshakeTimeout},
		{"BodyTimeout", c.BodyTimeout},
		{"WriteTimeout", c.WriteTimeout},
		{"SlowTimeout", c.SlowTimeout},
		{"IdleTimeout", c.IdleTimeout},
		{"CloseTimeout", c.CloseTimeout},
		{"LinkTimeout", c.LinkTimeout},
	} {
		if f.d > 0 && f.d < time.Millisecond {
			fault(f.name, "is %d nanoseconds; has a unit been forgotten? Write %d * time.Second", f.d, f.d)
		}
	}
	for _, f := range []struct {
		name  string
		n     int64
		above string
		limit int64
	}{
		{"MaxRequestLineBytes", int64(c.MaxRequestLineBytes), "MaxHeadBytes", int64(c.MaxHeadBytes)},
		{"MaxQueuedBytes", int64(c.MaxQueuedBytes), "MaxMemory", c.MaxMemory},
		{"MaxBodyBytes", int64(c.MaxBodyBytes), "MaxMemory", c.MaxMemory},
		{"MaxMessageBytes", int64(c.MaxMessageBytes), "MaxMemory", c.MaxMemory},
	} {
		if f.n > 0 && f.limit > 0 && f.n > f.limit {
			fault(f.name, "is %d, more than %s, which is %d: it would never be reached; lower it, or raise %s", f.n, f.above, f.limit, f.above)
		}
	}
	for _, f := range []struct {
		name     string
		networks []netip.Prefix
	}{{"ProxyProtocol", c.ProxyProtocol}, {"TrustedProxies", c.TrustedProxies}} {
		for i, p := range f.networks {
			if why := NetworkFault(p); why != "" {
				fault(fmt.Sprintf("%s[%d]", f.name, i), "is %v: it %s", p, why)
			}
		}
	}
	return errors.Join(faults...)
}
