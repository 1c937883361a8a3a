package netpolltest

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// The addresses of connections, unless DialFrom says otherwise (RFC 5737).
var (
	remoteAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234}
	localAddr  = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80}
)

// conn is a connection that a loop has lent. Its methods may be called from any
// goroutine.
type conn struct {
	p *Peer // Immutable after Lend.

	// Guarded by p.net.mu.
	closed bool // or taken back
	reads  deadline
	writes deadline
}

// deadline has those who wait look at the clock when it is over.
type deadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) set(n *Net, at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.changed.Broadcast()
		})
	}
}

func (s *system) Lend(fd int) (net.Conn, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	p := s.peer(fd)
	switch {
	case p == nil:
		return nil, syscall.EBADF
	case p.watch != 0:
		panic("netpolltest: Lend of a descriptor that is watched: Watch(fd, from, 0) first")
	case p.reset:
		p.closed = true
		return nil, syscall.ENOTCONN
	}
	p.lent = true
	return &conn{p: p}, nil
}

func (s *system) TakeBack(nc net.Conn) (int, error) {
	c, ok := nc.(*conn)
	if !ok || c.p.net != s.net {
		return -1, fmt.Errorf("netpolltest: %T is no connection of this net", nc)
	}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if c.closed {
		return -1, net.ErrClosed
	}
	c.over()
	return c.p.fd, nil
}

// over ends the loan. p.net.mu is held.
func (c *conn) over() {
	c.closed, c.p.lent = true, false
	c.reads.set(c.p.net, time.Time{})
	c.writes.set(c.p.net, time.Time{})
	c.p.net.changed.Broadcast()
	c.p.net.active()
}

func (c *conn) Read(b []byte) (n int, err error) {
	err = c.try("read", &c.reads, func() error {
		n, err = c.p.serverRead(b)
		if n == 0 && err == nil && len(b) > 0 {
			err = io.EOF
		}
		return err
	})
	return n, err
}

func (c *conn) Write(b []byte) (n int, err error) {
	for {
		err = c.try("write", &c.writes, func() error {
			k, err := c.p.serverWrite(b[n:])
			n += k
			return err
		})
		if n == len(b) || err != nil {
			return n, err
		}
	}
}

// try calls f until it says something else than EAGAIN.
func (c *conn) try(op string, d *deadline, f func() error) error {
	n := c.p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return c.fault(op, net.ErrClosed)
		case d.over():
			return c.fault(op, os.ErrDeadlineExceeded)
		}
		if err := f(); err != syscall.EAGAIN {
			n.active()
			return c.fault(op, err)
		}
		n.changed.Wait()
	}
}

// fault is err as package net gives it.
func (c *conn) fault(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: localAddr, Addr: c.p.addr, Err: err}
}

// Close closes the descriptor, as System.Close does.
func (c *conn) Close() error {
	return c.end("close", func() { c.p.closed = true; c.over() })
}

// CloseWrite ends this side, as System.Shutdown does.
func (c *conn) CloseWrite() error {
	return c.end("close", func() { c.p.shut = true; c.p.net.active() })
}

func (c *conn) end(op string, f func()) error {
	c.p.net.mu.Lock()
	defer c.p.net.mu.Unlock()
	if c.closed {
		return c.fault(op, net.ErrClosed)
	}
	f()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return localAddr }
func (c *conn) RemoteAddr() net.Addr { return c.p.addr }

func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadlines(t, &c.reads) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writes) }
func (c *conn) SetDeadline(t time.Time) error      { return c.setDeadlines(t, &c.reads, &c.writes) }

func (c *conn) setDeadlines(t time.Time, ds ...*deadline) error {
	return c.end("set", func() {
		for _, d := range ds {
			d.set(c.p.net, t)
		}
		c.p.net.changed.Broadcast() // for a time that has passed
	})
}
