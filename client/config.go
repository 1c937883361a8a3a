package client

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config configures a connection. The zero value is ready to use. In each field
// 0 means the default; negative numbers are refused.
type Config struct {
	// Path is the server's. Default "/socket.io/".
	Path string

	// Transports are tried in this order; a polling connection is upgraded to a
	// WebSocket if that is listed, too. Default: "polling", "websocket".
	Transports []string

	// Auth is what the server's handlers get as auth: encoded as a JSON object. A
	// func() any is called for each connection, by a goroutine of its own.
	Auth any

	// Query and Header are added to each request.
	Query  url.Values
	Header http.Header

	// HTTPClient sends the requests of polling. A WebSocket's request, too, has the
	// cookies of its Jar. Default: one of its own, whose idle connections are closed
	// with the Client's.
	HTTPClient *http.Client

	// TLS is for https and wss. With an HTTPClient it is for wss alone, and default is
	// that of the HTTPClient's *http.Transport.
	TLS *tls.Config

	// NoReconnect leaves a connection that broke alone.
	NoReconnect bool

	// ReconnectDelay is the time to the first attempt to connect again; it doubles
	// up to ReconnectDelayMax, and each is changed by up to half at random.
	// Defaults: 1 s and 5 s.
	ReconnectDelay    time.Duration
	ReconnectDelayMax time.Duration

	// ReconnectAttempts is after how many attempts to give up. Default: never.
	ReconnectAttempts int

	// ConnectTimeout is the time that an attempt to connect has; Dial and Of have it
	// altogether. Default 20 s.
	ConnectTimeout time.Duration

	// MaxMessageBytes bounds a message with its attachments, or a poll's answer, of
	// the server; one more byte ends the connection. Default 64 MiB.
	MaxMessageBytes int

	// MaxBuffered and MaxBufferedBytes bound the events of a Client that wait for a
	// connection; Emit returns ErrBufferFull then. Defaults: 1,000 and 16 MiB.
	MaxBuffered      int
	MaxBufferedBytes int

	// MaxQueued is how many events may wait for a Client's handlers before the
	// connection is not read on for more events. Default 1,000.
	MaxQueued int

	// MaxQueuedBytes bounds the memory of the events that wait for a Client's
	// handlers; the connection is not read at all then. One event more may be there.
	// When no handler has returned for 5 s, either, each Call that waits returns
	// ErrQueueFull. Default 16 MiB.
	MaxQueuedBytes int

	// MaxCalls bounds the Calls of a Client that wait for an answer; a further one
	// returns ErrTooManyCalls. Default 10,000.
	MaxCalls int

	// Logger receives faults of this side. Default: slog.Default.
	Logger *slog.Logger
}

// validate tells all faults at once.
func (c Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("client: "+format, args...)) }
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"ReconnectDelay", int64(c.ReconnectDelay)},
		{"ReconnectDelayMax", int64(c.ReconnectDelayMax)},
		{"ReconnectAttempts", int64(c.ReconnectAttempts)},
		{"ConnectTimeout", int64(c.ConnectTimeout)},
		{"MaxMessageBytes", int64(c.MaxMessageBytes)},
		{"MaxBuffered", int64(c.MaxBuffered)},
		{"MaxBufferedBytes", int64(c.MaxBufferedBytes)},
		{"MaxQueued", int64(c.MaxQueued)},
		{"MaxQueuedBytes", int64(c.MaxQueuedBytes)},
		{"MaxCalls", int64(c.MaxCalls)},
	} {
		if f.n < 0 {
			fault("Config.%s is %d: it must not be negative; 0 is the default", f.name, f.n)
		}
	}
	if c.Transports != nil && len(c.Transports) == 0 {
		fault("Config.Transports is empty: leave it nil, or list polling, websocket, or both")
	}
	for _, name := range c.Transports {
		if name != "polling" && name != "websocket" {
			fault("Config.Transports: %q is neither polling nor websocket", name)
		}
	}
	if c.Path != "" && !strings.HasPrefix(c.Path, "/") {
		fault("Config.Path is %q: it must begin with a slash", c.Path)
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.Path = cmp.Or(c.Path, "/socket.io/")
	if c.Transports == nil {
		c.Transports = []string{"polling", "websocket"}
	}
	c.Header = c.Header.Clone()
	c.ReconnectDelay = cmp.Or(c.ReconnectDelay, time.Second)
	c.ReconnectDelayMax = cmp.Or(c.ReconnectDelayMax, 5*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 20*time.Second)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 64<<20)
	c.MaxBuffered = cmp.Or(c.MaxBuffered, 1_000)
	c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, 16<<20)
	c.MaxQueued = cmp.Or(c.MaxQueued, 1_000)
	c.MaxQueuedBytes = cmp.Or(c.MaxQueuedBytes, 16<<20)
	c.MaxCalls = cmp.Or(c.MaxCalls, 10_000)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}
