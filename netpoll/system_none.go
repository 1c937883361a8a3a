//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"time"
)

// On other systems every connection is bridged, and listeners are package net's.

func openPoller(start time.Time) (turner, error) { return openPlain(start), nil }

func defaultLoops() int    { return runtime.GOMAXPROCS(0) }
func defaultMaxConns() int { return 1 << 30 }

// SystemdListeners finds none: there is no systemd.
func SystemdListeners() ([]net.Listener, []string, error) { return nil, nil, nil }

func (*Group) tune(int, bool)                {}
func (*Group) tuneRaw(syscall.RawConn, bool) {}

func isKernels(net.Listener) bool { return false }

// listener never comes to be.
type listener struct{ kind listens }

var errNoQueue = errors.New("netpoll: no queue of the kernel's")

func listen(network, address string, reuse bool) (net.Listener, error) {
	if reuse {
		return nil, errors.New("ReusePort is not supported here")
	}
	return net.Listen(network, address)
}

func newListener(*Group, net.Listener, listens) (*listener, error) { return nil, errNoQueue }
func (*listener) close()                                           {}
func (*listener) forget()                                          {}
func startListenerOnLoop(_, _ any)                                 {}
func stopListenerOnLoop(_, _ any)                                  {}
func acceptOnLoop(_, _ any)                                        {}
func (*Group) acceptReady(*Loop, int)                              {}
