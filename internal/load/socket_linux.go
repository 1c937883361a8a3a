package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// socket is one TCP connection of a Conn.
type socket struct {
	c          *Conn
	fd         int // -1: closed
	generation int32
	charged    int
	dialing    bool
	securing   bool // TLS: a goroutine has the handshake
	in         []byte
	out        []byte // what the socket has not taken
	tls        *tls.Conn
	wire       *wire
}

// onWritable finishes a connect, or writes what has waited.
func (s *socket) onWritable() {
	l := s.c.crowd
	if s.dialing {
		e, err := syscall.GetsockoptInt(s.fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err == nil && e != 0 {
			err = syscall.Errno(e)
		}
		if err != nil {
			s.lost(connectFault(err))
			return
		}
		s.dialing = false
		if l.cfg.TLS != nil {
			s.secure()
			return
		}
		_ = l.control(syscall.EPOLL_CTL_MOD, s.fd, s.generation, false)
		s.c.connected(s)
		return
	}
	s.flush()
}

// flush writes what has waited.
func (s *socket) flush() {
	l := s.c.crowd
	n, err := transfer(syscall.SYS_WRITE, s.fd, s.out)
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		s.lost(faultf(KindClosed, "while %s: %v", s.c.stageName(), err))
		return
	}
	l.BytesOut += int64(n)
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
		_ = l.control(syscall.EPOLL_CTL_MOD, s.fd, s.generation, false)
	}
	s.charge()
}

// write sends b, through TLS if there is.
func (s *socket) write(b []byte) {
	if s.fd < 0 {
		return
	}
	if s.tls != nil {
		if _, err := s.tls.Write(b); err != nil {
			s.lost(faultf(KindTLS, "%v", err))
		}
		return
	}
	s.writeRaw(b)
}

// writeRaw writes b, or keeps what the socket does not take. Broken sockets are noticed
// when they are read, so that nobody's caller finds its connection gone.
func (s *socket) writeRaw(b []byte) {
	n := 0
	if len(s.out) == 0 {
		var err error
		n, err = transfer(syscall.SYS_WRITE, s.fd, b)
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			return
		}
		s.c.crowd.BytesOut += int64(n)
		if n < len(b) {
			_ = s.c.crowd.control(syscall.EPOLL_CTL_MOD, s.fd, s.generation, true)
		}
	}
	if n < len(b) {
		s.out = append(s.out, b[n:]...)
		s.charge()
	}
}

// charge tells what the socket holds. It is false if that is too much.
func (s *socket) charge() bool { return s.c.crowd.charge(&s.charged, cap(s.in)+cap(s.out)) }

// lost ends a socket that is broken, and its connection.
func (s *socket) lost(f *Fault) {
	if s.fd >= 0 {
		s.c.lost(s, f)
	}
}

// onReadable reads once: epoll tells again if there is more. TLS is read until it has
// nothing, since epoll does not know what that holds.
func (s *socket) onReadable(buf []byte) {
	for generation := s.generation; ; {
		n, err := s.receive(buf)
		if errors.Is(err, errAgain) {
			return
		}
		if n > 0 {
			s.feed(buf[:n], false)
		}
		if s.fd < 0 || s.generation != generation {
			return
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if s.feed(nil, true); s.fd >= 0 && s.generation == generation {
				s.lost(faultf(KindClosed, "by the server, while %s", s.c.stageName()))
			}
			return
		case s.tls != nil && !errors.As(err, new(syscall.Errno)):
			s.lost(faultf(KindTLS, "%v", err))
			return
		default:
			kind := KindClosed
			if s.dialing {
				kind = KindConnect
			}
			s.lost(faultf(kind, "while %s: %v", s.c.stageName(), err))
			return
		}
		if s.tls == nil {
			return
		}
	}
}

func (s *socket) receive(buf []byte) (int, error) {
	if s.tls != nil {
		return s.tls.Read(buf)
	}
	return s.receiveRaw(buf)
}

func (s *socket) receiveRaw(buf []byte) (int, error) {
	n, err := transfer(syscall.SYS_READ, s.fd, buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return 0, errAgain
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	s.c.crowd.BytesIn += int64(n)
	return n, nil
}

// feed gives what has come to the connection, with what was left before.
func (s *socket) feed(data []byte, ended bool) {
	if len(s.in) > 0 {
		s.in = append(s.in, data...)
		data = s.in
	}
	if ended && len(data) == 0 {
		return
	}
	generation := s.generation
	rest, f := s.c.consume(s, data, ended)
	if f != nil && s.generation == generation {
		s.lost(f)
	}
	switch {
	case s.fd < 0 || s.generation != generation: // closed, perhaps opened again
		return
	case len(rest) == 0:
		s.in = nil
	case len(rest) < len(data) || len(s.in) == 0:
		s.in = bytes.Clone(rest)
	}
	if s.charged == 0 && s.in == nil {
		return
	}
	if !s.charge() {
		s.lost(faultf(KindMemory, "more than %d MiB wait in all connections together", s.c.crowd.cfg.MaxHeld>>20))
	}
}

// again is a read that finds nothing. crypto/tls goes on after temporary errors.
type again struct{}

func (again) Error() string   { return "nothing to read" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

var errAgain net.Error = again{}

// wire is what crypto/tls has below it: during the handshake a net.Conn, then the socket.
type wire struct {
	net.Conn // a duplicate of the descriptor, for the handshake's goroutine
	s        *socket
	loop     bool
}

func (w *wire) Read(b []byte) (int, error) {
	if !w.loop {
		return w.Conn.Read(b)
	}
	if w.s.fd < 0 {
		return 0, io.EOF
	}
	return w.s.receiveRaw(b)
}

func (w *wire) Write(b []byte) (int, error) {
	if !w.loop {
		return w.Conn.Write(b)
	}
	if w.s.fd >= 0 {
		w.s.writeRaw(b)
	}
	return len(b), nil
}

func (w *wire) Close() error                     { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// secure has a goroutine do the handshake, on a duplicate of the descriptor.
func (s *socket) secure() {
	l := s.c.crowd
	_ = l.control(syscall.EPOLL_CTL_DEL, s.fd, s.generation, false)
	nc, err := duplicate(s.fd)
	if err != nil {
		s.lost(connectFault(err))
		return
	}
	s.securing = true
	s.wire = &wire{Conn: nc, s: s}
	s.tls = tls.Client(s.wire, l.cfg.TLS)
	// What the goroutine gets belongs to this handshake alone: the Conn may be used again.
	t := &socket{c: s.c, fd: s.fd, generation: s.generation, tls: s.tls, wire: s.wire}
	left := l.cfg.Timeout - time.Since(s.c.since)
	if s != &s.c.main {
		left = l.cfg.Timeout
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), left)
		defer cancel()
		stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
		err := t.tls.HandshakeContext(ctx)
		stop()
		_ = nc.Close()
		l.secured(t, err)
	}()
}

// onSecured is called on the ticket that the handshake's goroutine had.
func (t *socket) onSecured(err error) {
	l := t.c.crowd
	var s *socket
	if t.fd < len(l.socks) {
		s = l.socks[t.fd]
	}
	if s == nil || s.generation != t.generation {
		return // it was given up
	}
	s.securing = false
	if err != nil {
		text := err.Error()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			s.lost(faultf(KindTimeout, "TLS handshake took longer than %v", l.cfg.Timeout))
			return
		}
		if errors.Is(err, io.EOF) {
			text = "the server closed the connection during the handshake"
		}
		s.lost(faultf(KindTLS, "%s", said([]byte(text))))
		return
	}
	s.wire.loop = true
	if err := l.control(syscall.EPOLL_CTL_ADD, s.fd, s.generation, false); err != nil {
		s.lost(connectFault(err))
		return
	}
	s.c.connected(s)
	if s.fd >= 0 {
		s.onReadable(l.read) // what came with the end of the handshake
	}
}

// duplicate is a net.Conn on a duplicate of the descriptor.
func duplicate(fd int) (net.Conn, error) {
	d, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if e != 0 {
		return nil, e
	}
	f := os.NewFile(d, "socket")
	defer f.Close()
	return net.FileConn(f)
}

// transfer reads or writes without the scheduler's bookkeeping around a system call: the
// sockets never block.
func transfer(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch e {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, e
		}
	}
}
