//go:build unix

package netpoll_test

import "syscall"

// setRoom bounds what the kernel takes for a socket that is not read.
func setRoom(fd uintptr, bytes int) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
}
