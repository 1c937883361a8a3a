package netpoll

import (
	"net"
	"net/netip"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/proxyproto"
)

// Whoever is in front of this server may tell whose connection it passes on, by a
// header of the PROXY protocol (Config.ProxyProtocol). It comes before everything else:
//
//	accept -> expectProxy -> received, until the header is here -> proxied -> the layers above
//
// docs/decisions/0013-proxies.md tells what becomes of headers that are none.

// UnixPeers stands, in a list of networks, for the peers of Unix sockets, which have no
// address. It is ::/128, which no peer has.
var UnixPeers = netip.MustParsePrefix("::/128")

// Among tells whether an address is of one of the networks. That of a Unix socket's
// peer is netip.Addr{}: it is, if UnixPeers is among them.
func Among(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range networks {
		if p == UnixPeers {
			if !a.IsValid() {
				return true
			}
		} else if p.Contains(a) {
			return true
		}
	}
	return false
}

// NetworkFault tells what is wrong with a list of networks, "" for nothing.
func NetworkFault(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is no network: write netip.MustParsePrefix(\"10.0.0.0/8\"), or UnixPeers"
	case p.Addr().Is4In6():
		return "is IPv4 in IPv6, which no peer is: write the IPv4 network"
	case p != p.Masked():
		return "has bits behind its length: write " + p.Masked().String() + ", or a longer one"
	}
	return ""
}

// proxied is what a proxy has told of a connection.
type proxied struct {
	from netip.AddrPort // the peer; zero: the proxy has told none
	tls  bool           // it speaks TLS with the proxy

	there bool // it speaks TLS with the server that has passed the request on
}

// remote is the peer's address, netip.AddrPort{} for that of a Unix socket. It is false
// when the kernel has none any more.
func (c *Conn) remote() (netip.AddrPort, bool) {
	if p, ok := c.loop.proxied[c]; ok && p.from.IsValid() {
		return p.from, true
	}
	if !c.is(connTCP) || c.layers&layerLink != 0 { // what it says could be a path that looks like an address
		return netip.AddrPort{}, true
	}
	var scratch [64]byte
	text, ok := c.loop.sys.AppendRemoteAddr(scratch[:0], int(c.fd))
	from, err := netip.ParseAddrPort(string(text))
	return from, ok && err == nil
}

// RemoteIs tells whether the peer is of one of the networks: see Among. It asks the
// kernel, unless a proxy has told the address.
func (c *Conn) RemoteIs(networks []netip.Prefix) bool {
	if len(networks) == 0 {
		return false
	}
	from, ok := c.remote()
	return ok && Among(networks, from.Addr())
}

// Secure tells whether the peer speaks TLS: with this side, with what a bridged connection
// comes from, or with a proxy that has told so.
func (c *Conn) Secure() bool {
	return c.layers&layerTLS != 0 || c.SecureInFront() || c.cameByTLS() || c.loop.proxied[c].there
}

// SecureInFront tells whether a proxy has told that the peer speaks TLS with it.
func (c *Conn) SecureInFront() bool { return c.loop.proxied[c].tls }

// expectProxy has a new connection of Config.ProxyProtocol begin with a header. It is
// false if the peer has gone.
func (c *Conn) expectProxy() bool {
	networks := c.loop.cfg.ProxyProtocol
	if len(networks) == 0 || c.layers&layerLink != 0 {
		return true
	}
	from, ok := c.remote()
	if ok && Among(networks, from.Addr()) {
		c.layers |= layerProxy
	}
	return ok
}

// receivedProxied takes bytes while the header is due. b is borrowed until return.
func (c *Conn) receivedProxied(b []byte) {
	if c.phase >= phaseClosing {
		c.discard(len(b))
		return
	}
	kept := c.in
	if kept != nil {
		kept = bytepool.Append(kept, b)
		b = kept.B
		c.in = nil
	}
	h, n, err := proxyproto.ConsumeHeader(b)
	switch {
	case err != nil:
		c.refuseProxied(err)
	case n == 0:
		if kept == nil {
			kept = bytepool.Get(len(b))
			kept.B = append(kept.B, b...)
		}
		c.in = kept
		c.settle()
		return
	default:
		c.settle()
		if c.layers &^= layerProxy; c.layers&layerTLS != 0 {
			c.enter(phaseSecure)
		}
		if c.beginProxied(h) && n < len(b) {
			c.received(b[n:])
		}
	}
	bytepool.Put(kept)
}

// refuseProxied ends a connection that does not begin with the header that is due.
func (c *Conn) refuseProxied(err error) {
	c.loop.group.stats.badProxyHeaders.Add(1)
	c.abort(err)
}

// beginProxied enters a connection under what its header says. It is false if the
// address has too many.
func (c *Conn) beginProxied(h proxyproto.Header) bool {
	if !h.Source.IsValid() && !h.TLS {
		return true
	}
	l := c.loop
	l.setProxied(c, proxied{from: h.Source, tls: h.TLS})
	return !h.Source.IsValid() || l.group.addresses == nil || l.enterAddress(c)
}

func (l *Loop) setProxied(c *Conn, p proxied) {
	if p == (proxied{}) {
		return
	}
	if l.proxied == nil {
		l.proxied = map[*Conn]proxied{}
	}
	l.proxied[c] = p
}

// takeProxied is what is known of a connection that leaves the loop.
func (l *Loop) takeProxied(c *Conn) proxied {
	if len(l.proxied) == 0 {
		return proxied{}
	}
	p := l.proxied[c]
	delete(l.proxied, c)
	return p
}

// remoteAddr is the peer's address for net/http, if a proxy has told it.
func (p proxied) remoteAddr() net.Addr {
	if !p.from.IsValid() {
		return nil
	}
	return net.TCPAddrFromAddrPort(p.from)
}
