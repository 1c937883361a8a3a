package sockeye

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/lend"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Config configures a Server. The zero value is ready to use. In each field 0
// means the default.
type Config struct {
	// Engine configures Engine.IO: heartbeat, payload limit, transports, origins.
	// Its Path defaults to "/socket.io/" here.
	Engine engine.Config

	// Net configures loops and connections.
	Net netpoll.Config

	// Fallback serves the requests for other paths. Default: Net.Fallback.
	Fallback http.Handler

	// Client, if not nil, has the browser client's files at its root, as npm's
	// socket.io-client has them in dist: those of socket.io.js, socket.io.min.js,
	// socket.io.esm.min.js, socket.io.msgpack.min.js and their maps that are there
	// are served beside the path, as /socket.io/socket.io.js.
	Client fs.FS

	// Engines are further Engine.IO endpoints on the same listeners, each on
	// its own path.
	Engines []*engine.Engine

	// ConnectTimeout is the time that a session has to join a first namespace.
	// Default 45 s.
	ConnectTimeout time.Duration

	// AckTimeout is how long EmitWithAck, and Call without a deadline, wait for the
	// peer's answer. Default 30 s.
	AckTimeout time.Duration

	// EmitTimeout is how long Emit to one socket waits while the socket's queue is
	// full. Default 30 s.
	EmitTimeout time.Duration

	// MaxPendingAcks bounds the answers that a socket waits for; EmitWithAck
	// and Call return ErrTooManyAcks beyond. Default 10,000.
	MaxPendingAcks int

	// MaxNamespaces bounds the namespaces of one session; one more ends it.
	// Default 64.
	MaxNamespaces int

	// MaxAuthBytes bounds what the sockets of one session keep of the auth objects that
	// the peer has connected with; a namespace that would need more is refused.
	// Default 128 KiB.
	MaxAuthBytes int

	// MaxAttachments bounds the binary attachments of one packet; one more ends
	// the session. Default 10.
	MaxAttachments int

	// AttachmentTimeout is the time that a packet's attachments have to arrive.
	// Default 10 s.
	AttachmentTimeout time.Duration

	// MaxJSONDepth bounds the nesting of JSON from peers. Default 512.
	MaxJSONDepth int

	// MailboxEvents and MailboxBytes bound the events of one socket that wait
	// for its handlers; the session is not read while either is exceeded, or, while
	// somebody waits in Call for the peer's answer, twice either.
	// Defaults: 1,024 and 512 KiB.
	MailboxEvents int
	MailboxBytes  int

	// MaxWorkers bounds the goroutines that run handlers; events of further
	// sockets wait for one. Default 10,000.
	MaxWorkers int

	// Pool runs the handlers in place of the server's own goroutines: for tests.
	Pool lend.Pool

	// Inline runs the handlers of all events on the event loops. It saves the
	// way to another goroutine and back, but a handler that blocks, or computes
	// for long, then stops every connection of its loop. Middlewares, OnConnect,
	// OnDisconnecting and OnDisconnect may block all the same; for one socket nothing
	// runs beside another.
	Inline bool

	// TrimAfter is how long the process must have been at rest before memory that
	// earlier work has left behind is given back to the system. It takes a garbage
	// collection, and is done only if there is something to gain. Default 10 s.
	// Negative: never.
	TrimAfter time.Duration

	// Recovery, if not nil, lets sockets whose connection broke come back.
	Recovery *Recovery

	// MaxDynamicNamespaces bounds the namespaces that peers may have made by
	// parents; further ones do not exist for them. Default 10,000. Negative: no
	// bound.
	MaxDynamicNamespaces int

	// CleanupEmptyChildNamespaces forgets a parent's child when its last socket
	// has gone.
	CleanupEmptyChildNamespaces bool

	// Parser is another wire form of packets than Socket.IO's own; the Codec is
	// not used then. Default: nil.
	Parser Parser

	// Codec encodes and decodes arguments. Default: encoding/json.
	Codec Codec

	// Logger receives panics of handlers and other faults of this side.
	// Default: slog.Default.
	Logger *slog.Logger
}

// Codec turns arguments into JSON and back. Its methods are called from any
// goroutine.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func (c Config) withDefaults() Config {
	if c.Engine.Path == "" {
		c.Engine.Path = "/socket.io/"
	}
	if c.Fallback != nil {
		c.Net.Fallback = c.Fallback
	}
	for p, v := range map[*time.Duration]time.Duration{
		&c.ConnectTimeout: 45 * time.Second, &c.AckTimeout: 30 * time.Second, &c.EmitTimeout: 30 * time.Second, &c.AttachmentTimeout: 10 * time.Second,
		&c.TrimAfter: 10 * time.Second,
	} {
		if *p == 0 {
			*p = v
		}
	}
	for p, v := range map[*int]int{
		&c.MaxPendingAcks: 10_000, &c.MaxNamespaces: 64, &c.MaxAuthBytes: 128 << 10, &c.MaxAttachments: 10, &c.MaxJSONDepth: 512,
		&c.MailboxEvents: 1_024, &c.MailboxBytes: 512 << 10, &c.MaxWorkers: 10_000, &c.MaxDynamicNamespaces: 10_000,
	} {
		if *p == 0 {
			*p = v
		}
	}
	if c.Net.Deflate != nil {
		c.Net.Deflate = c.Net.Deflate.WithDefaults()
	}
	if c.Recovery != nil {
		c.Recovery = c.Recovery.withDefaults()
	}
	if c.Codec == nil {
		c.Codec = jsonCodec{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Engine.Logger == nil {
		c.Engine.Logger = c.Logger
	}
	if c.Net.Logger == nil {
		c.Net.Logger = c.Logger
	}
	return c
}

// validate finds all faults of the configuration at once.
func (c *Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"ConnectTimeout", c.ConnectTimeout},
		{"AckTimeout", c.AckTimeout},
		{"EmitTimeout", c.EmitTimeout},
		{"AttachmentTimeout", c.AttachmentTimeout},
		{"TrimAfter", c.TrimAfter},
	} {
		switch {
		case d.d < 0 && d.name != "TrimAfter":
			fault("%s is %v: it must not be negative", d.name, d.d)
		case d.d > 0 && d.d < time.Millisecond:
			fault("%s is %v: has a unit been forgotten? write %d * time.Millisecond, or time.Second", d.name, d.d, d.d)
		}
	}
	for _, n := range []struct {
		name string
		n    int
	}{
		{"MaxPendingAcks", c.MaxPendingAcks},
		{"MaxNamespaces", c.MaxNamespaces},
		{"MaxAuthBytes", c.MaxAuthBytes},
		{"MaxAttachments", c.MaxAttachments},
		{"MaxJSONDepth", c.MaxJSONDepth},
		{"MailboxEvents", c.MailboxEvents},
		{"MailboxBytes", c.MailboxBytes},
		{"MaxWorkers", c.MaxWorkers},
	} {
		if n.n < 0 {
			fault("%s is %d: it must not be negative", n.name, n.n)
		}
	}
	if c.MaxJSONDepth > 512 {
		fault("MaxJSONDepth is %d: it is 512 at most", c.MaxJSONDepth)
	}
	if c.Fallback != nil && c.Net.Fallback != nil {
		fault("Fallback and Net.Fallback are both set: set one")
	}
	if r := c.Recovery; r != nil {
		if r.MaxDisconnection < 0 || r.MaxBytes < 0 || r.MaxSockets < 0 {
			fault("Recovery has a negative limit: %+v", *r)
		}
		if r.MaxDisconnection > 0 && r.MaxDisconnection < time.Millisecond {
			fault("Recovery.MaxDisconnection is %v: has a unit been forgotten? write %d * time.Millisecond, or time.Second", r.MaxDisconnection, r.MaxDisconnection)
		}
	}
	for i, e := range c.Engines {
		if e == nil {
			fault("Engines[%d] is nil", i)
		}
	}
	engineConfig := c.Engine
	if engineConfig.Path == "" {
		engineConfig.Path = "/socket.io/"
	}
	faults = append(faults, engineConfig.Validate(), c.Net.Validate())
	return errors.Join(faults...)
}
