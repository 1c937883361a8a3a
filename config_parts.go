package sockeye

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// withDefaults fills in what is the root's own; the parts have their own defaults.
func (c Config) withDefaults() Config {
	c.Path = cmp.Or(c.Path, "/socket.io/")
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 45*time.Second)
	c.AckTimeout = cmp.Or(c.AckTimeout, 30*time.Second)
	c.EmitTimeout = cmp.Or(c.EmitTimeout, 30*time.Second)
	c.PresenceLease = cmp.Or(c.PresenceLease, 10*time.Second)
	c.AttachmentTimeout = cmp.Or(c.AttachmentTimeout, 10*time.Second)
	c.TrimAfter = cmp.Or(c.TrimAfter, 10*time.Second)
	c.MaxNamespaces = cmp.Or(c.MaxNamespaces, 64)
	c.MaxAuthBytes = cmp.Or(c.MaxAuthBytes, 128<<10)
	c.MaxAttachments = cmp.Or(c.MaxAttachments, 10)
	c.MaxJSONDepth = cmp.Or(c.MaxJSONDepth, sio.MaxDepth)
	c.MaxPendingAcks = cmp.Or(c.MaxPendingAcks, 10_000)
	c.MailboxEvents = cmp.Or(c.MailboxEvents, 1_024)
	c.MailboxBytes = cmp.Or(c.MailboxBytes, 512<<10)
	c.MaxWorkers = cmp.Or(c.MaxWorkers, 10_000)
	c.MaxDynamicNamespaces = cmp.Or(c.MaxDynamicNamespaces, 10_000)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Deflate != nil {
		c.Deflate = c.Deflate.WithDefaults()
	}
	if c.Recovery != nil {
		c.Recovery = c.Recovery.withDefaults()
	}
	if c.Codec == nil {
		c.Codec = arguments.JSON{}
	}
	return c
}

// engine is the part that is Engine.IO's.
func (c *Config) engine() engine.Config {
	return engine.Config{
		Path: c.Path, NoTrailingSlash: c.NoTrailingSlash, Transports: c.Transports, NoUpgrades: c.NoUpgrades, AllowEIO3: c.AllowEIO3,
		PingInterval: c.PingInterval, PingTimeout: c.PingTimeout, UpgradeTimeout: c.UpgradeTimeout, CloseTimeout: c.PollCloseTimeout,
		SlowTimeout: c.SlowTimeout, MaxQueuedBytes: c.MaxQueuedBytes, MaxPayload: c.MaxPayload, HTTPCompressionThreshold: c.HTTPCompressionThreshold,
		Origins: c.Origins, TrustedProxies: c.TrustedProxies, AllowOrigin: c.AllowOrigin, Credentials: c.Credentials,
		AllowRequest: publicly(c.AllowRequest), Middleware: c.Middleware, OnRefused: c.OnRefused, Headers: c.Headers, Cookie: c.Cookie, GenerateID: c.GenerateID,
		MaxDeciding: c.MaxDeciding, MaxSessions: c.MaxSessions, MaxPendingSessions: c.MaxPendingSessions, MaxKeptHeadBytes: c.MaxKeptHeadBytes,
		Logger: c.Logger,
	}
}

// net is the part that is the loops' and connections'.
func (c *Config) net() netpoll.Config {
	n := netpoll.Config{
		ProxyProtocol: c.ProxyProtocol, TrustedProxies: c.TrustedProxies, ReusePort: c.ReusePort,
		Loops: c.Loops, MaxConns: c.MaxConns, MaxMemory: c.MaxMemory, PerAddress: c.PerAddress, MaxMessagesPerSecond: c.MaxMessagesPerSecond,
		MaxQueuedBytes: c.MaxQueuedBytes, SlowTimeout: c.SlowTimeout, MaxUnsentBytes: c.MaxUnsentBytes,
		MaxPostedJobs: c.MaxPostedJobs, MaxPostedBytes: c.MaxPostedBytes,
		MaxRequestLineBytes: c.MaxRequestLineBytes, MaxHeadBytes: c.MaxHeadBytes, MaxHeaderFields: c.MaxHeaderFields,
		HeadTimeout: c.HeadTimeout, BodyTimeout: c.BodyTimeout, MinRate: c.MinRate, WriteTimeout: c.WriteTimeout,
		IdleTimeout: c.IdleTimeout, CloseTimeout: c.CloseTimeout,
		TLS: c.TLS, PlainTLS: c.PlainTLS, MaxTLSHandshakes: c.MaxTLSHandshakes, TLSHandshakeTimeout: c.TLSHandshakeTimeout,
		Fallback: c.Fallback, MaxFallback: c.MaxFallback, Deflate: c.Deflate, Logger: c.Logger,
	}
	if f := c.Forward; f != nil {
		n.MaxLinks, n.LinkTimeout = max(f.MaxConns, 0), max(f.ConnectTimeout, 0)
	}
	if c.driven() {
		n.Systems = c.Seams.Systems
	}
	return n
}

// driven tells whether a test turns the loops.
func (c *Config) driven() bool { return c.Seams != nil && c.Seams.Systems != nil }

// renamed are the fields of the parts that have another name here.
var renamed = map[string]string{"engine.CloseTimeout": "PollCloseTimeout"}

// validate finds all faults of the configuration at once.
func (c *Config) validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("Config."+field+" "+format, args...))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"ConnectTimeout", c.ConnectTimeout},
		{"AckTimeout", c.AckTimeout},
		{"EmitTimeout", c.EmitTimeout},
		{"PresenceLease", c.PresenceLease},
		{"AttachmentTimeout", c.AttachmentTimeout},
		{"TrimAfter", max(c.TrimAfter, 0)},
	} {
		switch {
		case d.d < 0:
			fault(d.name, "is %v: it must not be negative", d.d)
		case d.d > 0 && d.d < time.Millisecond:
			fault(d.name, "is %d nanoseconds; has a unit been forgotten? Write %d * time.Second, or time.Millisecond", d.d, d.d)
		}
	}
	for _, n := range []struct {
		name string
		n    int
	}{
		{"MaxNamespaces", c.MaxNamespaces},
		{"MaxAuthBytes", c.MaxAuthBytes},
		{"MaxAttachments", c.MaxAttachments},
		{"MaxJSONDepth", c.MaxJSONDepth},
		{"MaxPendingAcks", c.MaxPendingAcks},
		{"MailboxEvents", c.MailboxEvents},
		{"MailboxBytes", c.MailboxBytes},
		{"MaxWorkers", c.MaxWorkers},
	} {
		if n.n < 0 {
			fault(n.name, "is %d: it must not be negative", n.n)
		}
	}
	if c.MaxJSONDepth > sio.MaxDepth {
		fault("MaxJSONDepth", "is %d: it is %d at most", c.MaxJSONDepth, sio.MaxDepth)
	}
	if r := c.Recovery; r != nil {
		if r.MaxDisconnection < 0 || r.MaxBytes < 0 || r.MaxSockets < 0 {
			fault("Recovery", "has a negative limit: %+v", *r)
		}
		if r.MaxDisconnection > 0 && r.MaxDisconnection < time.Millisecond {
			fault("Recovery.MaxDisconnection", "is %d nanoseconds; has a unit been forgotten? Write %d * time.Second", r.MaxDisconnection, r.MaxDisconnection)
		}
	}
	if f := c.Forward; f != nil {
		if c.Adapter == nil {
			fault("Forward", "%w", errForwardAlone)
		}
		if c.GenerateID != nil {
			fault("GenerateID", "is set, and Forward, which needs sids that begin with their server's name: leave one of them out")
		}
		f.validate(fault)
	}
	for i, key := range c.ContextValues {
		if t := reflect.TypeOf(key); t == nil || !t.Comparable() {
			fault("ContextValues", "has %v at %d, which no context can have as a key", key, i)
		}
	}
	for i, e := range c.Engines {
		if e == nil {
			fault("Engines", "has nil at %d", i)
		}
	}
	if c.MaxPayload > 0 && c.MaxMemory > 0 && int64(c.MaxPayload) > c.MaxMemory {
		fault("MaxPayload", "is %d, more than MaxMemory, which is %d: lower it, or raise MaxMemory", c.MaxPayload, c.MaxMemory)
	}
	part := *c
	part.Path = cmp.Or(part.Path, "/socket.io/")
	told := map[string]bool{} // a field of both parts is told once
	for _, err := range []error{part.engine().Validate(), part.net().Validate()} {
		for _, f := range netpoll.Faults(err) {
			field := cmp.Or(renamed[f.Package+"."+f.Field], f.Field)
			if !told[field] {
				told[field] = true
				fault(field, "%w", f.Err)
			}
		}
	}
	return errors.Join(faults...)
}

// denial is an error of AllowRequest: what the peer may read of it, and itself.
type denial struct {
	public string
	error
}

func (d *denial) Error() string { return d.public }

func (d *denial) Unwrap() error { return d.error }

// publicly keeps the texts of errors that are not for peers from them.
func publicly(allow func(r *Request) error) func(r *Request) error {
	if allow == nil {
		return nil
	}
	return func(r *Request) error {
		err := allow(r)
		if err == nil {
			return nil
		}
		d, public := &denial{error: err}, (*ConnectError)(nil)
		if errors.As(err, &public) {
			d.public = public.Message
		}
		return d
	}
}
