//go:build freebsd || netbsd

package netpoll

import "golang.org/x/sys/unix"

func (s *poller) Unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, fionwrite)
	if err != nil {
		return 0
	}
	return n
}
