//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// systemdFirst is the first descriptor that systemd passes on (sd_listen_fds(3)).
const systemdFirst = 3

// SystemdListeners makes listeners of the sockets that systemd has passed on to this
// process by socket activation, with their names (FileDescriptorName=), in order; none
// if it has not. The variables of the environment that tell of them are removed, so that
// a second call, or a child, finds none. On error nothing is left open.
func SystemdListeners() (all []net.Listener, names []string, err error) {
	pid, count, named := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil, nil // for a parent, which has not removed them
	}
	n, err := strconv.ParseUint(count, 10, 16)
	if err != nil {
		return nil, nil, fmt.Errorf("netpoll: LISTEN_FDS is %q", count)
	}
	var given []string
	if named != "" {
		given = strings.Split(named, ":")
	}
	for i := range int(n) {
		name := "unknown" // as sd_listen_fds_with_names has it
		if i < len(given) {
			name = given[i]
		}
		ln, fault := systemdListener(systemdFirst+i, name)
		if fault != nil {
			err = errors.Join(err, fmt.Errorf("netpoll: descriptor %d of systemd, %q: %w", systemdFirst+i, name, fault))
			continue
		}
		all, names = append(all, ln), append(names, name)
	}
	if err != nil {
		for _, ln := range all {
			_ = ln.Close()
		}
		return nil, nil, err
	}
	return all, names, nil
}

// systemdListener takes a descriptor over, whatever it is.
func systemdListener(fd int, name string) (net.Listener, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, err // it is none: not ours to close
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if kind != unix.SOCK_STREAM {
		return nil, errors.New("it is no stream socket: write ListenStream=")
	}
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens == 0 {
		return nil, errors.New("it does not listen: write Accept=no")
	}
	return net.FileListener(file) // a copy, which children do not get
}
