package netpoll

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/proto/ws"
)

// Reasons for which a connection ended, as Handler.HandleClose gets them.
// Others are *CloseError, ErrMemory and the kernel's errno values.
var (
	// ErrSlowConsumer: more than Config.MaxQueuedBytes waited for the peer, and it did
	// not read at Config.MinRate for Config.SlowTimeout.
	ErrSlowConsumer = errors.New("netpoll: peer reads too slowly")
	// ErrTimeout: the peer did not send, or read, what was due in time.
	ErrTimeout = errors.New("netpoll: peer was too slow")
	// ErrClosed: this side closed the connection.
	ErrClosed = errors.New("netpoll: connection closed")
	// ErrHijacked: a handler of Config.Fallback has taken the connection over.
	ErrHijacked = errors.New("netpoll: connection hijacked")

	errPeerGone = io.EOF
)

// Conn is one connection: bytes, first as HTTP/1.1, then perhaps as WebSocket.
// An idle connection holds no buffer. All methods are for the goroutine of its
// loop only, unless they say otherwise.
//
// Its parts are in files of their own: phases and deadlines in conn_phase.go,
// requests in conn_http.go, frames in conn_ws.go, output in conn_write.go, its end
// in conn_close.go, other loops in conn_move.go, net/http in lend.go.
type Conn struct {
	// Loop-owned.

	// Context is the handler's own, but while another server answers: see relay.
	Context any

	loop     *Loop
	in       *bytepool.Buffer // unread input; nil when there is none
	out      *outQueue        // unwritten output; nil when there is none
	x        *exchange        // a deadline, and the request under way; nil for a WebSocket and a waiting poll
	ws       ws.Reader
	fd       int32
	charged  uint32 // what of the group's memory the unread and unfinished input has
	flags    connFlags
	controls uint16 // WebSocket control frames since the last message
	second   uint16 // of the group's clock, in which messages have come
	messages uint16 // how many messages have come in that second
	watch    Interest
	phase    phase
	window   uint8 // of permessage-deflate, in bits: see MaxDeflated
	layers   layers

	// Any goroutine (atomic).
	home atomic.Int32 // the index of loop
}

type connFlags uint16

const (
	connWS        connFlags = 1 << iota // speaks WebSocket
	connReported                        // the handler knows that it is over
	connKeepAlive                       // another request may follow the one under way
	connDirty                           // on the loop's dirty list
	connReady                           // on the loop's ready list
	connBacklog                         // on the loop's backlog: it has had its share of the turn
	connNoRead                          // input stays in the kernel
	connPaused                          // it is not read, because the handler wants it so
	connMoving                          // on its way to another loop, or lent to net/http
	connHead                            // the request under way is a HEAD
	connTCP                             // a TCP socket
	connDeflate                         // a WebSocket with permessage-deflate
	connInflating                       // one of its messages is being inflated
	connAtHead                          // the handler is given a head whose body is not here
	connFull                            // a WebSocket for which more than MaxQueuedBytes wait
)

// layers are what lies between the kernel's bytes and the connection's; see received.
type layers uint8

func (c *Conn) is(f connFlags) bool { return c.flags&f != 0 }

// Loop is the loop that owns the connection at present.
func (c *Conn) Loop() *Loop { return c.loop }

// AppendRemoteAddr appends the peer's address as text: address and port, or "@"
// for a Unix socket; as a proxy has told it, by Config.ProxyProtocol. It asks the kernel,
// which no longer knows, ok is false, when the peer has reset the connection.
func (c *Conn) AppendRemoteAddr(dst []byte) (_ []byte, ok bool) {
	if p, ok := c.loop.proxied[c]; ok && p.from.IsValid() {
		return p.from.AppendTo(dst), true
	}
	if c.layers&layerLink != 0 {
		return append(dst, '@'), true
	}
	n := len(dst)
	dst, ok = c.loop.sys.AppendRemoteAddr(dst, int(c.fd))
	if ok && !c.is(connTCP) && len(dst) > n && dst[n] != '@' && dst[n] != '/' {
		dst = slices.Insert(dst, n, '.', '/') // a path that could look like an address
	}
	return dst, ok
}

// Open tells whether anything sent can still arrive.
func (c *Conn) Open() bool { return c.phase < phaseClosing }

// Pause stops delivery to the handler: input stays in the kernel, and the
// peer's sending comes to a stop. It takes effect after the message being
// handled.
func (c *Conn) Pause() {
	c.loop.Check()
	if c.phase >= phaseClosing {
		return // what comes is thrown away
	}
	c.flags |= connPaused
	c.setReading(false)
}

// Resume ends Pause.
func (c *Conn) Resume() {
	c.loop.Check()
	if !c.is(connPaused) {
		return
	}
	c.flags &^= connPaused
	c.setReading(true)
	c.later()
	if j := c.takeInflated(); j != nil {
		c.loop.PostNow(inflatedOnLoop, j, nil, 0)
	}
}

// Paused tells whether Pause is in effect.
func (c *Conn) Paused() bool { return c.is(connPaused) }

func (c *Conn) setReading(on bool) {
	if c.phase == phaseClosed {
		return
	}
	if on {
		c.flags &^= connNoRead
		c.setWatch(c.watch | WatchRead)
	} else {
		c.flags |= connNoRead
		c.setWatch(c.watch &^ WatchRead)
	}
}

func (c *Conn) setWatch(to Interest) {
	if to == c.watch || c.phase == phaseClosed {
		return
	}
	if err := c.loop.sys.Watch(int(c.fd), c.watch, to); err != nil {
		c.abort(err)
		return
	}
	c.watch = to
}

// later makes the loop process, in this batch, input that was left unread.
func (c *Conn) later() {
	if c.in != nil && !c.is(connReady|connBacklog) && c.phase != phaseClosed {
		c.flags |= connReady
		c.loop.ready = append(c.loop.ready, c)
	}
}

const (
	// maxUnread bounds what is kept of input that cannot be handled yet: a head, a
	// frame's header or a small request that has arrived in part.
	maxUnread = readBytes
	// maxPipelined bounds it while a request is being answered.
	maxPipelined = 16 << 10
)

// readable reads once and processes what came. The poller is level-triggered:
// what is left in the kernel is told again, after the other sockets' turn.
func (c *Conn) readable() {
	if c.is(connBacklog) {
		return // first what is here
	}
	l := c.loop
	into := l.read
	if c.layers&layerTLS != 0 {
		into = into[:tlsReadBytes]
	}
	if c.in != nil {
		into = into[:min(max(c.maxUnread()-len(c.in.B), 512), len(into))]
	}
	n, err := l.sys.Read(int(c.fd), into)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
	case err != nil:
		c.abort(err)
	case n == 0:
		c.peerClosed()
	default:
		l.meter.bytesIn.Add(uint64(n))
		c.received(into[:n])
		bytepool.Poison(into[:n:n])
	}
}

// received takes bytes as the kernel gave them, through the connection's layers. b is
// borrowed until return, and may be changed.
func (c *Conn) received(b []byte) {
	switch {
	case c.layers&layerProxy != 0:
		c.receivedProxied(b)
	case c.layers&layerTLS != 0:
		c.receiveTLS(b)
	default:
		c.process(b)
	}
}

func (c *Conn) maxUnread() int {
	if c.phase == phaseDeciding || c.phase == phaseWriting || c.phase == phaseRelaying {
		return maxPipelined
	}
	return max(maxUnread, c.loop.cfg.MaxHeadBytes+1+maxOrigin+linkBytes) // enough to see that a head is too large
}

// closeGoingAway is the close code of a server that goes down (RFC 6455 section 7.4.1).
const closeGoingAway = 1001

// peerClosed handles the end of the peer's stream. It takes a half-closed
// connection for a closed one, as net/http does, except that what has been sent to
// it already still goes out. A WebSocket that is passed on by another server, which is
// being closed, is told so.
func (c *Conn) peerClosed() {
	if c.phase == phaseOpen && c.layers&layerLink != 0 {
		c.sendBytes(ws.AppendClose(nil, closeGoingAway, ""))
	} else if c.out == nil || c.is(connWS) {
		c.abort(errPeerGone)
		return
	}
	c.setReading(false) // for endOutput to see
	if c.phase < phaseClosing {
		c.beginClosing(errPeerGone)
	}
}

// A connection has a budget for a turn, so that one peer's flood does not make
// others wait; what is left has its next turn after theirs.
const (
	turnUnits = 128    // messages, requests or control frames
	turnTime  = 50_000 // nanoseconds
	timeUnits = 16     // units after which the clock is looked at
)

// process consumes what it can of the connection's unread input, with data at
// its end, and keeps the rest. data is borrowed until return.
func (c *Conn) process(data []byte) {
	defer c.loop.recoverPanic(c)
	l := c.loop
	if c.phase >= phaseClosing {
		c.discard(len(data))
		return
	}
	b := data
	kept := c.in
	if kept != nil {
		kept = bytepool.Append(kept, data)
		b = kept.B
		c.in = nil
	}
	l.current = c
	for units := 1; len(b) > 0 && c.consuming(); units++ {
		var n int
		switch {
		case c.is(connWS):
			n = c.consumeFrames(b)
		case c.phase >= phaseLinked:
			n = c.consumeRelayed(b)
		case c.layers&layerLink != 0:
			n = c.consumeLinked(b)
		default:
			n = c.consumeRequest(b)
		}
		if n == 0 {
			break
		}
		b = b[n:]
		if units%timeUnits == 0 && (units == turnUnits || int64(l.sys.Now())-l.now > turnTime) && len(b) > 0 && c.consuming() {
			l.putOff(c)
			break
		}
	}
	l.current = nil
	c.keep(kept, b)
}

// consuming tells whether the next request or frame may be handled now.
func (c *Conn) consuming() bool {
	return c.phase < phaseClosing && !c.is(connPaused|connMoving|connInflating)
}

// keep keeps what is left of the input: b, at the end of kept, or of the loop's
// own buffer.
func (c *Conn) keep(kept *bytepool.Buffer, b []byte) {
	switch {
	case len(b) == 0 || c.phase >= phaseClosing:
		bytepool.Put(kept)
	case kept == nil || cap(kept.B) > 2*len(b)+bytepool.Size(0):
		small := bytepool.Get(len(b))
		small.B = append(small.B, b...)
		bytepool.Put(kept)
		c.in = small
	default:
		kept.B = kept.B[:copy(kept.B, b)]
		c.in = kept
	}
	if c.is(connMoving) {
		return // it is another's
	}
	if _, mark, ok := c.ws.Arriving(); ok && mark.At == 0 {
		mark.At = max(1, c.loop.now) // it begins
	}
	c.settle()
	// What can wait in front of an unanswered request is bounded by not reading on.
	if c.in != nil && len(c.in.B) >= c.maxUnread() && !c.is(connNoRead|connBacklog) {
		c.setReading(false)
	}
}

// settle charges the input that is held to the group's memory.
func (c *Conn) settle() {
	held := 0
	if c.in != nil {
		held = cap(c.in.B)
	}
	held += c.ws.Held() + c.x.held()
	if c.layers&layerTLS != 0 && c.phase != phaseLent {
		held += c.tlsHeld()
	}
	if held == int(c.charged) {
		return
	}
	m := &c.loop.group.memory
	was := int(c.charged)
	c.charged = uint32(held)
	c.rank()
	m.Add(held - was)
}

// Receives tells whether the peer is in the midst of a message, or of a request's
// body, that has come at Config.MinRate at least since Receives was last asked, or
// since it began. What has come and waits for this side counts, too.
func (c *Conn) Receives() bool {
	c.loop.Check()
	if c.is(connBacklog | connInflating) {
		return true
	}
	var bytes int
	var mark *ws.Mark
	sealed := c.sealedSoFar()
	switch x := c.x; {
	case c.phase == phaseOpen:
		var ok bool
		if bytes, mark, ok = c.ws.Arriving(); !ok {
			if sealed == 0 {
				return false
			}
			mark = &c.tls().keep().looked // nobody knows what the record has inside
			if mark.At == 0 {
				mark.At = c.loop.now
			}
		}
	case c.phase == phaseBody && x.req != nil:
		bytes, mark = len(x.bodySoFar()), &x.looked
		if mark.At == 0 {
			mark.At = x.since
		}
	default:
		return false
	}
	least := atRate(c.loop.cfg.MinRate, time.Duration(c.loop.now-mark.At))
	bytes += sealed
	got := bytes - mark.Bytes
	mark.At, mark.Bytes = c.loop.now, bytes
	return got >= least
}

// rank tells the loop how much the connection holds.
func (c *Conn) rank() {
	if c.phase == phaseClosed {
		return // leave has had it forgotten
	}
	held := int(c.charged)
	if c.out != nil {
		held += c.out.held
	}
	if held >= heavyBytes || len(c.loop.holders) > 0 {
		c.loop.Rank(c, held)
	}
}

// Shed is for the group's memory only.
func (c *Conn) Shed() { c.abort(ErrMemory) }
