package netpoll

import (
	"errors"
	"io"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// A relay is one request that another server answers, and what becomes of it if that is a
// WebSocket. Both connections are the same loop's.
//
//	state      the client's phase  the link's   event                        next
//	---------  ------------------  -----------  ---------------------------  --------------------
//	waiting    deciding            -            a link is there              asked
//	                                            none in time                 the handler answers
//	asked      deciding            linked       the group is closed          asked: the owner is told
//	                                            the head of an answer        answering
//	                                            101, if it was asked for     spliced
//	                                            the link ends                the handler answers
//	answering  relaying            linked       its content has passed       over: the client's next
//	                                                                         request; the link is parked
//	                                            the link ends                the client is reset
//	spliced    spliced             spliced      bytes                        spliced
//	                                            the group is closed          ending
//	                                            one ends                     the other is closed, or
//	                                                                         reset as it was
//	ending     spliced             spliced      what the link brings         ending: the client gets it;
//	                                                                         what it sends is thrown away
//	                                            one ends                     as spliced
//	any        -                   -            the client ends              the link is closed
type relay struct {
	// Loop-owned.
	client, up *Conn // up: the link; nil while it is waited for
	peer       *Peer
	context    any       // of the client, meanwhile
	sent       *Buffer   // the request, until it is answered
	wait       *linkWait // for a link
	remaining  int64     // of the content of an answer
	state      relayState
	line       uint8 // of sent: what stands in front of the head
	upgrade    bool  // the request asks for a WebSocket
	reusable   bool  // the link, after this answer
	ending     bool  // of a stream: the other server is told to end it
}

type relayState uint8

const (
	relayWaiting relayState = iota
	relayAsked
	relayAnswering
	relaySpliced
	relayOver
)

const (
	// relayBytes is how much may wait for one side of a relay until the other is not read.
	// For the client of a WebSocket it is Config.MaxQueuedBytes.
	relayBytes = 64 << 10

	// maxAnswerHead bounds the head of an answer.
	maxAnswerHead = 32 << 10
)

var errAnswer = errors.New("netpoll: the other server's answer is none")

// begin sends the request on a link.
func (x *relay) begin(up *Conn) {
	x.up, x.state = up, relayAsked
	up.Context = x
	up.enter(phaseLinked) // without a deadline: the client has one, or its heartbeat
	up.loop.group.stats.forwarded.Add(1)
	up.send(x.sent, x.sent.B)
	if up.loop.draining {
		x.hurry()
	}
}

// hurry has the other server answer what waits there: the client asks again, elsewhere.
func (x *relay) hurry() {
	if x.state == relayAsked && !x.upgrade { // behind an upgrade there are frames
		x.up.sendBytes([]byte(hurryLine))
	}
}

// consumeRelayed consumes what it can of b, which has come on a link, or on a client that
// is spliced.
func (c *Conn) consumeRelayed(b []byte) int {
	x, ok := c.Context.(*relay)
	switch {
	case !ok: // a link that is idle
		c.abort(errAnswer)
		return len(b)
	case x.state == relaySpliced:
		to := x.client
		if c == to {
			if x.ending {
				return len(b)
			}
			to = x.up
		}
		to.sendBytes(b)
		return len(b)
	case c == x.client:
		return 0 // pipelined: its turn comes after the answer
	case x.state == relayAsked:
		return x.consumeHead(b)
	}
	n := int(min(x.remaining, int64(len(b))))
	x.remaining -= int64(n)
	x.client.sendBytes(b[:n])
	x.endAnswer(b[n:])
	return n
}

// endAnswer ends the relay if the answer has passed. rest is what came behind: nothing
// may.
func (x *relay) endAnswer(rest []byte) {
	if x.remaining == 0 && x.state == relayAnswering {
		x.reusable = x.reusable && len(rest) == 0
		x.answered()
	}
}

// consumeHead consumes the head of the answer.
func (x *relay) consumeHead(b []byte) int {
	c, up := x.client, x.up
	var head http1.Response
	n, err := head.ParseHead(b, maxAnswerHead)
	switch {
	case err != nil:
		up.abort(err)
		return len(b)
	case n == 0:
		return 0
	case head.Status == 101 && x.upgrade:
		x.splice(&head)
		return n
	case head.Status < 200:
		up.abort(errAnswer)
		return len(b)
	}
	x.remaining = head.ContentLength
	if c.is(connHead) {
		x.remaining = 0
	}
	if x.remaining < 0 {
		up.abort(errAnswer)
		return len(b)
	}
	x.reusable = head.KeepAlive
	if x.upgrade || c.loop.draining {
		c.flags &^= connKeepAlive
	}
	x.state = relayAnswering
	x.releaseSent()
	c.enter(phaseRelaying)
	x.sendHead(&head)
	x.endAnswer(b[n:])
	return n
}

func (x *relay) sendHead(head *http1.Response) {
	c := x.client
	buf := NewBuffer(512)
	buf.B = head.AppendForwarded(buf.B, c.KeepAlive())
	c.send(buf, buf.B)
	buf.Release()
}

// answered ends the relay: the client's connection is its own again.
func (x *relay) answered() {
	c, up := x.client, x.up
	x.state = relayOver
	c.Context, up.Context = x.context, nil
	for _, side := range [...]*Conn{c, up} {
		side.flags &^= connFull
		if side.Paused() {
			side.Resume()
		}
	}
	if x.reusable && up.out == nil {
		c.loop.linkPool(x.peer).park(up)
	} else {
		up.abort(nil)
	}
	c.finishRequest()
}

// splice makes one stream of the two connections.
func (x *relay) splice(head *http1.Response) {
	c, up := x.client, x.up
	x.state = relaySpliced
	x.releaseSent()
	up.loop.group.stats.spliced.Add(1)
	c.flags &^= connKeepAlive
	c.enter(phaseSpliced)
	up.enter(phaseSpliced)
	c.setMounted(nil)
	x.sendHead(head)
	if x.state == relaySpliced {
		c.readOn() // what the client has sent that did not wait for the answer
	}
	if c.loop.draining {
		x.endStream()
	}
}

// endStream has the other server end a stream: it sees the end of what the client sends,
// sends what it still has, then a close frame, and closes.
func (x *relay) endStream() {
	if x.state == relaySpliced && !x.ending {
		x.ending = true
		x.up.endSplice()
	}
}

// endSplice ends what goes to the other server, once all of it has gone out.
func (c *Conn) endSplice() {
	x, ok := c.Context.(*relay)
	if !ok || !x.ending || c != x.up || c.out != nil {
		return
	}
	if err := c.loop.sys.Shutdown(int(c.fd)); err != nil {
		c.abort(err)
	}
}

func (x *relay) releaseSent() {
	if x.sent != nil {
		x.sent.Release()
		x.sent = nil
		x.client.rank()
	}
}

// relayQueue follows a change of a queue that waits for one side of a relay: the other
// is not read while it is full.
func (c *Conn) relayQueue() {
	x, ok := c.Context.(*relay)
	if !ok || x.up == nil {
		return
	}
	cfg := c.loop.cfg
	other, limit := x.client, relayBytes
	if c == x.client {
		other = x.up
		switch {
		case x.state == relaySpliced:
			limit = cfg.MaxQueuedBytes
		case c.out == nil:
			c.endExchange()
		case c.x == nil: // an answer that the kernel does not take
			c.arm(cfg.WriteTimeout)
			c.x.owed, c.x.added = c.owed(), 0
		}
	} else if x.state != relaySpliced {
		return // a request that is whole
	}
	held := 0
	if c.out != nil {
		held = c.out.held
	}
	switch full := c.is(connFull); {
	case !full && held > limit:
		c.flags |= connFull
		other.Pause()
		if c == x.client && x.state == relaySpliced {
			c.arm(cfg.SlowTimeout)
			c.x.owed, c.x.added = c.owed(), 0
		}
	case full && held <= limit/2:
		c.flags &^= connFull
		if c == x.client && x.state == relaySpliced {
			c.endExchange()
		}
		other.Resume()
	}
}

// leaveRelay is told of each connection that ends: err says why, and it is to be reset.
func (c *Conn) leaveRelay(err error, reset bool) {
	switch x := c.Context.(type) {
	case *linkPool:
		c.Context = nil
		x.unpark(c)
	case *relay:
		x.leave(c, err, reset)
	}
}

// leave ends the relay, one side of which ends.
func (x *relay) leave(c *Conn, err error, reset bool) {
	state, client, up := x.state, x.client, x.up
	if state == relayOver {
		return
	}
	x.unwait()
	x.state = relayOver
	client.Context = x.context
	if up != nil {
		up.Context = nil
	}
	st := &client.loop.group.stats
	if state == relaySpliced {
		st.spliced.Add(-1)
	}
	reset = reset || err != nil && err != ErrClosed && err != io.EOF //nolint:errorlint // they are not wrapped
	switch {
	case c == client:
		x.releaseSent()
		switch {
		case up == nil:
		case state == relaySpliced && !reset:
			up.closeGently(err)
		default:
			up.end(err, reset)
		}
	case state == relayAsked:
		if client.resumeFrom(); client.phase < phaseClosing {
			x.unforwarded(err)
		}
		x.releaseSent()
	case state == relaySpliced && !reset:
		client.closeGently(err)
	default:
		if state == relayAnswering {
			st.unforwarded.Add(1)
		}
		client.end(err, true) // no cut looks like a whole answer
	}
}

// fail ends a relay that has no link.
func (x *relay) fail(err error) {
	if x.state == relayOver {
		return
	}
	x.state = relayOver
	x.client.Context = x.context
	x.unforwarded(err)
	x.releaseSent()
}

// unforwarded has the request answered here. Nothing is sent a second time: it may have
// been handled.
func (x *relay) unforwarded(err error) {
	c := x.client
	l := c.loop
	if log := l.group.log; log.Debugs() {
		log.Debug("unforwarded", "netpoll: a request that was passed on is not answered", "address", x.peer.address, "why", err)
	}
	if err == nil {
		err = ErrClosed
	}
	var r http1.Request
	b := x.sent.B[x.line:]
	if n, fault := r.ParseHead(b, http1.HeadLimits{LineBytes: len(b), HeadBytes: len(b), Fields: len(b)}); n == 0 || fault != nil {
		c.close(err)
		return
	}
	l.unforwarded(c, &r, err)
}

// resumeFrom ends that the connection is paused for the other side's sake.
func (c *Conn) resumeFrom() {
	if c.Paused() {
		c.Resume()
	}
}

// closeGently closes a side of a stream whose other side has ended: what is queued goes
// out.
func (c *Conn) closeGently(err error) {
	if c.phase >= phaseClosing {
		return
	}
	c.reportSoon(err)
	c.flags &^= connPaused
	if c.setReading(true); c.phase < phaseClosing {
		c.beginClosing(err)
	}
}
