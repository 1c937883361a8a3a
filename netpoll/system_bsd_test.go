//go:build unix && !linux

package netpoll

import "runtime"

// What TestUnsentUnread and TestSystemAllocs ask of this system.
const (
	tellsUnsent      = runtime.GOOS == "darwin" || runtime.GOOS == "freebsd" || runtime.GOOS == "netbsd"
	allocatesNothing = false
)
