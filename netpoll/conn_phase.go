package netpoll

import (
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// phase is what a connection waits for. Each has one deadline, or none.
//
//	phase      begins with                   progress        ends in time, or           with
//	---------  ----------------------------  --------------  -------------------------  -------------------------
//	secure     accept, with TLS, or the      -               TLSHandshakeTimeout        closed
//	           PROXY header in front of it
//	head       accept, with what is to come  -               HeadTimeout in all         408, or closed if nothing
//	           of the PROXY protocol; a                                                 of a request is here
//	           request's 1st byte
//	body       the end of a head             bytes received  BodyTimeout, and 1 s for   408
//	                                                         each MinRate bytes
//	deciding   a whole request               -               (the layer above)          -
//	writing    an answer that the kernel     bytes that the  MinRate over each          reset
//	           does not take                 peer has acked  WriteTimeout
//	idle       an answer that is out         (as writing)    IdleTimeout in all, once   closed
//	                                                         the peer has acked it
//	open       101                           -               (the layer above)          -
//	 full      more than MaxQueuedBytes      bytes that the  MinRate over each          reset
//	           wait, until half of it does   peer has acked  SlowTimeout
//	closing    Close                         bytes that the  as writing; CloseTimeout   reset, or closed if the
//	                                         peer has acked  once it has all of them    peer has acked everything
//	lent       a request for net/http        (lend.go)       (lend.go)                  -
//	linked     a link that waits for a next  -               linkIdle                   closed
//	           request; none while it has one
//	relaying   the head of an answer that    (as writing, while the kernel takes no more)
//	           comes by a link
//	spliced    101 that came by a link       (as full, while more than MaxQueuedBytes wait)
//
// From closing on nothing is delivered to the handler. No cut looks like a whole
// answer: a connection that is closed with output unsent is reset.
type phase uint8

const (
	phaseHead phase = iota
	phaseBody
	phaseDeciding
	phaseWriting
	phaseIdle
	phaseOpen     // a WebSocket
	phaseLent     // at net/http: it is not on the loop
	phaseSecure   // in a TLS handshake
	phaseLinked   // a link to another server: see relay
	phaseRelaying // an answer that comes by a link
	phaseSpliced  // a stream that another server speaks with
	phaseClosing
	phaseClosed
)

// exchange is what a connection needs while it has a deadline or a request is
// arriving: pooled, and none for a WebSocket and a poll that waits.
type exchange struct {
	timer Timer
	c     *Conn
	since int64 // when the phase began, on the loop's clock
	owed  int   // what the peer had not acknowledged at the last look
	added int   // what has been queued for it since

	// The request under way.
	searched int // of a head: how far its end has been looked for
	need     int // of an unclaimed request that is gathered: its length
	gathered gathering

	// The body of a claimed request.
	req       *http1.Request // own copy; nil while the head is arriving
	remaining int64          // with a Content-Length
	chunked   *http1.ChunkedReader
	body      *bytepool.Buffer
	looked    ws.Mark // see Conn.Receives
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (c *Conn) exchange() *exchange {
	if c.x == nil {
		c.x = exchanges.Get().(*exchange)
		c.x.c = c
	}
	return c.x
}

// held is the memory that the request under way has taken.
func (x *exchange) held() int {
	if x == nil || x.body == nil {
		return 0
	}
	return cap(x.body.B)
}

// endRequest forgets the request under way.
func (c *Conn) endRequest() {
	x := c.x
	if x == nil {
		return
	}
	bytepool.Put(x.body)
	x.searched, x.need, x.gathered, x.req, x.remaining, x.chunked, x.body, x.looked = 0, 0, gathering{}, nil, 0, nil, nil, ws.Mark{}
}

// enter begins a phase with its deadline.
func (c *Conn) enter(p phase) {
	c.phase = p
	if c.x != nil {
		c.x.added = 0
	}
	cfg := c.loop.cfg
	switch p {
	case phaseSecure:
		c.arm(cfg.TLSHandshakeTimeout)
	case phaseHead:
		c.arm(cfg.HeadTimeout)
	case phaseBody:
		c.arm(cfg.BodyTimeout)
	case phaseWriting:
		c.arm(c.patience(cfg.WriteTimeout))
		c.x.owed = c.owed()
	case phaseIdle:
		if c.layers&layerLink != 0 {
			c.endExchange() // the other side closes it
			return
		}
		c.arm(cfg.IdleTimeout)
		c.x.owed = 0 // not looked at yet
	case phaseClosing:
		c.arm(cfg.CloseTimeout)
		c.x.owed = c.owed()
	default:
		c.endExchange()
	}
}

// endExchange gives back what a deadline, or a request, has needed.
func (c *Conn) endExchange() {
	if x := c.x; x != nil {
		c.endRequest()
		c.loop.Stop(&x.timer)
		c.x = nil
		*x = exchange{}
		exchanges.Put(x)
	}
}

func (c *Conn) arm(d time.Duration) {
	x := c.exchange()
	x.since = c.loop.now
	if d > 0 {
		c.loop.Arm(&x.timer, x, d)
	} else {
		c.loop.Stop(&x.timer) // none
	}
}

// owed is what has been sent and the peer has not acknowledged.
func (c *Conn) owed() int {
	owed := c.QueuedBytes() + c.loop.sys.Unsent(int(c.fd))
	if c.layers&layerTLS != 0 { // of a record that the kernel has in part
		t := c.tls()
		owed -= int(min(t.sealed, t.taken))
	}
	return owed
}

// reads tells whether the peer has, since the last look, acknowledged what
// MinRate asks for.
func (c *Conn) reads(over time.Duration) bool {
	was := c.x.owed + c.x.added
	c.x.owed, c.x.added = c.owed(), 0
	least := atRate(c.loop.cfg.MinRate, over)
	if c.layers&layerLink != 0 {
		least = 1
	}
	return was-c.x.owed >= min(was, least)
}

// atRate is how much arrives in d at a rate in bytes a second, 1 at least.
func atRate(rate int, d time.Duration) int {
	return max(1, int(float64(rate)*d.Seconds()))
}

// Expire is for the loop's timers only.
func (x *exchange) Expire(*Timer) {
	c := x.c
	l := c.loop
	cfg := l.cfg
	defer l.recoverPanic(c)
	switch c.phase {
	case phaseSecure:
		l.group.stats.timeouts.Add(1)
		c.abort(ErrTimeout)
	case phaseHead:
		switch {
		case c.in == nil:
			c.close(ErrTimeout)
		case c.layers&layerProxy != 0:
			c.refuseProxied(ErrTimeout)
		default:
			c.tooSlow()
		}
	case phaseBody:
		// A second for each MinRate bytes that have come.
		got := len(x.bodySoFar()) + c.sealedSoFar()
		allowed := cfg.BodyTimeout + time.Duration(float64(got)/float64(cfg.MinRate)*float64(time.Second))
		if left := allowed - time.Duration(l.now-x.since); left > 0 {
			l.Arm(&x.timer, x, left)
			return
		}
		c.tooSlow()
	case phaseLinked:
		c.abort(nil)
	case phaseWriting, phaseRelaying:
		if !c.reads(cfg.WriteTimeout) {
			c.cut(ErrTimeout)
			return
		}
		l.Arm(&x.timer, x, c.patience(cfg.WriteTimeout))
	case phaseIdle:
		if l.sys.Unsent(int(c.fd)) == 0 {
			c.close(ErrTimeout)
			return
		}
		// The kernel may still have most of a large answer. The phase stays: a next
		// request may come at any time.
		again := cfg.IdleTimeout
		if cfg.WriteTimeout > 0 {
			again = cfg.WriteTimeout
			if x.owed > 0 && !c.reads(again) {
				c.cut(ErrTimeout)
				return
			}
		}
		x.owed = c.owed()
		l.Arm(&x.timer, x, again)
	case phaseOpen, phaseSpliced:
		if !c.reads(cfg.SlowTimeout) {
			l.group.stats.slow.Add(1)
			c.abort(ErrSlowConsumer)
			return
		}
		l.Arm(&x.timer, x, c.patience(cfg.SlowTimeout))
	case phaseClosing:
		c.expireClosing()
	}
}

// bodySoFar is what has arrived of a body, or of a request that is gathered.
func (x *exchange) bodySoFar() []byte {
	switch {
	case x.body != nil:
		return x.body.B
	case x.c.in != nil:
		return x.c.in.B
	}
	return nil
}

// tooSlow answers a request that does not arrive in time.
func (c *Conn) tooSlow() {
	c.loop.group.stats.timeouts.Add(1)
	c.fail(&http1.Error{Status: 408, Reason: "the request did not arrive in time"})
}
