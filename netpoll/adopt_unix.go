//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// tune sets what a connection of an own listener inherits from it.
func (g *Group) tune(fd int, tcp bool) {
	if tcp {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		setMaxUnsent(fd, g.cfg.MaxUnsentBytes)
	}
}

func (g *Group) tuneRaw(raw syscall.RawConn, tcp bool) {
	if raw != nil && tcp {
		_ = raw.Control(func(fd uintptr) { g.tune(int(fd), true) })
	}
}

// isKernels tells whether ln is the kernel's own, with nothing around it.
func isKernels(ln net.Listener) bool {
	switch ln.(type) {
	case *net.TCPListener, *net.UnixListener, *unixListener:
		return true
	}
	return false
}
