package sockeye

import (
	"fmt"
	"net"

	"github.com/sockeye-io/sockeye/netpoll"
)

// SystemdListeners makes listeners of the sockets that systemd has passed on to this
// process (socket activation, ListenStream= of a unit of the kind socket), in their
// order, for Server.Serve. There are none, and no error, if systemd has passed on none.
//
// It removes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES from the environment: a second
// call finds none.
func SystemdListeners() ([]net.Listener, error) {
	all, _, err := netpoll.SystemdListeners()
	if err != nil {
		return nil, fmt.Errorf("sockeye: %w", err)
	}
	return all, nil
}

// SystemdListenersByName is SystemdListeners by the sockets' names
// (FileDescriptorName=), of which several may have the same.
func SystemdListenersByName() (map[string][]net.Listener, error) {
	all, names, err := netpoll.SystemdListeners()
	if err != nil {
		return nil, fmt.Errorf("sockeye: %w", err)
	}
	by := map[string][]net.Listener{}
	for i, ln := range all {
		by[names[i]] = append(by[names[i]], ln)
	}
	return by, nil
}
