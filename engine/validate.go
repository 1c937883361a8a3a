package engine

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// Validate tells every fault of the configuration: what means nothing, times without a
// unit, origins that no browser sends. New does, too.
func (c Config) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &netpoll.Fault{Package: "engine", Field: field, Err: fmt.Errorf(format, args...)})
	}
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"PingInterval", c.PingInterval},
		{"PingTimeout", c.PingTimeout},
		{"UpgradeTimeout", c.UpgradeTimeout},
		{"CloseTimeout", c.CloseTimeout},
	} {
		switch {
		case f.d < 0:
			fault(f.name, "is %v: it must not be negative", f.d)
		case f.d > 0 && f.d < time.Millisecond:
			fault(f.name, "is %d nanoseconds; has a unit been forgotten? Write %d * time.Second, or time.Millisecond", f.d, f.d)
		}
	}
	if d := c.SlowTimeout; d > 0 && d < time.Millisecond {
		fault("SlowTimeout", "is %d nanoseconds; has a unit been forgotten? Write %d * time.Second, or time.Millisecond", d, d)
	}
	for _, f := range []struct {
		name string
		n    int
	}{
		{"MaxPayload", c.MaxPayload},
		{"MaxQueuedBytes", c.MaxQueuedBytes},
		{"MaxDeciding", c.MaxDeciding},
	} {
		if f.n < 0 {
			fault(f.name, "is %d: it must not be negative; 0 is the default", f.n)
		}
	}
	if c.MaxPayload > math.MaxInt32/2 {
		fault("MaxPayload", "is %d: it is at most %d", c.MaxPayload, math.MaxInt32/2)
	}
	c.validatePath(fault)
	if c.Transports != nil && len(c.Transports) == 0 {
		fault("Transports", "is empty: nobody could connect; leave it nil for all")
	}
	for i, t := range c.Transports {
		switch {
		case t != "polling" && t != "websocket":
			fault(fmt.Sprintf("Transports[%d]", i), "is %q: write \"polling\" or \"websocket\"", t)
		case slices.Contains(c.Transports[:i], t):
			fault(fmt.Sprintf("Transports[%d]", i), "is %q once more", t)
		}
	}
	var rules originRules
	for i, entry := range c.Origins {
		if err := rules.parse(entry); err != nil {
			fault(fmt.Sprintf("Origins[%d]", i), "is %q: it %w", entry, err)
		}
	}
	for i, p := range c.TrustedProxies {
		if why := netpoll.NetworkFault(p); why != "" {
			fault(fmt.Sprintf("TrustedProxies[%d]", i), "is %v: it %s", p, why)
		}
	}
	if rules.any && c.Credentials {
		fault("Origins", "has \"*\" and Credentials is set: any page could act as its visitor; list the origins, or clear Credentials")
	}
	if rules.any && c.AllowOrigin != nil {
		fault("Origins", "has \"*\" and AllowOrigin is set, which would never be asked: drop one of them")
	}
	if c.Cookie != nil {
		cookie := *c.Cookie
		cookie.Value = "sid"
		if err := cookie.Valid(); err != nil {
			fault("Cookie", "cannot be sent: %w", err)
		}
	}
	return errors.Join(faults...)
}

func (c Config) validatePath(fault func(field, format string, args ...any)) {
	for _, r := range c.Path {
		if r <= ' ' || r >= 0x7f || r == '?' || r == '#' {
			fault("Path", "is %q: %q cannot be in a request's path; write it percent-encoded", c.Path, r)
			return
		}
	}
	whole := c.withDefaults().Path
	if want := path.Clean(whole); strings.TrimSuffix(whole, "/") != strings.TrimSuffix(want, "/") {
		fault("Path", "is %q, which clients send as %q: write that", c.Path, want)
	}
	for i, p := range c.Unclaimed {
		if !strings.HasPrefix(p, whole) {
			fault(fmt.Sprintf("Unclaimed[%d]", i), "is %q, which is not below the path %q: it is not the engine's anyway", p, whole)
		}
	}
}

// contradictions are the faults of a group's configuration with its engines.
func contradictions(cfg netpoll.Config, engines []*Engine) error {
	var faults []error
	if len(engines) == 0 {
		faults = append(faults, errors.New("engine: Start needs an engine"))
	}
	for i, e := range engines {
		if e == nil {
			faults = append(faults, fmt.Errorf("engine: engine %d of Start is nil", i))
			continue
		}
		for _, f := range []struct {
			name string
			n    int
		}{{"MaxBodyBytes", cfg.MaxBodyBytes}, {"MaxMessageBytes", cfg.MaxMessageBytes}} {
			if f.n > 0 && f.n < e.cfg.MaxPayload {
				faults = append(faults, fmt.Errorf("engine: Config.MaxPayload is %d, which peers of %s are told, and netpoll.Config.%s takes %d: leave that 0, or raise it", e.cfg.MaxPayload, e.cfg.Path, f.name, f.n))
			}
		}
		for k, before := range engines[:i] {
			if before != nil && strings.HasPrefix(e.cfg.Path, before.cfg.Path) {
				faults = append(faults, fmt.Errorf("engine: engine %d of Start is never asked: its path %q begins with that of engine %d, %q; give it another path, or name it first", i, e.cfg.Path, k, before.cfg.Path))
			}
		}
	}
	return errors.Join(faults...)
}
