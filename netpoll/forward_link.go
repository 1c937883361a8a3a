package netpoll

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// The other end of a link: requests that other servers pass on come here.
//
//	SOCKEYE/1 secret CRLF                      once
//	FOR 192.0.2.1:4711 2 CRLF, a request       for each: who is connected there
//	                                           1: by TLS; 2: by TLS, as a proxy in front tells
//	HURRY CRLF                                 behind a request: that server is being closed. The
//	                                           answer may be on its way already

const (
	helloWord  = "SOCKEYE/1 "
	originWord = "FOR "
	hurryLine  = "HURRY\r\n"

	// maxSecret and maxOrigin bound the lines of a link.
	maxSecret = 64
	maxOrigin = 80

	// linkBytes is how much longer than it came a head may be that is passed on.
	linkBytes = 64

	originTLS      = 1
	originTLSFront = 2
)

// linkPatience is the time in which the server at the other end of a link must read
// something of what waits for it. It judges its client by this group's own rules, and
// what that reads comes to be seen here in steps of a kernel's window.
const linkPatience = 10 * time.Minute

var (
	errLink   = errors.New("netpoll: what has come by the link is none of a server's that knows its secret")
	errSecret = fmt.Errorf("a link's secret has from 16 to %d letters, digits, \"-\" and \"_\"", maxSecret)
)

// ValidSecret tells whether a text may be a link's secret.
func ValidSecret(s string) bool {
	for _, c := range []byte(s) {
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(s) >= 16 && len(s) <= maxSecret
}

// ListenLink opens a listener for requests that other servers pass on, by Conn.Forward.
// They have to know the secret. It may be called once, for a group that does not
// listen yet.
func (g *Group) ListenLink(network, address, secret string) (net.Addr, error) {
	if !ValidSecret(secret) {
		return nil, errSecret
	}
	g.linkSecret = []byte(secret)
	ln, err := listen(network, address, false)
	if err != nil {
		return nil, fmt.Errorf("netpoll: %w", err)
	}
	if _, err := g.serve(ln, listensLink); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("netpoll: listen %s %s: %w", network, address, err)
	}
	return ln.Addr(), nil
}

// Linked tells whether requests of the connection are passed on by another server.
func (c *Conn) Linked() bool { return c.layers&layerLink != 0 }

func appendHello(dst []byte, secret string) []byte {
	dst = append(dst, helloWord...)
	dst = append(dst, secret...)
	return append(dst, "\r\n"...)
}

// appendOrigin appends the line that says whose a request is.
func appendOrigin(dst []byte, c *Conn) []byte {
	dst = append(dst, originWord...)
	if from, ok := c.remote(); ok && from.IsValid() {
		dst = netip.AddrPortFrom(from.Addr().WithZone(""), from.Port()).AppendTo(dst)
	} else {
		dst = append(dst, '@')
	}
	flags := byte('0')
	if c.layers&layerTLS != 0 || c.cameByTLS() {
		flags += originTLS
	}
	if c.SecureInFront() {
		flags += originTLSFront
	}
	return append(dst, ' ', flags, '\r', '\n')
}

// cutLine cuts a line of a link off that begins with word; n == 0 without an error means
// that more is needed.
func cutLine(b []byte, word string, limit int) (rest []byte, n int, err error) {
	if k := min(len(b), len(word)); string(b[:k]) != word[:k] {
		return nil, 0, errLink
	}
	i := bytes.IndexByte(b[:min(len(b), limit)], '\n')
	switch {
	case i < 0 && len(b) < limit:
		return nil, 0, nil
	case i < len(word) || b[i-1] != '\r':
		return nil, 0, errLink
	}
	return b[len(word) : i-1], i + 1, nil
}

// consumeLinked consumes a request that is passed on, or what is in front of the first.
func (c *Conn) consumeLinked(b []byte) int {
	switch c.phase {
	case phaseDeciding, phaseWriting, phaseIdle:
		if k := min(len(b), len(hurryLine)); string(b[:k]) == hurryLine[:k] && c.layers&layerHello == 0 {
			return c.consumeHurry(k)
		}
	}
	if c.phase != phaseHead && c.phase != phaseIdle {
		return c.consumeRequest(b)
	}
	if c.layers&layerHello != 0 {
		secret, n, err := cutLine(b, helloWord, len(helloWord)+maxSecret+2)
		switch {
		case err == nil && n == 0:
			return 0
		case err != nil || subtle.ConstantTimeCompare(secret, c.loop.group.linkSecret) != 1:
			c.loop.group.stats.badLinks.Add(1)
			c.abort(errLink)
			return len(b)
		}
		c.layers &^= layerHello
		c.enter(phaseIdle) // the other side closes it when it does not need it any more
		return n
	}
	line, n, err := cutLine(b, originWord, maxOrigin)
	var told proxied
	if n > 0 {
		told, err = parseOrigin(line)
	}
	switch {
	case err != nil:
		c.loop.group.stats.badLinks.Add(1)
		c.abort(err)
		return len(b)
	case n == 0:
		return 0
	}
	if len(c.loop.proxied) > 0 {
		delete(c.loop.proxied, c)
	}
	c.loop.setProxied(c, told)
	k := c.consumeRequest(b[n:])
	if k == 0 {
		return 0
	}
	return n + k
}

// consumeHurry consumes hurryLine, of which k bytes are here.
func (c *Conn) consumeHurry(k int) int {
	if k < len(hurryLine) {
		return 0
	}
	if h, ok := c.loop.h.(ForwardHandler); ok && c.phase == phaseDeciding {
		h.HandleHurry(c)
	}
	return k
}

// parseOrigin reads what stands behind FOR.
func parseOrigin(line []byte) (p proxied, err error) {
	from, flags, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(flags) != 1 || flags[0] < '0' || flags[0] > '3' {
		return p, errLink
	}
	if string(from) != "@" {
		a, err := netip.ParseAddrPort(string(from))
		if err != nil || a.Addr().Zone() != "" {
			return p, errLink
		}
		p.from = a
	}
	p.there = flags[0]&originTLS != 0
	p.tls = flags[0]&originTLSFront != 0
	return p, nil
}

// patience is the time that is given to who reads on the connection.
func (c *Conn) patience(d time.Duration) time.Duration {
	if c.layers&layerLink != 0 && d > 0 {
		return max(d, linkPatience)
	}
	return d
}
