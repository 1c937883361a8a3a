package netpoll

import (
	"github.com/sockeye-io/sockeye/proto/ws"
	"log/slog"
	"net/http"
	"time"
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

	// MaxQueuedBytes bounds what waits for a peer that does not read: a
	// connection with as much in its queue is closed with ErrSlowConsumer when
	// more is sent. One message alone may be larger. Default: 1 MiB.
	MaxQueuedBytes int

	// MaxUnsentBytes bounds what the kernel takes for a peer before it has sent
	// it (TCP_NOTSENT_LOWAT): without it, a peer that reads fast and then stops
	// holds up to 4 MiB there. What is beyond waits in the connection's queue.
	// Linux only. Default: 128 KiB. Negative: what the system is set to.
	MaxUnsentBytes int

	// MaxPostedJobs and MaxPostedBytes bound the jobs that wait for one loop; a
	// goroutine that is not a loop waits in Post while either is exceeded.
	// Defaults: 65,536 and 64 MiB.
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

	// BodyTimeout bounds the time from the end of the head to the end of the
	// body of a claimed request. Default 30 s. Negative: none.
	BodyTimeout time.Duration

	// IdleTimeout bounds how long a connection may wait for a next request.
	// Default 60 s. Negative: none.
	IdleTimeout time.Duration

	// CloseTimeout bounds how long a connection that is being closed may take
	// to read what is left for it. Default 5 s.
	CloseTimeout time.Duration

	// Fallback serves the requests that Handler.Claims does not claim, each on
	// a goroutine of its own for as long as the request lasts. Nil: 404.
	Fallback http.Handler

	// MaxFallback bounds the fallback requests under way; a further one is
	// answered 503. Default: 1,024.
	MaxFallback int

	// Deflate, if not nil, has WebSocket messages compressed in both directions with
	// peers that offer permessage-deflate (RFC 7692). MaxMessageBytes bounds what
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
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	defTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.Loops, defaultLoops())
	def(&c.MaxConns, defaultMaxConns())
	def(&c.MaxBodyBytes, 1_000_000)
	def(&c.MaxMessageBytes, c.MaxBodyBytes)
	def(&c.MaxQueuedBytes, 1<<20)
	def(&c.MaxUnsentBytes, 128<<10)
	def(&c.MaxPostedJobs, 65_536)
	def(&c.MaxPostedBytes, 64<<20)
	def(&c.MaxRequestLineBytes, 8<<10)
	def(&c.MaxHeadBytes, 16<<10)
	def(&c.MaxHeaderFields, 100)
	def(&c.MaxFallback, 1_024)
	defTime(&c.HeadTimeout, 10*time.Second)
	defTime(&c.BodyTimeout, 30*time.Second)
	defTime(&c.IdleTimeout, time.Minute)
	defTime(&c.CloseTimeout, 5*time.Second)
	if c.Deflate != nil {
		c.Deflate = c.Deflate.WithDefaults()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
