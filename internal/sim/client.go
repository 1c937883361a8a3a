package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// client speaks Engine.IO and Socket.IO, as socket.io-client does unless its manner
// is another. It is the world's.
type client struct {
	w      *world
	name   int
	rng    *rand.Rand
	manner manner

	crowd    bool // it only listens
	first    bool // the first transport is a WebSocket
	upgrades bool

	open     bool          // a session
	sessions int           // so far
	since    time.Duration // when it has begun the last
	sid      string
	get      *line // polls; nil while the transport is a WebSocket
	post     *line
	sock     *line // the WebSocket, also one that probes
	ws       bool  // it is the transport
	probed   bool
	queue    []string // packets for a POST
	seats    []*seat
	partial  *partial
	retryAt  time.Duration // when it comes back
	stalled  bool
	strange  bool              // it has done what may cost it its session
	excused  bool              // the application, or the network, has ended it
	gone     bool              // for good
	joins    int               // connects to namespaces so far
	asked    map[uint64]*asked // by ack id, which is never used again
}

type manner int

const (
	proper manner = iota
	loser         // the network cuts it, and it comes back
	vanisher
	staller
	flooder
	forger
	manners
)

func (m manner) String() string {
	return [...]string{"proper", "loser", "vanisher", "staller", "flooder", "forger"}[m]
}

func (w *world) newClient(name int) *client {
	c := &client{w: w, name: name, asked: map[uint64]*asked{}, rng: rand.New(rand.NewPCG(w.seed, 2<<32|uint64(name)))}
	c.manner = proper
	if c.rng.IntN(2) == 0 {
		c.manner = manner(c.rng.IntN(int(manners)))
	}
	c.first, c.upgrades = c.rng.IntN(2) == 0, c.rng.IntN(2) == 0
	names := []string{"/", "/a", "/d1", "/d2"}
	c.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, ns := range names[:1+c.rng.IntN(2)] {
		s := &seat{ns: ns}
		if c.rng.IntN(4) == 0 {
			wishes := []string{"refused", "failed", "panics", "slow", "busy", "refused late", "panics late", "slow late", "leaves", "asks"}
			s.wish = wishes[c.rng.IntN(len(wishes))]
		}
		c.seats = append(c.seats, s)
	}
	c.retryAt = time.Duration(c.rng.Int64N(int64(20 * time.Millisecond)))
	return c
}

func (c *client) honest() bool { return c.manner == proper && !c.strange }

func (c *client) fault(kind, format string, args ...any) {
	c.w.fault(kind, fmt.Sprintf("c%d (%s): ", c.name, c.manner)+format, args...)
}

// connect opens a session.
func (c *client) connect() {
	c.sessions++
	c.since = c.w.kernel.Now()
	c.open, c.sid, c.ws, c.probed, c.queue, c.partial, c.stalled = true, "", false, false, nil, nil, false
	if c.first {
		c.sock = c.dial()
		c.w.note("c%d opens a websocket, k%d", c.name, c.sock.name)
		c.sock.write(upgradeRequest(""))
		return
	}
	c.get, c.post = c.dial(), c.dial()
	c.w.note("c%d polls, k%d, posts, k%d", c.name, c.get.name, c.post.name)
	c.request(c.get, "GET", "", "")
}

// drop closes the session's connections.
func (c *client) drop(abort bool) {
	for _, l := range c.lines() {
		if l.left {
			continue
		}
		if abort {
			l.abort()
		} else {
			l.hangUp()
		}
	}
	c.get, c.post, c.sock, c.open = nil, nil, nil, false
	for _, s := range c.seats {
		if s.state != seatOut || c.rng.IntN(2) == 0 { // socket.io-client keeps what it has of a namespace that it has left
			s.state = seatIdle
		}
		s.todo, s.murky = nil, false
	}
	c.retryAt = c.w.kernel.Now() + time.Duration(c.rng.Int64N(int64(c.w.cfg.retry)))
}

// lost is when the session has ended, and the client has not ended it.
func (c *client) lost(why string) {
	c.w.note("c%d has lost its session: %s", c.name, why)
	if c.honest() && !c.excused && !c.w.closing && c.joined() && !c.w.cfg.tight {
		c.fault("healthy", "its session has ended: %s", why)
	}
	c.excused = false
	c.drop(true)
}

// joined tells whether some namespace has let it in: others are sent away in time.
func (c *client) joined() bool {
	return slices.ContainsFunc(c.seats, func(s *seat) bool { return s.state == seatIn })
}
