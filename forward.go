package sockeye

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/netpoll"
)

// Forward has requests that come to the wrong server passed on to the one that has their
// session, so that any balancer does. Its zero value suits several processes on one
// machine.
type Forward struct {
	// Listen is the address on which other servers of the cluster reach this one: "host:port"
	// on a private network, or the path of a Unix socket, which begins with "/". With port
	// 0 the kernel chooses. Nobody else needs it; nothing on it is encrypted. Default
	// "127.0.0.1:0".
	Listen string

	// Advertise is what the others are told, if they reach it by another address: with
	// port 0, or none, that of the listener. Default: Listen's.
	Advertise string

	// MaxConns bounds the connections to other servers: a WebSocket that is passed on has
	// one of its own. A request for which there is none left is answered 503. Default:
	// half of Config.MaxConns, of which they are.
	MaxConns int

	// ConnectTimeout is the time in which such a connection must be there. Default 3 s.
	ConnectTimeout time.Duration
}

func (f *Forward) listen() (network, address string) {
	return networkOf(cmp.Or(f.Listen, "127.0.0.1:0"))
}

// networkOf tells the path of a Unix socket from another address.
func networkOf(address string) (network, _ string) {
	if strings.HasPrefix(address, "/") {
		return "unix", address
	}
	return "tcp", address
}

// validate tells what is wrong with it.
func (f *Forward) validate(fault func(field, format string, args ...any)) {
	for _, a := range []struct{ name, address string }{{"Listen", f.Listen}, {"Advertise", f.Advertise}} {
		field := "Forward." + a.name
		network, address := networkOf(a.address)
		if address == "" || network == "unix" {
			continue
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil && a.name == "Advertise" && !strings.ContainsAny(address, ":/") {
			continue // a host alone
		}
		n, notNumber := strconv.Atoi(port)
		ip := net.ParseIP(host)
		switch {
		case err != nil || notNumber != nil || n < 0 || n > 65535:
			fault(field, "is %q: write \"host:port\", or the path of a Unix socket", a.address)
		case (host == "" || ip != nil && ip.IsUnspecified()) && (a.name == "Advertise" || f.Advertise == ""):
			fault(field, "is %q, which other servers cannot reach: write the private network's address, or say it by Forward.Advertise", a.address)
		}
	}
	switch {
	case f.MaxConns < 0:
		fault("Forward.MaxConns", "is %d: it must not be negative", f.MaxConns)
	case f.ConnectTimeout < 0:
		fault("Forward.ConnectTimeout", "is %v: it must not be negative", f.ConnectTimeout)
	case f.ConnectTimeout > 0 && f.ConnectTimeout < time.Millisecond:
		fault("Forward.ConnectTimeout", "is %d nanoseconds; has a unit been forgotten? Write %d * time.Second", f.ConnectTimeout, f.ConnectTimeout)
	}
}

// advertised is what other servers dial, the listener being at addr.
func (f *Forward) advertised(addr net.Addr) string {
	if addr.Network() == "unix" {
		return cmp.Or(f.Advertise, addr.String())
	}
	if f.Advertise == "" {
		return addr.String()
	}
	host, port, err := net.SplitHostPort(f.Advertise)
	if err != nil {
		host, port = f.Advertise, "0"
	}
	if port == "0" {
		_, port, _ = net.SplitHostPort(addr.String())
	}
	return net.JoinHostPort(host, port)
}

// linkEvent is the event by which servers tell each other, on "/", where their links are:
// [name, address, secret]. An address of "" says that a server is there, and a name alone
// that it goes.
const linkEvent = internalPrefix + "link"

const (
	linkEvery  = 10 * time.Second // that a server tells
	linkForget = 30 * time.Second // without a word

	maxServers     = 4096 // that are remembered
	maxLinkAddress = 255
)

// linkSoon is when a server that has just begun tells again: the bus may not have known it.
var linkSoon = []time.Duration{250 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// peers are the other servers that are heard of.
type peers struct {
	// Immutable after start.
	srv     *Server
	address string // of this server's link; "" without Config.Forward
	secret  string
	answer  chan struct{} // somebody new is there; has space for one
	stop    chan struct{} // closed by end
	ended   chan struct{} // closed when nothing more is told

	// Owned by run.
	down bool      // the bus was, when it was last looked at
	last time.Time // when that was
	mute bool      // that the format has no such events has been told

	// Guarded by mu.
	mu    sync.RWMutex
	known map[string]*peer
}

type peer struct {
	address, secret string
	link            *netpoll.Peer // nil: it does not forward, or this server does not
	heard           time.Time
}

// startPeers opens this server's link, and begins to tell of it.
func (srv *Server) startPeers() error {
	p := &peers{
		srv: srv, known: map[string]*peer{},
		answer: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if f := srv.cfg.Forward; f != nil {
		network, address := f.listen()
		p.secret = engine.NewID() + engine.NewID()
		addr, err := srv.group.ListenLink(network, address, p.secret)
		if err != nil {
			return fmt.Errorf("sockeye: Config.Forward: %w", err)
		}
		p.address = f.advertised(addr)
	}
	srv.peers.Store(p)
	go p.run()
	return nil
}

// run tells the others, and forgets those that are not heard of.
func (p *peers) run() {
	defer close(p.ended)
	soon := linkSoon
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			_ = p.srv.tellServers(linkEvent, p.srv.id)
			return
		case <-p.answer:
			p.tell()
			continue
		case <-t.C:
		}
		next := linkEvery
		if len(soon) > 0 {
			next, soon = soon[0], soon[1:]
		}
		t.Reset(next)
		p.tell()
		p.forgetSilent(time.Now())
	}
}

// tell tells the other servers where this one's link is, if the bus can; else the next time
// does.
func (p *peers) tell() {
	err := p.srv.tellServers(linkEvent, p.srv.id, p.address, p.secret)
	if errors.Is(err, ErrUnsupported) && p.address != "" && !p.mute {
		p.mute = true
		p.srv.log.Error("Forward", "sockeye: Config.Forward: other servers cannot be told where to pass requests on: the Adapter's format has no events between servers", "error", err)
	}
}

// end says goodbye.
func (p *peers) end() {
	if p != nil {
		close(p.stop)
		<-p.ended
	}
}

// forgetSilent forgets who has been silent. While the bus is down nobody is heard, nor while
// this process is stopped. A stop that is not noticed, and the time since somebody's last word,
// are less than linkForget.
func (p *peers) forgetSilent(now time.Time) {
	was := p.down || now.Sub(p.last) > linkEvery*3/2
	p.last = now
	p.down = p.srv.cfg.Adapter.Stats().Down
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, x := range p.known {
		switch {
		case p.down || was:
			x.heard = now
		case now.Sub(x.heard) > linkForget:
			p.forget(id)
		}
	}
}

// forget forgets a server. mu is held.
func (p *peers) forget(id string) {
	if x := p.known[id]; x != nil {
		delete(p.known, id)
		if x.link != nil {
			x.link.Forget()
		}
	}
}

// hear is told what another server says: [name], [name, address, secret].
func (p *peers) hear(list [][]byte) {
	var said [3]string
	n := min(len(list), len(said))
	for i := range n {
		if json.Unmarshal(list[i], &said[i]) != nil {
			return
		}
	}
	id, address, secret := said[0], said[1], said[2]
	if len(id) != serverIDBytes || id == p.srv.id {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch x := p.known[id]; {
	case n == 1:
		p.forget(id)
	case n < len(said) || len(address) > maxLinkAddress || address != "" && !netpoll.ValidSecret(secret):
	case x != nil && x.address == address && x.secret == secret:
		x.heard = time.Now()
	case x == nil && len(p.known) >= maxServers:
	default:
		p.forget(id)
		x := &peer{address: address, secret: secret, heard: time.Now()}
		if p.address != "" && address != "" {
			network, address := networkOf(address)
			x.link = p.srv.group.NewPeer(network, address, secret)
		}
		p.known[id] = x
		select {
		case p.answer <- struct{}{}:
		default:
		}
	}
}

// find tells where an sid's session is, by its name. It is called on loops.
func (p *peers) find(sid []byte) (to engine.Elsewhere) {
	if len(sid) <= serverIDBytes {
		return to
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	x := p.known[string(sid[:serverIDBytes])]
	switch {
	case x == nil:
	case x.link != nil:
		to.Peer = x.link
	case p.address == "":
		to.Hint = fmt.Sprintf("this session lives on server %s: turn on Config.Forward, or sticky sessions in the balancer", sid[:serverIDBytes])
	default:
		to.Hint = fmt.Sprintf("this session lives on server %s, which has no Config.Forward: turn it on there, or sticky sessions in the balancer", sid[:serverIDBytes])
	}
	return to
}

// elsewhere is Config.Elsewhere of the engine.
func (srv *Server) elsewhere(sid []byte) engine.Elsewhere {
	if p := srv.peers.Load(); p != nil {
		return p.find(sid)
	}
	return engine.Elsewhere{}
}

// errForwardAlone: see Config.validate.
var errForwardAlone = errors.New("needs Config.Adapter: servers tell each other by it where they are")
