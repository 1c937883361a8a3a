package netpoll

import (
	"net"
	"os"
	"syscall"
	"time"
)

// bridgeConn is a bridged connection that is lent to net/http: it reads and writes
// through the same goroutines, so that nothing has to be interrupted on the way back,
// and a deadline spoils nothing below.
type bridgeConn struct {
	d *bridged // Immutable after lend.

	// Guarded by d.mu.
	over   bool // closed or taken back
	reads  lentDeadline
	writes lentDeadline
}

// lentDeadline has those who wait look at the clock when it is over.
type lentDeadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func (t *lentDeadline) passed() bool { return !t.at.IsZero() && !time.Now().Before(t.at) }

func (t *lentDeadline) set(d *bridged, at time.Time) {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if t.at = at; !at.IsZero() && !t.passed() {
		t.timer = time.AfterFunc(time.Until(at), func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.turn.Broadcast()
		})
	}
}

func (d *bridged) lend() net.Conn { return &bridgeConn{d: d} }

func (c *bridgeConn) takeBack() (int, error) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.over {
		return -1, net.ErrClosed
	}
	c.end()
	return c.d.fd, nil
}

// end ends the loan. d.mu is held.
func (c *bridgeConn) end() {
	c.over = true
	c.reads.set(c.d, never)
	c.writes.set(c.d, never)
	c.d.turn.Broadcast()
}

func (c *bridgeConn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Read is for net/http and hijackers.
func (c *bridgeConn) Read(p []byte) (int, error) {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case c.over:
			return 0, c.fault("read", net.ErrClosed)
		case c.reads.passed():
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		}
		if n := d.take(p); n > 0 {
			return n, nil
		}
		if d.inErr != nil {
			return 0, d.inErr
		}
		d.turn.Wait()
	}
}

// Write is for net/http and hijackers. What it has taken goes out.
func (c *bridgeConn) Write(p []byte) (n int, err error) {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case c.over:
			return n, c.fault("write", net.ErrClosed)
		case c.writes.passed():
			return n, c.fault("write", os.ErrDeadlineExceeded)
		}
		k, err := d.put(p[n:])
		n += max(k, 0)
		switch {
		case err == nil && n == len(p):
			return n, nil
		case err != nil && err != syscall.EAGAIN:
			return n, c.fault("write", err)
		}
		d.turn.Wait()
	}
}

// Close closes the connection: what has been written still goes out.
func (c *bridgeConn) Close() error {
	c.d.mu.Lock()
	if c.over {
		c.d.mu.Unlock()
		return c.fault("close", net.ErrClosed)
	}
	c.end()
	c.d.mu.Unlock()
	c.d.end(false)
	return nil
}

// CloseWrite ends this side.
func (c *bridgeConn) CloseWrite() error {
	c.d.shutdown()
	return nil
}

func (c *bridgeConn) LocalAddr() net.Addr { return named(c.d.conn.LocalAddr()) }

func (c *bridgeConn) RemoteAddr() net.Addr { return named(c.d.conn.RemoteAddr()) }

func named(a net.Addr) net.Addr {
	if a == nil {
		return &net.UnixAddr{Name: "@", Net: "unix"}
	}
	return a
}

func (c *bridgeConn) SetReadDeadline(t time.Time) error  { return c.setDeadlines(t, &c.reads) }
func (c *bridgeConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writes) }
func (c *bridgeConn) SetDeadline(t time.Time) error      { return c.setDeadlines(t, &c.reads, &c.writes) }

func (c *bridgeConn) setDeadlines(t time.Time, ds ...*lentDeadline) error {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.over {
		return c.fault("set", net.ErrClosed)
	}
	for _, d := range ds {
		d.set(c.d, t)
	}
	c.d.turn.Broadcast()
	return nil
}
