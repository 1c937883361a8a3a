//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

import (
	"errors"
	"net"
	"time"
)

// On other systems New fails. All but that works there, with the System of
// package netpolltest.
var errNoQueue = errors.New("not supported: loops need epoll or kqueue")

type poller struct{ System }

func openPoller(time.Time) (*poller, error) { return nil, errNoQueue }
func (*poller) poll(*Loop) error            { return errNoQueue }
func (*poller) close()                      {}

func defaultLoops() int    { return 1 }
func defaultMaxConns() int { return 1 << 30 }

// SystemdListeners finds none: there is no systemd.
func SystemdListeners() ([]net.Listener, []string, error) { return nil, nil, nil }

// listener never comes to be.
type listener struct{ secure bool }

func listen(_, _ string, _ bool) (net.Listener, error)    { return nil, errNoQueue }
func newListener(*Group, net.Listener) (*listener, error) { return nil, errNoQueue }
func (*listener) close()                                  {}
func (*listener) forget()                                 {}
func startListenerOnLoop(_, _ any)                        {}
func stopListenerOnLoop(_, _ any)                         {}
func acceptOnLoop(_, _ any)                               {}
func (*Group) acceptReady(*Loop, int)                     {}
