package netpoll

import (
	"errors"
	"io"
	"syscall"

	"github.com/sockeye-io/sockeye/internal/bytepool"
	"github.com/sockeye-io/sockeye/internal/ratelog"
	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/proxyproto"
)

// Close ends the connection: what is queued still goes out, as fast as the peer
// reads it. The handler's HandleClose is called with err.
func (c *Conn) Close(err error) {
	c.loop.Check()
	c.close(err)
}

func (c *Conn) close(err error) {
	if c.phase >= phaseClosing {
		return
	}
	// Nothing is on its way in either direction: there is nothing to wait for.
	if c.phase != phaseOpen && c.phase != phaseSpliced && c.out == nil && !c.unread() {
		c.abort(err)
		return
	}
	c.reportSoon(err)
	// Before endOutput, which takes who is not read from for a peer that has closed.
	c.flags &^= connPaused
	if c.setReading(true); c.phase != phaseClosed {
		c.beginClosing(err)
	}
}

// unread tells whether the peer has sent what has not been read.
func (c *Conn) unread() bool {
	return c.in != nil || c.loop.sys.Unread(int(c.fd)) > 0 || c.layers&layerTLS != 0 && c.tls().in != nil
}

// beginClosing has what is queued sent, and throws away what comes.
func (c *Conn) beginClosing(err error) {
	c.reportSoon(err)
	c.leaveRelay(err, false)
	c.endRequest()
	c.releaseInput()
	c.enter(phaseClosing)
	if c.out == nil {
		c.endOutput()
	}
}

// releaseInput gives back what is held of input.
func (c *Conn) releaseInput() {
	bytepool.Put(c.in)
	c.in = nil
	c.ws.Release()
	if j := c.takeInflated(); j != nil {
		j.release(c.loop.group)
	}
	c.settle()
}

// endOutput tells the peer that nothing more will come, and waits for it to
// close: closing at once, with input unread, would reset the connection and
// could destroy what is still on its way.
func (c *Conn) endOutput() {
	if c.is(connNoRead) { // it has closed its side
		c.abort(errPeerGone)
		return
	}
	if c.endTLS() {
		return // it is called again
	}
	if err := c.loop.sys.Shutdown(int(c.fd)); err != nil {
		c.abort(err)
	}
}

// maxDiscarded bounds, in bytes, what a closing connection reads and throws away.
const maxDiscarded = 8 << 20

// discard counts what has come on a connection that is closing.
func (c *Conn) discard(n int) {
	if c.phase != phaseClosing {
		return
	}
	c.x.remaining += int64(n)
	if c.x.remaining > maxDiscarded && c.out == nil {
		c.abort(nil)
	}
}

// expireClosing: the peer has had CloseTimeout. Without WriteTimeout it has to read
// something in each.
func (c *Conn) expireClosing() {
	cfg, x := c.loop.cfg, c.x
	if c.owed() == 0 {
		c.abort(nil)
		return
	}
	if c.loop.now-x.since >= int64(cfg.WriteTimeout) {
		if !c.reads(cfg.WriteTimeout) {
			c.cut(ErrTimeout)
			return
		}
		x.since = c.loop.now
	}
	c.loop.Arm(&x.timer, x, cfg.CloseTimeout)
}

// Abort closes the connection at once; what is queued is lost.
func (c *Conn) Abort(err error) {
	c.loop.Check()
	c.abort(err)
}

// abort closes the descriptor now. What the kernel has taken still goes out; if
// output was queued, the peer sees a reset, and not the end of a whole answer.
func (c *Conn) abort(err error) { c.end(err, c.out != nil) }

// cut is abort for a peer that does not read.
func (c *Conn) cut(err error) {
	c.loop.group.stats.timeouts.Add(1)
	c.end(err, true)
}

func (c *Conn) end(err error, reset bool) {
	if c.phase == phaseClosed {
		return
	}
	l := c.loop
	c.reportSoon(err)
	c.leaveRelay(err, reset)
	if c.phase == phaseClosed {
		return // by the other side
	}
	if c.layers&layerTLS != 0 && !reset {
		c.lastAlert()
	}
	c.leave()
	c.endRequest()
	c.enter(phaseClosed)
	if reset {
		_ = l.sys.Reset(int(c.fd))
	} else {
		_ = l.sys.Close(int(c.fd))
	}
	if c.layers&layerTLS != 0 {
		c.releaseTLS()
	}
	c.releaseInput()
	c.releaseOut()
	l.ended(c)
}

type goneConn struct {
	c   *Conn
	err error
}

func (c *Conn) reportSoon(err error) {
	if c.is(connReported) {
		return
	}
	c.flags |= connReported
	if err == nil {
		err = ErrClosed
	}
	c.loop.gone = append(c.loop.gone, goneConn{c, err})
	if log := c.loop.group.log; log.Debugs() {
		c.tellEnd(log, err)
	}
}

// tellEnd tells the log of a connection that did not end as its peer, or this side,
// wanted it.
func (c *Conn) tellEnd(log *ratelog.Log, err error) {
	reason := err.Error()
	var closed *CloseError
	var request *http1.Error
	switch {
	case err == ErrClosed || err == ErrHijacked || err == io.EOF:
		return
	case errors.As(err, &closed):
		if closed.Remote {
			return
		}
		reason = "a WebSocket broke a rule"
	case errors.As(err, &request):
		reason = "a request broke a rule"
	case errors.Is(err, proxyproto.ErrHeader):
		reason = "no header of the PROXY protocol"
	case c.layers&layerProxy != 0 && errors.Is(err, syscall.ECONNRESET):
		return // a health check
	case !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrSlowConsumer) && !errors.Is(err, ErrMemory):
		reason = "others" // there may be any number of them
	}
	var scratch [64]byte
	address := scratch[:0]
	if c.phase != phaseClosed {
		address, _ = c.AppendRemoteAddr(address)
	}
	log.Debug(reason, "netpoll: a connection is ended", "why", err, "peer", string(address))
}

func (g goneConn) report(l *Loop) {
	defer l.recoverPanic(nil)
	l.h.HandleClose(g.c, g.err)
}
