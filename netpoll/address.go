package netpoll

import (
	"net/netip"
	"sync"
	"time"
)

// AddressLimits bound what one address may do: an IPv4 address, or the /64 network
// of an IPv6 one. In each field 0, the default, means no limit: behind a proxy all
// peers have the proxy's address.
type AddressLimits struct {
	// Conns bounds the open connections; a further one is closed at once.
	Conns int

	// HandshakesPerSecond bounds what Conn.TakeHandshake lets through, on average;
	// as many at once as in ten seconds.
	HandshakesPerSecond int

	// MessagesPerSecond bounds the WebSocket messages of all its connections, on
	// average; as many at once as in two seconds. Beyond, the connection that sends
	// is closed with 1008.
	MessagesPerSecond int
}

func (a AddressLimits) enabled() bool { return a != AddressLimits{} }

// addresses counts by address. It is cut into shards so that loops do not wait for
// each other, and holds who has an open connection or has lately done too much.
type addresses struct {
	// Immutable after New.
	limits AddressLimits

	shards [64]addressShard
}

type addressShard struct {
	// Guarded by mu.
	mu      sync.Mutex
	m       map[netip.Addr]*address
	sweepAt int // how many addresses are too many to keep those that are quiet
}

// address is what one address has done.
type address struct {
	// Guarded by its shard's mu.
	conns      int
	handshakes bucket
	messages   bucket

	// Immutable after it was made.
	shard *addressShard
	key   netip.Addr
}

// bucket is a token bucket that begins full.
type bucket struct {
	spent float64       // tokens that are missing
	at    time.Duration // when that was so
}

func (b *bucket) take(now time.Duration, rate, burst float64) bool {
	b.spent = max(0, b.spent-rate*(now-b.at).Seconds())
	b.at = now
	if b.spent+1 > burst {
		return false
	}
	b.spent++
	return true
}

// full tells whether nothing of what was spent is missing any more.
func (b *bucket) full(now time.Duration, rate int) bool {
	return b.spent <= float64(rate)*(now-b.at).Seconds()
}

// addressKey is what counts as one address.
func addressKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// shard is where what counts as one address is.
func (t *addresses) shard(key netip.Addr) *addressShard {
	b := key.As16()
	return &t.shards[(int(b[6])^int(b[7])^int(b[12])<<1^int(b[13])<<2^int(b[14])<<3^int(b[15]))%len(t.shards)]
}

// of finds an address, or enters it without a connection.
func (t *addresses) of(a netip.Addr, now time.Duration) *address {
	key := addressKey(a)
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of(t.limits, key, now)
}

// of is for who holds mu.
func (h *addressShard) of(limits AddressLimits, key netip.Addr, now time.Duration) *address {
	x := h.m[key]
	if x == nil {
		h.sweep(limits, now)
		x = &address{shard: h, key: key}
		h.m[key] = x
	}
	return x
}

// enter counts a connection in; nil if the address has too many.
func (t *addresses) enter(a netip.Addr, now time.Duration) *address {
	key := addressKey(a)
	h := t.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.of(t.limits, key, now)
	if t.limits.Conns > 0 && x.conns >= t.limits.Conns {
		return nil
	}
	x.conns++
	return x
}

// leave counts a connection out.
func (t *addresses) leave(x *address) {
	x.shard.mu.Lock()
	defer x.shard.mu.Unlock()
	x.conns--
}

// sweep forgets addresses without a connection whose buckets are full again, when
// twice as many are known as were worth keeping.
func (h *addressShard) sweep(limits AddressLimits, now time.Duration) {
	if h.m == nil {
		h.m = map[netip.Addr]*address{}
	}
	if len(h.m) < h.sweepAt {
		return
	}
	for key, x := range h.m {
		quiet := x.handshakes.full(now, limits.HandshakesPerSecond) && x.messages.full(now, limits.MessagesPerSecond)
		if x.conns == 0 && quiet {
			delete(h.m, key)
		}
	}
	h.sweepAt = max(64, 2*len(h.m))
}

// enterAddress counts the connection at its address. It is closed if there are too
// many.
func (l *Loop) enterAddress(c *Conn) bool {
	if l.addresses[c] != nil || c.layers&(layerLink|layerDialled) != 0 {
		return true // of a link, CountFor does
	}
	from, ok := c.remote()
	switch {
	case !ok:
		c.abort(ErrClosed)
		return false
	case !from.IsValid(), Among(l.cfg.TrustedProxies, from.Addr()):
		return true // it speaks for many
	case !l.proxied[c].from.IsValid() && Among(l.cfg.ProxyProtocol, from.Addr()):
		return true // it speaks for itself, or for nobody
	}
	x := l.group.addresses.enter(from.Addr(), l.Now())
	if x == nil {
		l.group.stats.refusedByAddress.Add(1)
		if log := l.group.log; log.Debugs() {
			log.Debug("too many connections of an address", "netpoll: a connection is refused", "why", "its address has Config.PerAddress.Conns", "peer", from.String())
		}
		c.abort(ErrClosed)
		return false
	}
	l.countAt(c, x)
	return true
}

// countAt notes at which address a connection of the loop is counted.
func (l *Loop) countAt(c *Conn, x *address) {
	if l.addresses == nil {
		l.addresses = map[*Conn]*address{}
	}
	l.addresses[c] = x
}

func (l *Loop) leaveAddress(c *Conn) {
	if x := l.addresses[c]; x != nil {
		delete(l.addresses, c)
		l.group.addresses.leave(x)
	}
}

// TakeHandshake tells whether an address may make another handshake, by
// Config.PerAddress: the peer's, or that for which a proxy of Config.TrustedProxies
// speaks, if it is not zero. The layer above asks before it does the work of one.
func (c *Conn) TakeHandshake(behind netip.Addr) bool {
	l := c.loop
	t := l.group.addresses
	x := l.addresses[c]
	if t != nil && behind.IsValid() {
		x = t.of(behind, l.Now())
	}
	ok := l.takeToken(x, func(x *address, now time.Duration) bool {
		n := float64(t.limits.HandshakesPerSecond)
		return n == 0 || x.handshakes.take(now, n, 10*n)
	})
	if !ok {
		l.group.stats.refusedByAddress.Add(1)
	}
	return ok
}

// CountFor counts a connection of a proxy of Config.TrustedProxies, or a link, at the
// address of the one peer that it carries from now on, as a WebSocket does: zero for none.
// It is false if that has too many; the layer above refuses it then.
func (c *Conn) CountFor(behind netip.Addr) bool {
	l := c.loop
	l.Check()
	t := l.group.addresses
	if from := l.proxied[c].from.Addr(); c.layers&layerLink != 0 && !behind.IsValid() && !Among(l.cfg.TrustedProxies, from) {
		behind = from
	}
	if t == nil || !behind.IsValid() || l.addresses[c] != nil {
		return true
	}
	x := t.enter(behind, l.Now())
	if x == nil {
		l.group.stats.refusedByAddress.Add(1)
		return false
	}
	l.countAt(c, x)
	return true
}

// takeMessage counts a message at the peer's address.
func (c *Conn) takeMessage() bool {
	l := c.loop
	return l.takeToken(l.addresses[c], func(x *address, now time.Duration) bool {
		n := float64(l.cfg.PerAddress.MessagesPerSecond)
		return n == 0 || x.messages.take(now, n, 2*n)
	})
}

// takeToken takes one of an address; where there is none there are no limits.
func (l *Loop) takeToken(x *address, take func(x *address, now time.Duration) bool) bool {
	if x == nil {
		return true
	}
	x.shard.mu.Lock()
	defer x.shard.mu.Unlock()
	return take(x, l.Now())
}
