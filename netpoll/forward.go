package netpoll

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// A request of another server's is passed on to it by a link: a connection that this side
// has dialled, and that serves one request at a time.
//
//	Conn.Forward -> a link of the loop's pool, or Peer.dial, a goroutine -> relay (forward_relay.go)
//	the other side: its link listener (forward_link.go) -> the engine, as if the client were there
//
// docs/decisions/0016-forwarding.md tells what becomes of it when one of the three goes.

const (
	// linkIdle is how long a link waits for a next request.
	linkIdle = 30 * time.Second

	// maxDials bounds the links that a loop dials at once.
	maxDials = 16
)

// Errors that HandleUnforwarded is told.
var (
	// ErrLinks: there are Config.MaxLinks, or MaxConns.
	ErrLinks = errors.New("netpoll: there are too many connections to pass a request on")
	// ErrPeerGone: Peer.Forget has been called.
	ErrPeerGone = errors.New("netpoll: the other server has gone")
)

// ForwardHandler is to be implemented by a Handler that calls Conn.Forward.
type ForwardHandler interface {
	// HandleUnforwarded is told why a request could not be passed on, or was not
	// answered. It answers, as HandleRequest does. r is borrowed until return.
	HandleUnforwarded(c *Conn, r *http1.Request, err error)

	// HandleHurry is told that the server which has passed the request on is being
	// closed: what waits for something to tell is to be answered now.
	HandleHurry(c *Conn)
}

// Peer is another server, which a Group passes requests on to. Its methods may be called
// from any goroutine.
type Peer struct {
	// Immutable after NewPeer.
	g                        *Group
	network, address, secret string

	// Any goroutine (atomic).
	gone atomic.Bool
}

// NewPeer tells of a server that listens by ListenLink. It does not connect. secret must
// be one that ListenLink takes.
func (g *Group) NewPeer(network, address, secret string) *Peer {
	return &Peer{g: g, network: network, address: address, secret: secret}
}

// Forget ends a peer: requests that it has not answered are failed, and links that are
// idle closed. WebSockets go on.
func (to *Peer) Forget() {
	to.gone.Store(true)
	for _, l := range to.g.loops {
		l.PostNow(forgetPeerOnLoop, l, to, 0)
	}
}

func forgetPeerOnLoop(a, b any) {
	l, to := a.(*Loop), b.(*Peer)
	if p := l.links[to]; p != nil {
		p.fail(ErrPeerGone)
		for len(p.idle) > 0 {
			p.idle[len(p.idle)-1].abort(nil)
		}
		l.dropPool(p)
	}
	l.group.table.each(l, func(c *Conn) {
		if x, ok := c.Context.(*relay); ok && x.peer == to && x.up == c && x.state < relaySpliced {
			c.abort(ErrPeerGone)
		}
	})
}

// linkPool are the links of a loop to one peer. Loop-owned.
type linkPool struct {
	l        *Loop
	to       *Peer
	idle     []*Conn
	waiting  []*relay // for a link
	dialling int
}

func (l *Loop) linkPool(to *Peer) *linkPool {
	p := l.links[to]
	if p == nil {
		if l.links == nil {
			l.links = map[*Peer]*linkPool{}
		}
		p = &linkPool{l: l, to: to}
		l.links[to] = p
	}
	return p
}

// dropPool forgets a pool in which nothing is.
func (l *Loop) dropPool(p *linkPool) {
	if len(p.idle)+len(p.waiting)+p.dialling == 0 && l.links[p.to] == p {
		delete(l.links, p.to)
	}
}

// takePlace reserves a link's place, which ended gives back, or dropPlace.
func (g *Group) takePlace() error {
	if g.manual() {
		return ErrLinks // it has no network
	}
	if g.stats.links.Add(1) > int64(g.cfg.MaxLinks) {
		g.stats.links.Add(-1)
		return ErrLinks
	}
	if err := g.reserve(); err != nil {
		g.stats.links.Add(-1)
		return ErrLinks
	}
	return nil
}

func (g *Group) dropPlace() {
	g.stats.links.Add(-1)
	g.connEnded()
}

// Forward passes the request on to another server, whose answer becomes this one's; if it
// becomes a WebSocket, that is a connection with the other server. It must be the last
// thing that HandleRequest does with c.
func (c *Conn) Forward(r *http1.Request, to *Peer) {
	l := c.loop
	l.Check()
	if c.phase != phaseDeciding {
		return
	}
	p := l.linkPool(to)
	n := len(p.idle)
	var err error
	switch {
	case to.gone.Load():
		err = ErrPeerGone
	case n == 0:
		err = l.group.takePlace()
	}
	if err != nil {
		l.dropPool(p)
		l.unforwarded(c, r, err)
		return
	}
	x := &relay{client: c, peer: to, context: c.Context, upgrade: r.UpgradeWebSocket}
	x.sent = NewBuffer(512 + len(r.Body))
	x.sent.B = appendOrigin(x.sent.B, c)
	x.line = uint8(len(x.sent.B))
	x.sent.B = r.AppendForwarded(x.sent.B)
	x.sent.B = append(x.sent.B, r.Body...)
	x.sent.Charge(&l.group.memory)
	l.Rank(c, cap(x.sent.B))
	c.Context = x
	if n > 0 {
		up := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		x.begin(up)
		return
	}
	p.waiting = append(p.waiting, x)
	x.wait = &linkWait{x: x}
	l.Arm(&x.wait.timer, x.wait, l.cfg.LinkTimeout)
	l.dialLine = append(l.dialLine, to)
	l.dialMore()
}

// linkWait is the time in which a request that waits has to have a link.
type linkWait struct {
	timer Timer
	x     *relay
}

// Expire is for the loop's timers only.
func (w *linkWait) Expire(*Timer) {
	x := w.x
	p := x.client.loop.links[x.peer]
	x.unwait()
	x.fail(ErrTimeout)
	if p != nil {
		p.l.dropPool(p)
	}
}

// unwait ends that a relay waits for a link.
func (x *relay) unwait() {
	if x.wait == nil {
		return
	}
	l := x.client.loop
	l.Stop(&x.wait.timer)
	x.wait = nil
	if p := l.links[x.peer]; p != nil {
		if i := slices.Index(p.waiting, x); i >= 0 {
			p.waiting = slices.Delete(p.waiting, i, i+1)
		}
	}
}

// fail fails all that wait for a link.
func (p *linkPool) fail(err error) {
	for len(p.waiting) > 0 {
		x := p.waiting[0]
		x.unwait()
		x.fail(err)
	}
}

// dialMore dials for those that wait. Each entry of the line has a place, which goes with
// the link.
func (l *Loop) dialMore() {
	for l.dials < maxDials && len(l.dialLine) > 0 {
		to := l.dialLine[0]
		l.dialLine[0] = nil
		l.dialLine = l.dialLine[1:]
		p := l.links[to]
		if p == nil || len(p.waiting) <= p.dialling || l.stopping {
			l.group.dropPlace() // who waited has gone, or has got another one
			continue
		}
		p.dialling++
		l.dials++
		go to.dial(l)
	}
	if len(l.dialLine) == 0 {
		l.dialLine = nil
	}
}

// dialled is what a dial has brought.
type dialled struct {
	to  *Peer
	up  *Conn
	err error
}

// linkAlive ends a link whose other side has gone without a word, machine included, after
// half a minute.
var linkAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// dial opens a link for a loop. It is a goroutine's.
func (to *Peer) dial(l *Loop) {
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.LinkTimeout)
	defer cancel()
	d := dialled{to: to}
	dialer := net.Dialer{KeepAliveConfig: linkAlive}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, to.network, to.address)
	if d.err = err; err == nil {
		d.up = l.adoptable(conn, false)
		d.up.layers |= layerDialled
		d.up.flags |= connReported // the handler never hears of it
		d.up.phase = phaseLinked
	}
	if !l.PostNow(dialledOnLoop, l, &d, 0) { // the group has ended
		if d.up != nil {
			_ = l.sys.Close(int(d.up.fd))
		}
		l.group.dropPlace()
	}
}

func dialledOnLoop(a, b any) {
	l, d := a.(*Loop), b.(*dialled)
	l.dials--
	p := l.linkPool(d.to)
	p.dialling--
	defer l.dropPool(p)
	defer l.dialMore()
	if d.err != nil {
		l.group.dropPlace()
		if log := l.group.log; log.Debugs() {
			log.Debug("link", "netpoll: another server cannot be reached", "address", d.to.address, "why", d.err)
		}
		p.fail(d.err)
		return
	}
	up := d.up
	if !l.adopt(up) {
		return
	}
	up.sendBytes(appendHello(nil, d.to.secret))
	if len(p.waiting) == 0 {
		p.park(up)
		return
	}
	x := p.waiting[0]
	x.unwait()
	x.begin(up)
}

// park keeps a link for a next request.
func (p *linkPool) park(up *Conn) {
	l := p.l
	if up.phase >= phaseClosing {
		return
	}
	if len(p.waiting) > 0 {
		x := p.waiting[0]
		x.unwait()
		x.begin(up)
		return
	}
	if l.draining || l.stopping || p.to.gone.Load() {
		up.Context = nil
		up.abort(nil)
		return
	}
	up.Context = p
	p.idle = append(p.idle, up)
	up.enter(phaseLinked)
	up.arm(linkIdle)
}

// unpark forgets a link that has ended.
func (p *linkPool) unpark(up *Conn) {
	if i := slices.Index(p.idle, up); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.l.dropPool(p)
}

// unforwarded has the handler answer a request that is not passed on.
func (l *Loop) unforwarded(c *Conn, r *http1.Request, err error) {
	l.group.stats.unforwarded.Add(1)
	if h, ok := l.h.(ForwardHandler); ok {
		h.HandleUnforwarded(c, r, err)
	}
	if c.phase == phaseDeciding {
		c.close(err) // nobody has answered
	}
}
