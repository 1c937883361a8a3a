//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// loop is epoll and what is shared by all connections of this one thread.
type loop struct {
	epoll   int
	servers []syscall.SockaddrInet4
	conns   []*conn // by descriptor
	events  []syscall.EpollEvent
	read    []byte // what a read fills; larger than a socket's buffer usually is
}

func newLoop(o *options) (*loop, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	l := &loop{epoll: ep, events: make([]syscall.EpollEvent, 1024), read: make([]byte, 1<<20)}
	for _, a := range o.addrs {
		l.servers = append(l.servers, syscall.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())})
	}
	return l, nil
}

// ipBindAddressNoPort lets connect choose the port, which then has to be unique
// for the pair of addresses only (IP_BIND_ADDRESS_NO_PORT).
const ipBindAddressNoPort = 24

// perSource is how many connections come from one address: an address has about
// 28,000 ports.
const perSource = 10000

// connect opens a socket to the server for a connection with this number.
func (l *loop) connect(c *conn, id int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + id/perSource)}})
	if err == nil {
		err = syscall.Connect(fd, &l.servers[id%len(l.servers)])
	}
	if err == nil || err == syscall.EINPROGRESS {
		err = l.control(syscall.EPOLL_CTL_ADD, fd, true)
	}
	if err != nil {
		syscall.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	c.fd, l.conns[fd] = fd, c
	return nil
}

func (l *loop) control(op, fd int, writable bool) error {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if writable {
		ev.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(l.epoll, op, fd, &ev)
}

// awaitWritable tells whether the connection wants to know that it can write.
func (l *loop) awaitWritable(c *conn, on bool) {
	_ = l.control(syscall.EPOLL_CTL_MOD, c.fd, on)
}

func (l *loop) close(c *conn) {
	l.conns[c.fd] = nil
	syscall.Close(c.fd)
}

// poll waits at most this long for events and handles them.
func (l *loop) poll(d time.Duration) error {
	k, err := syscall.EpollWait(l.epoll, l.events, int(math.Ceil(d.Seconds()*1000)))
	if err == syscall.EINTR {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("epoll_wait", err)
	}
	for _, ev := range l.events[:k] {
		c := l.conns[ev.Fd]
		if c == nil {
			continue // closed by an earlier event
		}
		if ev.Events&syscall.EPOLLOUT != 0 {
			c.onWritable()
		}
		if ev.Events&^syscall.EPOLLOUT != 0 && c.stage != closed {
			c.onReadable(l.read)
		}
	}
	return nil
}

// dialError is the reason why a connect has failed, if it has.
func dialError(fd int) error {
	e, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err == nil && e != 0 {
		err = syscall.Errno(e)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// read and write skip the scheduler's bookkeeping around a system call: the
// sockets never block, and there is no other goroutine to run meanwhile.

func read(fd int, b []byte) (int, error) {
	return transfer(syscall.SYS_READ, fd, b)
}

func write(fd int, b []byte) (int, error) {
	return transfer(syscall.SYS_WRITE, fd, b)
}

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
