package engine

import (
	"fmt"
	"sync"
	"time"
)

// Proxies that do not pass on what they should are known by what happens again and
// again: connections that are cut at one age, WebSocket requests without their Upgrade
// field, probes of which none succeeds.

// cutAges are the ages at which the latest connections were cut without a word: of polls
// how long they had waited, of WebSockets how long nothing had passed.
type cutAges struct {
	mu   sync.Mutex
	ages [8]time.Duration // a ring; 0 for none
	next int
	last time.Duration // when the latest of them was noted
}

const (
	minCutAge  = 5 * time.Second // below no proxy's timeout is
	cutsAlike  = 3               // so many of the same age are no accident
	cutsSpread = time.Second
)

// cut notes the age, and tells how many of the latest, of so many, were like it. Of
// those that are cut at one moment it notes one: it is no timeout that they share.
func (a *cutAges) cut(now, age time.Duration) (alike, of int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == 0 || now-a.last > cutsSpread {
		a.last = now
		a.ages[a.next] = age
		a.next = (a.next + 1) % len(a.ages)
	}
	for _, other := range a.ages {
		if other == 0 {
			continue
		}
		of++
		if d := other - age; d >= -cutsSpread && d <= cutsSpread {
			alike++
		}
	}
	return alike, of
}

// blameProxy looks whether a connection that was cut without a word has the age at which
// others were cut.
func (a *cutAges) blameProxy(e *ending, what string, now, age time.Duration) {
	if e.cause != CausePeerClosed && e.cause != CauseReset || age < minCutAge {
		return
	}
	if alike, of := a.cut(now, age); alike >= cutsAlike && 2*alike > of {
		e.cause = CauseProxyTimeout
		e.why = fmt.Sprintf("%s was cut after %v, as %d of the last %d: a proxy's timeout, which must be longer than PingInterval and PingTimeout together", what, age.Round(time.Second), alike, of)
	}
}

// strippedOnLoop notes that a WebSocket request of the session has come as another.
func strippedOnLoop(a, _ any) {
	if s := a.(*Session); s.poll != nil {
		s.poll.stripped = true
	}
}

// proxyProbes is how many probes must have failed, and none succeeded, to be a sign.
const proxyProbes = 3

// addSigns adds what speaks for a proxy in the session's own life, and, where it polls,
// in that of others.
func (s *Session) addSigns(c *Closing) {
	p := s.poll
	if p == nil || s.transport != transportPolling {
		return
	}
	if p.stripped {
		c.Signs = append(c.Signs, "sign of a proxy: a WebSocket request of this session came without its Upgrade field")
	}
	st := &s.engine.stats
	if n := st.failedUpgrades.Load(); p.failedProbes > 0 && n >= proxyProbes && st.upgraded.Load() == 0 {
		c.Signs = append(c.Signs, fmt.Sprintf("sign of a proxy: of %d WebSocket probes none has succeeded", n))
	}
}
